//! The hosts that were seen, for people: who delivers, how far it has come, what it lost, and what is refused to whom.

use parking_lot::{Mutex, MutexGuard};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::kerberos::TurnedAwayHost;
use crate::clock::wall_s;

/// Most hosts that are remembered; the one that was not heard of for the longest time is forgotten first.
const HOSTS_MAX: usize = 16_384;
/// Most of them of one client whose older ones do not make room first: hosts choose what they call themselves.
const OF_CLIENT_MAX: usize = HOSTS_MAX / 4;
/// Most hosts of the page of everything: those with trouble first, then those heard of last.
pub(super) const SHOWN_MAX: usize = 500;
/// Most subscriptions of one host that are remembered.
const SUBSCRIPTIONS_MAX: usize = 32;
/// Most characters of a name or a reason.
const TEXT_MAX: usize = 256;
/// The rate is that of about so long.
const RATE_S: f64 = 300.0;

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
    /// It was told of this one, and of the bookmark that came at this time, if there is one.
    Told { subscription: &'a str, bookmark_s: Option<u64> },
    /// It is there.
    Heartbeat { subscription: &'a str },
    /// It delivered so many events, and lost so many before. Whether a bookmark came with them, which is durable now.
    Delivered { subscription: &'a str, events: u64, missing: u64, bookmark: bool },
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
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Host {
    /// The name in its certificate.
    pub client: String,
    /// What it calls itself.
    pub machine: String,
    /// Where it last came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// When anything was last heard of it.
    pub last_heard_s: u64,
    /// When it last asked for its subscriptions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_enumerated_s: Option<u64>,
    /// What it does with each of them.
    pub subscriptions: Vec<Subscribed>,
    /// How often something was refused to it.
    pub refused: u64,
    /// When that was last so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_refused_s: Option<u64>,
    /// And why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_refusal: Option<String>,
}

/// What a host does with one subscription.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Subscribed {
    /// The subscription's name.
    pub name: String,
    /// When it last said that it is there without having anything to send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_heartbeat_s: Option<u64>,
    /// When events came last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_events_s: Option<u64>,
    /// When the bookmark came that it would begin behind: none means that it has none here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bookmark_s: Option<u64>,
    /// Events since the gateway's start.
    pub events: u64,
    /// Events a second, over about five minutes.
    pub events_per_second: f64,
    /// How often its log had lost events before they could be sent.
    pub gaps: u64,
    /// How many events that were: those whose record ids were passed over.
    pub lost_by_host: u64,
    /// Why it gave the subscription up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_because: Option<String>,
    /// When the rate was reckoned.
    #[serde(skip)]
    reckoned_s: u64,
}

/// All of them, as they are shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    /// The gateway's time: ages are reckoned from it.
    pub now_s: u64,
    /// How many were heard of since the start.
    pub seen: usize,
    /// How many of those that were asked for are left out here.
    pub left_out: usize,
    /// Those with trouble first.
    pub hosts: Vec<Host>,
    /// Those whose tickets were refused, the last one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tickets_refused: Vec<TurnedAwayHost>,
}

impl Hosts {
    /// Notes what was heard.
    pub(super) fn note(&self, who: &Who, address: Option<IpAddr>, heard: Heard<'_>) {
        let now = wall_s();
        let who = Who { client: cut(&who.client), machine: cut(&who.machine) };
        let mut seen = self.seen();
        if seen.len() >= HOSTS_MAX && !seen.contains_key(&who) {
            forget_oldest(&mut seen);
        }
        let (client, machine) = (who.client.clone(), who.machine.clone());
        let host = seen.entry(who).or_insert_with(|| Host { client, machine, ..Host::default() });
        host.address = address.or(host.address);
        host.last_heard_s = now;
        host.note(heard, now);
    }

    /// At most so many of the hosts that have this text in a name or their address.
    pub(super) fn shown(&self, search: Option<&str>, most: usize, tickets_refused: Vec<TurnedAwayHost>) -> Shown {
        let (now_s, search) = (wall_s(), search.map(str::to_lowercase));
        let seen = self.seen();
        let is_asked_for = |host: &&Host| search.as_ref().is_none_or(|search| host.has(search));
        let mut hosts: Vec<&Host> = seen.values().filter(is_asked_for).collect();
        hosts.sort_by_key(|host| (Reverse(host.is_in_trouble()), Reverse(host.last_heard_s)));
        let found = hosts.len();
        let hosts: Vec<Host> = hosts.into_iter().take(most).map(|host| host.at(now_s)).collect();
        Shown { now_s, seen: seen.len(), left_out: found - hosts.len(), hosts, tickets_refused }
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<Who, Host>> {
        self.seen.lock()
    }
}

/// An eighth at once, so that many new hosts do not each cost a search; of the client that has too many, if there is one.
fn forget_oldest(seen: &mut HashMap<Who, Host>) {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    seen.keys().for_each(|who| *counts.entry(&who.client).or_default() += 1);
    let most = counts.into_iter().max_by_key(|(_, count)| *count).filter(|(_, count)| *count > OF_CLIENT_MAX);
    let greedy = most.map(|(client, _)| client.to_owned());
    let can_go = |who: &&Who| greedy.as_ref().is_none_or(|greedy| *greedy == who.client);
    let of_age = seen.iter().filter(|(who, _)| can_go(who));
    let mut by_age: Vec<(u64, Who)> = of_age.map(|(who, host)| (host.last_heard_s, who.clone())).collect();
    by_age.sort_by_key(|(heard, _)| *heard);
    for (_, who) in by_age.into_iter().take(HOSTS_MAX / 8) {
        seen.remove(&who);
    }
}

impl Host {
    /// Whether a person should look at it.
    pub fn is_in_trouble(&self) -> bool {
        let is_bad = |subscribed: &Subscribed| subscribed.lost_by_host > 0 || subscribed.ended_because.is_some();
        self.refused > 0 || self.subscriptions.iter().any(is_bad)
    }

    fn has(&self, part: &str) -> bool {
        let address = self.address.map(|address| address.to_string()).unwrap_or_default();
        [&self.machine, &self.client, &address].into_iter().any(|text| text.to_lowercase().contains(part))
    }

    /// With the rates of this moment.
    fn at(&self, now_s: u64) -> Self {
        let mut host = self.clone();
        host.subscriptions.iter_mut().for_each(|subscribed| subscribed.reckon(now_s, 0));
        host
    }

    fn note(&mut self, heard: Heard<'_>, now: u64) {
        match heard {
            Heard::Enumerated => self.last_enumerated_s = Some(now),
            Heard::Told { subscription, bookmark_s } => self.with(subscription, |of| of.bookmark_s = bookmark_s),
            Heard::Refused { reason } => {
                self.refused += 1;
                (self.last_refused_s, self.last_refusal) = (Some(now), Some(cut(reason)));
            }
            Heard::Heartbeat { subscription } => self.with(subscription, |of| {
                of.last_heartbeat_s = Some(now);
                of.ended_because = None;
            }),
            Heard::Delivered { subscription, events, missing, bookmark } => {
                self.with(subscription, |of| of.delivered(events, missing, bookmark, now));
            }
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

impl Subscribed {
    fn delivered(&mut self, events: u64, missing: u64, bookmark: bool, now: u64) {
        self.reckon(now, events);
        self.last_events_s = Some(now);
        if bookmark {
            self.bookmark_s = Some(now);
        }
        self.events += events;
        self.gaps += u64::from(missing > 0);
        self.lost_by_host = self.lost_by_host.saturating_add(missing);
        self.ended_because = None;
    }

    /// What came earlier counts the less the longer ago it was.
    fn reckon(&mut self, now: u64, events: u64) {
        let passed = now.saturating_sub(self.reckoned_s) as f64;
        self.events_per_second = self.events_per_second * (-passed / RATE_S).exp() + events as f64 / RATE_S;
        self.reckoned_s = now;
    }
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}

#[cfg(test)]
#[path = "hosts_tests.rs"]
mod tests;
