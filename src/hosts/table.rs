//! The rows: one for each computer, and one for each client of which something cannot be put down to a computer.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::config::Config;
use super::gaps::Window;
use super::sighting::{CHANNELS_MAX, Sender, Sighting};

/// The rate is that of about so long.
const RATE_MS: f64 = 300_000.0;

/// What a row is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Key {
    /// A computer, in small letters.
    Computer(String),
    /// A client of an input: what it sent that names no computer, or was refused.
    Client(Arc<str>, Arc<str>),
}

/// What is known of one of them. Times are stamps of the gateway's clock, in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    /// As it calls itself; none for a client.
    pub(super) computer: Option<Arc<str>>,
    pub(super) input: Arc<str>,
    pub(super) client: Arc<str>,
    pub(super) address: Option<IpAddr>,
    pub(super) agent: Option<Arc<str>>,
    pub(super) first_ms: u64,
    pub(super) last_ms: u64,
    pub(super) events: u64,
    /// Events a second, at `last_ms`.
    rate: f64,
    /// From the latest event's own time to its receipt.
    pub(super) lag_ms: Option<i64>,
    pub(super) set_aside: u64,
    pub(super) refused: u64,
    pub(super) refused_ms: Option<u64>,
    /// Record ids that never came.
    pub(super) missing: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    ids: BTreeMap<String, Window>,
    /// The number of its group in the configuration.
    #[serde(skip)]
    pub(super) group: Option<usize>,
}

impl Row {
    fn new(computer: Option<&str>, sender: &Sender, now_ms: u64, group: Option<usize>) -> Self {
        Self {
            computer: computer.map(Arc::from),
            input: Arc::clone(&sender.input),
            client: Arc::clone(&sender.client),
            address: None,
            agent: None,
            first_ms: now_ms,
            last_ms: now_ms,
            events: 0,
            rate: 0.0,
            lag_ms: None,
            set_aside: 0,
            refused: 0,
            refused_ms: None,
            missing: 0,
            ids: BTreeMap::new(),
            group,
        }
    }

    pub(super) fn key(&self) -> Key {
        match &self.computer {
            Some(computer) => Key::Computer(computer.to_ascii_lowercase()),
            None => Key::Client(Arc::clone(&self.input), Arc::clone(&self.client)),
        }
    }

    /// Events a second now.
    pub(super) fn rate(&self, now_ms: u64) -> f64 {
        self.rate * (-(now_ms.saturating_sub(self.last_ms) as f64) / RATE_MS).exp()
    }

    fn meet(&mut self, sender: &Sender, events: u64, now_ms: u64) {
        self.rate = self.rate(now_ms) + events as f64 / (RATE_MS / 1000.0);
        self.events += events;
        self.last_ms = now_ms.max(self.last_ms);
        for (mine, new) in [(&mut self.input, &sender.input), (&mut self.client, &sender.client)] {
            if mine != new {
                *mine = Arc::clone(new);
            }
        }
        self.address = sender.address;
        self.agent.clone_from(&sender.agent);
    }

    fn follow(&mut self, ids: Vec<(String, Vec<u64>)>) {
        for (channel, mut ids) in ids {
            let first = ids.iter().min().copied().unwrap_or_default();
            if self.ids.len() >= CHANNELS_MAX && !self.ids.contains_key(&channel) {
                continue;
            }
            let window = self.ids.entry(channel).or_insert_with(|| Window::beginning_with(first));
            self.missing = self.missing.saturating_add(window.take(&mut ids));
        }
    }
}

/// When an upload came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// By the gateway's clock.
    pub(super) now_ms: u64,
    /// What can be compared with the times of events.
    pub(super) shown_ms: u64,
}

/// All rows, as many as the configuration allows.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Shared with whoever looks at them, so that nobody who sends waits for that.
    pub(super) rows: HashMap<Key, Arc<Row>>,
    /// How many were forgotten because there was no room.
    pub(super) forgotten: u64,
    pub(super) has_changed: bool,
}

impl Table {
    /// Notes a computer of an upload.
    pub(super) fn see(&mut self, config: &Config, sender: &Sender, sighting: Sighting, at: Moment) {
        let key = Key::Computer(sighting.computer.to_ascii_lowercase());
        let name = &sighting.computer;
        let row = self.row(key, || Row::new(Some(name), sender, at.now_ms, config.group_of(name)));
        row.meet(sender, sighting.events, at.now_ms);
        if let Some(newest) = sighting.newest {
            let newest_ms = newest.ticks() / 10_000;
            row.lag_ms = i64::try_from(at.shown_ms).ok().map(|shown| shown - newest_ms);
        }
        if config.is_complete(row.group) {
            row.follow(sighting.ids);
        }
    }

    /// Notes what a client sent that names no computer.
    pub(super) fn meet(&mut self, sender: &Sender, events: u64, set_aside: u64, at: Moment) {
        let row = self.client(sender, at);
        row.meet(sender, events, at.now_ms);
        row.set_aside += set_aside;
    }

    /// Notes an upload that was refused.
    pub(super) fn refuse(&mut self, sender: &Sender, at: Moment) {
        let row = self.client(sender, at);
        row.meet(sender, 0, at.now_ms);
        row.refused += 1;
        row.refused_ms = Some(at.now_ms);
    }

    fn client(&mut self, sender: &Sender, at: Moment) -> &mut Row {
        let key = Key::Client(Arc::clone(&sender.input), Arc::clone(&sender.client));
        self.row(key, || Row::new(None, sender, at.now_ms, None))
    }

    fn row(&mut self, key: Key, new: impl FnOnce() -> Row) -> &mut Row {
        self.has_changed = true;
        Arc::make_mut(self.rows.entry(key).or_insert_with(|| Arc::new(new())))
    }

    /// Forgets whom nobody expects any more, and the least recent of the client that has most, until the rest has room.
    pub(super) fn tidy(&mut self, config: &Config, now_ms: u64) {
        let before = self.rows.len();
        self.rows.retain(|_, row| now_ms.saturating_sub(row.last_ms) <= config.forget_after_ms());
        self.has_changed |= self.rows.len() < before;
        self.make_room(config);
    }

    /// A hundredth goes at a time, so that a full table does not cost a search for each row: of the clients that have most, each
    /// down to the same number, or of everybody where nobody has much.
    pub(super) fn make_room(&mut self, config: &Config) {
        let some = config.max.div_ceil(100);
        while self.rows.len() > config.max {
            let goes = some.max(self.rows.len() - config.max);
            let mut of_client: HashMap<Arc<str>, Vec<(u64, Key)>> = HashMap::new();
            for (key, row) in &self.rows {
                of_client.entry(Arc::clone(&row.client)).or_default().push((row.last_ms, key.clone()));
            }
            let counts: Vec<usize> = of_client.values().map(Vec::len).collect();
            let has_much = counts.iter().any(|count| *count > some);
            let keeps = if has_much { level(counts, goes).max(some) } else { 0 };
            let mut oldest: Vec<(u64, Key)> = of_client.into_values().flat_map(|rows| older(rows, keeps)).collect();
            if !has_much {
                oldest.sort_unstable();
                oldest.truncate(goes);
            }
            oldest.iter().for_each(|(_, key)| drop(self.rows.remove(key)));
            self.forgotten += oldest.len() as u64;
            self.has_changed = true;
        }
    }
}

/// How many each of these may keep so that so many go, if nobody loses who has less.
fn level(mut counts: Vec<usize>, goes: usize) -> usize {
    counts.sort_unstable_by_key(|count| Reverse(*count));
    let mut sum = 0;
    for (at, count) in counts.iter().enumerate() {
        sum += count;
        let (taken_from, next) = (at + 1, counts.get(at + 1).copied().unwrap_or_default());
        if sum - next * taken_from >= goes {
            return (sum - goes) / taken_from;
        }
    }
    0
}

/// All but so many, which are the latest.
fn older(mut rows: Vec<(u64, Key)>, keeps: usize) -> Vec<(u64, Key)> {
    rows.sort_unstable();
    rows.truncate(rows.len().saturating_sub(keeps));
    rows
}
