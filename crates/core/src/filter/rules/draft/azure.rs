//! A data collection rule of Azure, brought into the one form: its flows become routes, its destinations outputs.

use std::collections::HashMap;

use super::{Draft, DraftQuery, Material, Way, listed};
use crate::filter::dcr::{DataCollectionRule, Destination, Finding, Severity};
use crate::filter::rules::Origin;
use crate::filter::xpath::told_channel;

/// A data collection rule: each source's queries feed the outputs of all flows that take one of its streams, and so do uploads
/// to the streams that it declares.
pub(super) fn from_azure(
    material: &Material<'_>,
    rule: &DataCollectionRule,
    origin: Origin,
    namesakes: &mut Namesakes,
    findings: &mut Vec<Finding>,
) -> Draft {
    let mut queries = Vec::new();
    for source in &rule.sources {
        let routes = routes_of(material, rule, &source.streams, namesakes, findings);
        for (text, query) in &source.queries {
            queries.push(DraftQuery {
                channel: told_channel(&query.channel).map(Box::from),
                expr: query.expr.clone(),
                routes: routes.clone(),
                ..DraftQuery::everything(text.clone())
            });
        }
    }
    for stream in &rule.declared {
        let routes = routes_of(material, rule, std::slice::from_ref(stream), namesakes, findings);
        if !routes.is_empty() {
            let text = format!("uploads to {stream}");
            queries.push(DraftQuery { upload_stream: Some(stream.clone()), routes, ..DraftQuery::everything(text) });
        }
    }
    Draft {
        name: rule.id.as_deref().map_or_else(|| rule.name.clone(), group_and_name),
        section: None,
        origin,
        queries,
        associations: Vec::new(),
        default: false,
        warnings: Vec::new(),
    }
}

/// Where the events of these streams go: one route for an output.
fn routes_of(
    material: &Material<'_>,
    rule: &DataCollectionRule,
    streams: &[String],
    namesakes: &mut Namesakes,
    findings: &mut Vec<Finding>,
) -> Vec<Way> {
    let mut routes: Vec<Way> = Vec::new();
    for (n, flow) in rule.flows.iter().enumerate() {
        for shared in streams.iter().filter(|stream| flow.streams.contains(stream)) {
            let stream = flow.output_stream.as_ref().unwrap_or(shared);
            for name in &flow.destinations {
                let Some(at) = rule.destinations.iter().position(|destination| destination.name == *name) else {
                    continue;
                };
                let output = match output_of(material, &rule.destinations[at], stream, namesakes) {
                    Ok(output) => output,
                    Err(message) => {
                        let target = format!("properties.destinations.logAnalytics[{at}]");
                        let finding =
                            Finding { severity: Severity::Error, code: "InvalidDestination", target, message };
                        if !findings.contains(&finding) {
                            findings.push(finding);
                        }
                        continue;
                    }
                };
                match routes.iter().find(|(known, _)| *known == output) {
                    Some((_, Some(first))) if first != stream => findings.push(Finding {
                        severity: Severity::Warning,
                        code: "SeveralStreams",
                        target: format!("properties.dataFlows[{n}]"),
                        message: format!(
                            "these events go to output {output:?} in stream {first:?} already, and an event goes once to each output; for {stream:?} too, add an entry with that stream to filter.workspaces"
                        ),
                    }),
                    Some(_) => {}
                    None => routes.push((output, Some(stream.clone()))),
                }
            }
        }
    }
    routes
}

/// The workspaces that were found by their names, with their resource ids.
pub(super) type Namesakes = HashMap<String, String>;

/// The output that stands for a destination and a stream: what the configuration says of the workspace, the most certain name
/// first, else an output with the workspace's name. Two workspaces of one name must not be taken for each other.
fn output_of(
    material: &Material<'_>,
    destination: &Destination,
    stream: &str,
    namesakes: &mut Namesakes,
) -> Result<String, String> {
    let entry = |called: &str| {
        let of = |wanted: Option<&str>| {
            let mut entries = material.config.workspaces.iter();
            entries.find(|entry| entry.is_for(called) && entry.stream.as_deref() == wanted)
        };
        of(Some(stream)).or_else(|| of(None)).map(|entry| entry.output.clone())
    };
    let id = destination.workspace_resource_id.as_deref();
    let certain = [id, destination.workspace_id.as_deref()].into_iter().flatten().find_map(entry);
    if let Some(output) = certain {
        return Ok(output);
    }
    let name = id.and_then(|id| id.trim_end_matches('/').rsplit('/').next()).unwrap_or(&destination.name);
    if let Some(id) = id {
        let first = namesakes.entry(name.to_ascii_lowercase()).or_insert_with(|| id.to_owned());
        if !first.eq_ignore_ascii_case(id) {
            return Err(format!(
                "{first:?} and {id:?} have the same name; say in filter.workspaces, by resource id, which output stands for which"
            ));
        }
    }
    let output = || material.outputs.iter().find(|output| output.eq_ignore_ascii_case(name)).cloned();
    entry(name).or_else(|| entry(&destination.name)).or_else(output).ok_or_else(|| {
        format!(
            "no output stands for workspace {:?}; name an output {name:?}, or add one of {} to filter.workspaces",
            id.unwrap_or(name),
            listed(material.outputs)
        )
    })
}

/// `group/name` of a resource id.
pub(super) fn group_and_name(id: &str) -> String {
    let segments: Vec<&str> = id.split('/').collect();
    let group = segments.iter().position(|segment| segment.eq_ignore_ascii_case("resourceGroups"));
    match (group.and_then(|at| segments.get(at + 1)), segments.last()) {
        (Some(group), Some(name)) => format!("{group}/{name}"),
        _ => id.to_owned(),
    }
}
