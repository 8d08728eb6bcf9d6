//! The hosts that were seen, for people: who delivers, how far it has come, what it lost, and what is refused to whom.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::kerberos::TurnedAwayHost;
use crate::clock::wall_s;

/// Most hosts that are remembered; the one that was not heard of for the longest time is forgotten first.
const HOSTS_MAX: usize = 16_384;
/// Most hosts that are shown: those with trouble first, then those heard of last.
const SHOWN_MAX: usize = 500;
/// Most subscriptions of one host that are remembered.
const SUBSCRIPTIONS_MAX: usize = 32;
/// Most characters of a name or a reason.
const TEXT_MAX: usize = 256;

/// Who it is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Who {
    /// The name in its certificate.
    pub(super) client: String,
    /// What it calls itself.
    pub(super) machine: String,
}

/// What became of a message.
#[derive(Debug, Clone, Copy)]
pub(super) enum Heard<'a> {
    /// It asked for its subscriptions.
    Enumerated,
    /// It is there.
    Heartbeat { subscription: &'a str },
    /// It delivered so many events, and lost so many before.
    Delivered { subscription: &'a str, events: u64, missing: u64 },
    /// It gave up a subscription.
    Ended { subscription: &'a str, reason: &'a str },
    /// It was refused.
    Refused { reason: &'a str },
}

/// The hosts that were seen since the start.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    seen: Mutex<HashMap<Who, Host>>,
}

/// A host as it is shown. Times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(super) struct Host {
    /// The name in its certificate.
    client: String,
    /// What it calls itself.
    machine: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    last_heard_s: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_enumerated_s: Option<u64>,
    subscriptions: Vec<Subscribed>,
    refused: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_refusal: Option<String>,
}

/// What a host does with one subscription.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(super) struct Subscribed {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_heartbeat_s: Option<u64>,
    /// When events, and the bookmark behind them, came last.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_events_s: Option<u64>,
    events: u64,
    /// Events that its log lost before they could be sent: those whose record ids were passed over.
    lost_by_host: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_because: Option<String>,
}

/// All of them, as `/status` shows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// How many were heard of since the start.
    seen: usize,
    /// How many of them are left out here.
    left_out: usize,
    /// Those with trouble first.
    hosts: Vec<Host>,
    /// Those whose tickets were refused, the last one first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tickets_refused: Vec<TurnedAwayHost>,
}

impl Hosts {
    /// Notes what was heard.
    pub(super) fn note(&self, who: &Who, address: Option<IpAddr>, heard: Heard<'_>) {
        let now = wall_s();
        let mut seen = self.seen();
        if seen.len() >= HOSTS_MAX && !seen.contains_key(who) {
            forget_oldest(&mut seen);
        }
        let host = seen.entry(who.clone()).or_insert_with(|| Host {
            client: cut(&who.client),
            machine: cut(&who.machine),
            ..Host::default()
        });
        host.address = address.or(host.address);
        host.last_heard_s = now;
        host.note(heard, now);
    }

    /// The hosts, as far as they can be shown.
    pub(super) fn shown(&self, tickets_refused: Vec<TurnedAwayHost>) -> Shown {
        let seen = self.seen();
        let mut hosts: Vec<&Host> = seen.values().collect();
        hosts.sort_by_key(|host| (std::cmp::Reverse(host.is_in_trouble()), std::cmp::Reverse(host.last_heard_s)));
        let shown: Vec<Host> = hosts.into_iter().take(SHOWN_MAX).cloned().collect();
        Shown { seen: seen.len(), left_out: seen.len() - shown.len(), hosts: shown, tickets_refused }
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<Who, Host>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An eighth at once, so that many new hosts do not each cost a search.
fn forget_oldest(seen: &mut HashMap<Who, Host>) {
    let mut by_age: Vec<(u64, Who)> = seen.iter().map(|(who, host)| (host.last_heard_s, who.clone())).collect();
    by_age.sort_by_key(|(heard, _)| *heard);
    for (_, who) in by_age.into_iter().take(HOSTS_MAX / 8) {
        seen.remove(&who);
    }
}

impl Host {
    fn is_in_trouble(&self) -> bool {
        self.refused > 0
            || self
                .subscriptions
                .iter()
                .any(|subscribed| subscribed.lost_by_host > 0 || subscribed.ended_because.is_some())
    }

    fn note(&mut self, heard: Heard<'_>, now: u64) {
        match heard {
            Heard::Enumerated => self.last_enumerated_s = Some(now),
            Heard::Refused { reason } => {
                self.refused += 1;
                self.last_refusal = Some(cut(reason));
            }
            Heard::Heartbeat { subscription } => self.with(subscription, |of| {
                of.last_heartbeat_s = Some(now);
                of.ended_because = None;
            }),
            Heard::Delivered { subscription, events, missing } => self.with(subscription, |of| {
                of.last_events_s = Some(now);
                of.events += events;
                of.lost_by_host = of.lost_by_host.saturating_add(missing);
                of.ended_because = None;
            }),
            Heard::Ended { subscription, reason } => self.with(subscription, |of| of.ended_because = Some(cut(reason))),
        }
    }

    fn with(&mut self, name: &str, change: impl FnOnce(&mut Subscribed)) {
        let at = self.subscriptions.iter().position(|subscribed| subscribed.name == name);
        if at.is_none() && self.subscriptions.len() == SUBSCRIPTIONS_MAX {
            self.subscriptions.remove(0);
        }
        let at = at.unwrap_or_else(|| {
            self.subscriptions.push(Subscribed { name: name.to_owned(), ..Subscribed::default() });
            self.subscriptions.len() - 1
        });
        change(&mut self.subscriptions[at]);
    }
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(machine: usize) -> Who {
        Who { client: "c".to_owned(), machine: format!("m{machine}") }
    }

    #[test]
    fn what_is_remembered_and_shown_has_a_bound_and_trouble_comes_first() {
        let hosts = Hosts::default();
        hosts.note(&who(0), None, Heard::Refused { reason: "no" });
        for n in 1..2000 {
            hosts.note(&who(n), None, Heard::Heartbeat { subscription: "s" });
        }
        let shown = hosts.shown(Vec::new());
        assert_eq!((shown.seen, shown.left_out, shown.hosts.len()), (2000, 1500, SHOWN_MAX));
        assert_eq!(shown.hosts[0].machine, "m0");
        for n in 2000..HOSTS_MAX + 10 {
            hosts.note(&who(n), None, Heard::Enumerated);
        }
        assert!(hosts.shown(Vec::new()).seen <= HOSTS_MAX);
        for n in 0..100 {
            hosts.note(&who(HOSTS_MAX), None, Heard::Heartbeat { subscription: &format!("s{n}") });
        }
        assert!(hosts.shown(Vec::new()).hosts.iter().all(|host| host.subscriptions.len() <= SUBSCRIPTIONS_MAX));
    }

    #[test]
    fn a_host_that_gave_up_is_in_trouble_until_it_delivers_again() {
        let hosts = Hosts::default();
        hosts.note(&who(1), None, Heard::Ended { subscription: "s", reason: "15001" });
        assert!(hosts.shown(Vec::new()).hosts[0].is_in_trouble());
        hosts.note(&who(1), None, Heard::Delivered { subscription: "s", events: 3, missing: 0 });
        assert!(!hosts.shown(Vec::new()).hosts[0].is_in_trouble());
        hosts.note(&who(1), None, Heard::Delivered { subscription: "s", events: 3, missing: 4 });
        assert_eq!(hosts.shown(Vec::new()).hosts[0].subscriptions[0].lost_by_host, 4);
    }
}
