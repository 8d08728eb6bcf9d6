//! What hosts are asked for: subscriptions of the configuration, and those that come from the rules.

mod config;
mod derive;
mod file;
mod query_list;

pub use config::{Config, Content, Delivery};

pub(super) use derive::{PARTS_MAX, derived, id as derived_id};

use std::fmt;

use serde::Serialize;

use super::ids;
use crate::event::Client;
use crate::event::names::{fits, host_fits};
use crate::values::Span;

/// How long a host waits before it tries again.
const RETRY_S: u64 = 60;

/// A subscription, ready to be told to hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Subscription {
    /// Stays the same for as long as its name does: what hosts have sent is remembered under it.
    pub id: String,
    /// For people, also in hosts' logs.
    pub name: String,
    /// The query, as one `QueryList` element.
    pub query_list: String,
    /// The channels of which every event is asked for, in lower case: there, record ids follow each other.
    pub whole: Vec<String>,
    /// What is written of an event.
    pub content: Content,
    /// Whether hosts compress.
    pub compress: bool,
    /// Whether a host that is new begins with the oldest event that it has.
    pub read_existing_events: bool,
    /// How hosts pace themselves.
    pub pace: Pace,
}

/// How hosts pace what they send, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Pace {
    /// Between signs of life.
    pub heartbeat_s: u64,
    /// For which they may wait for more events.
    pub max_time_s: u64,
    /// Before they try again.
    pub retry_s: u64,
    /// Most events in one delivery.
    pub max_elements: Option<u32>,
}

/// How a listener's subscriptions are where they say nothing themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Manner {
    pub(super) content: Content,
    pub(super) delivery: Delivery,
    pub(super) compress: bool,
    pub(super) read_existing_events: bool,
}

/// A subscription of the configuration, and who gets it.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) subscription: Subscription,
    hosts: Vec<String>,
    except: Vec<String>,
    groups: Vec<String>,
}

impl Subscription {
    /// Changes when and only when something that a host sees of it does: then hosts begin it anew, from their bookmark.
    pub(super) fn version(&self, notify_to: &str, issuer: &str) -> String {
        let Self { id, name, query_list, whole: _, content, compress, read_existing_events, pace } = self;
        let manner = format!("{content:?} {compress} {read_existing_events} {pace:?}");
        ids::of(&["version", id, name, query_list, &manner, notify_to, issuer])
    }
}

impl Manner {
    fn pace(&self) -> Pace {
        let (max_time_s, heartbeat_s) = self.delivery.times();
        Pace { heartbeat_s, max_time_s, retry_s: RETRY_S, max_elements: None }
    }
}

impl Listed {
    /// Reads its query.
    ///
    /// # Errors
    ///
    /// What is wrong with the file, and what would be right.
    pub(super) fn load(config: &Config, listener: &str, manner: Manner) -> Result<Self, String> {
        let queries = file::read(&config.query_list)?;
        let manner = Manner {
            content: config.content.unwrap_or(manner.content),
            delivery: config.delivery.unwrap_or(manner.delivery),
            read_existing_events: config.read_existing_events.unwrap_or(manner.read_existing_events),
            ..manner
        };
        let preset = manner.pace();
        let seconds = |span: Option<Span>, preset: u64| span.map_or(preset, |span| span.get().as_secs().max(1));
        let pace = Pace {
            heartbeat_s: seconds(config.heartbeat, preset.heartbeat_s),
            max_time_s: seconds(config.max_time, preset.max_time_s),
            max_elements: config.max_elements,
            ..preset
        };
        let subscription = Subscription {
            id: ids::of(&["subscription", listener, &config.name]),
            name: config.name.clone(),
            query_list: query_list::written(&queries),
            whole: query_list::whole(&queries),
            content: manner.content,
            compress: manner.compress,
            read_existing_events: manner.read_existing_events,
            pace,
        };
        let Config { hosts, except, groups, .. } = config.clone();
        Ok(Self { subscription, hosts, except, groups })
    }

    /// Whether this host gets it.
    pub(super) fn is_for(&self, client: &Client, machine: &str) -> bool {
        self.verdict(client, machine).gets()
    }

    /// Whether this host gets it, and by which word of the configuration.
    pub(super) fn verdict(&self, client: &Client, machine: &str) -> Verdict<'_> {
        let is_it =
            |pattern: &&String| host_fits(pattern, machine) || client.identities.iter().any(|name| fits(pattern, name));
        if let Some(pattern) = self.except.iter().find(is_it) {
            return Verdict::Excepted(pattern);
        }
        if self.hosts.is_empty() && self.groups.is_empty() {
            return Verdict::Everybody;
        }
        if let Some(pattern) = self.hosts.iter().find(is_it) {
            return Verdict::Named(pattern);
        }
        let of_group = client.group.as_deref().and_then(|group| self.groups.iter().find(|known| *known == group));
        of_group.map_or(Verdict::NotMeant, |group| Verdict::OfGroup(group))
    }
}

/// Whether a host gets a subscription of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict<'a> {
    /// It names nobody.
    Everybody,
    /// This of `hosts` fits.
    Named(&'a str),
    /// This of `groups` is its own.
    OfGroup(&'a str),
    /// This of `except` fits.
    Excepted(&'a str),
    /// Nothing of it fits.
    NotMeant,
}

impl Verdict<'_> {
    pub(super) fn gets(self) -> bool {
        !matches!(self, Self::Excepted(_) | Self::NotMeant)
    }
}

impl fmt::Display for Verdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everybody => f.write_str("it names no hosts and no groups, so everybody gets it"),
            Self::Named(pattern) => write!(f, "{pattern:?} of its hosts fits"),
            Self::OfGroup(group) => write!(f, "the host is of its group {group:?}"),
            Self::Excepted(pattern) => write!(f, "{pattern:?} of its except fits"),
            Self::NotMeant => f.write_str("none of its hosts and groups fits"),
        }
    }
}

#[cfg(test)]
mod tests;
