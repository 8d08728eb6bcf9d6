//! What a listener is told about the agents' protocol: workspaces with their keys, how often agents come, and which data type
//! goes where.

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::catalogue::is_data_type;
use crate::inputs::data_collector::{self, config::problems_of_workspace};
use crate::inputs::logs_ingestion::is_name;
use crate::values::{Secret, Span};

/// The longest time that `x-ms-Date` may be off.
const DATE_WINDOW_MAX: Span = Span::secs(24 * 60 * 60);
/// Agents take no other time between two refreshes.
const REFRESH: [Span; 2] = [Span::secs(60), Span::secs(7 * 24 * 60 * 60)];
/// Nor between two reports about themselves.
const TELEMETRY: [Span; 2] = [Span::secs(60), Span::secs(60 * 60)];
/// That an agent was seen is noted on the disk once a day.
const FORGET_MIN: Span = Span::secs(2 * 24 * 60 * 60);

/// The protocol of the OMS and Microsoft Monitoring agents on a listener: registration, client certificates, and uploads in JSON and
/// XML. Such a listener asks for client certificates and takes any: who an agent is its registration says.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether this listener speaks it. It needs TLS, and neither `tls.client_ca` nor `wef` beside it. Default false.
    pub enabled: bool,
    /// How much the time of a registration (`x-ms-Date`) may be off. Default 15 min, as in Azure.
    pub date_window: Span,
    /// The workspaces whose agents may register. Default: those of `data_collector` on the same listener.
    pub workspaces: Vec<Workspace>,
    /// How often agents are told to refresh their registration, from 1 min to 7 d. Default 20 min.
    pub refresh_every: Span,
    /// How often agents are told to report about themselves, from 1 min to 1 h. Default 10 min.
    pub telemetry_every: Span,
    /// After so long without a word an agent counts as silent. Default 1 h.
    pub silent_after: Span,
    /// Agents are told to renew a certificate that ends within this time, or within a third of its life if that is less. Default
    /// 30 d.
    pub renew_before: Span,
    /// After so long without a word an agent is forgotten and has to register again; counted while the gateway runs, so that no
    /// clock can end it. Default: never.
    pub forget_after: Option<Span>,
    /// Streams for data types, where the built-in ones do not fit.
    pub data_types: Vec<DataType>,
    /// The stream for data types that are not known. Default: none, and uploads of such a type are refused.
    pub unknown_stream: Option<String>,
}

/// A workspace as its agents know it.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Workspace {
    /// The workspace id that agents register for: a GUID. It need not be one that exists in Azure.
    pub id: String,
    /// Its keys in base64, as the portal shows them: the primary, the secondary, or both.
    pub keys: Vec<Secret>,
    /// A name for logs and the status page. Default: `workspace:` and the id.
    #[serde(default)]
    pub name: Option<String>,
    /// Clients of one group share duplicate detection: name one that other inputs of the same hosts have, too. Default: each agent
    /// is on its own.
    #[serde(default)]
    pub group: Option<String>,
    /// Computers that may register, with `*` for any part. Default: any.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Azure resource ids that its agents may name, with `*` for any part; see `identity.policy`.
    #[serde(default)]
    pub resource_ids: Vec<String>,
}

/// Where a data type goes.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataType {
    /// Its name, such as `LINUX_SYSLOGS_BLOB`, in any letter case.
    pub name: String,
    /// The stream for its items.
    pub stream: String,
}

impl Default for Config {
    fn default() -> Self {
        const DAY: u64 = 24 * 60 * 60;
        Self {
            enabled: false,
            date_window: Span::secs(15 * 60),
            workspaces: Vec::new(),
            refresh_every: Span::secs(20 * 60),
            telemetry_every: Span::secs(10 * 60),
            silent_after: Span::secs(60 * 60),
            renew_before: Span::secs(30 * DAY),
            forget_after: None,
            data_types: Vec::new(),
            unknown_stream: None,
        }
    }
}

impl From<&data_collector::Workspace> for Workspace {
    fn from(other: &data_collector::Workspace) -> Self {
        let data_collector::Workspace { id, keys, name, group, hosts, resource_ids, .. } = other.clone();
        Self { id, keys, name, group, hosts, resource_ids }
    }
}

impl Config {
    /// The workspaces whose agents may register: its own, or those of the Data Collector API beside it.
    pub(super) fn workspaces_with(&self, beside: &data_collector::Config) -> Vec<Workspace> {
        if !self.workspaces.is_empty() || !beside.enabled {
            return self.workspaces.clone();
        }
        beside.workspaces.iter().filter(|workspace| !workspace.closed).map(Workspace::from).collect()
    }

    /// Whether nobody could register, with this beside it.
    pub fn has_no_workspace(&self, beside: &data_collector::Config) -> bool {
        self.enabled && self.workspaces_with(beside).is_empty()
    }

    pub(super) fn find_problems(&self) -> Vec<String> {
        let mut found = self.problems_of_times();
        let mut seen = HashSet::new();
        for workspace in &self.workspaces {
            let id = &workspace.id;
            if !seen.insert(id.to_ascii_lowercase()) {
                found.push(format!("ods.workspaces: the id {id:?} is there twice; write one entry for it"));
            }
            let problems = workspace.problems().into_iter();
            found.extend(problems.map(|text| format!("ods.workspaces: {text} (workspace {id:?})")));
        }
        let mut seen = HashSet::new();
        for DataType { name, stream } in &self.data_types {
            if !is_data_type(name) {
                found.push(format!("ods.data_types: {name:?} is none; write letters, digits and \"_\""));
            } else if !seen.insert(name.to_ascii_lowercase()) {
                found.push(format!("ods.data_types: {name:?} is there twice; write one entry for it"));
            }
            if !is_name(stream) {
                found.push(format!(
                    "ods.data_types: the stream {stream:?} is no name; write one such as \"Microsoft-Syslog\""
                ));
            }
        }
        if let Some(stream) = self.unknown_stream.as_ref().filter(|stream| !is_name(stream)) {
            found.push(format!("ods.unknown_stream: {stream:?} is no name; write one such as \"Custom-Unknown_CL\""));
        }
        found
    }

    fn problems_of_times(&self) -> Vec<String> {
        let zero = Span::secs(1);
        let within = [
            ("date_window", self.date_window, [zero, DATE_WINDOW_MAX]),
            ("refresh_every", self.refresh_every, REFRESH),
            ("telemetry_every", self.telemetry_every, TELEMETRY),
            ("silent_after", self.silent_after, [self.refresh_every, Span::secs(u64::from(u32::MAX))]),
            ("forget_after", self.forget_after.unwrap_or(FORGET_MIN), [FORGET_MIN, Span::secs(u64::from(u32::MAX))]),
        ];
        let wrong =
            within.into_iter().filter(|(_, span, [least, most])| span.get() < least.get() || span.get() > most.get());
        wrong.map(|(key, span, [least, most])| format!("ods.{key} is {span}; write {least} to {most}")).collect()
    }
}

impl Workspace {
    /// The name of it in logs.
    pub(super) fn shown_name(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("workspace:{}", self.id))
    }

    fn problems(&self) -> Vec<String> {
        problems_of_workspace(&self.id, &self.keys, self.name.as_deref(), &self.hosts, &self.resource_ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODw==";
    const ID: &str = "01234567-89AB-cdef-0123-456789abcdef";

    #[test]
    fn each_problem_names_its_key_and_what_would_be_right_and_never_a_secret() {
        let workspace = |rest: &str| format!("workspaces = [{{ id = \"{ID}\", keys = [\"{KEY}\"] {rest} }}]");
        let sound = workspace(", hosts = [\"*.plant.example\"]");
        for text in ["", &sound, "unknown_stream = \"Custom-X_CL\"\nforget_after = \"90 d\""] {
            assert_eq!(toml::from_str::<Config>(text).expect("it reads").find_problems(), Vec::<String>::new());
        }
        for (text, told) in [
            ("date_window = \"2 d\"", "date_window"),
            ("refresh_every = \"10 s\"", "refresh_every"),
            ("telemetry_every = \"2 h\"", "telemetry_every"),
            ("silent_after = \"1 min\"", "silent_after"),
            ("forget_after = \"1 min\"", "forget_after"),
            (&*format!("workspaces = [{{ id = \"plant\", keys = [\"{KEY}\"] }}]"), "a GUID"),
            (&format!("workspaces = [{{ id = \"{ID}\", keys = [] }}]"), "one or two"),
            (&format!("workspaces = [{{ id = \"{ID}\", keys = [\"s3cret!\"] }}]"), "base64"),
            (&workspace(", name = \"\""), "name is empty"),
            (&workspace(", hosts = [\"\"]"), "empty text"),
            ("data_types = [{ name = \"a-b\", stream = \"x\" }]", "letters, digits"),
            ("data_types = [{ name = \"A\", stream = \"x\" }, { name = \"a\", stream = \"x\" }]", "there twice"),
            ("data_types = [{ name = \"a\", stream = \"x/y\" }]", "no name"),
            ("unknown_stream = \"x/y\"", "unknown_stream"),
        ] {
            let found = toml::from_str::<Config>(text).expect("it reads").find_problems();
            assert!(found.len() == 1 && found[0].contains(told) && !found[0].contains("s3cret"), "{text}: {found:?}");
        }
    }

    #[test]
    fn workspaces_of_the_data_collector_beside_it_are_taken_where_it_names_none() {
        let beside = format!("enabled = true\nworkspaces = [{{ id = \"{ID}\", keys = [\"{KEY}\"] }}]");
        let beside: data_collector::Config = toml::from_str(&beside).expect("it reads");
        let config = Config { enabled: true, ..Config::default() };
        assert_eq!(config.workspaces_with(&beside)[0].id, ID);
        assert!(!config.has_no_workspace(&beside));
        assert!(config.has_no_workspace(&data_collector::Config::default()));
    }
}
