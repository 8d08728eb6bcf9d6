//! What the configuration says about rules.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::EventSet;
use super::dcr::Given;
use super::xpath;
use crate::values::{FileToRead, Network};

/// Which events are kept, and which outputs get them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What is kept of hosts to which no rule applies; it goes to every output. `"Everything"` (all records, also those that
    /// are no Windows events), or one of the sets of the Security events connector: `"All"`, `"Common"`, `"Minimal"`,
    /// `"None"`. The sets hold events of the Security channel and of the two AppLocker channels; everything else is dropped
    /// and counted. The default is `"Everything"`: what to leave out is a decision, not an accident.
    pub event_set: EventSet,
    /// Which outputs stand for the workspaces that data collection rules name. Not needed for a workspace with the name of
    /// an output.
    pub workspaces: Vec<Workspace>,
    /// The rules. One table for each. An event goes once to each output that any of its rules names, however many take it;
    /// what none of them takes is dropped and counted.
    pub rules: Vec<RuleConfig>,
}

/// An output that stands for a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Workspace {
    /// The workspace, as rules call it: its resource id, its GUID, its name, or the name of the destination. Letter case
    /// does not matter.
    pub workspace: String,
    /// Only for events that a rule sends there in this stream (a flow's `outputStream`, or the stream of its source), such as
    /// `"Microsoft-SecurityEvent"`: an output feeds one table, so a workspace with several tables needs an output for each.
    /// Default: every stream that has no entry of its own.
    #[serde(default)]
    pub stream: Option<String>,
    /// The output's name.
    pub output: String,
}

/// A rule. Exactly one of `file`, `event_set`, `queries` and `query_list` says what it takes. It applies to every host, or, with
/// any of `hosts`, `networks`, `identities` and `groups`, to those that fit all that are given.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RuleConfig {
    /// Its name, for metrics and the status page. Needed, except with `file`: data collection rules have names.
    pub name: Option<String>,
    /// A data collection rule in JSON, as Azure exports it: its properties, the whole resource, an ARM template (also one that
    /// Bicep made), what `az monitor data-collection rule show` prints; or a folder, for all of its `.json` files. Which outputs
    /// it feeds, it says itself: see `filter.workspaces`.
    #[schemars(with = "Option<FileToRead>")]
    pub file: Option<PathBuf>,
    /// With `file`, a file with the parameters of the template in it, as `az deployment group create` takes it:
    /// `{"parameters": {"NAME": {"value": …}}}`. In a folder,
    /// `NAME.parameters.json` has those of `NAME.json`. Default: the template's own default values.
    #[schemars(with = "Option<FileToRead>")]
    pub parameters: Option<PathBuf>,
    /// With `file`, the resource group to which the template in it is deployed, by its id:
    /// `"/subscriptions/…/resourceGroups/…"`. Default: not known; a workspace that the template names by that group goes by its
    /// name alone.
    pub resource_group: Option<String>,
    /// One of the sets of the Security events connector, in the queries that Sentinel makes for it.
    pub event_set: Option<EventSet>,
    /// Queries as data collection rules have them: `"Security!*[System[EventID=4688]]"`. What any of them selects is taken.
    pub queries: Vec<String>,
    /// A file with a structured query: `<QueryList>` with Select and Suppress, alone, in a subscription of a collector
    /// (`<Subscription>`), or in a view that Event Viewer exported (`<ViewerConfig>`).
    #[schemars(with = "Option<FileToRead>")]
    pub query_list: Option<PathBuf>,
    /// Names of the outputs that get what it takes. Needed, except with `file`.
    pub outputs: Vec<String>,
    /// Host names, as events tell them in `Computer`; `*` stands for any part: `"web*.dmz.example.com"`. A name without a dot
    /// also stands for all full names that begin with it.
    pub hosts: Vec<String>,
    /// Networks from which the events come, such as `"10.1.0.0/16"`. Behind a load balancer that does not tell the client's
    /// address, this is the load balancer's.
    pub networks: Vec<Network>,
    /// Names in the client's certificate; `*` stands for any part: `"*.dmz.example.com"`.
    pub identities: Vec<String>,
    /// Agent groups: `group` of the listener's tokens and client certificates.
    pub groups: Vec<String>,
    /// Only for the rest: hosts to which no rule without this applies.
    pub default: bool,
}

impl Config {
    /// What is wrong beyond the types of the values: (key, what would be right). Files are not looked at.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        for (n, rule) in self.rules.iter().enumerate() {
            let keyed = rule.problems().into_iter();
            problems.extend(
                keyed.map(|(key, message)| {
                    (format!("rules[{n}]{}{key}", if key.is_empty() { "" } else { "." }), message)
                }),
            );
        }
        for (n, entry) in self.workspaces.iter().enumerate() {
            if entry.workspace.trim().is_empty() {
                problems.push((format!("workspaces[{n}].workspace"), "must name a workspace".to_owned()));
            }
            let same = |other: &Workspace| other.is_for(&entry.workspace) && other.stream == entry.stream;
            if let Some(first) = self.workspaces[..n].iter().position(same) {
                let message = format!("is listed in workspaces[{first}] already; only one output can stand for it");
                problems.push((format!("workspaces[{n}].workspace"), message));
            }
        }
        problems
    }
}

impl Workspace {
    /// Whether it is the entry of what is called so.
    pub(super) fn is_for(&self, called: &str) -> bool {
        self.workspace.trim_end_matches('/').eq_ignore_ascii_case(called.trim_end_matches('/'))
    }
}

impl RuleConfig {
    fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut wrong = |key: &str, message: &str| problems.push((key.to_owned(), message.to_owned()));
        let given =
            [self.file.is_some(), self.event_set.is_some(), !self.queries.is_empty(), self.query_list.is_some()];
        match given.iter().filter(|given| **given).count() {
            1 => {}
            0 => wrong("", "must say what it takes: one of file, event_set, queries and query_list"),
            _ => wrong("", "must have only one of file, event_set, queries and query_list; write several rules"),
        }
        let given = [("parameters", self.parameters.is_some()), ("resource_group", self.resource_group.is_some())];
        if self.file.is_none() {
            for (key, _) in given.iter().filter(|(_, given)| *given) {
                wrong(key, "goes with file, which names the template that it is for");
            }
        }
        if let Some(Err(message)) = self.resource_group.as_deref().map(|id| Given::default().set_group(id)) {
            wrong("resource_group", &message);
        }
        if self.file.is_some() {
            if self.name.is_some() {
                wrong("name", "does not go with file: data collection rules have names of their own");
            }
            if !self.outputs.is_empty() {
                wrong("outputs", "does not go with file: the rule names its workspaces; see filter.workspaces");
            }
        } else {
            if self.name.as_deref().is_none_or(|name| name.trim().is_empty()) {
                wrong("name", "is needed, for metrics and the status page");
            }
            if self.outputs.is_empty() {
                wrong("outputs", "must name at least one output");
            }
        }
        let asks = !self.hosts.is_empty()
            || !self.networks.is_empty()
            || !self.identities.is_empty()
            || !self.groups.is_empty();
        if self.default && asks {
            wrong("default", "is for the rest of the hosts; leave hosts, networks, identities and groups out");
        }
        for (list, name) in [(&self.hosts, "hosts"), (&self.identities, "identities"), (&self.groups, "groups")] {
            for (n, _) in list.iter().enumerate().filter(|(_, text)| text.trim().is_empty()) {
                wrong(&format!("{name}[{n}]"), "must not be empty; \"*\" stands for any");
            }
        }
        for (n, query) in self.queries.iter().enumerate() {
            if let Err(error) = xpath::channel_query(query) {
                wrong(&format!("queries[{n}]"), &xpath::near(query, &error));
            }
        }
        problems
    }
}
