//! The set of remembered keys: exact, bounded, and without a clock, a lock or chance of its own.
//!
//! Keys with record ids live in [`Runs`], all others as hashes in [`Slots`]. A record key whose id its chunk knows with
//! another stamp (a log was cleared, two hosts have one name) is a hash as well, keyed by its stream, which outsiders do not
//! know.
//!
//! Keys of an older version lack the event id. While any of them are left, a record is also looked for without its id, so that
//! what was acknowledged before an upgrade is still known after it.
//!
//! A pending key (inserted, not yet confirmed) is never forgotten, whatever the bounds say: the claims in flight are
//! bounded by the admission of uploads.

use super::record::{Kept, Record};
use super::runs::{At, Runs};
use super::slices::{ALIVE_MAX, Slices};
use super::slots::{Seen, Slots};
use super::stamp::{FULL, Stamp};
use crate::event::EventKey;

/// A slice ends early when it took this share of what the bounds allow.
const SHARE: u64 = 32;
/// The largest growth of chunks in one insertion, in bytes.
const CHUNK_GROWTH: usize = 12 << 10;

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

/// So many keys are put into a chunk together, where they come in order.
const WHOLE_MIN: usize = 8;

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
            self.runs.settle_old(&self.slices);
        }
        if self.slices.alive() > ALIVE_MAX {
            self.evicted += self.forget_oldest(self.slices.alive() - ALIVE_MAX);
        }
    }

    /// Adds the key as pending when it is not there.
    pub(super) fn claim(&mut self, key: &EventKey) -> Found {
        match Kept::of(key) {
            Kept::Record(record) if self.runs.has_any_id() && self.knows(&record.of_any_id()) => Found::Durable,
            kept => self.put(kept, true),
        }
    }

    /// Has what it takes to claim these keys fetched from memory. Records stand beside each other, and need no such thing.
    pub(super) fn fetch(&self, keys: &[EventKey]) {
        let is_free = |key: &EventKey| matches!(key, EventKey::Content(hash) if self.slots.glance(*hash));
        std::hint::black_box(keys.iter().filter(|key| is_free(key)).count());
    }

    /// Adds the key as durable when it is not there.
    pub(super) fn remember(&mut self, key: &EventKey) {
        self.put(Kept::of(key), false);
    }

    /// The same for many keys; quick where those of a stream stand together, in order.
    pub(super) fn remember_all(&mut self, keys: &[EventKey]) {
        let mut run = Vec::new();
        for keys in keys.chunk_by(are_in_order) {
            run.clear();
            run.extend(keys.iter().filter_map(|key| match Kept::of(key) {
                Kept::Record(record) => Some((record.record_id, record.stamp)),
                Kept::Hash(_) => None,
            }));
            self.remember_run(keys, &run);
        }
    }

    /// Adds keys of one stream, in order, which stand as what is kept of them in `run` as well.
    fn remember_run(&mut self, mut keys: &[EventKey], mut run: &[(u64, Stamp)]) {
        while let Some(first) = keys.first() {
            let count = if run.len() < WHOLE_MIN { 0 } else { self.remember_whole(first, run) };
            if count == 0 {
                self.remember(first);
            }
            (keys, run) = (&keys[count.max(1)..], run.get(count.max(1)..).unwrap_or_default());
        }
    }

    /// Adds as many keys as go into one chunk together; how many those are. None when it is not as simple as that.
    fn remember_whole(&mut self, first: &EventKey, run: &[(u64, Stamp)]) -> usize {
        let Kept::Record(record) = Kept::of(first) else { return 0 };
        if self.keys() + u64::from(FULL) > self.bounds.keys || self.is_at_bound() {
            return 0;
        }
        let count = self.runs.extend(record.name(), run, self.slices.newest());
        self.inserted += count as u64;
        count
    }

    /// A key that [`Table::claim`] added is durable now.
    pub(super) fn confirm(&mut self, key: &EventKey) {
        let newest = self.slices.newest();
        match Kept::of(key) {
            Kept::Hash(hash) => self.slots.confirm(hash, newest),
            Kept::Record(record) => {
                let Some(at) = self.find(&record) else { return };
                *self.runs.pending(at) -= 1;
                let entry = self.runs.entry_mut(at);
                entry.slice = newest;
                if entry.spilled && entry.stamp(record.record_id) != Some(record.stamp) {
                    self.slots.confirm(record.hash(), newest);
                }
            }
        }
    }

    /// A key that [`Table::claim`] added is forgotten.
    pub(super) fn release(&mut self, key: &EventKey) {
        self.release_kept(Kept::of(key));
    }

    fn release_kept(&mut self, kept: Kept) {
        match kept {
            Kept::Hash(hash) => self.slots.remove(hash),
            Kept::Record(record) => {
                let Some(at) = self.find(&record) else { return };
                *self.runs.pending(at) -= 1;
                if self.runs.entry(at).stamp(record.record_id) == Some(record.stamp) {
                    self.runs.remove(at, record.record_id);
                } else {
                    self.slots.remove(record.hash());
                }
                self.runs.remove_if_useless(at);
            }
        }
    }

    /// A durable key is forgotten, as if it were the last of a claim that is released. What an older version kept of its
    /// record stands for every event id, and is forgotten with it.
    pub(super) fn forget(&mut self, key: &EventKey) {
        let kept = Kept::of(key);
        self.forget_kept(kept);
        if let Kept::Record(record) = kept {
            self.forget_kept(Kept::Record(record.of_any_id()));
        }
    }

    fn forget_kept(&mut self, kept: Kept) {
        if !self.is_known(&kept) {
            return;
        }
        if let Kept::Record(record) = kept
            && let Some(at) = self.find(&record)
        {
            *self.runs.pending(at) += 1;
        }
        self.release_kept(kept);
    }

    fn put(&mut self, kept: Kept, pending: bool) -> Found {
        if self.is_at_bound() && !self.is_known(&kept) {
            self.evict();
        }
        let found = match kept {
            Kept::Hash(hash) => self.put_hash(hash, pending),
            Kept::Record(record) => self.put_record(&record, pending),
        };
        self.inserted += u64::from(found == Found::New);
        found
    }

    fn is_known(&mut self, kept: &Kept) -> bool {
        match kept {
            Kept::Hash(hash) => self.slots.seen(*hash) != Seen::No,
            Kept::Record(record) => self.knows(record),
        }
    }

    fn find(&mut self, record: &Record) -> Option<At> {
        self.runs.find(record.name(), record.record_id)
    }

    fn knows(&mut self, record: &Record) -> bool {
        let Some(at) = self.find(record) else { return false };
        let entry = self.runs.entry(at);
        entry.stamp(record.record_id) == Some(record.stamp)
            || (entry.spilled && self.slots.seen(record.hash()) != Seen::No)
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

    fn put_record(&mut self, record: &Record, pending: bool) -> Found {
        let (name, id, newest) = (record.name(), record.record_id, self.slices.newest());
        let at = self.runs.find(name, id).unwrap_or_else(|| self.runs.add(name, id, newest));
        let entry = self.runs.entry(at);
        let known = entry.stamp(id);
        if known == Some(record.stamp) {
            return if *self.runs.pending(at) == 0 { Found::Durable } else { Found::PerhapsPending };
        }
        if entry.spilled || known.is_some() {
            let hash = record.hash();
            let seen = self.slots.seen(hash);
            if seen != Seen::No || known.is_some() {
                return self.put_spilled(at, hash, pending);
            }
        }
        let at = self.runs.insert(at, id, record.stamp, newest);
        self.touch(at, pending);
        Found::New
    }

    fn put_spilled(&mut self, at: At, hash: u128, pending: bool) -> Found {
        let found = self.put_hash(hash, pending);
        if found == Found::New {
            self.runs.entry_mut(at).spilled = true;
            self.touch(at, pending);
        }
        found
    }

    fn touch(&mut self, at: At, pending: bool) {
        self.runs.entry_mut(at).slice = self.slices.newest();
        if pending {
            *self.runs.pending(at) += 1;
        }
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

/// Whether two keys are of one stream, the first below the second.
fn are_in_order(one: &EventKey, other: &EventKey) -> bool {
    match (Kept::of(one), Kept::of(other)) {
        (Kept::Record(one), Kept::Record(other)) => one.name() == other.name() && one.record_id < other.record_id,
        (Kept::Hash(_), _) | (_, Kept::Hash(_)) => false,
    }
}
