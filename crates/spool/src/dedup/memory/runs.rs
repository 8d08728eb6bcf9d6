//! Keys with record ids: they come in runs, so neighbours of a stream share a chunk (`stream.rs`).
//!
//! A chunk knows one stamp for a record id. When a log was cleared and its ids come again with other seconds, or another host
//! of the same name has the same id in the same second, those keys are kept elsewhere, as hashes; the chunk is then marked
//! [`Entry::spilled`] and lives at least as long as they do, so that a key of a chunk that is not marked needs one look only.

use super::blocks::Blocks;
use super::probing::{Item, Probing};
use super::slices::{Code, Slices};
use super::stamp::Stamp;
use super::stream::{Entry, Name, Stream, Tally};

/// A place in the list of streams, with 32 bits of the name's hash above it. Zero is free.
#[derive(Debug, Clone, Copy)]
struct Pointer(u64);

impl Pointer {
    fn new(hash: u32, at: usize) -> Self {
        Self(u64::from(hash) << 32 | (at as u64 + 1))
    }

    fn at(self) -> usize {
        (self.0 as u32 - 1) as usize
    }
}

impl Item for Pointer {
    const FREE: Self = Self(0);

    fn is_free(&self) -> bool {
        self.0 == 0
    }

    fn hash(&self) -> u64 {
        self.0 & !0xFFFF_FFFF
    }
}

/// Where a chunk is, until one is added or goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    stream: usize,
    block: usize,
}

#[derive(Debug)]
pub(super) struct Runs {
    index: Probing<Pointer>,
    streams: Vec<Stream>,
    tally: Tally,
    /// Streams of keys of any id.
    of_any_id: usize,
    /// The most chunks that a stream has had.
    longest: usize,
    /// The stream found last: batches are runs, so it is mostly the next one as well.
    last: usize,
}

impl Runs {
    pub(super) fn new() -> Self {
        Self { index: Probing::new(), streams: Vec::new(), tally: Tally::default(), of_any_id: 0, longest: 0, last: 0 }
    }

    pub(super) fn keys(&self) -> u64 {
        self.tally.keys
    }

    pub(super) fn bytes(&self) -> usize {
        self.index.bytes() + self.streams.capacity() * size_of::<Stream>() + self.tally.heap_bytes
    }

    /// How many bytes the tables add at most when the next chunk is new.
    pub(super) fn growth_bytes(&self) -> usize {
        let streams = if self.streams.len() == self.streams.capacity() { self.streams_growth() } else { 0 };
        let of_a_stream = Blocks::growth_bytes(self.longest);
        self.index.growth_bytes() + streams * size_of::<Stream>() + of_a_stream
    }

    /// Whether any keys are left that an older version kept without event ids.
    pub(super) fn has_any_id(&self) -> bool {
        self.of_any_id > 0
    }

    /// In whose stretch a record id is, if there is any of its stream.
    pub(super) fn find(&mut self, name: Name, record_id: u64) -> Option<At> {
        if self.streams.get(self.last).is_none_or(|stream| stream.name != name) {
            self.last = self.index.at(self.place(name)?).at();
        }
        Some(At { stream: self.last, block: self.streams[self.last].block_of(record_id) })
    }

    pub(super) fn entry(&self, at: At) -> &Entry {
        &self.streams[at.stream].entries()[at.block]
    }

    pub(super) fn entry_mut(&mut self, at: At) -> &mut Entry {
        self.streams[at.stream].entry_mut(at.block)
    }

    /// Adds an empty chunk for a stream that has none.
    pub(super) fn add(&mut self, name: Name, record_id: u64, slice: Code) -> At {
        if self.streams.len() == self.streams.capacity() {
            self.streams.reserve_exact(self.streams_growth());
        }
        let at = self.streams.len();
        self.streams.push(Stream::new(name, record_id, slice));
        self.index.insert(Pointer::new(name.hash(), at));
        self.of_any_id += usize::from(name.is_of_any_id());
        self.last = at;
        At { stream: at, block: 0 }
    }

    /// Counts the keys of a chunk whose claims have not ended.
    pub(super) fn pending(&mut self, at: At) -> &mut u32 {
        self.streams[at.stream].pending(at.block)
    }

    /// Adds a key that is in the stretch of this chunk, and not there; where it is now.
    pub(super) fn insert(&mut self, at: At, record_id: u64, stamp: Stamp, slice: Code) -> At {
        let at = self.room_for(record_id, at, slice);
        self.streams[at.stream].insert(at.block, record_id, stamp, &mut self.tally);
        at
    }

    /// Adds durable keys of a stream that come in order, as many as go into one chunk behind all that it has; how many those are.
    /// None where it is not as simple as that.
    pub(super) fn extend(&mut self, name: Name, keys: &[(u64, Stamp)], slice: Code) -> usize {
        let Some((first, _)) = keys.first() else { return 0 };
        let at = match self.find(name, *first) {
            Some(at) if self.entry(at).stamp(*first).is_some() => return 0,
            Some(at) => self.room_for(*first, at, slice),
            None => self.add(name, *first, slice),
        };
        let count = self.streams[at.stream].extend(at.block, keys, &mut self.tally);
        if count > 0 {
            self.entry_mut(at).slice = slice;
        }
        count
    }

    fn room_for(&mut self, record_id: u64, at: At, slice: Code) -> At {
        let stream = &mut self.streams[at.stream];
        let block = stream.room_for(record_id, at.block, slice, &mut self.tally);
        self.longest = self.longest.max(stream.entries().len());
        At { block, ..at }
    }

    pub(super) fn remove(&mut self, at: At, record_id: u64) {
        self.streams[at.stream].remove(at.block, record_id, &mut self.tally);
    }

    /// Lets a chunk go that serves nothing any more.
    pub(super) fn remove_if_useless(&mut self, at: At) {
        if !self.streams[at.stream].remove_if_useless(at.block, &mut self.tally) {
            self.remove_stream(at.stream);
        }
    }

    /// Removes the chunks that only the oldest `count` slices touched; returns how many keys went.
    pub(super) fn sweep(&mut self, slices: &Slices, count: usize) -> u64 {
        let before = self.tally.keys;
        let stays = |entry: &mut Entry, is_held: bool| {
            let old = slices.position(entry.slice) < count;
            if old && is_held {
                // The code of its slice will be given to another one; the end of the claim may leave it as it is.
                entry.slice = slices.newest();
            }
            !old || is_held
        };
        let (mut at, mut longest) = (0, 0);
        while at < self.streams.len() {
            if self.streams[at].retain(&mut self.tally, stays) {
                longest = longest.max(self.streams[at].entries().len());
                at += 1;
            } else {
                self.remove_stream(at);
            }
        }
        self.longest = longest;
        self.shrink();
        before - self.tally.keys
    }

    /// Settles the chunks that began long ago.
    pub(super) fn settle_old(&mut self, slices: &Slices) {
        for stream in &mut self.streams {
            stream.settle_old(slices, &mut self.tally);
        }
    }

    /// Adds to `keys[i]` the number of keys whose chunk was last touched in the i-th oldest slice.
    pub(super) fn count(&self, slices: &Slices, keys: &mut [u64]) {
        for entry in self.streams.iter().flat_map(Stream::free_entries) {
            keys[slices.position(entry.slice)] += u64::from(entry.len());
        }
    }

    fn place(&self, name: Name) -> Option<usize> {
        let hash = name.hash();
        let tag = u64::from(hash) << 32;
        self.index.find(tag, |pointer| pointer.hash() == tag && self.streams[pointer.at()].name == name)
    }

    /// Removes a stream without chunks; the last one takes its place.
    fn remove_stream(&mut self, at: usize) {
        let moved = self.streams.len() - 1;
        if let Some(place) = self.place(self.streams[at].name) {
            self.index.remove(place);
        }
        if moved != at {
            let name = self.streams[moved].name;
            if let Some(place) = self.place(name) {
                self.index.set(place, Pointer::new(name.hash(), at));
            }
        }
        let gone = self.streams.swap_remove(at);
        self.of_any_id -= usize::from(gone.name.is_of_any_id());
    }

    fn streams_growth(&self) -> usize {
        (self.streams.len() / 8).max(4)
    }

    fn shrink(&mut self) {
        self.index.shrink();
        if self.streams.len() * 10 < self.streams.capacity() * 6 {
            self.streams.shrink_to(self.streams.len() * 9 / 8);
        }
    }
}
