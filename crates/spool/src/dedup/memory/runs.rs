//! Keys with record ids: they come in runs, so 256 neighbours of a stream share one [`Chunk`].
//!
//! A chunk knows one stamp for a record id. When a log was cleared and its ids come again with other seconds, or another host
//! of the same name has the same id in the same second, those keys are kept elsewhere, as hashes; the chunk is then marked
//! [`Entry::spilled`] and lives at least as long as they do, so that a key of a chunk that is not marked needs one look only.

use super::chunk::{Chunk, Stamp};
use super::probing::{Item, Probing};
use super::record::Kind;
use super::slices::{Code, Slices};

/// Which chunk: the stream, the kind of the keys and the upper bits of the record id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page {
    stream: [u64; 2],
    /// The kind, above the 56 upper bits of the record id.
    page: u64,
}

const KIND_SHIFT: u32 = 56;

impl Page {
    pub(super) fn of(stream: u128, record_id: u64, kind: Kind) -> Self {
        let page = (kind as u64) << KIND_SHIFT | record_id >> 8;
        Self { stream: [stream as u64, (stream >> 64) as u64], page }
    }

    fn is_of_any_id(self) -> bool {
        self.page >> KIND_SHIFT == Kind::Any as u64
    }

    /// The stream is a keyed hash, so nobody outside can choose pages that meet in one place.
    fn hash(&self) -> u32 {
        let odd = (self.stream[1] ^ 0x9E37_79B9_7F4A_7C15) | 1;
        let product = u128::from(self.stream[0] ^ self.page.rotate_left(20)) * u128::from(odd);
        (((product >> 64) as u64 ^ product as u64) >> 32) as u32
    }
}

/// A chunk and its state in the table.
#[derive(Debug)]
pub(super) struct Entry {
    page: Page,
    pub(super) chunk: Chunk,
    /// Keys of claims in flight: in the chunk, or spilled from it. Such a chunk never goes.
    pub(super) pending: u32,
    /// The newest slice that touched it.
    pub(super) slice: Code,
    /// Whether keys of this page are kept elsewhere.
    pub(super) spilled: bool,
}

/// A place in the list of entries, with 32 bits of the page's hash above it. Zero is free.
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

#[derive(Debug)]
pub(super) struct Runs {
    index: Probing<Pointer>,
    entries: Vec<Entry>,
    keys: u64,
    heap_bytes: usize,
    /// Entries of keys of any id.
    of_any_id: usize,
    /// The entry found last: batches are runs, so it is mostly the next one as well.
    last: usize,
}

impl Runs {
    pub(super) fn new() -> Self {
        Self { index: Probing::new(), entries: Vec::new(), keys: 0, heap_bytes: 0, of_any_id: 0, last: 0 }
    }

    pub(super) fn keys(&self) -> u64 {
        self.keys
    }

    pub(super) fn bytes(&self) -> usize {
        self.index.bytes() + self.entries.capacity() * size_of::<Entry>() + self.heap_bytes
    }

    /// How many bytes the tables add when the next chunk is new.
    pub(super) fn growth_bytes(&self) -> usize {
        let entries = if self.entries.len() == self.entries.capacity() { self.entries_growth() } else { 0 };
        self.index.growth_bytes() + entries * size_of::<Entry>()
    }

    /// Whether any keys are left that an older version kept without event ids.
    pub(super) fn has_any_id(&self) -> bool {
        self.of_any_id > 0
    }

    pub(super) fn find(&mut self, page: Page) -> Option<usize> {
        if self.entries.get(self.last).is_some_and(|entry| entry.page == page) {
            return Some(self.last);
        }
        let at = self.index.at(self.place(page)?).at();
        self.last = at;
        Some(at)
    }

    pub(super) fn entry(&self, at: usize) -> &Entry {
        &self.entries[at]
    }

    pub(super) fn entry_mut(&mut self, at: usize) -> &mut Entry {
        &mut self.entries[at]
    }

    /// Adds an empty chunk for a page that has none.
    pub(super) fn add(&mut self, page: Page, slice: Code) -> usize {
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact(self.entries_growth());
        }
        let at = self.entries.len();
        self.entries.push(Entry { page, chunk: Chunk::new(), pending: 0, slice, spilled: false });
        self.index.insert(Pointer::new(page.hash(), at));
        self.of_any_id += usize::from(page.is_of_any_id());
        self.last = at;
        at
    }

    pub(super) fn insert(&mut self, at: usize, id: u8, stamp: Stamp) {
        let chunk = &mut self.entries[at].chunk;
        let before = chunk.heap_bytes();
        chunk.insert(id, stamp);
        self.heap_bytes = self.heap_bytes + chunk.heap_bytes() - before;
        self.keys += 1;
    }

    /// Puts a chunk in the place of one that holds no more than it.
    pub(super) fn put(&mut self, at: usize, chunk: Chunk) {
        let (more, bytes) = (chunk.len(), chunk.heap_bytes());
        let before = std::mem::replace(&mut self.entries[at].chunk, chunk);
        self.keys += u64::from(more - before.len());
        self.heap_bytes = self.heap_bytes + bytes - before.heap_bytes();
    }

    pub(super) fn remove(&mut self, at: usize, id: u8) {
        let chunk = &mut self.entries[at].chunk;
        let before = chunk.heap_bytes();
        chunk.remove(id);
        self.heap_bytes = self.heap_bytes + chunk.heap_bytes() - before;
        self.keys -= 1;
    }

    /// Lets a chunk go that serves nothing any more.
    pub(super) fn remove_if_useless(&mut self, at: usize) {
        let entry = &self.entries[at];
        if entry.chunk.len() == 0 && entry.pending == 0 && !entry.spilled {
            self.remove_entry(at);
        }
    }

    /// Removes the chunks that only the oldest `count` slices touched; returns how many keys went.
    pub(super) fn sweep(&mut self, slices: &Slices, count: usize) -> u64 {
        let before = self.keys;
        let mut at = 0;
        while at < self.entries.len() {
            let entry = &mut self.entries[at];
            let old = slices.position(entry.slice) < count;
            if old && entry.pending == 0 {
                self.remove_entry(at);
                continue;
            }
            if old {
                // The code of its slice will be given to another one; the end of the claim may leave it as it is.
                entry.slice = slices.newest();
            }
            at += 1;
        }
        self.shrink();
        before - self.keys
    }

    /// Adds to `keys[i]` the number of keys whose chunk was last touched in the i-th oldest slice.
    pub(super) fn count(&self, slices: &Slices, keys: &mut [u64]) {
        for entry in self.entries.iter().filter(|entry| entry.pending == 0) {
            keys[slices.position(entry.slice)] += u64::from(entry.chunk.len());
        }
    }

    fn place(&self, page: Page) -> Option<usize> {
        let hash = page.hash();
        let tag = u64::from(hash) << 32;
        self.index.find(tag, |pointer| pointer.hash() == tag && self.entries[pointer.at()].page == page)
    }

    /// Removes an entry; the last one takes its place.
    fn remove_entry(&mut self, at: usize) {
        let moved = self.entries.len() - 1;
        if let Some(place) = self.place(self.entries[at].page) {
            self.index.remove(place);
        }
        if moved != at {
            let page = self.entries[moved].page;
            if let Some(place) = self.place(page) {
                self.index.set(place, Pointer::new(page.hash(), at));
            }
        }
        let gone = self.entries.swap_remove(at);
        self.of_any_id -= usize::from(gone.page.is_of_any_id());
        self.keys -= u64::from(gone.chunk.len());
        self.heap_bytes -= gone.chunk.heap_bytes();
    }

    fn entries_growth(&self) -> usize {
        (self.entries.len() * 3 / 10).max(16)
    }

    fn shrink(&mut self) {
        self.index.shrink();
        if self.entries.len() * 10 < self.entries.capacity() * 4 {
            self.entries.shrink_to(self.entries.len() * 20 / 13);
        }
    }
}
