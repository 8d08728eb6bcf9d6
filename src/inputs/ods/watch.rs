//! Who of the registered agents is there: when each last called, with what, and how much it sends. In memory, for people.

use parking_lot::{Mutex, MutexGuard};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::registry::{Agent, State, Thumbprint};
use crate::clock::wall_s;

/// That an agent was seen is noted on the disk once in so long.
const NOTED_EVERY_S: u64 = 24 * 3600;
/// If that is not durable yet it is not asked for again within this time, which is longer than it waits to be written.
const ASKED_EVERY: Duration = Duration::from_secs(60);
/// So long waits to be written that a known agent is still there, for others to be written with it: the file is written whole.
const WRITTEN_TOGETHER: Duration = Duration::from_secs(15 * 60);
/// Over what time rates are told.
const RATE_OVER_S: f64 = 600.0;
/// After so long without a word an agent that has not called since the start is silent.
const SILENT_AFTER: Duration = Duration::from_secs(3600);
/// Most characters of what an agent says of itself.
const TEXT_MAX: usize = 128;

/// One call of an agent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) listener: &'a Arc<str>,
    pub(super) address: IpAddr,
    /// Its version, where it tells it by itself; what it calls itself; and what it runs on.
    pub(super) version: Option<&'a str>,
    pub(super) name: Option<&'a str>,
    pub(super) platform: Option<&'a str>,
    pub(super) events: u64,
    pub(super) silent_after: Duration,
}

/// The agents that called since the start.
#[derive(Debug)]
pub(super) struct Watch {
    started: Instant,
    live: Mutex<HashMap<Name, Live>>,
}

/// Whose a call is, whatever certificate it shows: workspace, GUID and computer.
type Name = (Arc<str>, Arc<str>, Arc<str>);

fn name(agent: &Agent) -> Name {
    (Arc::clone(&agent.workspace), Arc::clone(&agent.agent), Arc::clone(&agent.computer))
}

#[derive(Debug)]
struct Live {
    /// What was shown last.
    certificate: Thumbprint,
    last: Instant,
    last_s: u64,
    /// From when on it is asked for again that it be noted.
    asked: Option<Instant>,
    refreshed: bool,
    listener: Arc<str>,
    address: IpAddr,
    version: Option<Arc<str>>,
    platform: Option<Arc<str>>,
    events: u64,
    rate: f64,
    silent_after: Duration,
}

/// What is shown of all.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shown {
    /// How many certificates are registered.
    pub known: usize,
    /// How many agents say nothing.
    pub silent: usize,
    /// GUIDs that are let in no more.
    pub revoked: Vec<Arc<str>>,
    /// The busiest.
    pub first: Vec<ShownAgent>,
}

/// What is shown of one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShownAgent {
    /// The computer that it runs on, as it says.
    pub computer: Arc<str>,
    /// Its GUID.
    pub agent: Arc<str>,
    /// Its workspace.
    pub workspace: Arc<str>,
    /// The SHA-256 of its certificate.
    pub certificate: Thumbprint,
    /// The SHA-1 of it, as Windows shows it.
    pub windows_thumbprint: Arc<str>,
    /// When that ends, in Unix seconds.
    pub certificate_ends_s: i64,
    /// When it registered, in Unix seconds.
    pub registered_s: u64,
    /// When it was last heard of, in Unix seconds.
    pub last_seen_s: u64,
    /// Whether it says nothing for longer than it should.
    pub silent: bool,
    /// Its operating system.
    pub system: Option<Arc<str>>,
    /// Its version; where it tells none, what it calls itself.
    pub version: Option<Arc<str>>,
    /// On what it runs.
    pub platform: Option<Arc<str>>,
    /// The listener that it came by.
    pub input: Option<Arc<str>>,
    /// From where.
    pub address: Option<IpAddr>,
    /// Records that it has sent since the start, repetitions too.
    pub events: u64,
    /// Events in a second, over the last minutes.
    pub events_per_second: f64,
}

impl Default for Watch {
    fn default() -> Self {
        Self { started: Instant::now(), live: Mutex::default() }
    }
}

impl Live {
    fn rate(&self, now: Instant) -> f64 {
        self.rate * (-(now - self.last).as_secs_f64() / RATE_OVER_S).exp()
    }

    fn is_silent(&self, now: Instant) -> bool {
        now - self.last > self.silent_after
    }
}

impl Watch {
    /// Notes a call. When it should be noted on the disk that the agent was seen, if at all: what has to be known of a certificate that
    /// is used for the first time, at once.
    pub(super) fn note(&self, agent: &Agent, call: &Call<'_>) -> Option<Duration> {
        let (now, now_s) = (Instant::now(), wall_s());
        let mut live = self.live();
        let known = live.entry(name(agent)).or_insert_with(|| Live {
            certificate: Arc::clone(&agent.certificate),
            last: now,
            last_s: now_s,
            asked: None,
            refreshed: false,
            listener: Arc::clone(call.listener),
            address: call.address,
            version: None,
            platform: None,
            events: 0,
            rate: 0.0,
            silent_after: call.silent_after,
        });
        if known.certificate != agent.certificate {
            known.certificate = Arc::clone(&agent.certificate);
            (known.asked, known.refreshed) = (None, false);
        }
        known.rate = known.rate(now) + call.events as f64 / RATE_OVER_S;
        known.events += call.events;
        (known.last, known.last_s) = (now, now_s);
        (known.listener, known.address) = (Arc::clone(call.listener), call.address);
        known.silent_after = call.silent_after;
        renew(&mut known.version, call.version);
        if known.version.is_none() {
            renew(&mut known.version, call.name);
        }
        renew(&mut known.platform, call.platform);
        let is_due = !agent.is_confirmed || now_s.saturating_sub(agent.seen_s) > NOTED_EVERY_S;
        let wait = if agent.is_confirmed { self.until_written(now) } else { Duration::ZERO };
        if !is_due || known.asked.is_some_and(|again_from| now < again_from) {
            return None;
        }
        known.asked = Some(now + wait + ASKED_EVERY);
        Some(wait)
    }

    /// Until all that waits to be written is.
    fn until_written(&self, now: Instant) -> Duration {
        let of_this_round = (now - self.started).as_secs() % WRITTEN_TOGETHER.as_secs();
        Duration::from_secs(WRITTEN_TOGETHER.as_secs() - of_this_round)
    }

    /// Whether an agent has called since the start.
    pub(super) fn has_called(&self, agent: &Agent) -> bool {
        self.live().contains_key(&name(agent))
    }

    /// Whether an agent refreshes its registration for the first time since the start; asked once for each refresh.
    pub(super) fn first_refresh(&self, agent: &Agent) -> bool {
        let mut live = self.live();
        let Some(known) = live.get_mut(&name(agent)).filter(|known| known.certificate == agent.certificate) else {
            return true;
        };
        !std::mem::replace(&mut known.refreshed, true)
    }

    /// The certificates that called within this time, and when they last did.
    pub(super) fn called_within(&self, time: Duration) -> Vec<(Thumbprint, u64)> {
        let (now, live) = (Instant::now(), self.live());
        let recent = live.values().filter(|live| now - live.last < time);
        recent.map(|live| (Arc::clone(&live.certificate), live.last_s)).collect()
    }

    /// Forgets whose certificate is registered no more.
    pub(super) fn tidy(&self, state: &State) {
        self.live().retain(|_, live| state.find(&live.certificate).is_some());
    }

    /// How many there are, and how many are silent.
    pub(super) fn counts(&self, state: &State) -> (usize, usize) {
        let (now, live) = (Instant::now(), self.live());
        let silent = state.agents().filter(|agent| self.is_silent(live.get(&name(agent)), now)).count();
        (state.agents().count(), silent)
    }

    fn is_silent(&self, live: Option<&Live>, now: Instant) -> bool {
        live.map_or(now - self.started > SILENT_AFTER, |live| live.is_silent(now))
    }

    pub(super) fn shown(&self, state: &State, most: usize) -> Shown {
        let (known, silent) = self.counts(state);
        let (now, live) = (Instant::now(), self.live());
        let one = |agent: &Arc<Agent>| self.one(agent, live.get(&name(agent)), now);
        let mut first: Vec<ShownAgent> = state.agents().map(one).collect();
        first.sort_by(|one, other| {
            let quiet = |agent: &ShownAgent| Reverse(agent.last_seen_s);
            let busy = other.events_per_second.total_cmp(&one.events_per_second);
            busy.then(quiet(one).cmp(&quiet(other))).then_with(|| one.computer.cmp(&other.computer))
        });
        first.truncate(most);
        Shown { known, silent, revoked: state.revoked().keys().take(most).cloned().collect(), first }
    }

    fn one(&self, agent: &Agent, live: Option<&Live>, now: Instant) -> ShownAgent {
        let rate = live.map_or(0.0, |live| live.rate(now));
        ShownAgent {
            computer: Arc::clone(&agent.computer),
            agent: Arc::clone(&agent.agent),
            workspace: Arc::clone(&agent.workspace),
            certificate: Arc::clone(&agent.certificate),
            windows_thumbprint: Arc::clone(&agent.windows_thumbprint),
            certificate_ends_s: agent.valid_s[1],
            registered_s: agent.registered_s,
            last_seen_s: live.map_or(agent.seen_s, |live| live.last_s.max(agent.seen_s)),
            silent: self.is_silent(live, now),
            system: agent.system.clone(),
            version: live.and_then(|live| live.version.clone()),
            platform: live.and_then(|live| live.platform.clone()),
            input: live.map(|live| Arc::clone(&live.listener)),
            address: live.map(|live| live.address),
            events: live.map_or(0, |live| live.events),
            events_per_second: (rate * 1000.0).round() / 1000.0,
        }
    }

    fn live(&self) -> MutexGuard<'_, HashMap<Name, Live>> {
        self.live.lock()
    }
}

/// Keeps what was told, as far as it can be shown.
fn renew(known: &mut Option<Arc<str>>, told: Option<&str>) {
    let Some(told) = told.filter(|told| !told.is_empty() && known.as_deref() != Some(*told)) else { return };
    let shown: String = told.chars().filter(|letter| !letter.is_control()).take(TEXT_MAX).collect();
    *known = Some(shown.into());
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
