//! An upload, sorted: what the rules drop, and what is to be kept, cut into parts that fit a record of the spool.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::accept::Refusal;
use super::ledger::Tally;
use crate::event::stored::{self, StoredUpload};
use crate::event::{EventKey, Format, KeyMaker, Upload, decode, key};
use crate::filter::{Decision, Rules};
use crate::spool::dead_letter::Letter;

/// An upload after decoding and filtering.
pub(super) struct Sorted {
    pub(super) input: Arc<str>,
    pub(super) client: Arc<str>,
    pub(super) stream: Arc<str>,
    /// The share of the account that is settled already: what the rules dropped.
    pub(super) filtered: Tally,
    /// The same, by reason.
    pub(super) dropped: BTreeMap<&'static str, u64>,
    pub(super) parts: Vec<Part>,
    body: Bytes,
}

/// Records of one upload that go into one record of the spool.
#[derive(Default)]
pub(super) struct Part {
    records: Vec<Record>,
    bytes: usize,
}

struct Record {
    key: EventKey,
    span: Range<usize>,
    kind: Kind,
}

enum Kind {
    Event(Format),
    Unreadable(String),
}

/// Bytes of memory that an event takes on its way to the spool beside its own: its place here, key, verdict, index.
const EVENT_COST: usize = 384;
/// The same for a record that becomes a dead letter, with its names and its reason.
const UNREADABLE_COST: usize = 1024;

impl Sorted {
    /// About how much memory it takes while it is made durable.
    pub(super) fn memory(&self) -> usize {
        let cost = |record: &Record| match record.kind {
            Kind::Event(_) => EVENT_COST,
            Kind::Unreadable(_) => UNREADABLE_COST,
        };
        self.parts.iter().flat_map(|part| &part.records).map(cost).sum()
    }
}

/// Decodes an upload, drops what the rules drop and makes the keys of the rest.
pub(super) fn sort(upload: Upload, rules: &Rules, keys: &KeyMaker, part_max: usize) -> Result<Sorted, Refusal> {
    let Upload { input, client, stream, syntax, body } = upload;
    let decoded = decode(syntax, &body)?;
    let mut keys = keys.for_scope(&client.scope, &stream);
    let mut dropped = BTreeMap::new();
    let mut parts = vec![Part::default()];

    for event in &decoded.events {
        match rules.decide(&event.fields) {
            Decision::Drop(reason) => *dropped.entry(reason).or_insert(0) += 1,
            Decision::Keep => {
                let key = keys.key(event);
                push(
                    &mut parts,
                    part_max,
                    Record { key, span: span(&body, event.raw), kind: Kind::Event(event.format) },
                );
            }
        }
    }
    for record in decoded.unreadable {
        let key = keys.unreadable_key(record.raw);
        let kind = Kind::Unreadable(record.reason);
        push(&mut parts, part_max, Record { key, span: span(&body, record.raw), kind });
    }

    let filtered = dropped.values().sum();
    Ok(Sorted {
        input,
        client: client.name,
        stream,
        filtered: Tally { received: filtered, filtered, ..Tally::default() },
        dropped,
        parts,
        body,
    })
}

fn push(parts: &mut Vec<Part>, part_max: usize, record: Record) {
    let bytes = record.span.len();
    if parts.last().is_none_or(|part| part.bytes > 0 && part.bytes + bytes > part_max) {
        parts.push(Part::default());
    }
    let part = parts.last_mut().expect("one was pushed above if there was none");
    part.bytes += bytes;
    part.records.push(record);
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

    /// How many of these records are events for the spool, and how many are set aside.
    pub(super) fn split(&self, records: &[usize]) -> Tally {
        let events = records.iter().filter(|&&at| matches!(self.records[at].kind, Kind::Event(_))).count() as u64;
        Tally { spooled: events, set_aside: records.len() as u64 - events, ..Tally::default() }
    }

    /// The keys of these records, as they stand in the spool.
    pub(super) fn index(&self, records: &[usize]) -> Vec<u8> {
        let keys: Vec<EventKey> = records.iter().map(|&at| self.records[at].key).collect();
        key::encode_keys(&keys)
    }

    /// The events among these records, as they stand in the spool.
    pub(super) fn payload(&self, sorted: &Sorted, records: &[usize]) -> Vec<u8> {
        let events = records.iter().filter_map(|&at| {
            let record = &self.records[at];
            match record.kind {
                Kind::Event(format) => Some((format, &sorted.body[record.span.clone()])),
                Kind::Unreadable(_) => None,
            }
        });
        let events: Vec<_> = events.collect();
        stored::encode(&StoredUpload {
            stream: &sorted.stream,
            input: &sorted.input,
            routing: stored::Routing::default(),
            events: &events,
        })
    }

    /// The unreadable ones among these records, as dead letters.
    pub(super) fn letters(&self, sorted: &Sorted, records: &[usize]) -> Vec<Letter> {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let unreadable = records.iter().filter_map(|&at| match &self.records[at].kind {
            Kind::Unreadable(reason) => Some((reason.clone(), &sorted.body[self.records[at].span.clone()])),
            Kind::Event(_) => None,
        });
        unreadable.map(|(reason, raw)| super::letter(sorted, reason, raw, now_ms)).collect()
    }
}
