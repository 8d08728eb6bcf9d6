//! The rows as people see them: the silent first, then the busiest.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::config::Config;
use super::table::Row;

/// A computer, or a client of which something cannot be put down to a computer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// As it calls itself; none for what a client sent that names no computer or was refused.
    pub computer: Option<Arc<str>>,
    /// Its group in the configuration; `other` where it is in none.
    pub group: String,
    /// Whether it has been quiet for longer than its group allows.
    pub silent: bool,
    /// Seconds since it was last heard of, by the gateway's clock.
    pub quiet_seconds: u64,
    /// When it was last heard of, in milliseconds since 1970.
    pub last_seen_ms: u64,
    /// When it was first heard of, in milliseconds since 1970.
    pub first_seen_ms: u64,
    /// Events since then.
    pub events: u64,
    /// Events a second, over about five minutes.
    pub events_per_second: f64,
    /// Seconds from the own time of the latest event of its last upload to the receipt; negative where its clock is ahead.
    pub lag_seconds: Option<f64>,
    /// Record ids that never came; only in groups that are `complete`.
    pub missing_records: Option<u64>,
    /// Records that could not be understood.
    pub set_aside: u64,
    /// Uploads that were refused for what they held.
    pub refused_uploads: u64,
    /// The input that it last came by.
    pub input: Arc<str>,
    /// The client that it last came from.
    pub client: Arc<str>,
    /// The address of that.
    pub address: Option<IpAddr>,
    /// What that client calls itself (`User-Agent`).
    pub agent: Option<Arc<str>>,
}

/// Which ones, and how many.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// Only those that are silent.
    pub silent: bool,
    /// Only those whose computer, client, address or agent has this text in it, in whatever letter case.
    pub search: Option<String>,
    /// Most of them; capped at [`PAGE_MAX`].
    pub limit: Option<usize>,
}

/// Most rows of one answer.
pub const PAGE_MAX: usize = 10_000;

impl Filter {
    fn takes(&self, host: &Host) -> bool {
        let has = |text: &str, part: &str| text.to_ascii_lowercase().contains(part);
        let found = self.search.as_ref().is_none_or(|part| {
            let part = part.to_ascii_lowercase();
            let address = host.address.map(|address| address.to_string());
            let texts = [host.computer.as_deref(), Some(&*host.client), address.as_deref(), host.agent.as_deref()];
            texts.into_iter().flatten().any(|text| has(text, &part))
        });
        found && (host.silent || !self.silent)
    }
}

/// What is needed to judge rows.
pub(super) struct View<'a> {
    pub(super) config: &'a Config,
    pub(super) now_ms: u64,
    /// Before this nobody could be heard of.
    pub(super) since_ms: u64,
    pub(super) shown_ms: &'a dyn Fn(u64) -> u64,
}

impl View<'_> {
    /// Whether a computer is quiet for longer than it should be. The time when the gateway itself was away does not count, and
    /// of clients nothing is expected.
    pub(super) fn is_silent(&self, row: &Row) -> bool {
        let quiet_ms = self.now_ms.saturating_sub(row.last_ms.max(self.since_ms));
        row.computer.is_some() && quiet_ms > self.config.silent_after_ms(row.group)
    }

    fn host(&self, row: &Row) -> Host {
        Host {
            computer: row.computer.clone(),
            group: self.config.name_of(row.group).to_owned(),
            silent: self.is_silent(row),
            quiet_seconds: self.now_ms.saturating_sub(row.last_ms) / 1000,
            last_seen_ms: (self.shown_ms)(row.last_ms),
            first_seen_ms: (self.shown_ms)(row.first_ms),
            events: row.events,
            events_per_second: (row.rate(self.now_ms) * 1000.0).round() / 1000.0,
            lag_seconds: row.lag_ms.map(|lag| lag as f64 / 1000.0),
            missing_records: self.config.is_complete(row.group).then_some(row.missing),
            set_aside: row.set_aside,
            refused_uploads: row.refused,
            input: Arc::clone(&row.input),
            client: Arc::clone(&row.client),
            address: row.address,
            agent: row.agent.clone(),
        }
    }

    /// Those that the filter takes: the silent first, the longest first among them; then the busiest.
    pub(super) fn list<'r>(&self, rows: impl Iterator<Item = &'r Row>, filter: &Filter) -> Vec<Host> {
        let mut hosts: Vec<Host> = rows.map(|row| self.host(row)).filter(|host| filter.takes(host)).collect();
        hosts.sort_by(|one, other| {
            let quiet = |host: &Host| Reverse((host.silent, if host.silent { host.quiet_seconds } else { 0 }));
            let busy = other.events_per_second.total_cmp(&one.events_per_second);
            quiet(one).cmp(&quiet(other)).then(busy).then_with(|| one.computer.cmp(&other.computer))
        });
        hosts.truncate(filter.limit.unwrap_or(PAGE_MAX).min(PAGE_MAX));
        hosts
    }
}
