//! One resource: what Gatepost acts on, and everything that is to be said about it.

mod destinations;
mod flows;
mod reach;
mod sources;

use std::collections::BTreeMap;

use serde_json::Value;

use super::findings::{Findings, code};
use super::node::Node;
use super::{DataCollectionRule, Finding};

/// What stands around the properties of a resource, in templates and in what the tools print.
const ENVELOPE: [&str; 17] = [
    "id",
    "name",
    "type",
    "location",
    "tags",
    "kind",
    "identity",
    "sku",
    "etag",
    "systemData",
    "properties",
    "apiVersion",
    "comments",
    "condition",
    "dependsOn",
    "resourceGroup",
    "scope",
];

/// Properties that are acted on, or that only Azure has a use for.
const PROPERTIES: [&str; 14] = [
    "description",
    "immutableId",
    "provisioningState",
    "metadata",
    "dataCollectionEndpointId",
    "endpoints",
    "ingestionQuotas",
    "streamDeclarations",
    "dataSources",
    "destinations",
    "dataFlows",
    "agentSettings",
    "references",
    "transformations",
];

/// Properties that change what Azure's agent or pipeline does, and nothing here.
const NOT_IMPLEMENTED: [&str; 3] = ["agentSettings", "references", "transformations"];

/// The kind that may lack sources, destinations and flows.
const AGENT_SETTINGS: &str = "AgentSettings";

/// Kinds whose streams come from Azure itself, not from a source of the rule.
const FED_BY_AZURE: [&str; 2] = ["PlatformTelemetry", "WorkspaceTransforms"];

/// Checks one resource: an envelope with `properties`, the same flattened, or bare properties. `name` is for a rule that
/// tells none. With a finding of severity error no rule is returned.
pub fn check(resource: &Value, name: &str) -> (Option<DataCollectionRule>, Vec<Finding>) {
    let mut findings = Findings::default();
    let rule = rule(&Node::new(resource, ""), name, &mut findings);
    let rule = if findings.refused() { None } else { rule };
    (rule, findings.into_vec())
}

/// The rule as far as it can be read, also when errors were found.
pub(super) fn rule(resource: &Node<'_>, name: &str, findings: &mut Findings) -> Option<DataCollectionRule> {
    resource.object(findings)?;
    let properties = match resource.get("properties") {
        Some(properties) => {
            resource.only(&ENVELOPE, findings);
            properties.object(findings)?;
            properties.only(&PROPERTIES, findings);
            properties
        }
        None => {
            resource.only(&[&ENVELOPE[..], &PROPERTIES[..]].concat(), findings);
            resource.clone()
        }
    };
    for node in NOT_IMPLEMENTED.iter().filter_map(|key| properties.get(key)) {
        findings.warning(code::NOT_IMPLEMENTED, &node.path, "is not implemented and has no effect here");
    }
    let kind = kind(resource, findings);
    let id = resource.get("id").and_then(|id| id.word(findings)).map(with_leading_slash);
    let own_name = resource.get("name").and_then(|name| name.word(findings));
    let name = own_name.or_else(|| id.as_deref()?.rsplit('/').next()).unwrap_or(name).to_owned();

    let declared = declared(&properties, findings);
    let optional = kind.eq_ignore_ascii_case(AGENT_SETTINGS);
    let sources = sources::read(&properties, &declared, findings);
    let destinations = destinations::read(&properties, optional, findings);
    let context = flows::Context {
        destinations: &destinations.names,
        any_destination: destinations.unsure,
        streams: &[&sources.fed[..], &declared[..]].concat(),
        any_stream: sources.unsure || FED_BY_AZURE.iter().any(|fed| kind.eq_ignore_ascii_case(fed)),
        optional,
    };
    let flows = flows::read(&properties, &context, findings);
    let rule = DataCollectionRule {
        id,
        name,
        declared: declared.into_iter().map(str::to_owned).collect(),
        sources: sources.windows,
        destinations: destinations.log_analytics,
        flows,
    };
    if !findings.refused() {
        reach::check(&rule, &properties.at("dataSources"), findings);
    }
    Some(rule)
}

fn kind<'v>(resource: &Node<'v>, findings: &mut Findings) -> &'v str {
    let Some(node) = resource.get("kind") else { return "" };
    let kind = node.text(findings).unwrap_or_default();
    if !["", "windows", "direct"].contains(&kind.to_ascii_lowercase().as_str()) {
        let message =
            format_args!("is {kind:?}: of such a rule Gatepost uses windowsEventLogs and declared streams only");
        findings.warning(code::NOT_IMPLEMENTED, &node.path, message);
    }
    kind
}

fn with_leading_slash(id: &str) -> String {
    if id.starts_with('/') { id.to_owned() } else { format!("/{id}") }
}

/// The streams that the rule declares, sorted. Their columns matter to Azure's tables only.
fn declared<'v>(properties: &Node<'v>, findings: &mut Findings) -> Vec<&'v str> {
    let Some(node) = properties.get("streamDeclarations") else { return Vec::new() };
    let Some(streams) = node.object(findings) else { return Vec::new() };
    for (name, declaration) in streams {
        let stream = Node::new(declaration, &node.at(name));
        if !name.starts_with("Custom-") {
            let message = "only streams that begin with \"Custom-\" are declared; rename or remove it";
            findings.error(code::STREAM, &stream.path, message);
        }
        stream.object(findings);
    }
    let mut names: Vec<&str> = streams.keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// Whether a stream's name is one that Azure could know.
fn is_stream(name: &str) -> bool {
    let rest = name.strip_prefix("Microsoft-").or_else(|| name.strip_prefix("Custom-"));
    rest.is_some_and(|rest| !rest.is_empty())
}

/// Names that must be unique, with the place of the first.
#[derive(Default)]
struct Unique<'v>(BTreeMap<&'v str, String>);

impl<'v> Unique<'v> {
    fn claim(&mut self, name: &'v str, node: &Node<'_>, findings: &mut Findings) {
        match self.0.get(name) {
            Some(first) => {
                findings.error(code::PAYLOAD, &node.path, format_args!("{name:?} is taken by {first}; choose another"))
            }
            None => drop(self.0.insert(name, node.path.clone())),
        }
    }
}

/// Warns when there is more of something than Azure allows.
fn within(limit: usize, count: usize, what: &str, target: &str, findings: &mut Findings) {
    if count > limit {
        let message = format_args!("{count} {what}; Azure allows {limit} in a rule, Gatepost takes them all");
        findings.warning(code::LIMIT, target, message);
    }
}

/// Warns of a transformation that only Azure would make. `source` alone is none.
fn transforms(node: &Node<'_>, keys: &[&str], findings: &mut Findings) {
    for transform in keys.iter().filter_map(|key| node.get(key)) {
        let Some(text) = transform.text(findings) else { continue };
        let does_nothing = transform.path.ends_with("transformKql") && text.trim().eq_ignore_ascii_case("source");
        if !does_nothing && !text.trim().is_empty() {
            let message = "is not implemented: events go on as they are; filter with xPathQueries, or let a rule in Azure \
                           transform what arrives there";
            findings.warning(code::NOT_IMPLEMENTED, &transform.path, message);
        }
    }
}
