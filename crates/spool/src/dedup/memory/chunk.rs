//! A few hundred neighbouring keys of one stream, each with its exact [`Stamp`]: second and event id.
//!
//! A chunk is open while it is filled, which is cheap there, and sealed when it is full: then it is small. A key that comes
//! late, or goes, opens the chunk again.

use super::open::Open;
use super::sealed::Sealed;
use super::stamp::{FULL, Stamp};

/// So many it takes all the same when they come late, between those that it has.
pub(super) const MOST: u16 = FULL + FULL / 4;

/// Ids are counted from a record id that the owner knows.
#[derive(Debug)]
pub(super) enum Chunk {
    Open(Open),
    Sealed(Sealed),
}

impl Chunk {
    pub(super) fn new() -> Self {
        Self::Open(Open::new())
    }

    /// Of these ids, each once and in order, to be added to.
    pub(super) fn of(stamps: &[(u32, Stamp)]) -> Self {
        Self::Open(Open::of(stamps))
    }

    /// The same, as small as can be.
    pub(super) fn smallest_of(stamps: &[(u32, Stamp)]) -> Self {
        let open = |sealed: &Sealed| Some(Open::of(stamps)).filter(|open| open.heap_bytes() <= sealed.heap_bytes());
        if stamps.len() >= usize::from(FULL) {
            return Self::Sealed(Sealed::of(stamps));
        }
        let sealed = Sealed::of(stamps);
        open(&sealed).map_or(Self::Sealed(sealed), Self::Open)
    }

    pub(super) fn len(&self) -> u16 {
        match self {
            Self::Open(open) => open.len(),
            Self::Sealed(sealed) => sealed.len(),
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Open(open) => open.heap_bytes(),
            Self::Sealed(sealed) => sealed.heap_bytes(),
        }
    }

    /// All that is there, in order.
    pub(super) fn stamps(&self) -> Vec<(u32, Stamp)> {
        match self {
            Self::Open(open) => open.stamps(),
            Self::Sealed(sealed) => sealed.stamps(),
        }
    }

    /// The stamp of an id, if the id is there.
    pub(super) fn stamp(&self, id: u32) -> Option<Stamp> {
        match self {
            Self::Open(open) => open.stamp(id),
            Self::Sealed(sealed) => sealed.stamp(id),
        }
    }

    /// Adds an id that is not there.
    pub(super) fn insert(&mut self, id: u32, stamp: Stamp) {
        self.change(|open| open.insert(id, stamp));
    }

    pub(super) fn remove(&mut self, id: u32) {
        self.change(|open| open.remove(id));
    }

    /// Adds ids, in order, that are all above those that are there. A chunk that becomes full is sealed.
    pub(super) fn extend(&mut self, more: &[(u32, Stamp)]) {
        let len = usize::from(self.len()) + more.len();
        if len < usize::from(FULL) && more.len() < len / 4 {
            return self.change(|open| more.iter().for_each(|(id, stamp)| open.insert(*id, *stamp)));
        }
        let mut stamps = self.stamps();
        stamps.extend_from_slice(more);
        *self = if len < usize::from(FULL) { Self::of(&stamps) } else { Self::smallest_of(&stamps) };
    }

    fn change(&mut self, change: impl FnOnce(&mut Open)) {
        match self {
            Self::Open(open) => change(open),
            Self::Sealed(sealed) => {
                let mut open = Open::of(&sealed.stamps());
                change(&mut open);
                *self = Self::Open(open);
            }
        }
    }
}

#[cfg(test)]
#[path = "chunk_tests.rs"]
mod tests;
