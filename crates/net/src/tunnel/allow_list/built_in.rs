//! The hosts that each kind of agent needs, as tables by cloud.
//!
//! A parameter that is given makes exact names; one that is not makes a wildcard in its place, never more than the
//! leftmost label. What is here opens the wall for everybody who uses the set, so a host has to earn its place: hosts
//! that an agent uses only beside the gateway, or that only versions out of support use for telemetry, are left out.
//! Azure Monitor's metrics cannot go through a proxy, so their hosts (ARM, `monitoring.azure.com`) are not in `ama`.

use std::collections::HashSet;

use super::super::config::{Cloud, Rule, RuleSet};
use super::{Covers, Pattern};

/// One host of a rule set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BuiltIn {
    /// The pattern, as an operator would write it.
    pub(super) pattern: String,
    /// Plain HTTP on port 80 may be allowed to it.
    pub(super) plain_http: bool,
}

/// A host in the clouds public, us-gov and china; empty where a cloud has none. `{workspace}` and `{region}` stand for
/// the parameters, `{endpoint}` for the name of an Arc gateway, `{dce}` for a data collection endpoint with its region.
type Row = [&'static str; 3];

const AMA: &[Row] = &[
    [
        "global.handler.control.monitor.azure.com",
        "global.handler.control.monitor.azure.us",
        "global.handler.control.monitor.azure.cn",
    ],
    [
        "{region}.handler.control.monitor.azure.com",
        "{region}.handler.control.monitor.azure.us",
        "{region}.handler.control.monitor.azure.cn",
    ],
    [
        "{workspace}.ods.opinsights.azure.com",
        "{workspace}.ods.opinsights.azure.us",
        "{workspace}.ods.opinsights.azure.cn",
    ],
    ["global.prod.microsoftmetrics.com", "", ""],
    ["{dce}.ingest.monitor.azure.com", "{dce}.ingest.monitor.azure.us", "{dce}.ingest.monitor.azure.cn"],
    [
        "{dce}.metrics.ingest.monitor.azure.com",
        "{dce}.metrics.ingest.monitor.azure.us",
        "{dce}.metrics.ingest.monitor.azure.cn",
    ],
    [
        "{dce}.handler.control.monitor.azure.com",
        "{dce}.handler.control.monitor.azure.us",
        "{dce}.handler.control.monitor.azure.cn",
    ],
];

const MMA: &[Row] = &[
    [
        "{workspace}.ods.opinsights.azure.com",
        "{workspace}.ods.opinsights.azure.us",
        "{workspace}.ods.opinsights.azure.cn",
    ],
    [
        "{workspace}.oms.opinsights.azure.com",
        "{workspace}.oms.opinsights.azure.us",
        "{workspace}.oms.opinsights.azure.cn",
    ],
    // The server chooses the account, so its name cannot be known before.
    ["*.blob.core.windows.net", "*.blob.core.usgovcloudapi.net", "*.blob.core.chinacloudapi.cn"],
    ["*.azure-automation.net", "usge-jobruntimedata-prod-1.usgovtrafficmanager.net", ""],
    ["*.agentsvc.azure-automation.net", "usge-agentservice-prod-1.usgovtrafficmanager.net", ""],
];

const ARC: &[Row] = &[
    ["download.microsoft.com", "download.microsoft.com", "download.microsoft.com"],
    ["packages.microsoft.com", "packages.microsoft.com", "packages.microsoft.com"],
    // Installers of older agents.
    ["aka.ms", "aka.ms", "aka.ms"],
    ["login.microsoftonline.com", "login.microsoftonline.us", "login.chinacloudapi.cn"],
    ["*.login.microsoft.com", "", "login.partner.chinacloudapi.cn"],
    ["login.windows.net", "", ""],
    ["pas.windows.net", "pasff.usgovcloudapi.net", "pas.chinacloudapi.cn"],
    // To connect and disconnect a machine.
    ["management.azure.com", "management.usgovcloudapi.net", "management.chinacloudapi.cn"],
    ["*.his.arc.azure.com", "*.his.arc.azure.us", "*.his.arc.azure.cn"],
    ["*.guestconfiguration.azure.com", "*.guestconfiguration.azure.us", "*.guestconfiguration.azure.cn"],
    ["guestnotificationservice.azure.com", "", "guestnotificationservice.azure.cn"],
    ["*.guestnotificationservice.azure.com", "", "*.guestnotificationservice.azure.cn"],
    // The narrower of the two forms that are documented: anybody may own another name below.
    ["azgn*.servicebus.windows.net", "", "azgn*.servicebus.chinacloudapi.cn"],
    ["*.blob.core.windows.net", "*.blob.core.usgovcloudapi.net", "*.blob.core.chinacloudapi.cn"],
    ["*.waconazure.com", "", ""],
    ["*.{region}.arcdataservices.com", "", ""],
    ["dls.microsoft.com", "", ""],
];

/// Certificates for extended security updates, fetched over plain HTTP as well as TLS.
const ARC_PLAIN: &[Row] = &[["www.microsoft.com", "", ""]];

const ARC_GATEWAY: &[Row] = &[
    ["{endpoint}.gw.arc.azure.com", "", ""],
    ["management.azure.com", "", ""],
    ["login.microsoftonline.com", "", ""],
    ["{region}.login.microsoft.com", "", ""],
    ["gbl.his.arc.azure.com", "", ""],
    ["{region}.his.arc.azure.com", "", ""],
    ["download.microsoft.com", "", ""],
    ["packages.microsoft.com", "", ""],
];

/// What follows the name and region of a data collection endpoint, longest first.
const DCE_SUFFIXES: [&str; 3] = [".metrics.ingest.monitor.", ".ingest.monitor.", ".handler.control.monitor."];

fn rows(set: RuleSet) -> (&'static [Row], &'static [Row]) {
    match set {
        RuleSet::Ama => (AMA, &[]),
        RuleSet::Arc => (ARC, ARC_PLAIN),
        RuleSet::ArcGateway => (ARC_GATEWAY, &[]),
        RuleSet::Mma => (MMA, &[]),
    }
}

fn domain(cloud: Cloud) -> (usize, &'static str, &'static str) {
    match cloud {
        Cloud::Public => (0, "public", "azure.com"),
        Cloud::UsGov => (1, "us-gov", "azure.us"),
        Cloud::China => (2, "china", "azure.cn"),
    }
}

/// The hosts of a rule's set, none without one.
pub(super) fn hosts(rule: &Rule) -> Vec<BuiltIn> {
    let Some(set) = rule.rule_set else { return Vec::new() };
    let (column, ..) = domain(rule.cloud);
    let (usual, plain) = rows(set);
    let templates = usual.iter().map(|row| (row[column], false)).chain(plain.iter().map(|row| (row[column], true)));
    let parameters = Parameters::of(rule);
    let mut seen = HashSet::new();
    let mut hosts = Vec::new();
    for (template, plain_http) in templates.filter(|(template, _)| !template.is_empty()) {
        for pattern in parameters.fill(template) {
            if seen.insert(pattern.clone()) {
                hosts.push(BuiltIn { pattern, plain_http });
            }
        }
    }
    hosts
}

/// The agent that is in support and needs a host that `covers` covers, with that host. What the Azure Monitor Agent shares with
/// its predecessor, the data hosts of a workspace, is the predecessor's here: only who asks tells them apart.
pub(in super::super) fn agent_of(covers: &Covers) -> Option<(&'static str, String)> {
    const SHARED: &str = ".ods.opinsights.azure.";
    let sets = [
        (RuleSet::Ama, "the Azure Monitor Agent"),
        (RuleSet::Arc, "the Arc agent"),
        (RuleSet::ArcGateway, "the Arc agent"),
    ];
    sets.into_iter().find_map(|(set, agent)| {
        let clouds = [Cloud::Public, Cloud::UsGov, Cloud::China];
        let rules = clouds.map(|cloud| Rule { rule_set: Some(set), cloud, ..Rule::default() });
        let patterns = rules.iter().flat_map(hosts).map(|host| host.pattern);
        let mut theirs = patterns.filter(|pattern| !pattern.contains(SHARED));
        let meets = |pattern: &String| Pattern::parse(pattern).is_ok_and(|theirs| theirs.host.meets(covers));
        Some((agent, theirs.find(meets)?))
    })
}

struct Parameters(Vec<(&'static str, Vec<String>)>);

impl Parameters {
    fn of(rule: &Rule) -> Self {
        let lower = |values: &[String]| values.iter().map(|value| value.to_ascii_lowercase()).collect::<Vec<_>>();
        let regions = lower(&rule.regions);
        let (_, _, domain) = domain(rule.cloud);
        let gateways = rule.endpoints.iter().map(|endpoint| gateway(endpoint));
        Self(vec![
            ("{workspace}", lower(&rule.workspaces)),
            ("{endpoint}", gateways.collect()),
            ("{dce}", data_collection(&lower(&rule.endpoints), &regions, domain)),
            ("{region}", regions),
        ])
    }

    fn fill(&self, template: &str) -> Vec<String> {
        let mut texts = vec![template.to_owned()];
        for (place, values) in self.0.iter().filter(|(place, _)| template.contains(place)) {
            let any = ["*".to_owned()];
            let values: &[String] = if values.is_empty() { &any } else { values };
            texts = texts.iter().flat_map(|text| values.iter().map(|value| text.replace(place, value))).collect();
        }
        texts.into_iter().map(|text| collapsed(&text).to_owned()).collect()
    }
}

/// `*.` covers any depth, so a second one says nothing more.
fn collapsed(mut text: &str) -> &str {
    while let Some(rest) = text.strip_prefix("*.").filter(|rest| rest.starts_with("*.")) {
        text = rest;
    }
    text
}

fn gateway(endpoint: &str) -> String {
    let endpoint = endpoint.to_ascii_lowercase();
    endpoint.strip_suffix(".gw.arc.azure.com").map(str::to_owned).unwrap_or(endpoint)
}

/// What stands before `.ingest.monitor.…`: from a whole host name, or from a short name with each region. A region may
/// carry a shard's number; the first is the usual one, others need the whole host name.
fn data_collection(endpoints: &[String], regions: &[String], domain: &str) -> Vec<String> {
    let shards = || regions.iter().flat_map(|region| [region.clone(), format!("{region}-1")]);
    if endpoints.is_empty() {
        return shards().map(|shard| format!("*.{shard}")).collect();
    }
    let stem = |endpoint: &String| match whole(endpoint, domain) {
        Some(stem) => vec![stem.to_owned()],
        None => shards().map(|shard| format!("{endpoint}.{shard}")).collect(),
    };
    endpoints.iter().flat_map(stem).collect()
}

/// The name and region in the whole host name of a data collection endpoint.
fn whole<'e>(endpoint: &'e str, domain: &str) -> Option<&'e str> {
    let rest = endpoint.strip_suffix(domain)?;
    DCE_SUFFIXES.iter().find_map(|suffix| rest.strip_suffix(suffix))
}

/// What is wrong with the parameters of a rule's set: (key, what would be right).
pub(in super::super) fn problems(rule: &Rule) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    let mut wrong = |key: String, message: String| problems.push((key, message));
    let given = [
        ("regions", rule.regions.is_empty(), ["{region}", "{dce}"]),
        ("workspaces", rule.workspaces.is_empty(), ["{workspace}", "{workspace}"]),
        ("endpoints", rule.endpoints.is_empty(), ["{endpoint}", "{dce}"]),
    ];
    let Some(set) = rule.rule_set else {
        for (key, empty, _) in given {
            if !empty {
                wrong(key.to_owned(), "is about a rule_set; set one, or remove it".to_owned());
            }
        }
        return problems;
    };
    let (column, cloud, domain) = domain(rule.cloud);
    let (usual, _) = rows(set);
    if usual.iter().all(|row| row[column].is_empty()) {
        let message = format!("of {cloud:?} has no Arc gateway; use rule_set = \"arc\" there, or cloud = \"public\"");
        wrong("cloud".to_owned(), message);
        return problems;
    }
    for (key, empty, places) in given {
        let used = usual.iter().any(|row| places.iter().any(|place| row[column].contains(place)));
        if !empty && !used {
            wrong(key.to_owned(), "changes nothing in this rule_set and cloud; remove it".to_owned());
        }
    }
    for (n, region) in rule.regions.iter().enumerate().filter(|(_, region)| !is_label(region)) {
        let plain: String = region.chars().filter(char::is_ascii_alphanumeric).collect();
        let message = format!("is no region; write its short name, such as {:?}", plain.to_ascii_lowercase());
        wrong(format!("regions[{n}]"), message);
    }
    for (n, _) in rule.workspaces.iter().enumerate().filter(|(_, workspace)| !is_guid(workspace)) {
        let message = "is no workspace id; write the id that the portal shows for the workspace, such as \
                       \"01234567-89ab-cdef-0123-456789abcdef\"";
        wrong(format!("workspaces[{n}]"), message.to_owned());
    }
    for (n, endpoint) in rule.endpoints.iter().enumerate() {
        if let Some(message) = endpoint_problem(&endpoint.to_ascii_lowercase(), set, domain, rule) {
            wrong(format!("endpoints[{n}]"), message);
        }
    }
    problems
}

fn endpoint_problem(endpoint: &str, set: RuleSet, domain: &str, rule: &Rule) -> Option<String> {
    match set {
        RuleSet::ArcGateway if !is_label(&gateway(endpoint)) => {
            Some("is no Arc gateway; write its prefix or its host, such as \"myprefix.gw.arc.azure.com\"".to_owned())
        }
        RuleSet::Ama => match whole(endpoint, domain) {
            Some(stem) if stem.split('.').all(is_label) => None,
            None if is_label(endpoint) && !rule.regions.is_empty() => None,
            None if is_label(endpoint) => Some(format!(
                "needs regions beside a short name; set them, or write the whole host, such as \
                 \"{endpoint}.westeurope-1.ingest.monitor.{domain}\""
            )),
            _ => Some(format!(
                "is no data collection endpoint of this cloud; write its host without \"https://\", such as \
                 \"mydce-abcd.westeurope-1.ingest.monitor.{domain}\""
            )),
        },
        _ => None,
    }
}

fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn is_guid(text: &str) -> bool {
    // Of this length only the form with dashes and without braces is.
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}

#[cfg(test)]
#[path = "built_in_tests.rs"]
mod tests;
