//! What a listener is told about the Data Collector API: its workspaces with their keys, and which record type goes where.

use std::collections::HashSet;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::column::{self, COLUMN_MAX};
use super::signature::is_workspace_id;
use crate::inputs::logs_ingestion::is_name;
use crate::values::{Secret, Span};

/// The longest name of a record type.
const LOG_TYPE_MAX: usize = 100;
/// The shortest key that is believed to be one; Azure's have 64 bytes.
const KEY_BYTES_MIN: usize = 16;
/// The longest time that `x-ms-date` may be off.
const DATE_WINDOW_MAX: Span = Span::secs(24 * 60 * 60);

/// The HTTP Data Collector API on a listener: `POST /api/logs`, signed with a key of a workspace. Clients keep what they were
/// set up with; only their host name leads here.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether this listener speaks it. Default false.
    pub enabled: bool,
    /// How much the time of a request (`x-ms-date`) may be off. Default 15 min, as in Azure.
    pub date_window: Span,
    /// The workspaces whose clients are let in.
    pub workspaces: Vec<Workspace>,
}

impl Default for Config {
    fn default() -> Self {
        Self { enabled: false, date_window: Span::secs(15 * 60), workspaces: Vec::new() }
    }
}

/// A workspace as its clients know it. They all show the same keys, so they are one client here.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Workspace {
    /// The workspace id (customer id) that clients sign with: a GUID. It need not be one that exists in Azure.
    pub id: String,
    /// Its keys in base64, as the portal shows them: the primary, the secondary, or both.
    pub keys: Vec<Secret>,
    /// A name for logs and the status page. Default: `workspace:` and the id.
    #[serde(default)]
    pub name: Option<String>,
    /// Clients of one group share duplicate detection. Default: each workspace is on its own.
    #[serde(default)]
    pub group: Option<String>,
    /// Computers that its clients may speak for, with `*` for any part; see `identity.policy`.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Azure resource ids that its clients may name, with `*` for any part; see `identity.policy`.
    #[serde(default)]
    pub resource_ids: Vec<String>,
    /// What is special about record types. Others go to the stream `Custom-{Log-Type}_CL`.
    #[serde(default)]
    pub log_types: Vec<LogType>,
    /// Whether only record types of `log_types` are taken. Default false.
    #[serde(default)]
    pub only_listed: bool,
    /// Whether the workspace is closed: its clients are told so (`InactiveCustomer`), and nothing is taken. Default false.
    #[serde(default)]
    pub closed: bool,
}

/// A record type, as clients name it in the header `Log-Type`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogType {
    /// Its name, in any letter case.
    pub name: String,
    /// The stream for its records. Default `Custom-{name}_CL`.
    #[serde(default)]
    pub stream: Option<String>,
    /// Whether properties get the suffixes of Azure's custom tables (`_s`, `_d`, `_b`, `_t`, `_g`). Default true. With false
    /// records go on as they came.
    #[serde(default = "yes")]
    pub suffixes: bool,
    /// Columns that the table has, such as `"number_d"`: a value that can be converted goes there, as in Azure. Default: none,
    /// the value alone decides about its column.
    #[serde(default)]
    pub columns: Vec<String>,
    /// How the repetition of an upload is known.
    #[serde(default)]
    pub repeats: Repeats,
}

fn yes() -> bool {
    true
}

/// How the repetition of an upload is known, so that its records are not forwarded twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Repeats {
    /// By its body, where each record tells its own time; else by its body, its `x-ms-date` and its sender's address, so that
    /// equal records that are sent again on purpose all arrive.
    #[default]
    Request,
    /// By its body alone: for clients that never send an equal body on purpose within `dedup.window`.
    Body,
    /// Not at all: each upload is new.
    Never,
}

impl Config {
    pub(super) fn find_problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.enabled && self.workspaces.is_empty() {
            found.push(
                "data_collector.workspaces is empty, so nobody could upload; add a workspace, or remove data_collector.enabled"
                    .to_owned(),
            );
        }
        if self.date_window.get() > DATE_WINDOW_MAX.get() {
            found.push(format!(
                "data_collector.date_window is {}; write at most {DATE_WINDOW_MAX}, such as \"15 min\"",
                self.date_window
            ));
        }
        let mut seen = HashSet::new();
        for workspace in &self.workspaces {
            let id = &workspace.id;
            if !seen.insert(id.to_ascii_lowercase()) {
                found.push(format!("data_collector.workspaces: the id {id:?} is there twice; write one entry for it"));
            }
            let problems = workspace.problems().into_iter();
            found.extend(problems.map(|text| format!("data_collector.workspaces: {text} (workspace {id:?})")));
        }
        found
    }
}

/// What is wrong with a workspace as old clients know it, whatever they speak.
pub(in crate::inputs) fn problems_of_workspace(
    id: &str,
    keys: &[Secret],
    name: Option<&str>,
    hosts: &[String],
    resource_ids: &[String],
) -> Vec<String> {
    let mut found = Vec::new();
    let mut check = |wrong: bool, message: &str| {
        if wrong {
            found.push(message.to_owned());
        }
    };
    check(
        !is_workspace_id(id),
        "id is not a workspace id; write a GUID, such as \"01234567-89ab-cdef-0123-456789abcdef\"",
    );
    check(!(1..=2).contains(&keys.len()), "keys are not one or two; write the primary key, the secondary, or both");
    check(
        keys.iter().any(|key| key_bytes(key).is_none()),
        "a key is not the base64 of 16 bytes or more; write it as the portal shows it, or \"${file:…}\"",
    );
    let nameless = name.is_some_and(|name| name.is_empty() || name.len() > 128);
    check(nameless, "name is empty or longer than 128 bytes; write a short one, or none");
    let mut lists = hosts.iter().chain(resource_ids);
    check(lists.any(String::is_empty), "hosts and resource_ids must not hold an empty text; remove it");
    found
}

impl Workspace {
    /// The name of its clients in logs.
    pub(super) fn client_name(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("workspace:{}", self.id))
    }

    fn problems(&self) -> Vec<String> {
        let mut found =
            problems_of_workspace(&self.id, &self.keys, self.name.as_deref(), &self.hosts, &self.resource_ids);
        let mut check = |wrong: bool, message: &str| {
            if wrong {
                found.push(message.to_owned());
            }
        };
        check(
            self.only_listed && self.log_types.is_empty(),
            "only_listed is true and log_types is empty, so nothing would be taken; add record types",
        );
        let mut seen = HashSet::new();
        for log_type in &self.log_types {
            if !seen.insert(log_type.name.to_ascii_lowercase()) {
                found.push(format!("log_types: {:?} is there twice; write one entry for it", log_type.name));
            }
            found.extend(log_type.problems());
        }
        found
    }
}

impl LogType {
    /// One that nothing special is said of.
    pub(super) fn unlisted(name: &str) -> Self {
        let name = name.to_owned();
        Self { name, stream: None, suffixes: true, columns: Vec::new(), repeats: Repeats::default() }
    }

    /// The stream for its records.
    pub(super) fn stream(&self) -> String {
        self.stream.clone().unwrap_or_else(|| format!("Custom-{}_CL", self.name))
    }

    fn problems(&self) -> Vec<String> {
        let name = &self.name;
        let mut found = Vec::new();
        if !is_log_type(name) {
            found
                .push(format!("log_types: {name:?} is none; write 1 to 100 letters, digits or \"_\", without \"_CL\""));
        }
        if let Some(stream) = self.stream.as_ref().filter(|stream| !is_name(stream)) {
            found.push(format!("log_types: the stream {stream:?} is no name; write one such as \"Custom-{name}_CL\""));
        }
        if !self.suffixes && !self.columns.is_empty() {
            found.push(format!("log_types: {name:?} has columns and suffixes = false; remove one of the two"));
        }
        let no_columns = self.columns.iter().filter(|column| !column::is_column(column));
        found.extend(no_columns.map(|column| {
            format!("log_types: {column:?} is no column; write letters, digits and \"_\", at most {COLUMN_MAX}")
        }));
        found
    }
}

/// Whether a text can be the name of a record type.
pub(super) fn is_log_type(name: &str) -> bool {
    (1..=LOG_TYPE_MAX).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The bytes of a key.
pub(in crate::inputs) fn key_bytes(key: &Secret) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(key.reveal().trim()).ok().filter(|bytes| bytes.len() >= KEY_BYTES_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODw==";
    const ID: &str = "01234567-89AB-cdef-0123-456789abcdef";

    #[test]
    fn each_problem_names_its_key_and_what_would_be_right_and_never_a_secret() {
        let workspace = |rest: &str| format!("workspaces = [{{ id = \"{ID}\", keys = [\"{KEY}\"] {rest} }}]");
        let sound = workspace(", log_types = [{ name = \"My_Type1\", stream = \"Custom-X\", columns = [\"n_d\"] }]");
        for text in ["", &sound] {
            assert_eq!(toml::from_str::<Config>(text).expect("it reads").find_problems(), Vec::<String>::new());
        }
        for (text, told) in [
            ("enabled = true", "workspaces is empty"),
            ("date_window = \"2 d\"", "at most 1 d"),
            (&*format!("workspaces = [{{ id = \"plant\", keys = [\"{KEY}\"] }}]"), "a GUID"),
            (&format!("workspaces = [{{ id = \"{ID}\", keys = [] }}]"), "one or two"),
            (&format!("workspaces = [{{ id = \"{ID}\", keys = [\"s3cret!\"] }}]"), "base64"),
            (&format!("workspaces = [{{ id = \"{ID}\", keys = [\"AAEC\"] }}]"), "16 bytes"),
            (&workspace(", name = \"\""), "name is empty"),
            (&workspace(", hosts = [\"\"]"), "empty text"),
            (&workspace(", only_listed = true"), "log_types is empty"),
            (&workspace(", log_types = [{ name = \"a-b\" }]"), "letters, digits"),
            (&workspace(", log_types = [{ name = \"a\" }, { name = \"A\" }]"), "there twice"),
            (&workspace(", log_types = [{ name = \"a\", stream = \"x/y\" }]"), "Custom-a_CL"),
            (&workspace(", log_types = [{ name = \"a\", columns = [\"a b\"] }]"), "no column"),
            (&workspace(", log_types = [{ name = \"a\", columns = [\"b_s\"], suffixes = false }]"), "one of the two"),
        ] {
            let found = toml::from_str::<Config>(text).expect("it reads").find_problems();
            assert!(found.len() == 1 && found[0].contains(told) && !found[0].contains("s3cret"), "{text}: {found:?}");
        }
        let twice = format!(
            "workspaces = [{{ id = \"{ID}\", keys = [\"{KEY}\"] }}, {{ id = \"{}\", keys = [\"{KEY}\"] }}]",
            ID.to_uppercase()
        );
        let found = toml::from_str::<Config>(&twice).expect("it reads").find_problems();
        assert!(found.len() == 1 && found[0].contains("there twice"), "{found:?}");
    }
}
