//! `dataFlows`: which streams go to which destinations.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Flow;
use super::super::findings::{Findings, NoSuch, code};
use super::super::node::Node;
use super::super::unknown;
use super::{is_stream, transforms, within};

/// Azure's limits in one rule.
const FLOWS: usize = 10;
const STREAMS: usize = 10;

/// What flows may name.
pub(super) struct Context<'c> {
    /// Destinations, and whether Gatepost serves them.
    pub(super) destinations: &'c BTreeMap<&'c str, bool>,
    /// Any destination may be named: it is not known which there are.
    pub(super) any_destination: bool,
    /// Streams that something feeds.
    pub(super) streams: &'c [&'c str],
    /// Any stream may be named: they are Azure's own, or it is not known what the sources feed.
    pub(super) any_stream: bool,
    /// The rule needs no flow.
    pub(super) optional: bool,
}

/// Reads `dataFlows`.
pub(super) fn read(properties: &Node<'_>, context: &Context<'_>, findings: &mut Findings) -> Vec<Flow> {
    let right = "say at least once which streams go to which destinations";
    let Some(node) = properties.get("dataFlows") else {
        if !context.optional {
            findings.error(code::PAYLOAD, &properties.at("dataFlows"), format_args!("is missing; {right}"));
        }
        return Vec::new();
    };
    let names = Names {
        fed: context.streams.iter().copied().collect(),
        destinations: context.destinations.keys().copied().collect(),
        context,
    };
    let mut count = 0;
    let mut flows = Vec::new();
    for item in node.items(findings) {
        count += 1;
        flows.extend(names.flow(&item, findings));
    }
    if count == 0 && node.value.is_array() && !context.optional {
        findings.error(code::PAYLOAD, &node.path, format_args!("is empty; {right}"));
    }
    within(FLOWS, count, "data flows", &node.path, findings);
    let streams: BTreeSet<&str> = flows.iter().flat_map(|flow| flow.streams.iter().map(String::as_str)).collect();
    within(STREAMS, streams.len(), "streams", &node.path, findings);
    flows.retain(|flow| !flow.destinations.is_empty());
    flows
}

struct Names<'c> {
    fed: BTreeSet<&'c str>,
    destinations: Vec<&'c str>,
    context: &'c Context<'c>,
}

impl Names<'_> {
    fn flow(&self, flow: &Node<'_>, findings: &mut Findings) -> Option<Flow> {
        flow.object(findings)?;
        let known = [
            "streams",
            "destinations",
            "transformKql",
            "outputStream",
            "builtInTransform",
            "captureOverflow",
            "transform",
        ];
        flow.only(&known, findings);
        transforms(flow, &["transformKql", "builtInTransform", "transform"], findings);
        capture_overflow(flow, findings);
        Some(Flow {
            streams: self.streams(flow, findings),
            destinations: self.destinations(flow, findings),
            output_stream: output_stream(flow, findings),
        })
    }

    fn streams(&self, flow: &Node<'_>, findings: &mut Findings) -> Vec<String> {
        let mut streams = Vec::new();
        for item in listed(flow, "streams", code::STREAM, findings) {
            let Some(stream) = item.word(findings) else { continue };
            if !self.context.any_stream && !self.fed.contains(stream) {
                let message = NoSuch {
                    what: "is a stream that no data source or declaration feeds",
                    name: stream,
                    known: self.context.streams,
                };
                findings.error(code::STREAM, &item.path, message);
            }
            streams.push(stream.to_owned());
        }
        streams
    }

    fn destinations(&self, flow: &Node<'_>, findings: &mut Findings) -> Vec<String> {
        let mut served = Vec::new();
        for item in listed(flow, "destinations", code::DESTINATION, findings) {
            let Some(name) = item.label(findings) else { continue };
            match self.context.destinations.get(name) {
                Some(true) => served.push(unknown::shown(name).into_owned()),
                Some(false) => {
                    let message =
                        format_args!("{name:?} is no destination that Gatepost serves: nothing is sent there");
                    findings.warning(code::NOT_IMPLEMENTED, &item.path, message);
                }
                None if self.context.any_destination => {}
                None => {
                    let message = NoSuch { what: "is no destination of this rule", name, known: &self.destinations };
                    findings.error(code::DESTINATION, &item.path, message);
                }
            }
        }
        served
    }
}

/// The items of a list that has to be there and must not be empty.
fn listed<'v>(
    flow: &Node<'v>,
    key: &str,
    code: &'static str,
    findings: &mut Findings,
) -> impl Iterator<Item = Node<'v>> + use<'v> {
    let right = format_args!("name at least one of the rule's {key}");
    let node = flow.need(key, right, findings);
    if let Some(node) = &node
        && node.value.as_array().is_some_and(Vec::is_empty)
    {
        findings.error(code, &node.path, format_args!("is empty; {right}"));
    }
    let items = node.map(|node| node.items(findings));
    items.into_iter().flatten()
}

fn output_stream(flow: &Node<'_>, findings: &mut Findings) -> Option<String> {
    let node = flow.get("outputStream")?;
    let stream = node.word(findings)?;
    if !is_stream(stream) {
        let message = format_args!(
            "{stream:?} is no table's stream; write \"Microsoft-\" or \"Custom-\" before the name of the table, such as \
             Microsoft-SecurityEvent or Custom-Firewall_CL"
        );
        findings.error(code::OUTPUT_TABLE, &node.path, message);
    }
    Some(stream.to_owned())
}

fn capture_overflow(flow: &Node<'_>, findings: &mut Findings) {
    let Some(node) = flow.get("captureOverflow") else { return };
    match node.value.as_bool() {
        Some(false) => {}
        Some(true) => findings.warning(code::NOT_IMPLEMENTED, &node.path, "is not implemented and has no effect here"),
        None => findings.error(code::PAYLOAD, &node.path, "must be true or false, without quotes"),
    }
}
