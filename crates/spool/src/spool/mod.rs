//! The spool: a segmented log on disk between the inputs and the outputs. It knows bytes, items and positions, never
//! events.
//!
//! What it promises:
//!
//! 1. [`Spool::append`] resolves with `Ok` only when its bytes are durable: one write and one `fdatasync` for all that
//!    wait.
//! 2. A write or sync that fails acknowledges nobody of its group and is final for its segment. The bytes that it may
//!    have left behind never come back once a later append succeeded.
//! 3. Opening cuts a torn tail, never a whole record: it looks for the next whole record behind damage, reports the
//!    lost ordinals, and goes on.
//! 4. It opens whatever the files look like, unless the directory cannot be used or was written by another format.
//! 5. Opening reads one page per segment and the records of the last one.
//! 6. What is found to be lost is known to one owner, [`damage`], so that it can be told once and in time, whoever met
//!    it.
//! 7. A full or failing disk refuses appends for as long as it lasts, shows in [`Spool::status`], and is over by
//!    itself. Giving segments back needs no space.
//! 8. Nothing is acknowledged into a file that was deleted or moved away: see [`Spool::is_in_place`].
//!
//! The layers, each knowing only what is below it: [`Spool`] → committer, [`Reader`] → segment and its walk →
//! [`frame`] → [`crate::fs`]. Beside the log stand the read positions ([`cursor`]) and what no endpoint takes
//! ([`dead_letter`]).
//!
//! Nothing here counts metrics: operations return what they did.

use parking_lot::{Mutex, MutexGuard};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use tokio::sync::{oneshot, watch};

mod anchors;
mod codec;
mod committer;
mod config;
pub mod cursor;
pub mod damage;
pub mod dead_letter;
pub mod decided;
pub mod frame;
pub mod inspect;
mod raw;
mod reader;
mod recent;
mod recovery;
mod segment;
mod shared;
#[cfg(test)]
mod tests;

pub use config::Config;
pub use cursor::{Cursor, CursorError, Settlement, Totals};
pub use frame::{Entry, Packed};
pub use raw::{Raw, RawItem, read_raw};
pub use reader::{Head, HeadItem, Item, Reader, Record};
pub use recovery::{OpenError, Recovered};

use committer::{Committer, Waiting};
use damage::Damage;
use frame::SEGMENT_HEADER_LEN;
use shared::Shared;

use crate::clock::Clock;
use crate::fs::{FileId, Fs};

/// An entry up to this size is packed in some tens of microseconds, up to some level of compression.
const BRIEF_MAX: usize = 80 << 10;
const BRIEF_LEVEL_MAX: i32 = 3;

/// The number of an item since the spool began; a record of `n` items covers `first..first + n`.
pub type Ordinal = u64;

/// Tells one log from another: ordinals begin anew with a new log, so that an ordinal alone does not name an item for
/// ever. Random; made with the first segment, and handed on from segment to segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogId(u64);

impl LogId {
    /// The log of a version that made no ids, or one whose headers are all damaged: who remembers an id keeps it.
    pub const UNKNOWN: Self = Self(0);

    fn new() -> Self {
        Self(fastrand::u64(1..))
    }

    fn of(number: u64) -> Self {
        Self(number)
    }

    /// As a number; 0 when it is not known.
    pub fn number(self) -> u64 {
        self.0
    }

    fn is_known(self) -> bool {
        self != Self::UNKNOWN
    }
}

/// Proof that an append is durable.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Appended {
    /// The ordinal of its first item.
    pub first: Ordinal,
    /// How many items it holds.
    pub items: u32,
    /// The commit that made it durable, shared with whoever waited at the same time.
    pub commit: CommitReport,
}

/// What one commit did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CommitReport {
    /// Bytes written.
    pub bytes: u64,
    /// Records made durable.
    pub records: u64,
    /// Seconds for finding room, write and sync.
    pub seconds: f64,
}

/// Why an append was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The disk or the spool's quota is full: try again later.
    #[error("the spool is full")]
    Full,
    /// The disk refused a write or a sync: try again later.
    #[error("the spool cannot write: {reason}")]
    Failed {
        /// What the system said.
        reason: String,
    },
    /// The spool is closed.
    #[error("the spool is closed")]
    Closed,
    /// The record is larger than a record may be: it will never fit.
    #[error("the record is larger than the spool takes")]
    TooLarge,
}

/// Why nothing could be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// What was to be read has been released.
    #[error("the position has been released")]
    Released,
    /// The position is behind the end: records that were there are lost.
    #[error("the position is behind the end of the spool, {end}")]
    BehindEnd {
        /// The ordinal behind the last item.
        end: Ordinal,
    },
    /// The disk refused. The reader has not moved.
    #[error("the spool cannot be read: {0}")]
    Io(#[from] std::io::Error),
}

/// Whether appends succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// They do.
    Ok,
    /// The disk or the quota is full.
    Full {
        /// Since when, in milliseconds since 1970.
        since_ms: u64,
    },
    /// The disk refuses writes or syncs.
    Failing {
        /// What the system said.
        reason: String,
    },
    /// A file or directory that is in use was removed or replaced: only a restart helps.
    Removed {
        /// What its path was.
        path: PathBuf,
    },
}

/// The state of the spool, for health, metrics and the status page.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// The ordinal of the oldest item that is kept.
    pub first: Ordinal,
    /// The ordinal behind the last durable item.
    pub end: Ordinal,
    /// Bytes of disk taken, spare files included.
    pub bytes: u64,
    /// Bytes of disk that may be taken.
    pub limit: u64,
    /// The share of the limit that holds records, from 0 to 1.
    pub fullness: f64,
    /// Whether `fullness` has reached the high watermark.
    pub above_watermark: bool,
    /// Whether appends succeed.
    pub health: Health,
    /// Segments that hold records.
    pub segments: usize,
    /// Files kept for reuse.
    pub spares: usize,
    /// Commits since the start.
    pub commits: u64,
    /// Appends made durable since the start.
    pub appends: u64,
    /// When the oldest record was appended, in milliseconds since 1970; `None` when there is none.
    pub oldest_ms: Option<u64>,
}

/// The log. Cheap to clone; the last clone that goes closes it.
#[derive(Debug, Clone)]
pub struct Spool {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    damage: Damage,
    fs: Arc<dyn Fs>,
    config: Config,
    log: LogId,
    clock: Clock,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Spool {
    /// Opens the spool in this directory, which is made if need be, and starts its thread. The caller sees to it that
    /// nobody else has it open.
    pub fn open(config: &Config, dir: &Path, fs: Arc<dyn Fs>) -> Result<(Self, Recovered), OpenError> {
        Self::open_with(config, dir, fs, Clock::system())
    }

    /// The same with records stamped by this clock.
    pub fn open_with(
        config: &Config,
        dir: &Path,
        fs: Arc<dyn Fs>,
        clock: Clock,
    ) -> Result<(Self, Recovered), OpenError> {
        config.check().map_err(OpenError::Config)?;
        let (layout, recovered) = recovery::recover(&*fs, dir, config)?;
        let shared = Arc::new(Shared::new(layout.segments.clone(), layout.next, layout.spares.len(), &fs));
        shared.anchors.hold(dir, fs.id(dir).ok().flatten());
        shared.note_oldest(&*fs);
        let log = layout.log;
        let damage = Damage::open(Arc::clone(&fs), dir);
        damage.suspect(0..recovered.first, "the segments before the first are gone");
        recovered.damaged.iter().for_each(|(range, reason)| damage.suspect(range.clone(), reason));
        let committer = Committer::new(Arc::clone(&shared), Arc::clone(&fs), dir, config, layout, clock.clone());
        let thread = std::thread::Builder::new()
            .name("spool-commit".to_owned())
            .spawn(move || committer.run())
            .map_err(OpenError::Thread)?;
        let thread = Mutex::new(Some(thread));
        let inner = Inner { shared, damage, fs, config: config.clone(), log, clock, thread };
        let spool = Self { inner: Arc::new(inner) };
        spool.advance_to(spool.damage().high());
        Ok((spool, recovered))
    }

    /// The clock that stamps records, by which their age is to be judged.
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// Whether [`Spool::pack`] is over in about the time that a change of threads takes: then it may be called anywhere.
    pub fn packs_briefly(&self, entry: &Entry) -> bool {
        let bytes = entry.note.len() + entry.index.len() + entry.payload.len();
        bytes <= BRIEF_MAX && self.inner.config.compression_level <= BRIEF_LEVEL_MAX
    }

    /// Compresses and sums an entry. CPU work: call it off the async runtime, unless it [packs briefly](Self::packs_briefly).
    pub fn pack(&self, entry: Entry) -> Packed {
        Packed::new(entry, self.inner.config.compression_level, self.inner.config.max_record.as_u64())
    }

    /// Appends a record; resolves when it is durable or will never be acknowledged. Dropping the future gives up the
    /// acknowledgement, not necessarily the record.
    pub async fn append(&self, packed: Packed) -> Result<Appended, AppendError> {
        let room = self.inner.config.segment_size.as_u64() - SEGMENT_HEADER_LEN;
        if packed.too_large || packed.stored_len() > room {
            return Err(AppendError::TooLarge);
        }
        let (reply, answer) = oneshot::channel();
        self.inner.shared.push(Waiting { packed, reply })?;
        answer.await.unwrap_or(Err(AppendError::Closed))
    }

    /// Reads from an ordinal on. One below the first kept item starts with the damage in between.
    pub fn reader(&self, from: Ordinal) -> Result<Reader, ReadError> {
        let end = self.inner.shared.next();
        if from > end {
            return Err(ReadError::BehindEnd { end });
        }
        Ok(Reader::new(Arc::clone(&self.inner.shared), Arc::clone(&self.inner.fs), from))
    }

    /// The ordinal behind the last durable item, and its changes.
    pub fn durable_end(&self) -> watch::Receiver<Ordinal> {
        self.inner.shared.durable()
    }

    /// Which log this is.
    pub fn log(&self) -> LogId {
        self.inner.log
    }

    /// Sees to it that new items get ordinals from here on, if they would get lower ones. Call it after opening with
    /// the highest ordinal that any cursor knows: when damage took the last records, their ordinals must not be given
    /// to new items, which a cursor would take for settled. The gap reads as damage at once.
    pub fn advance_to(&self, at_least: Ordinal) {
        self.damage().suspect(self.inner.shared.skip_to(at_least), "the end of the log is gone");
    }

    /// What of the log is known to be lost.
    pub fn damage(&self) -> &Damage {
        &self.inner.damage
    }

    /// Everything below is no longer needed by anybody: whole segments are recycled, soon after this returns. Blocks on
    /// the disk when there are any: that they left, and are not lost, is noted first.
    pub fn release(&self, before: Ordinal) {
        if self.inner.shared.frees(before) {
            self.inner.damage.left(before);
        }
        self.inner.shared.ask_release(before);
    }

    /// From now on appends are acknowledged only while this path names this file: if it is taken away, so may be what is
    /// written.
    pub fn hold(&self, path: &Path, id: Option<FileId>) {
        self.inner.shared.anchors.hold(path, id);
    }

    /// Whether everything that was opened or is held is still where it was. Asks the file system; once it was not, it never
    /// is again.
    pub fn is_in_place(&self) -> bool {
        let shared = &self.inner.shared;
        let segment = shared.last_segment().filter(|segment| !segment.poisoned.load(Ordering::Acquire));
        let named = segment.and_then(|segment| Some((segment.open_file()?, segment)));
        let checked = match named {
            Some((file, segment)) => shared.anchors.check_with(&segment.path, &*file),
            None => shared.anchors.check(),
        };
        if let Some(path) = shared.anchors.gone() {
            shared.with_counts(|counts| counts.health = Health::Removed { path: path.to_owned() });
        }
        checked.is_ok()
    }

    /// The state now.
    pub fn status(&self) -> Status {
        let shared = &self.inner.shared;
        let counts = shared.with_counts(|counts| counts.clone());
        let limit = self.inner.config.max_size.as_u64();
        let fullness = (shared.used_bytes() as f64 / limit as f64).min(1.0);
        Status {
            first: shared.first(),
            end: shared.next(),
            bytes: shared.live_bytes() + counts.spares as u64 * self.inner.config.segment_size.as_u64(),
            limit,
            fullness,
            above_watermark: fullness >= self.inner.config.high_watermark.get(),
            health: counts.health,
            segments: shared.segment_count(),
            spares: counts.spares,
            commits: counts.commits,
            appends: counts.appends,
            oldest_ms: (counts.oldest_ms > 0).then_some(counts.oldest_ms),
        }
    }

    /// Refuses new appends, finishes what waits, and stops the thread. Blocks for as long as the disk takes.
    pub fn close(&self) {
        self.inner.close();
    }
}

impl Inner {
    fn close(&self) {
        self.shared.close();
        if let Some(thread) = lock(&self.thread).take() {
            // A panic of the thread has been reported by the panic hook; everybody who waited has been answered.
            drop(thread.join());
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

/// Locks; a panic of another holder leaves nothing half-done behind these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}
