//! The keys of one stream in chunks, each of which has a stretch of the record ids to itself.
//!
//! A stretch goes from the chunk's first record id to that of the next, however far that is: where a log comes whole, 512 keys are as
//! many neighbours, and where an event set keeps one of hundreds, they are spread over as much more. Keys come mostly behind all
//! others, and go into the last chunk until it is full. Those that come late go where they belong.
//!
//! A chunk counts its keys whose claims have not ended, but does not know which they are. When it is cut in two meanwhile, the lower
//! half counts for both ([`Entry::joined`]), until none are left.

use super::blocks::Blocks;
use super::chunk::{Chunk, MOST};
use super::record::Kind;
use super::slices::{Code, Slices};
use super::stamp::{FULL, Stamp};

/// Which stream, and which kind of its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Name {
    stream: [u64; 2],
    kind: Kind,
}

impl Name {
    pub(super) fn of(stream: u128, kind: Kind) -> Self {
        Self { stream: [stream as u64, (stream >> 64) as u64], kind }
    }

    pub(super) fn is_of_any_id(self) -> bool {
        self.kind == Kind::Any
    }

    /// The stream is a keyed hash, so nobody outside can choose streams that meet in one place.
    pub(super) fn hash(&self) -> u32 {
        let odd = (self.stream[1] ^ 0x9E37_79B9_7F4A_7C15) | 1;
        let product = u128::from(self.stream[0] ^ (self.kind as u64).rotate_left(20)) * u128::from(odd);
        (((product >> 64) as u64 ^ product as u64) >> 32) as u32
    }
}

/// What all streams take together.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) keys: u64,
    pub(super) heap_bytes: usize,
}

/// A chunk and its state in the table.
#[derive(Debug)]
pub(super) struct Entry {
    /// Where its stretch begins, and what its ids are counted from.
    first: u64,
    /// How far above `first` its ids have ever reached, those included that are kept elsewhere.
    span: u32,
    /// Keys of claims in flight: in the chunk, or spilled from it, or in those that are joined to it. Such a chunk never goes.
    pending: u32,
    /// Whether its keys of claims in flight are counted by the chunk below.
    joined: bool,
    /// The newest slice that touched it.
    pub(super) slice: Code,
    /// The slice in which it began.
    born: Code,
    /// Whether keys of its stretch are kept elsewhere.
    pub(super) spilled: bool,
    /// Whether it gets no more keys behind those that it has.
    settled: bool,
    chunk: Chunk,
}

impl Entry {
    fn new(record_id: u64, slice: Code) -> Self {
        let chunk = Chunk::new();
        let (spilled, settled, joined) = (false, false, false);
        Self { first: record_id, span: 0, pending: 0, joined, slice, born: slice, spilled, settled, chunk }
    }

    /// The stamp of a record id, if it is there.
    pub(super) fn stamp(&self, record_id: u64) -> Option<Stamp> {
        self.chunk.stamp(self.offset(record_id)?)
    }

    pub(super) fn len(&self) -> u16 {
        self.chunk.len()
    }

    /// The highest record id that it ever had.
    fn end(&self) -> u64 {
        self.first + u64::from(self.span)
    }

    fn offset(&self, record_id: u64) -> Option<u32> {
        u32::try_from(record_id.checked_sub(self.first)?).ok()
    }

    fn grows(&self) -> bool {
        !self.settled && self.len() < FULL
    }

    /// Makes the stretch begin at or below a record id that is under it, but above what is below; whether it can. It goes down
    /// twice as far as it must: a log that is read backwards does not move it with every key.
    fn reach_down(&mut self, record_id: u64, below: u64) -> bool {
        let end = self.end();
        let Ok(needed) = u32::try_from(end - record_id) else { return false };
        let first = end.saturating_sub(u64::from(needed.saturating_mul(2))).max(below);
        let by = (self.first - first) as u32;
        let moved: Vec<_> = self.chunk.stamps().into_iter().map(|(id, stamp)| (id + by, stamp)).collect();
        (self.first, self.span, self.chunk) = (first, self.span + by, Chunk::of(&moved));
        true
    }

    /// Nothing comes behind its keys any more: it takes as little as it can.
    fn settle(&mut self) {
        self.settled = true;
        if matches!(self.chunk, Chunk::Sealed(_)) || self.chunk.heap_bytes() == 0 {
            return;
        }
        let mut stamps = self.chunk.stamps();
        if let (Some((lowest, _)), Some((highest, _)), false) = (stamps.first(), stamps.last(), self.spilled) {
            let by = *lowest;
            (self.first, self.span) = (self.first + u64::from(by), highest - by);
            stamps.iter_mut().for_each(|(id, _)| *id -= by);
        }
        if !stamps.is_empty() {
            self.chunk = Chunk::smallest_of(&stamps);
        }
    }

    /// Whether it is to get no more keys: its oldest must not wait for its newest for ever, and what is idle is kept small.
    fn is_old(&self, slices: &Slices) -> bool {
        slices.is_long_ago(self.born) || (self.len() >= FULL / 2 && slices.is_idle(self.slice))
    }

    /// Cuts off the upper half.
    fn split(&mut self) -> Self {
        let mut stamps = self.chunk.stamps();
        let mut upper = stamps.split_off(stamps.len() / 2);
        let by = upper.first().map_or(self.span, |(id, _)| *id);
        upper.iter_mut().for_each(|(id, _)| *id -= by);
        let (first, span) = (self.first + u64::from(by), self.span - by);
        self.span = by - 1;
        self.chunk = Chunk::of(&stamps);
        self.settled = false;
        Self { first, span, chunk: Chunk::of(&upper), pending: 0, joined: true, ..*self }
    }
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) name: Name,
    blocks: Blocks,
    /// The chunk that was found last: keys come in runs, so it is mostly the next one as well.
    last: u32,
    /// Chunks that are not settled.
    unsettled: u32,
}

impl Stream {
    pub(super) fn new(name: Name, record_id: u64, slice: Code) -> Self {
        Self { name, blocks: Blocks::One(Entry::new(record_id, slice)), last: 0, unsettled: 1 }
    }

    pub(super) fn entries(&self) -> &[Entry] {
        self.blocks.as_ref()
    }

    /// The chunks of which claims hold no key.
    pub(super) fn free_entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries()
            .iter()
            .scan(false, |is_held, entry| {
                *is_held = entry.pending > 0 || (entry.joined && *is_held);
                Some((!*is_held).then_some(entry))
            })
            .flatten()
    }

    pub(super) fn entry_mut(&mut self, block: usize) -> &mut Entry {
        &mut self.blocks.as_mut()[block]
    }

    /// Counts the keys of a chunk whose claims have not ended.
    pub(super) fn pending(&mut self, block: usize) -> &mut u32 {
        let entries = self.blocks.as_mut();
        let mut counter = block;
        while entries[counter].joined {
            counter -= 1;
        }
        if counter < block && entries[counter].pending == 0 {
            entries[block].joined = false;
            counter = block;
        }
        &mut entries[counter].pending
    }

    /// In whose stretch a record id is; what is below all of them is the lowest one's.
    pub(super) fn block_of(&mut self, record_id: u64) -> usize {
        let entries = self.entries();
        let is_in = |block: usize| {
            let begins = block == 0 || entries.get(block).is_some_and(|entry| entry.first <= record_id);
            begins && entries.get(block + 1).is_none_or(|next| record_id < next.first)
        };
        let last = self.last as usize;
        let found = [last, last + 1].into_iter().find(|block| is_in(*block));
        let block =
            found.unwrap_or_else(|| entries.partition_point(|entry| entry.first <= record_id).saturating_sub(1));
        self.last = block as u32;
        block
    }

    /// The chunk that takes a record id of this one's stretch, made where there is none with room.
    pub(super) fn room_for(&mut self, record_id: u64, block: usize, slice: Code, tally: &mut Tally) -> usize {
        let entry = &self.entries()[block];
        let found = if record_id > entry.end() {
            self.room_behind(record_id, block, slice, tally)
        } else if record_id < entry.first {
            self.room_below(record_id, block, slice, tally)
        } else if entry.len() < MOST {
            block
        } else {
            self.split(record_id, block, tally)
        };
        self.last = found as u32;
        found
    }

    fn room_behind(&mut self, record_id: u64, block: usize, slice: Code, tally: &mut Tally) -> usize {
        let entry = &self.entries()[block];
        if entry.grows() && entry.offset(record_id).is_some() {
            return block;
        }
        if entry.len() >= FULL {
            self.settle(block, tally);
        }
        if block + 1 < self.entries().len() {
            return self.room_below(record_id, block + 1, slice, tally);
        }
        self.add(block + 1, Entry::new(record_id, slice), tally)
    }

    /// Room for a record id below the stretch of a chunk, and above all keys of the one below.
    fn room_below(&mut self, record_id: u64, block: usize, slice: Code, tally: &mut Tally) -> usize {
        let below = block.checked_sub(1).map_or(0, |below| self.entries()[below].end() + 1);
        let entry = &self.entries()[block];
        if entry.grows() && self.changed(block, tally, |entry| entry.reach_down(record_id, below)) {
            return block;
        }
        if self.entries()[block].len() >= FULL {
            self.settle(block, tally);
        }
        self.add(block, Entry::new(record_id, slice), tally)
    }

    fn split(&mut self, record_id: u64, block: usize, tally: &mut Tally) -> usize {
        self.unsettle(block);
        let joined = *self.pending(block) > 0;
        let upper = Entry { joined, ..self.changed(block, tally, Entry::split) };
        let is_above = record_id >= upper.first;
        tally.heap_bytes += upper.chunk.heap_bytes();
        tally.keys += u64::from(upper.len());
        self.add(block + 1, upper, tally);
        block + usize::from(is_above)
    }

    fn add(&mut self, at: usize, entry: Entry, tally: &mut Tally) -> usize {
        let before = self.blocks.heap_bytes();
        // What is joined to the chunk below the new one is joined to it through the new one.
        let joined = entry.joined || self.entries().get(at).is_some_and(|above| above.joined);
        self.blocks.insert(at, Entry { joined, ..entry });
        tally.heap_bytes = tally.heap_bytes + self.blocks.heap_bytes() - before;
        self.unsettled += 1;
        at
    }

    /// Adds a key that is not there to a chunk that has room for it.
    pub(super) fn insert(&mut self, block: usize, record_id: u64, stamp: Stamp, tally: &mut Tally) {
        self.unsettle(block);
        self.changed(block, tally, |entry| {
            let Some(offset) = entry.offset(record_id) else { return };
            entry.span = entry.span.max(offset);
            entry.chunk.insert(offset, stamp);
        });
    }

    /// Adds keys in order to a chunk that has none as high as they, as many as it takes; how many those are.
    pub(super) fn extend(&mut self, block: usize, keys: &[(u64, Stamp)], tally: &mut Tally) -> usize {
        let entry = &self.entries()[block];
        let is_new = entry.len() == 0 && !entry.spilled;
        if !is_new && keys.first().is_none_or(|(id, _)| *id <= entry.end()) {
            return 0;
        }
        let room = usize::from(FULL.saturating_sub(entry.len()));
        let limit = self.entries().get(block + 1).map(|next| next.first);
        let fits = keys.iter().take(room).take_while(|(id, _)| limit.is_none_or(|limit| *id < limit));
        let more: Vec<_> = fits.map_while(|(id, stamp)| Some((entry.offset(*id)?, *stamp))).collect();
        let Some((last, _)) = more.last() else { return 0 };
        let len = self.changed(block, tally, |entry| {
            entry.span = entry.span.max(*last);
            entry.chunk.extend(&more);
            entry.len()
        });
        if len >= FULL {
            self.settle(block, tally);
        }
        more.len()
    }

    pub(super) fn remove(&mut self, block: usize, record_id: u64, tally: &mut Tally) {
        self.unsettle(block);
        self.changed(block, tally, |entry| {
            if let Some(offset) = entry.offset(record_id) {
                entry.chunk.remove(offset);
            }
        });
    }

    /// Lets a chunk go that serves nothing any more; whether any are left.
    pub(super) fn remove_if_useless(&mut self, block: usize, tally: &mut Tally) -> bool {
        let is_useless = *self.pending(block) == 0 && {
            let entry = &self.entries()[block];
            entry.len() == 0 && !entry.spilled
        };
        let mut at = 0;
        !is_useless
            || self.retain(tally, |_, _| {
                at += 1;
                at != block + 1
            })
    }

    /// Lets go of the chunks that do not stay, and tells of each whether claims hold any of its keys; such a one has to stay.
    /// Whether any are left.
    pub(super) fn retain(&mut self, tally: &mut Tally, mut stays: impl FnMut(&mut Entry, bool) -> bool) -> bool {
        let before = self.blocks.heap_bytes();
        let (mut keys, mut bytes, mut unsettled) = (0, 0, 0);
        let (mut is_held, mut counter_is_gone) = (false, false);
        let is_left = self.blocks.retain(|entry| {
            entry.joined &= !counter_is_gone;
            is_held = entry.pending > 0 || (entry.joined && is_held);
            let stays = stays(entry, is_held);
            counter_is_gone = !stays && !entry.joined;
            if !stays {
                keys += u64::from(entry.len());
                bytes += entry.chunk.heap_bytes();
                unsettled += u32::from(!entry.settled);
            }
            stays
        });
        self.unsettled -= unsettled;
        tally.keys -= keys;
        let left = if is_left { self.blocks.heap_bytes() } else { 0 };
        tally.heap_bytes = tally.heap_bytes + left - before - bytes;
        is_left
    }

    /// Settles the chunks that are to get no more keys.
    pub(super) fn settle_old(&mut self, slices: &Slices, tally: &mut Tally) {
        let (mut left, mut block) = (self.unsettled, self.entries().len());
        while left > 0 && block > 0 {
            block -= 1;
            let entry = &self.entries()[block];
            left -= u32::from(!entry.settled);
            if entry.is_old(slices) {
                self.settle(block, tally);
            }
        }
    }

    fn settle(&mut self, block: usize, tally: &mut Tally) {
        if !self.entries()[block].settled {
            self.unsettled -= 1;
            self.changed(block, tally, Entry::settle);
        }
    }

    fn unsettle(&mut self, block: usize) {
        let entry = self.entry_mut(block);
        let was_settled = std::mem::take(&mut entry.settled);
        self.unsettled += u32::from(was_settled);
    }

    /// Changes a chunk and keeps count.
    fn changed<T>(&mut self, block: usize, tally: &mut Tally, change: impl FnOnce(&mut Entry) -> T) -> T {
        let entry = self.entry_mut(block);
        let (keys, bytes) = (entry.len(), entry.chunk.heap_bytes());
        let changed = change(entry);
        tally.keys = tally.keys + u64::from(entry.len()) - u64::from(keys);
        tally.heap_bytes = tally.heap_bytes + entry.chunk.heap_bytes() - bytes;
        changed
    }
}
