//! An upload, sorted: what the rules drop, and what is to be kept, cut into parts that fit a record of the spool.
//!
//! Which outputs an event goes to is decided here, once, and kept with it: a record of the spool tells its events' routes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use super::accept::Refusal;
use super::identity;
use super::ledger::Tally;
use super::patience::Patience;
use crate::event::stored::{self, MAX_ROUTES, MAX_SETS, Routing, StoredRoute, StoredUpload};
use crate::event::{EventKey, Format, IdentityPolicy, KeyMaker, Timestamp, Upload, key};
use crate::filter::{Decision, Outcome, Route, RouteSet, Rules, Taken};
use crate::hosts::Sightings;
use crate::metrics::{EVENT_AGE_AT_RECEIPT, Many};
use crate::spool::dead_letter::Letter;

/// An upload after decoding and filtering.
pub(super) struct Sorted {
    pub(super) input: Arc<str>,
    pub(super) client: Arc<str>,
    /// Whether the client's name is kept with its events.
    keeps_client: bool,
    pub(super) stream: Arc<str>,
    /// The share of the account that is settled already: what the rules dropped.
    pub(super) filtered: Tally,
    /// The same, by reason.
    pub(super) dropped: BTreeMap<&'static str, u64>,
    /// What the rules took to outputs.
    pub(super) taken: Vec<Taken>,
    /// Bytes of what the rules dropped.
    pub(super) dropped_bytes: u64,
    /// How old the events were.
    pub(super) ages: Many,
    /// How many are Windows events without a readable time.
    pub(super) timeless: u64,
    /// How many are Windows events without a record id.
    pub(super) unnumbered: u64,
    /// How many nobody could tell from others if they came again in another upload.
    pub(super) unrecognisable: u64,
    /// Whose they are.
    pub(super) sightings: Sightings,
    pub(super) parts: Vec<Part>,
    /// The route sets 1, 2, …
    sets: Vec<Vec<Route>>,
    body: Bytes,
}

/// Records of one upload that go into one record of the spool.
pub(super) struct Part {
    records: Vec<Record>,
}

struct Record {
    key: EventKey,
    span: Range<usize>,
    kind: Kind,
}

enum Kind {
    Event(Format, RouteSet),
    Unreadable(String),
}

/// After so many events it is asked whether to go on.
const ASKED_EVERY: usize = 1024;
/// Bytes of memory that an event takes on its way to the spool beside its own: its place here, key, verdict, index.
pub(super) const EVENT_COST: usize = 392;
/// The same for a record that becomes a dead letter, with its names and its reason.
const UNREADABLE_COST: usize = 1024;
/// The same for a route in a set: its place here, and twice in the making of a record. The names are the rules' own.
const ROUTE_COST: usize = 192;

impl Sorted {
    /// About how much memory it takes while it is made durable.
    pub(super) fn memory(&self) -> usize {
        let cost = |record: &Record| match record.kind {
            Kind::Event(..) => EVENT_COST,
            Kind::Unreadable(_) => UNREADABLE_COST,
        };
        let records: usize = self.parts.iter().flat_map(|part| &part.records).map(cost).sum();
        records + self.sets.iter().map(|set| (set.len() + 1) * ROUTE_COST).sum::<usize>()
    }
}

/// Decodes an upload, drops what the rules drop and makes the keys of the rest. `now` is what the rules compare times with.
pub(super) fn sort(
    upload: Upload,
    rules: &Rules,
    keys: &KeyMaker,
    part_max: usize,
    now: SystemTime,
    mut sightings: Sightings,
    patience: &Patience<'_>,
) -> Result<Sorted, Refusal> {
    let decoded = upload.decode(|| patience.go_on())?;
    let Upload { input, client, stream, body, .. } = &upload;
    identity::check(input, client, &decoded.events)?;
    let mut keys = keys.for_scope(&client.scope, stream);
    if let Some(mark) = &client.upload_mark {
        let records = decoded.events.len();
        keys = match client.exact_by_content {
            true => keys.within_upload_unless_exact(mark, records),
            false => keys.within_upload(mark, records),
        };
    }
    let mut session = rules.session(client, stream, Timestamp::of(now));
    let mut dropped = BTreeMap::new();
    let mut records = Vec::new();
    let (mut timeless, mut unnumbered, mut unrecognisable, mut dropped_bytes) = (0, 0, 0, 0);
    let (mut ages, received) = (Many::of(&EVENT_AGE_AT_RECEIPT), Timestamp::of(now));

    for (at, event) in decoded.events.iter().enumerate() {
        if at % ASKED_EVERY == 0 {
            patience.go_on()?;
        }
        sightings.see(&event.fields);
        let is_windows_event = event.fields.is_windows_event();
        timeless += u64::from(is_windows_event && event.fields.time.is_none());
        unnumbered += u64::from(is_windows_event && event.fields.record_id.is_none());
        if let Some(time) = event.fields.time {
            ages.observe(received.seconds_since(time));
        }
        match session.decide(event) {
            Decision::Drop(reason) => {
                *dropped.entry(reason).or_insert(0) += 1;
                dropped_bytes += event.raw.len() as u64;
            }
            Decision::Keep(set) => {
                let kind = Kind::Event(event.format, set);
                unrecognisable += u64::from(client.exact_by_content && keys.is_known_by_place(event));
                records.push(Record { key: keys.at(at).key(event), span: span(body, event.raw), kind });
            }
        }
    }
    for (at, record) in decoded.unreadable.into_iter().enumerate() {
        let key = keys.at(at).unreadable_key(record.raw);
        let kind = Kind::Unreadable(record.reason);
        records.push(Record { key, span: span(body, record.raw), kind });
    }

    let Outcome { sets, taken } = session.finish();
    let filtered = dropped.values().sum();
    let Upload { input, client, stream, body, .. } = upload;
    Ok(Sorted {
        input,
        keeps_client: client.policy != IdentityPolicy::Off,
        client: client.name,
        stream,
        filtered: Tally { received: filtered, filtered, ..Tally::default() },
        dropped,
        dropped_bytes,
        ages,
        taken,
        timeless,
        unnumbered,
        unrecognisable,
        sightings,
        parts: cut(records, part_max, &sets),
        sets,
        body,
    })
}

/// Cuts where a record of the spool would be too large: in bytes, or in route sets. At least one part, be it empty.
fn cut(mut records: Vec<Record>, part_max: usize, sets: &[Vec<Route>]) -> Vec<Part> {
    let mut starts = Vec::new();
    let mut load = Load::default();
    for (at, record) in records.iter().enumerate() {
        if !load.takes(record, part_max, sets) {
            starts.push(at);
            load = Load::default();
        }
        load.add(record, sets);
    }
    // From the back, so that what there mostly is, one part, is not moved.
    let behind: Vec<Part> = starts.into_iter().rev().map(|at| Part { records: records.split_off(at) }).collect();
    std::iter::once(Part { records }).chain(behind.into_iter().rev()).collect()
}

/// What a part holds so far.
#[derive(Default)]
struct Load {
    bytes: usize,
    sets: HashSet<RouteSet>,
    /// Of all its sets together: never less than there are different ones.
    routes: usize,
}

impl Load {
    fn takes(&self, record: &Record, part_max: usize, sets: &[Vec<Route>]) -> bool {
        let room_for = |set| self.sets.len() < MAX_SETS && self.routes + routes_of(set, sets).len() <= MAX_ROUTES;
        let fits = self.bytes + record.span.len() <= part_max && self.new_set(record).is_none_or(room_for);
        self.bytes == 0 || fits
    }

    fn add(&mut self, record: &Record, sets: &[Vec<Route>]) {
        self.bytes += record.span.len();
        if let Some(set) = self.new_set(record) {
            self.routes += routes_of(set, sets).len();
            self.sets.insert(set);
        }
    }

    /// The set of a record that no earlier one has; that of every output is no set.
    fn new_set(&self, record: &Record) -> Option<RouteSet> {
        match record.kind {
            Kind::Event(_, set) if set != RouteSet::EVERYWHERE && !self.sets.contains(&set) => Some(set),
            _ => None,
        }
    }
}

/// The routes of a set that is not [`RouteSet::EVERYWHERE`].
fn routes_of(set: RouteSet, sets: &[Vec<Route>]) -> &[Route] {
    &sets[set.0 as usize - 1]
}

/// Where `raw`, a slice of `body`, stands in it.
fn span(body: &Bytes, raw: &[u8]) -> Range<usize> {
    let start = raw.as_ptr() as usize - body.as_ptr() as usize;
    start..start + raw.len()
}

impl Part {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn key(&self, at: usize) -> EventKey {
        self.records[at].key
    }

    /// Bytes of a record, as it was uploaded.
    pub(super) fn bytes(&self, at: usize) -> u64 {
        self.records[at].span.len() as u64
    }

    /// How many of these records are events for the spool, and how many are set aside.
    pub(super) fn split(&self, records: &[usize]) -> Tally {
        let events = records.iter().filter(|&&at| matches!(self.records[at].kind, Kind::Event(..))).count() as u64;
        Tally { spooled: events, set_aside: records.len() as u64 - events, ..Tally::default() }
    }

    /// The keys of these records, as they stand in the spool.
    pub(super) fn index(&self, records: &[usize]) -> Vec<u8> {
        let keys: Vec<EventKey> = records.iter().map(|&at| self.records[at].key).collect();
        key::encode_keys(&keys)
    }

    /// The events among these records, as they stand in the spool.
    pub(super) fn payload(&self, sorted: &Sorted, records: &[usize]) -> Vec<u8> {
        let mut used = UsedSets::default();
        let mut events = Vec::with_capacity(records.len());
        let mut of_events = Vec::new();
        for record in records.iter().map(|&at| &self.records[at]) {
            if let Kind::Event(format, set) = record.kind {
                events.push((format, &sorted.body[record.span.clone()]));
                of_events.push(used.number(set, &sorted.sets));
            }
        }
        let routing = Routing { sets: &used.sets, of_events: &of_events };
        stored::encode(&StoredUpload {
            stream: &sorted.stream,
            input: &sorted.input,
            client: sorted.keeps_client.then_some(&*sorted.client),
            first_seen_ms: 0,
            tries: 0,
            routing,
            events: &events,
        })
    }

    /// The unreadable ones among these records, as dead letters.
    pub(super) fn letters(&self, sorted: &Sorted, records: &[usize], now_ms: u64) -> Vec<Letter> {
        let unreadable = records.iter().filter_map(|&at| match &self.records[at].kind {
            Kind::Unreadable(reason) => Some((reason.clone(), &sorted.body[self.records[at].span.clone()])),
            Kind::Event(..) => None,
        });
        unreadable.map(|(reason, raw)| super::set_aside::letter(sorted, reason, raw, now_ms)).collect()
    }
}

/// The route sets that a record of the spool names, numbered by it alone.
#[derive(Default)]
struct UsedSets<'s> {
    sets: Vec<Vec<StoredRoute<'s>>>,
    numbers: HashMap<RouteSet, u16>,
}

impl<'s> UsedSets<'s> {
    /// The number that a set has in this record.
    fn number(&mut self, set: RouteSet, sets: &'s [Vec<Route>]) -> u16 {
        if set == RouteSet::EVERYWHERE {
            return 0;
        }
        *self.numbers.entry(set).or_insert_with(|| {
            let stored = |route: &'s Route| StoredRoute { output: &route.output, stream: route.stream.as_deref() };
            self.sets.push(routes_of(set, sets).iter().map(stored).collect());
            u16::try_from(self.sets.len()).expect("a part is cut before it has so many sets")
        })
    }
}

#[cfg(test)]
#[path = "sort_tests.rs"]
mod tests;
