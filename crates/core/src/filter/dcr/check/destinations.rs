//! `destinations`: the workspaces that a rule knows.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::super::Destination;
use super::super::findings::{Findings, code};
use super::super::node::Node;
use super::super::unknown;
use super::{Unique, within};

/// Azure's limit in one rule.
const LOG_ANALYTICS: usize = 10;

/// What the destinations of a rule come to.
pub(super) struct Destinations<'v> {
    pub(super) log_analytics: Vec<Destination>,
    /// Every name, and whether Gatepost serves what it names.
    pub(super) names: BTreeMap<&'v str, bool>,
    /// Something is so wrong that `names` may be short of one; to complain about flows too would mislead.
    pub(super) unsure: bool,
}

/// Reads `destinations`. Only a rule of agent settings may lack them.
pub(super) fn read<'v>(properties: &Node<'v>, optional: bool, findings: &mut Findings) -> Destinations<'v> {
    let mut read = Destinations { log_analytics: Vec::new(), names: BTreeMap::new(), unsure: false };
    let Some(node) = properties.get("destinations") else {
        read.unsure = true;
        if !optional {
            let message = "is missing; name at least one workspace in destinations.logAnalytics";
            findings.error(code::DESTINATION, &properties.at("destinations"), message);
        }
        return read;
    };
    read.unsure |= !node.value.is_object();
    let mut unique = Unique::default();
    for key in node.object(findings).into_iter().flat_map(|object| object.keys()) {
        let Some(group) = node.get(key) else { continue };
        if key == "logAnalytics" {
            read.unsure |= !group.value.is_array();
            for item in group.items(findings) {
                read.unsure |= !item.value["name"].is_string();
                read.log_analytics.extend(log_analytics(&item, &mut unique, &mut read.names, findings));
            }
            within(LOG_ANALYTICS, read.log_analytics.len(), "Log Analytics destinations", &group.path, findings);
        } else {
            other(&group, &mut unique, &mut read.names, findings);
        }
    }
    read
}

fn log_analytics<'v>(
    node: &Node<'v>,
    unique: &mut Unique<'v>,
    names: &mut BTreeMap<&'v str, bool>,
    findings: &mut Findings,
) -> Option<Destination> {
    node.object(findings)?;
    node.only(&["name", "workspaceResourceId", "workspaceId"], findings);
    let name_node = node.need("name", "give the destination the name that dataFlows call it by", findings);
    let name = name_node.as_ref().and_then(|node| node.label(findings));
    if let (Some(node), Some(name)) = (&name_node, name) {
        unique.claim(name, node, findings);
        names.insert(name, true);
    }
    let resource = node.get("workspaceResourceId");
    let guid = node.get("workspaceId").and_then(|id| id.word(findings));
    let resource_id = resource.as_ref().and_then(|id| workspace(id, findings));
    let resource_id = resource_id.as_deref();
    match (&resource, resource_id) {
        (Some(node), Some(id)) if !is_workspace(id) => {
            let template = if id.starts_with('[') { "; an expression of a template has no meaning here" } else { "" };
            let message = format_args!("{id:?} is no workspace; write {WORKSPACE}{template}");
            findings.error(code::DESTINATION, &node.path, message);
        }
        (None, _) if guid.is_none() => {
            let message = format_args!("is missing; write {WORKSPACE}");
            findings.error(code::DESTINATION, &node.at("workspaceResourceId"), message);
        }
        (None, _) => {
            let message = "is missing: Azure would refuse the rule, Gatepost knows the workspace by its workspaceId";
            findings.warning(code::DESTINATION, &node.at("workspaceResourceId"), message);
        }
        _ => {}
    }
    Some(Destination {
        name: unknown::shown(name?).into_owned(),
        workspace_resource_id: resource_id.map(str::to_owned),
        workspace_id: guid.map(str::to_owned),
    })
}

/// The id of a workspace. Its name is known also where the template alone does not tell its group.
fn workspace<'v>(node: &Node<'v>, findings: &mut Findings) -> Option<Cow<'v, str>> {
    let told = node.value.as_str().filter(|id| unknown::is_unknown(id)).map(unknown::shown);
    let named = told.filter(|id| is_workspace(id) && !id.rsplit('/').next().unwrap_or_default().contains('{'));
    let Some(id) = named else { return node.word(findings).map(Cow::Borrowed) };
    let message = "is only known at the deployment, but for its name, so the workspace goes by that alone; say to which resource \
                   group the template is deployed, with resource_group (`--resource-group`)";
    findings.warning(code::TEMPLATE, &node.path, message);
    Some(id)
}

const WORKSPACE: &str =
    "/subscriptions/…/resourceGroups/…/providers/Microsoft.OperationalInsights/workspaces/… as Azure shows it";

fn is_workspace(id: &str) -> bool {
    let parts: Vec<&str> = id.split('/').collect();
    let ["", subscriptions, subscription, groups, group, providers, provider, workspaces, name] = parts[..] else {
        return false;
    };
    let fixed = [(subscriptions, "subscriptions"), (groups, "resourceGroups"), (providers, "providers")];
    let typed = [(provider, "Microsoft.OperationalInsights"), (workspaces, "workspaces")];
    fixed.iter().chain(&typed).all(|(given, wanted)| given.eq_ignore_ascii_case(wanted))
        && [subscription, group, name].iter().all(|part| !part.trim().is_empty())
}

/// Destinations that Gatepost does not serve still have names that flows may use.
fn other<'v>(group: &Node<'v>, unique: &mut Unique<'v>, names: &mut BTreeMap<&'v str, bool>, findings: &mut Findings) {
    let items = match group.value {
        Value::Array(items) => items.as_slice(),
        single => std::slice::from_ref(single),
    };
    if items.is_empty() {
        return;
    }
    let message = "is not implemented: nothing is sent there; Gatepost serves logAnalytics";
    findings.warning(code::NOT_IMPLEMENTED, &group.path, message);
    for name in items.iter().filter_map(|item| item["name"].as_str()) {
        unique.claim(name, group, findings);
        names.insert(name, false);
    }
}
