//! The read position of one output: what is settled, what has been begun, and what happened to each item.
//!
//! A journal of small checksummed entries. An intent is written before a send, its settlement right after the outcome;
//! neither is synced. Ranges settle in any order; everything below [`Cursor::low`] is settled. Only what a
//! [`Cursor::sync`] made durable may be released from the spool ([`Cursor::durable_low`]).
//!
//! A killed process loses nothing. For a power cut there is the ceiling: an item is begun only below a ceiling that is
//! durable, and it is raised ahead of need together with the syncs. So whatever a cut takes, nothing from the ceiling
//! on was sent, and what is not settled below is in doubt: [`Cursor::doubtful`] says what has to be counted when it is
//! sent again.
//!
//! A damaged or missing file means an older position: items are sent again, never lost. The file's blocks are taken
//! when it is made, so that settling goes on when the disk is full.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{LogId, Ordinal};
use crate::fs::{self, Access, File, Fs, is_full};

mod boot;
mod journal;
mod opening;
pub(in crate::spool) mod ranges;
pub mod registry;
mod replay;
mod state;
#[cfg(test)]
mod tests;

pub use boot::Boot;
pub use opening::{Cause, Found, Loss, Surroundings};
pub use state::{Settlement, Totals};

use journal::{ENTRY_LEN, Entry};
use opening::Verdict;
use replay::Replay;
use state::State;

/// The journal is written anew when it is longer, and twice as long as when it was written anew last.
const COMPACT_AT: u64 = 1 << 20;
/// Bytes allocated for a journal: room to go on when compaction fails for want of space.
const ALLOCATED: u64 = 2 << 20;
/// The ceiling is raised by so many items, or by twice as many as were begun since it was raised last.
const CEILING_STEP: u64 = 1024;

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

impl CursorError {
    /// Whether the disk was full: nothing is wrong with the file.
    pub(super) fn is_for_want_of_space(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_full(source))
    }
}

/// A sync that has to be run; see [`Cursor::begin_sync`].
#[derive(Debug)]
pub struct PendingSync {
    file: Arc<dyn File>,
    low: Ordinal,
    ceiling: Ordinal,
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
    durable_ceiling: Ordinal,
    /// Where the highest item was when the ceiling was looked at last.
    measured: Ordinal,
    /// An entry could not be written: the journal must be written anew before it tells the truth again.
    stale: bool,
    found: Found,
}

impl Cursor {
    /// Opens a cursor, or makes one; see [`Surroundings`]. The directory must exist.
    pub fn open(fs: Arc<dyn Fs>, path: &Path, around: &Surroundings) -> Result<Self, CursorError> {
        let failed = |source| CursorError::Io { path: path.to_owned(), source };
        let (file, bytes) = match read(&*fs, path, Access::ReadWrite) {
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let verdict = around.without_journal();
                let (file, end) = write_anew(&*fs, path, &verdict.state).map_err(failed)?;
                return Ok(Self::written(fs, path, file, end, verdict));
            }
            Err(e) => return Err(failed(e)),
        };
        let journal = replay(path, &bytes)?;
        let (end, durable_low) = (journal.end as u64, journal.state.low);
        let verdict = around.judge(journal);
        if verdict.anew {
            match write_anew(&*fs, path, &verdict.state) {
                Ok((file, end)) => return Ok(Self::written(fs, path, file, end, verdict)),
                // The old file stands for the same; a full disk must not keep the gateway from starting.
                Err(e) if is_full(&e) => {
                    let mut cursor = Self::written(fs, path, file, end, verdict);
                    (cursor.stale, cursor.durable_low, cursor.durable_ceiling) = (true, durable_low, 0);
                    return Ok(cursor);
                }
                Err(e) => return Err(failed(e)),
            }
        }
        let mut cursor = Self { compacted: 0, ..Self::written(fs, path, file, end, verdict) };
        cursor.note_opening().map_err(failed)?;
        Ok(cursor)
    }

    /// Looks at a cursor without changing its file, also beside a gateway that uses it. It can not be noted in.
    pub fn look(fs: Arc<dyn Fs>, path: &Path) -> Result<Self, CursorError> {
        let failed = |source| CursorError::Io { path: path.to_owned(), source };
        let (file, bytes) = read(&*fs, path, Access::Read).map_err(failed)?;
        let Replay { state, end, has_base, is_damaged, .. } = replay(path, &bytes)?;
        let found = Found { loss: (is_damaged || !has_base).then_some(Cause::Damaged), power_cut: false };
        Ok(Self::written(fs, path, file, end as u64, Verdict { state, found, anew: false }))
    }

    /// A cursor whose journal is written and durable up to here.
    fn written(fs: Arc<dyn Fs>, path: &Path, file: Arc<dyn File>, end: u64, verdict: Verdict) -> Self {
        let Verdict { state, found, .. } = verdict;
        let (durable_low, durable_ceiling, measured) = (state.low, state.ceiling, state.high);
        let path = path.to_owned();
        Self { fs, path, file, end, compacted: end, state, durable_low, durable_ceiling, measured, stale: false, found }
    }

    /// Notes what the state has that the journal has not, since it was opened, and makes all of it durable, the file's
    /// name too: what was only in the system's cache before a kill may still go.
    fn note_opening(&mut self) -> io::Result<()> {
        let State { log, life, ceiling, boot, .. } = self.state;
        let mut entries = vec![Entry::Log(log), Entry::Life(life), Entry::Ceiling(ceiling)];
        entries.extend(self.state.doubt.iter().map(Entry::Doubt));
        entries.push(Entry::Opened(boot));
        entries.into_iter().try_for_each(|entry| self.note(entry))?;
        self.file.sync_data()?;
        self.fs.sync_dir(fs::folder_of(&self.path))
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

    /// Which log its ordinals are of.
    pub fn log(&self) -> LogId {
        self.state.log
    }

    /// How often it was opened or closed: an older file of the same output has had a shorter life.
    pub fn life(&self) -> u64 {
        self.state.life
    }

    /// What opening found wrong.
    pub fn found(&self) -> Found {
        self.found
    }

    /// The last time that the position was lost, if it ever was.
    pub fn lost(&self) -> Option<Loss> {
        self.state.lost
    }

    /// How many items may have been sent in a former life and are not settled.
    pub fn in_doubt(&self) -> u64 {
        self.state.doubt.len()
    }

    /// How many items of these ranges may have been sent in a former life: to be counted when they are begun.
    pub fn doubtful(&self, ranges: &[Range<Ordinal>]) -> u64 {
        ranges.iter().map(|range| self.state.doubt.overlap(range)).sum()
    }

    /// Doubts what is begun: whoever began it is gone. To be called by whoever begins anew.
    pub fn doubt_begun(&mut self) {
        for range in self.state.begun.iter() {
            self.state.doubt.join(range);
        }
    }

    /// Gives up what is not settled below: the output was not there to want it.
    pub fn pass_over(&mut self, below: Ordinal) -> io::Result<()> {
        if self.state.low >= below { Ok(()) } else { self.settle(self.state.low..below, Settlement::Skipped) }
    }

    /// Notes that a range is about to be sent; written (not synced) when it returns. On an error the range must not be
    /// sent. A range that is begun already is not noted again.
    pub fn begin(&mut self, range: Range<Ordinal>) -> io::Result<()> {
        if self.state.begun.has(&range) && self.state.doubt.overlap(&range) == 0 {
            return Ok(());
        }
        self.note(Entry::Begin(range))
    }

    /// Whether what ends here is below the durable ceiling, so that it may be begun.
    pub fn has_room_for(&self, end: Ordinal) -> bool {
        end <= self.durable_ceiling
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

    /// Takes back that a range was begun: nobody has it.
    pub fn abandon(&mut self, range: Range<Ordinal>) -> io::Result<()> {
        self.note(Entry::Abandon(range))
    }

    /// Notes that nothing is on its way any more and that there will be nothing more to note, and makes it durable.
    pub fn close(&mut self) -> io::Result<()> {
        self.note(Entry::Life(self.state.life + 1))?;
        self.note(Entry::Closed)?;
        self.sync()
    }

    /// Makes everything noted so far durable. Blocks for as long as the disk takes; who shares the cursor with others
    /// calls [`Cursor::begin_sync`] and runs it without holding the cursor.
    pub fn sync(&mut self) -> io::Result<()> {
        let sync = self.begin_sync(0)?;
        let result = sync.run();
        self.end_sync(&sync, result)
    }

    /// A sync of everything noted so far, with a ceiling that leaves room behind what ends here, to be run and then told
    /// to [`Cursor::end_sync`].
    pub fn begin_sync(&mut self, end: Ordinal) -> io::Result<PendingSync> {
        if !self.fs.names(&self.path, &*self.file) {
            tracing::error!(cursor = %self.path.display(), "the read position file of an output was removed or replaced; it is rewritten");
            self.stale = true;
        }
        self.raise_ceiling(end.max(self.state.high));
        if self.stale {
            self.compact()?;
        }
        Ok(PendingSync { file: Arc::clone(&self.file), low: self.state.low, ceiling: self.state.ceiling })
    }

    /// Raises the ceiling when what ends here comes near it.
    fn raise_ceiling(&mut self, end: Ordinal) {
        let step = CEILING_STEP.max(2 * (end - self.measured.min(end)));
        self.measured = end;
        if end + step / 2 > self.state.ceiling {
            // If it cannot be written, the journal is stale and written anew.
            drop(self.note(Entry::Ceiling(end + step)));
        }
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
        self.durable_ceiling = self.durable_ceiling.max(sync.ceiling);
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
        (self.durable_low, self.durable_ceiling) = (self.state.low, self.state.ceiling);
        self.stale = false;
        Ok(())
    }
}

fn write_anew(fs: &dyn Fs, path: &Path, state: &State) -> io::Result<(Arc<dyn File>, u64)> {
    let bytes = state.encode();
    let file = fs::replace_and_open(fs, path, &bytes, ALLOCATED.max(2 * bytes.len() as u64))?;
    Ok((file, bytes.len() as u64))
}

/// Opens and reads a whole file.
fn read(fs: &dyn Fs, path: &Path, access: Access) -> io::Result<(Arc<dyn File>, Vec<u8>)> {
    let file = fs.open(path, access)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(0)];
    let got = file.read_at(&mut bytes, 0)?;
    bytes.truncate(got);
    Ok((file, bytes))
}

fn replay(path: &Path, bytes: &[u8]) -> Result<Replay, CursorError> {
    Replay::of(bytes, ALLOCATED).map_err(|found| CursorError::Version { path: path.to_owned(), found })
}
