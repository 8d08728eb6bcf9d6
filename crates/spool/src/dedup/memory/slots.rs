//! Keys without structure: hashes, 16 bytes each.
//!
//! A slot is 120 bits of the hash and one byte that says which slice it came in, or that it is pending. 120 bits are
//! enough: among 10^8 keys the chance that any two share them is about 10^-20.

use super::probing::{Item, Probing};
use super::slices::{Code, Slices};

#[derive(Debug, Clone, Copy)]
struct Slot(u128);

/// The code of a slot whose claim has not ended. Such slots never go.
const PENDING: u8 = 255;
/// Spreads hashes whose low half is small, as tests make them.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

impl Slot {
    fn new(hash: u128, code: u8) -> Self {
        Self(hash << 8 | u128::from(code))
    }

    fn code(self) -> u8 {
        self.0 as u8
    }
}

impl Item for Slot {
    const FREE: Self = Self(0);

    fn is_free(&self) -> bool {
        self.code() == 0
    }

    fn hash(&self) -> u64 {
        spread(self.0 >> 8)
    }
}

/// The part of a hash that a slot keeps.
pub(super) fn cut(hash: u128) -> u128 {
    hash & (u128::MAX >> 8)
}

fn spread(hash: u128) -> u64 {
    (hash as u64).wrapping_mul(SPREAD)
}

#[derive(Debug)]
pub(super) struct Slots {
    slots: Probing<Slot>,
}

/// Whether a hash is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    No,
    Yes,
    Pending,
}

impl Slots {
    pub(super) fn new() -> Self {
        Self { slots: Probing::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.slots.bytes()
    }

    pub(super) fn growth_bytes(&self) -> usize {
        self.slots.growth_bytes()
    }

    pub(super) fn seen(&self, hash: u128) -> Seen {
        match self.find(hash).map(|at| self.slots.at(at).code()) {
            None => Seen::No,
            Some(PENDING) => Seen::Pending,
            Some(_) => Seen::Yes,
        }
    }

    /// As [`Probing::glance`].
    pub(super) fn glance(&self, hash: u128) -> bool {
        self.slots.glance(spread(cut(hash)))
    }

    /// Adds a hash that is not there: as pending, or in a slice.
    pub(super) fn insert(&mut self, hash: u128, slice: Option<Code>) {
        self.slots.insert(Slot::new(hash, slice.map_or(PENDING, |code| code.0)));
    }

    /// A pending hash enters a slice.
    pub(super) fn confirm(&mut self, hash: u128, slice: Code) {
        if let Some(at) = self.find(hash) {
            self.slots.set(at, Slot::new(hash, slice.0));
        }
    }

    pub(super) fn remove(&mut self, hash: u128) {
        if let Some(at) = self.find(hash) {
            self.slots.remove(at);
        }
    }

    /// Removes what came in the oldest `count` slices; returns how many.
    pub(super) fn sweep(&mut self, slices: &Slices, count: usize) -> usize {
        self.slots.remove_all(|slot| slot.code() != PENDING && slices.position(Code(slot.code())) < count)
    }

    /// Adds to `keys[i]` the number of keys in the i-th oldest slice.
    pub(super) fn count(&self, slices: &Slices, keys: &mut [u64]) {
        for slot in self.slots.items().filter(|slot| slot.code() != PENDING) {
            keys[slices.position(Code(slot.code()))] += 1;
        }
    }

    fn find(&self, hash: u128) -> Option<usize> {
        let upper = hash << 8;
        self.slots.find(spread(upper >> 8), |slot| slot.0 & !0xFF == upper)
    }
}
