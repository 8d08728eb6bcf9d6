//! The chunks of one stream, in the order of their record ids: most streams have one, which needs no list.

use super::stream::Entry;

/// What an allocator adds to a block, as in [`super::buffer`].
const ALLOCATION: usize = 16;
/// A list grows by this part of itself, so that little of a long one is unused.
const GROWTH: usize = 16;

#[derive(Debug)]
pub(super) enum Blocks {
    One(Entry),
    Many(Vec<Entry>),
}

impl Blocks {
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::One(_) => 0,
            Self::Many(entries) => entries.capacity() * size_of::<Entry>() + ALLOCATION,
        }
    }

    /// How many bytes a list of so many takes more after its next growth.
    pub(super) fn growth_bytes(len: usize) -> usize {
        growth(len) * size_of::<Entry>() + ALLOCATION
    }

    pub(super) fn as_ref(&self) -> &[Entry] {
        match self {
            Self::One(entry) => std::slice::from_ref(entry),
            Self::Many(entries) => entries,
        }
    }

    pub(super) fn as_mut(&mut self) -> &mut [Entry] {
        match self {
            Self::One(entry) => std::slice::from_mut(entry),
            Self::Many(entries) => entries,
        }
    }

    pub(super) fn insert(&mut self, at: usize, entry: Entry) {
        let mut entries = match std::mem::replace(self, Self::Many(Vec::new())) {
            Self::One(first) => {
                let mut entries = Vec::with_capacity(2);
                entries.push(first);
                entries
            }
            Self::Many(entries) => entries,
        };
        if entries.len() == entries.capacity() {
            entries.reserve_exact(growth(entries.len()));
        }
        entries.insert(at, entry);
        *self = Self::Many(entries);
    }

    /// Keeps what is to stay; whether anything does. A stream of which nothing stays is of no more use.
    pub(super) fn retain(&mut self, mut stays: impl FnMut(&mut Entry) -> bool) -> bool {
        match self {
            Self::One(entry) => stays(entry),
            Self::Many(entries) => {
                entries.retain_mut(stays);
                if entries.len() * 10 < entries.capacity() * 7 {
                    entries.shrink_to_fit();
                }
                !entries.is_empty()
            }
        }
    }
}

fn growth(len: usize) -> usize {
    (len / GROWTH).max(1)
}
