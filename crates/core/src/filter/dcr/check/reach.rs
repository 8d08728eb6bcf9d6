//! Whether events get through a rule: a rule that looks right and moves nothing is the mistake that is noticed last.

use std::collections::BTreeSet;

use super::super::findings::{Findings, code};
use super::super::{DataCollectionRule, Source};

/// Warns of a rule that takes nothing, and of streams that go nowhere. The rule has no errors, so every source stands
/// where it stood in the document; `path` is that of `dataSources`.
pub(super) fn check(rule: &DataCollectionRule, path: &str, findings: &mut Findings) {
    let taken: BTreeSet<&str> = rule.flows.iter().flat_map(|flow| &flow.streams).map(String::as_str).collect();
    if rule.sources.is_empty() && !rule.declared.iter().any(|stream| taken.contains(stream.as_str())) {
        let message = "reads no Windows event log and takes no declared stream: it takes nothing here";
        findings.warning(code::TAKES_NOTHING, path, message);
    }
    for (n, source) in rule.sources.iter().enumerate() {
        lost(source, &taken, &format!("{path}.windowsEventLogs[{n}].streams"), findings);
    }
}

fn lost(source: &Source, taken: &BTreeSet<&str>, path: &str, findings: &mut Findings) {
    let is_taken = |stream: &String| taken.contains(stream.as_str());
    let all = if source.streams.iter().any(is_taken) { "" } else { ": its events go nowhere" };
    for (n, stream) in source.streams.iter().enumerate().filter(|(_, stream)| !is_taken(stream)) {
        let message = format_args!(
            "{stream:?} is a stream that no flow takes to a workspace{all}; name it in a flow, or remove it"
        );
        findings.warning(code::NO_EFFECT, &format!("{path}[{n}]"), message);
    }
}
