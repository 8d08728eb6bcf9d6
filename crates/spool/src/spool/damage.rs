//! What the log has lost: the one owner of all that is known to be damaged.
//!
//! Many meet damage: opening looks at the last segment, the books read heads, each output reads whole records. It is
//! told once. The first output that misses a range notes it here, durably, before its read position moves behind it;
//! whoever keeps the account takes it from here, tells it, and notes that it is told.
//!
//! Lost is only what some output still had to send. What cannot be read and was settled by all of them has done its
//! work. So who reads ahead of the outputs has a *suspicion*, and who knows the outputs judges it.
//!
//! The file is a [`Cursor`]: a lost range is begun when it is noted and settled as damaged when it is told; what left
//! the spool is settled as skipped. So it stays short, and its total outlives the segments. Without the file (it could
//! not be made, or is gone itself) what the outputs have still to pass is told once more.

use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::cursor::{Boot, Cursor, CursorError, Settlement, Surroundings};
use super::{LogId, Ordinal, lock};
use crate::fs::Fs;

/// The file in the spool's directory.
const FILE: &str = "damage.cursor";

/// A range of items that cannot be read, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The items.
    pub range: Range<Ordinal>,
    /// What is wrong.
    pub reason: String,
}

/// What is known of the damage of one spool.
#[derive(Debug)]
pub struct Damage {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    met: Mutex<Met>,
    /// `None` until it could be opened.
    file: Mutex<Option<Cursor>>,
    floor: AtomicU64,
    total: AtomicU64,
}

/// What is not on file.
#[derive(Debug, Default)]
struct Met {
    suspects: Vec<Found>,
    /// Lost, and still to be noted.
    lost: Vec<Found>,
    /// What is wrong with the noted ranges, by their starts.
    reasons: BTreeMap<Ordinal, String>,
}

impl Damage {
    /// Opens the file in the spool's directory, which is made if need be. If it cannot be, [`Damage::keep`] tries again.
    pub(super) fn open(fs: Arc<dyn Fs>, dir: &Path) -> Self {
        let (floor, total) = (AtomicU64::new(0), AtomicU64::new(0));
        let damage = Self { fs, path: dir.join(FILE), met: Mutex::default(), file: Mutex::default(), floor, total };
        drop(damage.file());
        damage
    }

    /// How many items are known to be lost in the spool of this directory, and the ordinal behind the last that it knows
    /// of. Changes nothing.
    pub(super) fn look(fs: Arc<dyn Fs>, dir: &Path) -> (u64, Ordinal) {
        let Ok(cursor) = Cursor::look(fs, &dir.join(FILE)) else { return (0, 0) };
        (cursor.totals().damaged + cursor.open_batches().iter().map(len).sum::<u64>(), cursor.high())
    }

    /// What is below left the spool because nobody needed it any more: it is not damage. Durable when it returns, if the
    /// disk lets it; else the next start may suspect what left, and the outputs will say that they have it.
    pub(super) fn left(&self, before: Ordinal) {
        self.floor.fetch_max(before, Ordering::Relaxed);
        let Ok(mut file) = self.file() else { return };
        let Some(cursor) = file.as_mut() else { return };
        if cursor.low() < before {
            drop(cursor.settle(cursor.low()..before, Settlement::Skipped).and_then(|()| cursor.sync()));
        }
    }

    /// Below this, what is not there left because nobody needed it.
    pub fn floor(&self) -> Ordinal {
        self.floor.load(Ordering::Relaxed)
    }

    /// The ordinal behind the last item that was ever noted.
    pub(super) fn high(&self) -> Ordinal {
        self.file().ok().and_then(|file| file.as_ref().map(Cursor::high)).unwrap_or(0)
    }

    /// Items that were lost and told since the spool began.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// These items cannot be read. Whether anybody still had to send them is for [`Damage::judge`] to say.
    pub fn suspect(&self, range: Range<Ordinal>, reason: &str) {
        let range = range.start.max(self.floor())..range.end;
        if !range.is_empty() {
            add(&mut lock(&self.met).suspects, range, reason);
        }
    }

    /// Judges what is suspected: `needed` says what of a range some output has still to send, or `None` when that cannot
    /// be said now.
    pub fn judge(&self, mut needed: impl FnMut(&Range<Ordinal>) -> Option<Vec<Range<Ordinal>>>) {
        let suspects = std::mem::take(&mut lock(&self.met).suspects);
        for suspect in suspects {
            match needed(&suspect.range) {
                Some(ranges) => self.lose(&ranges, &suspect.reason),
                None => lock(&self.met).suspects.push(suspect),
            }
        }
    }

    /// An output misses these. To be followed by [`Damage::keep`] before its position moves behind them.
    pub fn lose(&self, ranges: &[Range<Ordinal>], reason: &str) {
        let mut met = lock(&self.met);
        ranges.iter().for_each(|range| add(&mut met.lost, range.clone(), reason));
    }

    /// Makes durable what is lost. Blocks on the disk. After an error nothing is forgotten: it can be called again.
    pub fn keep(&self) -> io::Result<()> {
        if lock(&self.met).lost.is_empty() {
            return Ok(());
        }
        let mut file = self.file()?;
        let Some(cursor) = file.as_mut() else { return Ok(()) };
        let lost = lock(&self.met).lost.clone();
        for Found { range, reason } in &lost {
            for fresh in unknown(cursor, range) {
                lock(&self.met).reasons.insert(fresh.start, reason.clone());
                // If it cannot be written, the sync fails too.
                drop(cursor.begin(fresh));
            }
        }
        cursor.sync()?;
        lock(&self.met).lost.drain(..lost.len());
        Ok(())
    }

    /// What is noted and not told yet, in order.
    pub fn untold(&self) -> Vec<Found> {
        let Ok(file) = self.file() else { return Vec::new() };
        let open = file.as_ref().map(Cursor::open_batches).unwrap_or_default();
        let met = lock(&self.met);
        let found = |range: Range<Ordinal>| {
            let reason = met.reasons.get(&range.start).map_or("it was found before a restart", String::as_str);
            Found { reason: reason.to_owned(), range }
        };
        open.into_iter().map(found).collect()
    }

    /// These were told: nobody tells them again.
    pub fn told(&self, ranges: &[Range<Ordinal>]) -> io::Result<()> {
        let mut file = self.file()?;
        let Some(cursor) = file.as_mut() else { return Ok(()) };
        for range in ranges {
            drop(cursor.settle(range.clone(), Settlement::Damaged));
            lock(&self.met).reasons.remove(&range.start);
        }
        self.total.store(cursor.totals().damaged, Ordering::Relaxed);
        cursor.sync()
    }

    /// What of a range is known to be lost, told or not.
    pub fn lost_in(&self, range: Range<Ordinal>) -> Vec<Range<Ordinal>> {
        let range = range.start.max(self.floor())..range.end;
        if range.is_empty() {
            return Vec::new();
        }
        let Ok(file) = self.file() else { return Vec::new() };
        let Some(cursor) = file.as_ref() else { return Vec::new() };
        unknown(cursor, &range).into_iter().fold(vec![range], |lost, sound| without(lost, &sound))
    }

    /// Another file in place of one that cannot be read: without it no output could pass what is lost.
    fn begin_anew(&self, error: &CursorError, around: &Surroundings) -> io::Result<Cursor> {
        let aside = self.path.with_extension("damaged");
        tracing::error!(%error, aside = %aside.display(), "the record of spool damage cannot be read and was set aside");
        self.fs.rename(&self.path, &aside)?;
        Cursor::open(Arc::clone(&self.fs), &self.path, around).map_err(io::Error::other)
    }

    fn file(&self) -> io::Result<MutexGuard<'_, Option<Cursor>>> {
        let mut file = lock(&self.file);
        if file.is_none() {
            // It reads no log: it goes with the one beside it, and is lost with it.
            let around = Surroundings { log: LogId::UNKNOWN, kept: 0..0, boot: Boot::current(), life: None };
            let cursor = match Cursor::open(Arc::clone(&self.fs), &self.path, &around) {
                Err(error) if !error.is_for_want_of_space() => self.begin_anew(&error, &around)?,
                result => result.map_err(io::Error::other)?,
            };
            self.floor.fetch_max(cursor.low(), Ordering::Relaxed);
            self.total.store(cursor.totals().damaged, Ordering::Relaxed);
            *file = Some(cursor);
        }
        Ok(file)
    }
}

/// Adds what is met, once however often it is met.
fn add(known: &mut Vec<Found>, range: Range<Ordinal>, reason: &str) {
    if !known.iter().any(|found| found.range == range) {
        known.push(Found { range, reason: reason.to_owned() });
    }
}

/// What of a range is neither told nor noted.
fn unknown(cursor: &Cursor, range: &Range<Ordinal>) -> Vec<Range<Ordinal>> {
    let gaps = cursor.unsettled(range.start, range.end).collect();
    cursor.open_batches().iter().fold(gaps, without)
}

/// What is left of these ranges without another one.
fn without(ranges: Vec<Range<Ordinal>>, out: &Range<Ordinal>) -> Vec<Range<Ordinal>> {
    let parts = |range: Range<Ordinal>| [range.start..range.end.min(out.start), range.start.max(out.end)..range.end];
    ranges.into_iter().flat_map(parts).filter(|part| !part.is_empty()).collect()
}

fn len(range: &Range<Ordinal>) -> u64 {
    range.end - range.start
}
