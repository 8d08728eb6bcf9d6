//! How keys are kept: as hashes, or as records in runs.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

use super::slots::cut;
use super::stamp::Stamp;
use super::stream::Name;
use crate::event::EventKey;

/// What a key tells of its event's id. Keys of different kinds are never equal, and never share a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// It stands in the stamp.
    With,
    /// The event has none.
    Without,
    /// An older version did not keep it: any.
    Any,
}

/// A key with a record id.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    stream: u128,
    pub(super) record_id: u64,
    kind: Kind,
    pub(super) stamp: Stamp,
}

/// How a key is kept.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kept {
    /// As a hash, in a slot.
    Hash(u128),
    /// In a run.
    Record(Record),
}

impl Kept {
    pub(super) fn of(key: &EventKey) -> Self {
        let record = |stream, record_id, second, kind, event_id| {
            Self::Record(Record { stream, record_id, kind, stamp: Stamp { second, event_id } })
        };
        match *key {
            EventKey::Content(hash) => Self::Hash(cut(hash)),
            EventKey::Record { stream, record_id, second, event_id: Some(event_id) } => {
                record(stream, record_id, second, Kind::With, event_id)
            }
            EventKey::Record { stream, record_id, second, event_id: None } => {
                record(stream, record_id, second, Kind::Without, 0)
            }
            EventKey::OldRecord { stream, record_id, second } => record(stream, record_id, second, Kind::Any, 0),
        }
    }
}

impl Record {
    /// The same record as an older version kept it.
    pub(super) fn of_any_id(self) -> Self {
        Self { kind: Kind::Any, stamp: Stamp { event_id: 0, ..self.stamp }, ..self }
    }

    /// Its stream.
    pub(super) fn name(&self) -> Name {
        Name::of(self.stream, self.kind)
    }

    /// The whole key as a hash, for a slot. The stream is a secret of the installation, so it is the hash's key.
    pub(super) fn hash(&self) -> u128 {
        let mut hasher = SipHasher13::new_with_key(&self.stream.to_le_bytes());
        hasher.write_u64(self.record_id);
        hasher.write_i64(self.stamp.second);
        hasher.write_u16(self.stamp.event_id);
        hasher.write_u8(self.kind as u8);
        cut(hasher.finish128().as_u128())
    }
}
