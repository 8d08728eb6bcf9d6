//! How many senders are remembered, and from when on one is silent.

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::names::host_fits;
use crate::values::Span;

/// What a computer in no group belongs to, in metrics and lists.
pub const UNGROUPED: &str = "other";

/// Who sends events: how many computers are remembered, and from when on one counts as silent.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Most computers and clients that are remembered, from 1 to 1000000; each takes about 1 KiB of memory. Where there are more,
    /// the least recent of the client that has most are forgotten, and counted. Default 10000.
    pub max: usize,
    /// After so long without an event a computer that is in no group is silent. Default `"1 d"`.
    pub silent_after: Span,
    /// After so long without an event a computer is forgotten, since it hardly comes back. Default `"30 d"`.
    pub forget_after: Span,
    /// Computers of which more is expected. The first group that fits counts.
    pub groups: Vec<Group>,
}

/// Computers of which the same is expected.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// A name for metrics and alerts.
    pub name: String,
    /// Their names, with `*` for any part; without a dot a name may be the first part of the computer's.
    pub computers: Vec<String>,
    /// After so long without an event one of them is silent, such as `"15 min"`.
    #[schemars(extend("examples" = ["15 min"]))]
    pub silent_after: Span,
    /// They send every record of each channel that they send, so that a record id that never comes is a loss. Most agents choose
    /// among records by a query, and their record ids have gaps that mean nothing. Default false.
    #[serde(default)]
    pub complete: bool,
}

impl Default for Config {
    fn default() -> Self {
        const HOUR: u64 = 3_600;
        Self {
            max: 10_000,
            silent_after: Span::secs(24 * HOUR),
            forget_after: Span::secs(30 * 24 * HOUR),
            groups: Vec::new(),
        }
    }
}

impl Config {
    /// What is wrong beyond the types of the values: (key, what would be right).
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut wrong = |key: String, message: &str| problems.push((key, message.to_owned()));
        if !(1..=1_000_000).contains(&self.max) {
            wrong("max".to_owned(), "must be a whole number from 1 to 1000000");
        }
        if self.forget_after.get() < self.silent_after.get() {
            wrong(
                "forget_after".to_owned(),
                "is shorter than silent_after, so no computer would ever be silent; make it longer",
            );
        }
        let mut names = HashSet::from([UNGROUPED]);
        for (n, group) in self.groups.iter().enumerate() {
            if group.name.is_empty() || group.name.len() > 64 {
                wrong(format!("groups[{n}].name"), "must have 1 to 64 characters");
            }
            if !names.insert(&group.name) {
                wrong(
                    format!("groups[{n}].name"),
                    "is taken; choose another (\"other\" are the computers in no group)",
                );
            }
            if group.computers.is_empty() || group.computers.iter().any(String::is_empty) {
                wrong(
                    format!("groups[{n}].computers"),
                    "must name at least one computer, such as \"dc*.corp.example\"",
                );
            }
            if self.forget_after.get() < group.silent_after.get() {
                wrong(format!("groups[{n}].silent_after"), "is longer than hosts.forget_after; make it shorter");
            }
        }
        problems
    }

    /// The number of the group that a computer is in.
    pub(super) fn group_of(&self, computer: &str) -> Option<usize> {
        let fits = |group: &Group| group.computers.iter().any(|pattern| host_fits(pattern, computer));
        self.groups.iter().position(fits)
    }

    /// What a group is called.
    pub(super) fn name_of(&self, group: Option<usize>) -> &str {
        group.and_then(|group| self.groups.get(group)).map_or(UNGROUPED, |group| &group.name)
    }

    /// After how many milliseconds a computer of this group is silent.
    pub(super) fn silent_after_ms(&self, group: Option<usize>) -> u64 {
        let group = group.and_then(|group| self.groups.get(group));
        millis(group.map_or(self.silent_after, |group| group.silent_after))
    }

    pub(super) fn forget_after_ms(&self) -> u64 {
        millis(self.forget_after)
    }

    pub(super) fn is_complete(&self, group: Option<usize>) -> bool {
        group.and_then(|group| self.groups.get(group)).is_some_and(|group| group.complete)
    }

    /// Whether record ids are followed at all.
    pub(super) fn follows_ids(&self) -> bool {
        self.groups.iter().any(|group| group.complete)
    }
}

fn millis(span: Span) -> u64 {
    u64::try_from(span.get().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_settings_are_named() {
        let group = |name: &str, rest: &str| format!("[[groups]]\nname = {name:?}\n{rest}\n");
        let sound = "computers = [\"dc*\"]\nsilent_after = \"15 min\"";
        for (text, key) in [
            ("max = 0".to_owned(), "max"),
            ("forget_after = \"1 h\"".to_owned(), "forget_after"),
            (group("", sound), "groups[0].name"),
            (group("other", sound), "groups[0].name"),
            (group("dc", sound) + &group("dc", sound), "groups[1].name"),
            (group("dc", "computers = []\nsilent_after = \"15 min\""), "groups[0].computers"),
            (group("dc", "computers = [\"dc*\"]\nsilent_after = \"60 d\""), "groups[0].silent_after"),
        ] {
            let problems = toml::from_str::<Config>(&text).expect("it can be read").problems();
            assert_eq!(problems.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), [key], "{text}");
        }
        assert!(Config::default().problems().is_empty());
        assert!(toml::from_str::<Config>(&group("dc", sound)).expect("it can be read").problems().is_empty());
    }
}
