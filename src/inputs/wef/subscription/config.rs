//! What the configuration says about subscriptions.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::{FileToRead, Span};

/// A subscription of its own, beside those that come from rules.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Its name, which hosts write into their log of forwarding. What a host has sent for it is remembered under this name.
    pub name: String,
    /// A file with its query: a `<QueryList>`, or a subscription in XML, as Microsoft, NSA and others publish them, of which
    /// the query is taken.
    #[schemars(with = "FileToRead")]
    pub query_list: PathBuf,
    /// Hosts that get it, as they call themselves (`MachineID`) or by a name in their certificate; `*` stands for any part.
    /// Empty, with `groups` empty too, means every host.
    pub hosts: Vec<String>,
    /// Hosts that do not get it, whatever `hosts` and `groups` say.
    pub except: Vec<String>,
    /// Agent groups that get it: `group` of the listener's client certificates.
    pub groups: Vec<String>,
    /// Instead of the listener's `wef.content`.
    pub content: Option<Content>,
    /// Instead of the listener's `wef.delivery`.
    pub delivery: Option<Delivery>,
    /// Instead of the listener's `wef.read_existing_events`.
    pub read_existing_events: Option<bool>,
    /// Instead of the time of the preset, after which a host that has nothing to send says that it is there.
    pub heartbeat: Option<Span>,
    /// Instead of the time of the preset, for which a host may wait for more events before it sends.
    pub max_time: Option<Span>,
    /// Most events in one delivery. Default: as many as fit into 512,000 bytes.
    pub max_elements: Option<u32>,
}

/// What hosts write of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// The event.
    #[default]
    Raw,
    /// The event and its texts in the language of the host, which makes it two to three times as large.
    Rendered,
}

/// How hosts pace what they send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// Within 30 s; a heartbeat each hour.
    #[default]
    LowLatency,
    /// Within 15 minutes; a heartbeat as often.
    Normal,
    /// Within 6 hours; a heartbeat as often.
    LowBandwidth,
}

impl Delivery {
    /// The time that a host may wait for more, and that between its heartbeats, in seconds. Windows' own three presets.
    pub(super) fn times(self) -> (u64, u64) {
        match self {
            Self::LowLatency => (30, 3600),
            Self::Normal => (900, 900),
            Self::LowBandwidth => (21_600, 21_600),
        }
    }
}

impl Config {
    /// What is wrong beyond the types of the values, with the key within this table.
    pub(in crate::inputs::wef) fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if !(1..=128).contains(&self.name.trim().len()) {
            problems.push(("name", "write 1 to 128 characters".to_owned()));
        }
        if self.query_list.as_os_str().is_empty() {
            problems.push(("query_list", "name the file with its <QueryList>".to_owned()));
        }
        if self.max_elements == Some(0) {
            problems.push(("max_elements", "write 1 or more, or leave it out".to_owned()));
        }
        for (key, list) in [("hosts", &self.hosts), ("except", &self.except), ("groups", &self.groups)] {
            if list.iter().any(|name| name.trim().is_empty()) {
                problems.push((key, "must not hold an empty name; \"*\" stands for any".to_owned()));
            }
        }
        problems
    }
}
