//! The set of remembered keys: exact, bounded, and without a clock, a lock or chance of its own.
//!
//! Keys with record ids live in [`Runs`], all others as hashes in [`Slots`]. A record key whose id its chunk knows with
//! another second (a log was cleared) is a hash as well, keyed by its stream, which outsiders do not know.
//!
//! A pending key (inserted, not yet confirmed) is never forgotten, whatever the bounds say: the claims in flight are
//! bounded by the admission of uploads.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

use super::runs::{Page, Runs};
use super::slices::{ALIVE_MAX, Slices};
use super::slots::{Seen, Slots};
use crate::event::EventKey;

/// A slice ends early when it took this share of what the bounds allow.
const SHARE: u64 = 32;
/// The largest growth of a chunk in one insertion, in bytes.
const CHUNK_GROWTH: usize = 4096;

/// What an insertion found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Not there; now it is, pending.
    New,
    /// There and durable.
    Durable,
    /// There; perhaps pending in a claim in flight.
    PerhapsPending,
}

/// The bounds of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) keys: u64,
    pub(super) bytes: usize,
}

#[derive(Debug)]
pub(super) struct Table {
    runs: Runs,
    slots: Slots,
    slices: Slices,
    bounds: Bounds,
    evicted: u64,
    /// Insertions into the newest slice.
    inserted: u64,
    /// When eviction freed too little (all is pending), the number of keys at which it is tried again
    /// within this claim.
    patience: u64,
}

impl Table {
    pub(super) fn new(window_s: i64, bounds: Bounds, now_s: i64) -> Self {
        let slices = Slices::new(window_s, now_s);
        Self { runs: Runs::new(), slots: Slots::new(), slices, bounds, evicted: 0, inserted: 0, patience: 0 }
    }

    pub(super) fn keys(&self) -> u64 {
        self.runs.keys() + self.slots.len() as u64
    }

    pub(super) fn bytes(&self) -> usize {
        self.runs.bytes() + self.slots.bytes()
    }

    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Moves time on and forgets what is older than the window.
    pub(super) fn advance(&mut self, now_s: i64) {
        self.patience = 0;
        let before = self.slices.newest();
        let expired = self.slices.advance(now_s);
        self.forget_oldest(expired);
        if self.slices.newest() == before && self.slice_took_its_share() {
            self.slices.open();
        }
        if self.slices.newest() != before {
            self.inserted = 0;
        }
        if self.slices.alive() > ALIVE_MAX {
            self.evicted += self.forget_oldest(self.slices.alive() - ALIVE_MAX);
        }
    }

    /// Adds the key as pending when it is not there.
    pub(super) fn claim(&mut self, key: &EventKey) -> Found {
        self.put(key, true)
    }

    /// Adds the key as durable when it is not there.
    pub(super) fn remember(&mut self, key: &EventKey) {
        self.put(key, false);
    }

    /// A key that [`Table::claim`] added is durable now.
    pub(super) fn confirm(&mut self, key: &EventKey) {
        let newest = self.slices.newest();
        match *key {
            EventKey::Content(hash) => self.slots.confirm(cut(hash), newest),
            EventKey::Record { stream, record_id, second } => {
                let Some(at) = self.runs.find(Page::of(stream, record_id)) else { return };
                let entry = self.runs.entry_mut(at);
                entry.pending -= 1;
                entry.slice = newest;
                if entry.spilled && entry.chunk.second(record_id as u8) != Some(second) {
                    self.slots.confirm(spill_hash(stream, record_id, second), newest);
                }
            }
        }
    }

    /// A key that [`Table::claim`] added is forgotten.
    pub(super) fn release(&mut self, key: &EventKey) {
        match *key {
            EventKey::Content(hash) => self.slots.remove(cut(hash)),
            EventKey::Record { stream, record_id, second } => {
                let Some(at) = self.runs.find(Page::of(stream, record_id)) else { return };
                let entry = self.runs.entry_mut(at);
                entry.pending -= 1;
                if entry.chunk.second(record_id as u8) == Some(second) {
                    self.runs.remove(at, record_id as u8);
                } else {
                    self.slots.remove(spill_hash(stream, record_id, second));
                }
                self.runs.remove_if_useless(at);
            }
        }
    }

    /// A durable key is forgotten, as if it were the last of a claim that is released.
    pub(super) fn forget(&mut self, key: &EventKey) {
        if !self.is_known(key) {
            return;
        }
        if let EventKey::Record { stream, record_id, .. } = *key
            && let Some(at) = self.runs.find(Page::of(stream, record_id))
        {
            self.runs.entry_mut(at).pending += 1;
        }
        self.release(key);
    }

    fn put(&mut self, key: &EventKey, pending: bool) -> Found {
        if self.is_at_bound() && !self.is_known(key) {
            self.evict();
        }
        let found = match *key {
            EventKey::Content(hash) => self.put_hash(cut(hash), pending),
            EventKey::Record { stream, record_id, second } => self.put_record(stream, record_id, second, pending),
        };
        self.inserted += u64::from(found == Found::New);
        found
    }

    fn is_known(&mut self, key: &EventKey) -> bool {
        match *key {
            EventKey::Content(hash) => self.slots.seen(cut(hash)) != Seen::No,
            EventKey::Record { stream, record_id, second } => {
                let Some(at) = self.runs.find(Page::of(stream, record_id)) else { return false };
                let entry = self.runs.entry(at);
                entry.chunk.second(record_id as u8) == Some(second)
                    || (entry.spilled && self.slots.seen(spill_hash(stream, record_id, second)) != Seen::No)
            }
        }
    }

    fn put_hash(&mut self, hash: u128, pending: bool) -> Found {
        match self.slots.seen(hash) {
            Seen::Yes => Found::Durable,
            Seen::Pending => Found::PerhapsPending,
            Seen::No => {
                self.slots.insert(hash, (!pending).then(|| self.slices.newest()));
                Found::New
            }
        }
    }

    fn put_record(&mut self, stream: u128, record_id: u64, second: i64, pending: bool) -> Found {
        let (page, id, newest) = (Page::of(stream, record_id), record_id as u8, self.slices.newest());
        let at = self.runs.find(page).unwrap_or_else(|| self.runs.add(page, newest));
        let entry = self.runs.entry(at);
        let known = entry.chunk.second(id);
        if known == Some(second) {
            return if entry.pending == 0 { Found::Durable } else { Found::PerhapsPending };
        }
        if entry.spilled || known.is_some() {
            let hash = spill_hash(stream, record_id, second);
            let seen = self.slots.seen(hash);
            if seen != Seen::No || known.is_some() {
                return self.put_spilled(at, hash, pending);
            }
        }
        self.runs.insert(at, id, second);
        self.touch(at, pending);
        Found::New
    }

    fn put_spilled(&mut self, at: usize, hash: u128, pending: bool) -> Found {
        let found = self.put_hash(hash, pending);
        if found == Found::New {
            self.runs.entry_mut(at).spilled = true;
            self.touch(at, pending);
        }
        found
    }

    fn touch(&mut self, at: usize, pending: bool) {
        let newest = self.slices.newest();
        let entry = self.runs.entry_mut(at);
        entry.slice = newest;
        entry.pending += u32::from(pending);
    }

    fn is_at_bound(&self) -> bool {
        self.keys() >= self.bounds.keys.max(self.patience)
            || (self.bytes() + self.slots.growth_bytes() + self.runs.growth_bytes() + CHUNK_GROWTH > self.bounds.bytes
                && self.keys() >= self.patience)
    }

    /// Forgets until the bounds hold, or all that is left is pending.
    fn evict(&mut self) {
        while self.is_at_bound() {
            let freed = self.evict_oldest();
            self.evicted += freed;
            if freed == 0 {
                self.patience = self.keys() + self.keys() / SHARE + 1;
            }
        }
    }

    /// Forgets whole slices, the oldest first, at least a 32nd of all keys. Returns how many keys went.
    fn evict_oldest(&mut self) -> u64 {
        let mut keys = [0u64; 256];
        self.runs.count(&self.slices, &mut keys);
        self.slots.count(&self.slices, &mut keys);
        let goal = self.keys() / SHARE + 1;
        let mut freed = 0;
        let enough = keys.iter().position(|in_slice| {
            freed += in_slice;
            freed >= goal
        });
        let count = enough.map_or(self.slices.alive(), |last| last + 1);
        if count >= self.slices.alive() {
            self.slices.open();
            self.inserted = 0;
        }
        self.forget_oldest(count.min(self.slices.alive() - 1))
    }

    /// Returns how many keys went.
    fn forget_oldest(&mut self, count: usize) -> u64 {
        if count == 0 {
            return 0;
        }
        let gone = self.runs.sweep(&self.slices, count) + self.slots.sweep(&self.slices, count) as u64;
        self.slices.drop_oldest(count);
        gone
    }

    fn slice_took_its_share(&self) -> bool {
        let by_memory = self.keys() as u128 * self.bounds.bytes as u128 / self.bytes().max(1) as u128;
        u128::from(self.inserted * SHARE) >= by_memory.min(u128::from(self.bounds.keys)) && self.inserted > 0
    }
}

/// The part of a hash that a slot keeps.
fn cut(hash: u128) -> u128 {
    hash & (u128::MAX >> 8)
}

/// A record key as a hash. The stream is a secret of the installation, so it is the hash's key.
fn spill_hash(stream: u128, record_id: u64, second: i64) -> u128 {
    let mut hasher = SipHasher13::new_with_key(&stream.to_le_bytes());
    hasher.write_u64(record_id);
    hasher.write_i64(second);
    cut(hasher.finish128().as_u128())
}
