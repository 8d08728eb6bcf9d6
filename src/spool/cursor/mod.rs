//! The read position of one output: what is settled, what has been begun, and what happened to each item.
//!
//! A journal of small checksummed entries. An intent is written before a send, its settlement right after the outcome;
//! neither is synced, so a killed process loses nothing and a power cut only re-sends. Ranges settle in any order;
//! everything below [`Cursor::low`] is settled. Only what a [`Cursor::sync`] made durable may be released from the
//! spool ([`Cursor::durable_low`]).
//!
//! A damaged or missing file means an older position: items are sent again, never lost. The file's blocks are taken
//! when it is made, so that settling goes on when the disk is full.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Ordinal;
use super::fs::{Access, File, Fs};

mod journal;
mod ranges;
#[cfg(test)]
mod tests;

use journal::{ENTRY_LEN, Entry, FileHeader};
use ranges::Ranges;

/// The journal is written anew when it is longer, and twice as long as when it was written anew last.
const COMPACT_AT: u64 = 1 << 20;
/// Bytes allocated for a journal: room to go on when compaction fails for want of space.
const ALLOCATED: u64 = 2 << 20;

/// What became of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Settlement {
    /// An endpoint took it.
    Forwarded = 0,
    /// It is kept as a dead letter.
    DeadLettered = 1,
    /// The spool could not read it any more.
    Damaged = 2,
    /// This output does not want it.
    Skipped = 3,
}

/// Items settled since the cursor began, by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// An endpoint took them.
    pub forwarded: u64,
    /// Kept as dead letters.
    pub dead_lettered: u64,
    /// Not readable any more.
    pub damaged: u64,
    /// Not wanted by this output.
    pub skipped: u64,
}

impl Totals {
    /// All settled items.
    pub fn sum(&self) -> u64 {
        self.forwarded + self.dead_lettered + self.damaged + self.skipped
    }

    fn of(&mut self, settlement: Settlement) -> &mut u64 {
        match settlement {
            Settlement::Forwarded => &mut self.forwarded,
            Settlement::DeadLettered => &mut self.dead_lettered,
            Settlement::Damaged => &mut self.damaged,
            Settlement::Skipped => &mut self.skipped,
        }
    }
}

/// Why a cursor cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    /// The file cannot be read or made.
    #[error("the cursor {} cannot be opened: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file was written by another version of Gatepost.
    #[error("the cursor {} has format {found}, which this version does not read", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
}

/// What the journal says, in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct State {
    start: Ordinal,
    low: Ordinal,
    settled: Ranges,
    begun: Ranges,
    totals: Totals,
    high: Ordinal,
}

/// A sync that has to be run; see [`Cursor::begin_sync`].
#[derive(Debug)]
pub struct PendingSync {
    file: Arc<dyn File>,
    low: Ordinal,
}

impl PendingSync {
    /// Blocks until what was noted is durable.
    pub fn run(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// One output's durable read position.
#[derive(Debug)]
pub struct Cursor {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    file: Arc<dyn File>,
    /// Where the next entry goes.
    end: u64,
    /// Its length when it was written anew.
    compacted: u64,
    state: State,
    durable_low: Ordinal,
    /// An entry could not be written: the journal must be written anew before it tells the truth again.
    stale: bool,
}

impl Cursor {
    /// Opens a cursor; a missing or empty file starts at `start`. The directory must exist.
    pub fn open(fs: Arc<dyn Fs>, path: &Path, start: Ordinal) -> Result<Self, CursorError> {
        let failed = |source| CursorError::Io { path: path.to_owned(), source };
        let file = match fs.open(path, Access::ReadWrite) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Self::create(fs, path, start).map_err(failed),
            Err(e) => return Err(failed(e)),
        };
        let mut bytes = vec![0; usize::try_from(file.len().map_err(failed)?).unwrap_or(0)];
        let got = file.read_at(&mut bytes, 0).map_err(failed)?;
        bytes.truncate(got);
        match FileHeader::decode(&bytes) {
            FileHeader::Known => {}
            FileHeader::Other(found) => return Err(CursorError::Version { path: path.to_owned(), found }),
            FileHeader::Damaged => return Self::create(fs, path, start).map_err(failed),
        }
        let (state, end) = replay(&bytes);
        if bytes[end..].iter().any(|byte| *byte != 0) {
            // Zeros, lest a leftover entry becomes the continuation of what is written next.
            file.set_len(end as u64).and_then(|()| file.set_len(bytes.len() as u64)).map_err(failed)?;
        }
        // What was only in the page cache before a kill may still go; this makes the position the durable one.
        file.sync_data().map_err(failed)?;
        let durable_low = state.low;
        Ok(Self { fs, path: path.to_owned(), file, end: end as u64, compacted: 0, state, durable_low, stale: false })
    }

    /// Looks at a cursor without changing its file, also beside a gateway that uses it. It can not be noted in.
    pub fn look(fs: Arc<dyn Fs>, path: &Path) -> Result<Self, CursorError> {
        let failed = |source| CursorError::Io { path: path.to_owned(), source };
        let file = fs.open(path, Access::Read).map_err(failed)?;
        let mut bytes = vec![0; usize::try_from(file.len().map_err(failed)?).unwrap_or(0)];
        let got = file.read_at(&mut bytes, 0).map_err(failed)?;
        bytes.truncate(got);
        if let FileHeader::Other(found) = FileHeader::decode(&bytes) {
            return Err(CursorError::Version { path: path.to_owned(), found });
        }
        let (state, end) = replay(&bytes);
        let durable_low = state.low;
        Ok(Self { fs, path: path.to_owned(), file, end: end as u64, compacted: 0, state, durable_low, stale: false })
    }

    fn create(fs: Arc<dyn Fs>, path: &Path, start: Ordinal) -> io::Result<Self> {
        let state = State { start, low: start, high: start, ..State::default() };
        let (file, end) = write_anew(&*fs, path, &state)?;
        Ok(Self { fs, path: path.to_owned(), file, end, compacted: end, state, durable_low: start, stale: false })
    }

    /// Where it began: what is below was never its business.
    pub fn start(&self) -> Ordinal {
        self.state.start
    }

    /// Everything below is settled.
    pub fn low(&self) -> Ordinal {
        self.state.low
    }

    /// [`Cursor::low`] as of the last sync: below it the spool may be released.
    pub fn durable_low(&self) -> Ordinal {
        self.durable_low
    }

    /// The ordinal behind the highest item that was ever begun or settled; see [`super::Spool::advance_to`].
    pub fn high(&self) -> Ordinal {
        self.state.high
    }

    /// Whether every item of the range is settled; an empty range is.
    pub fn is_settled(&self, range: Range<Ordinal>) -> bool {
        self.unsettled(range.start, range.end).next().is_none()
    }

    /// The gaps between `from` and `to`, in order.
    pub fn unsettled(&self, from: Ordinal, to: Ordinal) -> impl Iterator<Item = Range<Ordinal>> + '_ {
        self.state.settled.gaps(from.max(self.state.low)..to)
    }

    /// What was begun and is neither settled nor abandoned, in order. Right after opening: what may or may not have
    /// been sent before a crash.
    pub fn open_batches(&self) -> Vec<Range<Ordinal>> {
        self.state.begun.iter().collect()
    }

    /// Items settled since the cursor began.
    pub fn totals(&self) -> Totals {
        self.state.totals
    }

    /// Items below `end` that are not settled.
    pub fn pending(&self, end: Ordinal) -> u64 {
        self.unsettled(self.state.low, end).map(|gap| gap.end - gap.start).sum()
    }

    /// Notes that a range is about to be sent; written (not synced) when it returns. On an error the range must not be
    /// sent.
    pub fn begin(&mut self, range: Range<Ordinal>) -> io::Result<()> {
        self.note(Entry::Begin(range))
    }

    /// Notes what became of a range. On an error the settlement holds in memory, and is written with the next entry
    /// that can be.
    pub fn settle(&mut self, range: Range<Ordinal>, settlement: Settlement) -> io::Result<()> {
        self.note(Entry::Settle(range, settlement))
    }

    /// Notes what became of a batch, given as ranges in order. What lies between them is mostly settled already, such as
    /// items that this output does not want; then one entry tells all of it: a crash finds the whole batch settled or
    /// nothing of it, so that it keeps its borders, and nothing of it stays begun.
    pub fn settle_batch(&mut self, runs: &[Range<Ordinal>], settlement: Settlement) -> io::Result<()> {
        let (Some(first), Some(last)) = (runs.first(), runs.last()) else { return Ok(()) };
        if runs.windows(2).all(|pair| self.is_settled(pair[0].end..pair[1].start)) {
            return self.settle(first.start..last.end, settlement);
        }
        runs.iter().map(|run| self.settle(run.clone(), settlement)).fold(Ok(()), io::Result::and)
    }

    /// Forgets that a range was begun: it will be sent in another batch.
    pub fn abandon(&mut self, range: Range<Ordinal>) -> io::Result<()> {
        self.note(Entry::Abandon(range))
    }

    /// Makes everything noted so far durable. Blocks for as long as the disk takes; who shares the cursor with others
    /// calls [`Cursor::begin_sync`] and runs it without holding the cursor.
    pub fn sync(&mut self) -> io::Result<()> {
        let sync = self.begin_sync()?;
        let result = sync.run();
        self.end_sync(&sync, result)
    }

    /// A sync of everything noted so far, to be run and then told to [`Cursor::end_sync`].
    pub fn begin_sync(&mut self) -> io::Result<PendingSync> {
        if !self.fs.names(&self.path, &*self.file) {
            tracing::error!(cursor = %self.path.display(), "the position of an output was removed or replaced; it is written anew");
            self.stale = true;
        }
        if self.stale {
            self.compact()?;
        }
        Ok(PendingSync { file: Arc::clone(&self.file), low: self.state.low })
    }

    /// Takes note of how a sync went.
    pub fn end_sync(&mut self, sync: &PendingSync, result: io::Result<()>) -> io::Result<()> {
        if !Arc::ptr_eq(&self.file, &sync.file) {
            // The journal was written anew meanwhile, and synced.
            return Ok(());
        }
        if result.is_err() {
            // The file may have lost pages that look written; only a new one can be trusted.
            self.stale = true;
            return result;
        }
        self.durable_low = self.durable_low.max(sync.low);
        Ok(())
    }

    fn note(&mut self, entry: Entry) -> io::Result<()> {
        self.state.apply(&entry);
        if self.stale {
            return self.compact();
        }
        if self.end >= COMPACT_AT.max(2 * self.compacted) && self.compact().is_ok() {
            return Ok(());
        }
        let bytes = entry.encode(self.end / ENTRY_LEN as u64);
        if let Err(e) = self.file.write_all_at(&bytes, self.end) {
            self.stale = true;
            return Err(e);
        }
        self.end += ENTRY_LEN as u64;
        Ok(())
    }

    /// Writes the state as a new journal in place of the old one.
    fn compact(&mut self) -> io::Result<()> {
        (self.file, self.end) = write_anew(&*self.fs, &self.path, &self.state)?;
        self.compacted = self.end;
        self.durable_low = self.state.low;
        self.stale = false;
        Ok(())
    }
}

fn write_anew(fs: &dyn Fs, path: &Path, state: &State) -> io::Result<(Arc<dyn File>, u64)> {
    let fresh = path.with_extension("cursor-new");
    match fs.remove(&fresh) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let bytes = state.encode();
    let file = fs.create(&fresh, ALLOCATED.max(2 * bytes.len() as u64))?;
    file.write_all_at(&bytes, 0)?;
    file.sync_data()?;
    fs.rename(&fresh, path)?;
    fs.sync_dir(path.parent().unwrap_or(Path::new(".")))?;
    Ok((file, bytes.len() as u64))
}

/// Applies entries until the first that is not whole; the state and where it stands.
fn replay(bytes: &[u8]) -> (State, usize) {
    let mut state = State::default();
    let mut end = ENTRY_LEN;
    while let Some(entry) = bytes.get(end..end + ENTRY_LEN).and_then(|e| Entry::decode(e, (end / ENTRY_LEN) as u64)) {
        state.apply(&entry);
        end += ENTRY_LEN;
    }
    (state, end)
}

impl State {
    fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Low { low, start } => {
                self.start = *start;
                self.low = *low;
                self.high = self.high.max(*low);
            }
            Entry::High(high) => self.high = self.high.max(*high),
            Entry::Total(settlement, n) => *self.totals.of(*settlement) = *n,
            Entry::Settled(range) => self.settled.join(range.clone()),
            Entry::Begin(range) => {
                self.begun.add(range.start.max(self.low)..range.end);
                self.high = self.high.max(range.end);
            }
            Entry::Abandon(range) => self.begun.remove(range.clone()),
            Entry::Settle(range, settlement) => self.settle(range.clone(), *settlement),
        }
    }

    fn settle(&mut self, range: Range<Ordinal>, settlement: Settlement) {
        self.high = self.high.max(range.end);
        self.begun.remove(range.clone());
        let range = range.start.max(self.low)..range.end;
        let fresh: u64 = self.settled.gaps(range.clone()).map(|gap| gap.end - gap.start).sum();
        *self.totals.of(settlement) += fresh;
        self.settled.join(range);
        if let Some(end) = self.settled.take_from(self.low) {
            self.low = end;
            self.begun.remove(0..end);
        }
    }

    /// The shortest journal that leads to this state.
    fn encode(&self) -> Vec<u8> {
        let mut entries = vec![Entry::Low { low: self.low, start: self.start }, Entry::High(self.high)];
        entries.extend([
            Entry::Total(Settlement::Forwarded, self.totals.forwarded),
            Entry::Total(Settlement::DeadLettered, self.totals.dead_lettered),
            Entry::Total(Settlement::Damaged, self.totals.damaged),
            Entry::Total(Settlement::Skipped, self.totals.skipped),
        ]);
        entries.extend(self.settled.iter().map(Entry::Settled));
        entries.extend(self.begun.iter().map(Entry::Begin));
        let mut bytes = FileHeader::encode().to_vec();
        for (entry, number) in entries.iter().zip(1..) {
            bytes.extend_from_slice(&entry.encode(number));
        }
        bytes
    }
}
