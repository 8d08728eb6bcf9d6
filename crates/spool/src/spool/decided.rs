//! Which items of the log are decided: outputs may read these, and no others.
//!
//! Where several gateways share what they have seen, an item that is durable here may be another gateway's to forward. Until
//! that is known it is undecided, and no output may have it. Once an item was won it is won for good, whatever is said later: it
//! may be on its way. An item that another gateway has won is dropped: outputs pass over it.
//!
//! Decisions are noted in a journal, written but not synced one by one. What a power cut takes of it is undecided again, and is
//! asked again with the same answer. Without the journal everything that is kept counts as taken alone: it is forwarded, for this
//! gateway could not tell its own confirmations from those of others any more.

use parking_lot::{Mutex, MutexGuard};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;

use super::cursor::ranges::Ranges;
use super::{LogId, Ordinal};
use crate::fs::{self, Access, File, Fs};

const ENTRY_LEN: usize = 24;
/// From this length on the journal is written anew with what still matters, and again when it has doubled since.
const COMPACT_AT: u64 = 1 << 20;
/// More than any journal that is written anew in time; a longer one counts as damaged.
const FILE_MAX: u64 = 256 << 20;
const MAGIC: u64 = u64::from_le_bytes(*b"GPdecid1");

/// What was decided of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is this gateway's.
    Won,
    /// Nobody could be asked: it is forwarded, and others are to be told later.
    Alone,
    /// It is another gateway's.
    Dropped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    /// The first one: which log, and which gateway this is.
    Begin(u64, u64),
    Decided(Decision, Ordinal, Ordinal),
    /// The engine's identity, and the first item that was not taken under an older one.
    Engine(u64, Ordinal),
}

impl Entry {
    fn encode(self) -> [u8; ENTRY_LEN] {
        let (kind, a, b) = match self {
            Self::Begin(log, gateway) => (1, log, gateway),
            Self::Decided(Decision::Won, first, until) => (2, first, until),
            Self::Decided(Decision::Alone, first, until) => (3, first, until),
            Self::Decided(Decision::Dropped, first, until) => (4, first, until),
            Self::Engine(identity, first) => (5, identity, first),
        };
        let mut bytes = [0; ENTRY_LEN];
        bytes[0] = kind;
        bytes[4..12].copy_from_slice(&u64::to_le_bytes(a));
        bytes[12..20].copy_from_slice(&u64::to_le_bytes(b));
        let sum = crc32fast::hash(&[&bytes[..20], &MAGIC.to_le_bytes()].concat());
        bytes[20..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; ENTRY_LEN]) -> Option<Self> {
        let word = |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().expect("an entry is longer"));
        let (a, b) = (word(4), word(12));
        let entry = match bytes[0] {
            1 => Self::Begin(a, b),
            2 => Self::Decided(Decision::Won, a, b),
            3 => Self::Decided(Decision::Alone, a, b),
            4 => Self::Decided(Decision::Dropped, a, b),
            5 => Self::Engine(a, b),
            _ => return None,
        };
        (entry.encode() == *bytes).then_some(entry)
    }
}

#[derive(Debug, Default)]
struct State {
    log: u64,
    gateway: u64,
    /// Everything that is decided, however; below `low` all is.
    decided: Ranges,
    alone: Ranges,
    dropped: Ranges,
    engine: u64,
    engine_since: Ordinal,
    low: Ordinal,
}

impl State {
    fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Begin(log, gateway) => (self.log, self.gateway) = (log, gateway),
            Entry::Engine(identity, first) => (self.engine, self.engine_since) = (identity, first),
            Entry::Decided(decision, first, until) => self.decide(decision, first..until),
        }
    }

    /// What was won stays won. What was taken alone may be won later.
    fn decide(&mut self, decision: Decision, range: Range<Ordinal>) {
        match decision {
            Decision::Won => self.alone.remove(range.clone()),
            Decision::Alone => self.decided.gaps(range.clone()).for_each(|gap| self.alone.join(gap)),
            Decision::Dropped => self.decided.gaps(range.clone()).for_each(|gap| self.dropped.join(gap)),
        }
        self.decided.join(range);
    }

    fn entries(&self) -> Vec<Entry> {
        let mut entries = vec![Entry::Begin(self.log, self.gateway), Entry::Engine(self.engine, self.engine_since)];
        let of = |decision, ranges: &Ranges| {
            ranges.iter().map(move |range| Entry::Decided(decision, range.start, range.end)).collect::<Vec<_>>()
        };
        entries.extend(of(Decision::Alone, &self.alone));
        entries.extend(of(Decision::Dropped, &self.dropped));
        // What is decided and neither alone nor dropped.
        let mut others = self.alone.clone();
        self.dropped.iter().for_each(|range| others.join(range));
        let won = self.decided.iter().flat_map(|range| others.gaps(range));
        entries.extend(won.map(|gap| Entry::Decided(Decision::Won, gap.start, gap.end)));
        entries
    }
}

/// The decisions about a log.
#[derive(Debug)]
pub struct Decided {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    inner: Mutex<Inner>,
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct Inner {
    state: State,
    file: Option<Arc<dyn File>>,
    end: u64,
    /// From which length on it is written anew.
    compact_at: u64,
    is_synced: bool,
}

/// What was found when decisions were opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// They were there.
    Found,
    /// There were none yet.
    New,
    /// They could not be read, or are those of another log.
    Lost,
}

impl Decided {
    /// Opens the decisions about the items `kept` of this log.
    pub fn open(fs: Arc<dyn Fs>, path: &Path, log: LogId, kept: Range<Ordinal>) -> io::Result<(Self, Opened)> {
        let (state, opened) = match fs::read(&*fs, path, FILE_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => (None, Opened::New),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => (None, Opened::Lost),
            Err(error) => return Err(error),
            Ok(bytes) => match replay(&bytes).filter(|state| state.log == log.number()) {
                Some(state) => (Some(state), Opened::Found),
                None => (None, Opened::Lost),
            },
        };
        let mut state = state.unwrap_or_else(|| {
            let gateway = fastrand::u64(..) & ((1 << 48) - 1);
            let mut state = State { log: log.number(), gateway, engine_since: kept.end, ..State::default() };
            state.decide(Decision::Alone, kept.clone());
            state
        });
        state.low = kept.start;
        let inner = Inner { state, file: None, end: 0, compact_at: COMPACT_AT, is_synced: false };
        let this = Self { fs, path: path.to_owned(), inner: Mutex::new(inner), changes: watch::Sender::new(0) };
        this.inner().write_anew(&*this.fs, &this.path)?;
        Ok((this, opened))
    }

    /// Which gateway this is: 48 random bits, made with the journal.
    pub fn gateway(&self) -> u64 {
        self.inner().state.gateway
    }

    /// What of a record is dropped; `None` while some of it is undecided.
    pub fn dropped_of(&self, record: Range<Ordinal>) -> Option<Vec<Range<Ordinal>>> {
        let inner = self.inner();
        let state = &inner.state;
        if state.decided.gaps(record.start.max(state.low)..record.end).next().is_some() {
            return None;
        }
        if state.dropped.overlap(&record) == 0 {
            return Some(Vec::new());
        }
        Some(state.dropped.within(&record).collect())
    }

    /// What below this end is undecided.
    pub fn undecided(&self, end: Ordinal) -> Vec<Range<Ordinal>> {
        let inner = self.inner();
        inner.state.decided.gaps(inner.state.low..end).collect()
    }

    /// What was taken alone, and others do not know yet.
    pub fn alone(&self) -> Vec<Range<Ordinal>> {
        self.inner().state.alone.iter().collect()
    }

    /// Notes a decision. It holds even where it cannot be written; a restart asks again.
    pub fn decide(&self, decision: Decision, range: Range<Ordinal>) {
        if range.is_empty() {
            return;
        }
        self.note(Entry::Decided(decision, range.start, range.end));
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Notes of a record which of its items are another gateway's; the rest is this one's. Each is noted for itself, so that of
    /// what is damaged later nothing else is said.
    pub fn settle(&self, record: Range<Ordinal>, theirs: &[Range<Ordinal>]) {
        let mut dropped = Ranges::default();
        theirs.iter().for_each(|range| dropped.join(range.start.max(record.start)..range.end.min(record.end)));
        dropped.iter().for_each(|range| self.decide(Decision::Dropped, range));
        let mut open = Ranges::default();
        {
            let state = &self.inner().state;
            state.decided.gaps(record.clone()).for_each(|gap| open.join(gap));
            state.alone.within(&record).for_each(|range| open.join(range));
        }
        dropped.iter().for_each(|range| open.remove(range));
        open.iter().for_each(|range| self.decide(Decision::Won, range));
    }

    /// The identity that the engine had last, and the first item that was not taken under an older one.
    pub fn engine(&self) -> (u64, Ordinal) {
        let inner = self.inner();
        (inner.state.engine, inner.state.engine_since)
    }

    /// The engine is another one from this item on.
    pub fn engine_changed(&self, identity: u64, first: Ordinal) {
        self.note(Entry::Engine(identity, first));
    }

    /// Changes with every decision.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Makes what was noted durable, and lets go what is about items below `first`, which the log no longer has.
    pub fn keep(&self, first: Ordinal) -> io::Result<()> {
        let mut inner = self.inner();
        inner.state.low = inner.state.low.max(first);
        if inner.end >= inner.compact_at || inner.file.is_none() {
            let state = &mut inner.state;
            // What was taken alone stays until others know it, also when the log has it no more.
            state.decided.remove(0..first);
            state.dropped.remove(0..first);
            return inner.write_anew(&*self.fs, &self.path);
        }
        let file = inner.file.clone().filter(|_| !inner.is_synced);
        inner.is_synced = true;
        drop(inner);
        match file.map(|file| file.sync_data()) {
            Some(Err(error)) => {
                self.inner().file = None;
                Err(error)
            }
            _ => Ok(()),
        }
    }

    fn note(&self, entry: Entry) {
        let mut inner = self.inner();
        inner.state.apply(entry);
        inner.is_synced = false;
        let end = inner.end;
        if let Some(file) = &inner.file {
            match file.write_all_at(&entry.encode(), end) {
                Ok(()) => inner.end += ENTRY_LEN as u64,
                // It is written anew with the next that is kept.
                Err(error) => {
                    tracing::error!(%error, "decisions about events cannot be recorded; a restart would ask for them again");
                    inner.file = None;
                }
            }
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

impl Inner {
    fn write_anew(&mut self, fs: &dyn Fs, path: &Path) -> io::Result<()> {
        let bytes: Vec<u8> = self.state.entries().into_iter().flat_map(Entry::encode).collect();
        fs::replace(fs, path, &bytes, fs::Readers::Owner)?;
        self.file = Some(fs.open(path, Access::ReadWrite)?);
        (self.end, self.is_synced) = (bytes.len() as u64, true);
        self.compact_at = COMPACT_AT.max(self.end * 2);
        Ok(())
    }
}

/// What a journal says; `None` when its beginning is damaged. Another entry that is damaged says nothing: what it decided is
/// undecided.
fn replay(bytes: &[u8]) -> Option<State> {
    let (entries, _) = bytes.as_chunks::<ENTRY_LEN>();
    let mut entries = entries.iter().map(Entry::decode);
    let mut state = State::default();
    match entries.next()?? {
        begin @ Entry::Begin(..) => state.apply(begin),
        _ => return None,
    }
    entries.flatten().for_each(|entry| state.apply(entry));
    Some(state)
}

#[cfg(test)]
#[path = "decided_tests.rs"]
#[expect(clippy::single_range_in_vec_init, reason = "a list of ranges that happens to hold one")]
mod tests;
