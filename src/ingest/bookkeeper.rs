//! Follows the log behind ingest and keeps what must outlive its segments: the seen keys and the account.
//!
//! Every record carries the keys of its events and its share of the account, made durable by the same fsync. The
//! bookkeeper reads them in the order of the log (never the events themselves), appends the keys to the dedup journal,
//! folds the account into the ledger, and makes both durable. Only then may the spool recycle what it has passed. At
//! the start ([`Bookkeeper::load`]) it walks from its last position to the end of the log before the first upload is taken, so that
//! dedup knows everything that was ever acknowledged inside the window.
//!
//! What the spool is known to have lost it tells when it has passed it: see [`lost`].

use parking_lot::{Mutex, MutexGuard};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::Instant;

use super::ledger::{Ledger, Note, Waiting};
use super::lost;
use super::reserve::Reserve;
use super::window::{Window, signed};
use crate::dedup::journal::{self, Journal, JournalError, Progress};
use crate::dedup::memory::{MemoryStore, Step};
use crate::dedup::store::Store;
use crate::event::{EventKey, key};
use crate::fs::{Fs, is_full};
use crate::metrics;
use crate::spool::{Entry, Head, HeadItem, Ordinal, ReadError, Reader, Spool};

/// Why the books could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// The log cannot be read.
    #[error("the spool cannot be read: {0}")]
    Spool(#[from] ReadError),
    /// The dedup journal cannot be read or written.
    #[error("the dedup journal: {0}")]
    Journal(#[from] JournalError),
    /// The ledger cannot be read or written.
    #[error("the ledger cannot be read or written: {0}")]
    Ledger(#[from] io::Error),
}

impl BookError {
    /// Whether the disk is full.
    fn is_full(&self) -> bool {
        match self {
            Self::Spool(_) => false,
            Self::Journal(error) => is_full(&error.source),
            Self::Ledger(error) => is_full(error),
        }
    }
}

/// Keeps the seen keys and the account.
pub struct Bookkeeper {
    fs: Arc<dyn Fs>,
    spool: Spool,
    dedup: Arc<MemoryStore>,
    waiting: Arc<Waiting>,
    path: PathBuf,
    reserve: Reserve,
    /// The number of the next record without events.
    next_number: AtomicU64,
    progress: Arc<Progress>,
    books: Mutex<Books>,
}

struct Books {
    reader: Reader,
    /// Away while it is read at the start, which takes too long for anybody to wait.
    journal: Option<Journal>,
    window: Window,
    ledger: Ledger,
    /// The ledger as it stands on disk.
    saved: Ledger,
}

impl Bookkeeper {
    /// Opens the books. Nothing is known of what was seen before [`Bookkeeper::load`], and no checkpoint is made.
    pub fn open(
        fs: Arc<dyn Fs>,
        state_dir: &Path,
        spool: Spool,
        waiting: Arc<Waiting>,
        journal: Journal,
        dedup: Arc<MemoryStore>,
    ) -> Result<Self, BookError> {
        let window = Window { clock: spool.clock().clone(), span: journal.window() };
        let path = Ledger::path(state_dir);
        let ledger = load_or_begin(&*fs, &path, &spool)?;
        // What was counted must never be numbered again, even if damage took it from the log.
        spool.advance_to(ledger.position);
        let (reader, progress) = (spool.reader(ledger.position)?, journal.progress());
        let books = Books { reader, journal: Some(journal), window, saved: ledger.clone(), ledger };
        let reserve = Reserve::new(Arc::clone(&fs), state_dir);
        lost::begin();
        let (next_number, books) = (AtomicU64::new(0), Mutex::new(books));
        Ok(Self { fs, spool, dedup, waiting, path, reserve, next_number, progress, books })
    }

    /// Brings the books and `dedup` up to the end of the log: once, before the first upload is taken. Takes seconds where much
    /// is remembered, and leaves the account to whoever asks meanwhile.
    ///
    /// # Errors
    ///
    /// When the journal or the log cannot be read.
    pub fn load(&self) -> Result<(), BookError> {
        let (journal, window, ledger) = {
            let mut books = self.lock();
            (books.journal.take(), books.window.clone(), books.ledger.clone())
        };
        let Some(mut journal) = journal else { return Ok(()) };
        self.load_journal(&mut journal, &window)?;
        // Read apart from keeping the books: those need to write, and a full disk must not keep the gateway from
        // starting, since only a running one empties it.
        let mut end = ledger.clone();
        follow(&self.spool, &mut self.spool.reader(ledger.position)?, &mut end, |head| {
            if is_given_back(&self.spool, head) {
                return Ok(());
            }
            self.dedup.load(window.believed_s(second_of(head)), &keys_of(&self.spool, head));
            Ok(())
        })?;
        self.dedup.is_loaded();
        self.next_number.store(end.last_number + 1, Ordering::Relaxed);
        self.lock().journal = Some(journal);
        if let Err(error) = self.checkpoint() {
            tracing::error!(%error, "the ledger cannot be updated yet; the spool keeps the events it has not covered");
        }
        Ok(())
    }

    fn load_journal(&self, journal: &mut Journal, window: &Window) -> Result<(), BookError> {
        let (dedup, loading) = (&self.dedup, self.dedup.loading());
        let prepare = |entries| loading.prepare(entries);
        let began = Instant::now();
        let loaded = journal.load(window.now_s(), loading.batch_keys, prepare, |steps| {
            for step in steps {
                match step {
                    Step::Seen(unix_s, keys) => dedup.load_in_order(window.believed_s(unix_s), &keys),
                    Step::Forgotten(keys) => drop(dedup.forget(&keys)),
                }
            }
        })?;
        let journal::Loaded { keys, corrupt, torn_bytes } = loaded;
        let seconds = began.elapsed().as_secs_f64();
        tracing::info!(keys, corrupt, torn_bytes, seconds, "dedup journal read");
        metrics::STATE_DAMAGED.add(&["dedup"], loaded.corrupt);
        if loaded.corrupt > 0 {
            tracing::error!(
                stretches = loaded.corrupt,
                "the dedup journal is damaged; events that repeat its lost keys are forwarded again"
            );
        }
        Ok(())
    }

    /// How far [`Bookkeeper::load`] is with the dedup journal.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Catches up with the log, makes the books durable and returns the position they stand for: everything below is
    /// no longer needed for them. Blocks on the disk. After an error the same stretch of the log is read again.
    ///
    /// The spool gives segments back only behind the books, and the books take a little space: on a full disk it comes
    /// from the reserve.
    pub fn checkpoint(&self) -> Result<Ordinal, BookError> {
        let mut books = self.lock();
        let mut result = self.keep(&mut books);
        if result.as_ref().is_err_and(BookError::is_full) && self.reserve.give_up() {
            tracing::warn!("the disk is full; the reserved space is used for the ledger");
            result = self.keep(&mut books);
        }
        result?;
        self.reserve.keep();
        Ok(books.saved.position)
    }

    fn keep(&self, books: &mut Books) -> Result<(), BookError> {
        if books.journal.is_none() {
            return Ok(());
        }
        books.catch_up(&*self.fs, &self.path, &self.spool)?;
        let Books { journal, saved, .. } = books;
        journal.as_mut().map_or(Ok(()), |journal| lost::tell(&self.spool, journal, &*self.dedup, saved.position))
    }

    /// Gives the shares of the account that wait a record of their own, so that an idle gateway's account is durable
    /// too. A failure changes nothing: they go on waiting.
    pub async fn flush(&self) {
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let Some(boarded) = self.waiting.take_alone(number) else { return };
        let entry = Entry { items: 0, note: boarded.encode(), index: Vec::new(), payload: Vec::new() };
        if self.spool.append(self.spool.pack(entry)).await.is_ok() {
            boarded.arrived();
        }
    }

    /// The account as of the last checkpoint.
    pub fn ledger(&self) -> Ledger {
        self.lock().ledger.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock()
    }
}

impl Books {
    fn catch_up(&mut self, fs: &dyn Fs, path: &Path, spool: &Spool) -> Result<(), BookError> {
        let result = self.write_up(fs, path, spool);
        if result.is_err() {
            self.ledger = self.saved.clone();
            self.reader = spool.reader(self.saved.position)?;
        }
        result
    }

    fn write_up(&mut self, fs: &dyn Fs, path: &Path, spool: &Spool) -> Result<(), BookError> {
        let Self { reader, journal: Some(journal), window, ledger, .. } = self else { return Ok(()) };
        // First what gives space back.
        journal.expire(window.now_s())?;
        follow(spool, reader, ledger, |head| {
            if is_given_back(spool, head) {
                return Ok(());
            }
            let ordinals = head.ordinals();
            if spool.damage().lost_in(ordinals.clone()).is_empty() {
                return Ok(journal.append(second_of(head), ordinals, &head.index)?);
            }
            // The ordinals of what is left would not be right any more.
            let keys = key::encode_keys(&keys_of(spool, head));
            Ok(journal.append(second_of(head), ordinals.end..ordinals.end, &keys)?)
        })?;
        if self.ledger != self.saved {
            journal.sync()?;
            self.ledger.save(fs, path)?;
            if self.ledger.uncounted > self.saved.uncounted {
                let events = self.ledger.uncounted - self.saved.uncounted;
                tracing::warn!(events, "the account lacks events whose records were lost before they were counted");
            }
            self.saved = self.ledger.clone();
        }
        Ok(())
    }
}

/// Follows the log to its end: folds its notes into the ledger and hands out the heads that have keys.
fn follow(
    spool: &Spool,
    reader: &mut Reader,
    ledger: &mut Ledger,
    mut keys: impl FnMut(&Head) -> Result<(), BookError>,
) -> Result<(), BookError> {
    while let Some(item) = reader.next_head()? {
        match item {
            HeadItem::Head(head) => {
                if !head.index.is_empty() {
                    keys(&head)?;
                }
                match Note::decode(&head.note) {
                    Ok(note) => ledger.count(head.ordinals().end, &note),
                    Err(error) => {
                        tracing::error!(%error, ordinal = head.first, "a record's share of the account");
                        ledger.pass(head.ordinals());
                    }
                }
            }
            HeadItem::Damaged { first, until, reason } => {
                spool.damage().suspect(first..until, &reason);
                ledger.pass(first..until);
            }
        }
    }
    Ok(())
}

/// Whether nobody needs a record any more that is still there. What was lost of it is not known any more: its keys stand in
/// the journal, without those that were forgotten.
fn is_given_back(spool: &Spool, head: &Head) -> bool {
    head.ordinals().end <= spool.damage().floor()
}

/// The keys of a record, without those of events that are lost: they are to be taken when they come again.
fn keys_of(spool: &Spool, head: &Head) -> Vec<EventKey> {
    let keys = key::decode_keys(&head.index).unwrap_or_else(|error| {
        tracing::error!(%error, ordinal = head.first, "a record's keys are unreadable");
        Vec::new()
    });
    let lost = spool.damage().lost_in(head.ordinals());
    let is_lost = |ordinal| lost.iter().any(|range| range.contains(&ordinal));
    (head.first..).zip(keys).filter(|(ordinal, _)| !is_lost(*ordinal)).map(|(_, key)| key).collect()
}

/// When a record became durable.
fn second_of(head: &Head) -> i64 {
    signed(head.appended_at_ms / 1000)
}

/// The ledger; one that begins with the oldest record that is kept in place of one that is gone, or that cannot be
/// understood and is put aside. What was before is not damage: it was counted, by a ledger that is lost.
fn load_or_begin(fs: &dyn Fs, path: &Path, spool: &Spool) -> io::Result<Ledger> {
    let first = spool.status().first;
    match Ledger::load(fs, path) {
        Ok(Some(ledger)) => return Ok(ledger),
        // The first record is there, and with it the whole account.
        Ok(None) if first == 0 => {}
        Ok(None) => tracing::warn!(first, "the ledger is missing; the account starts afresh at this event"),
        Err(error) => {
            metrics::STATE_DAMAGED.add(&["ledger"], 1);
            let aside = path.with_extension("damaged");
            tracing::error!(%error, first, aside = %aside.display(), "the ledger was damaged and set aside; the account starts afresh at this event");
            fs.rename(path, &aside)?;
        }
    }
    Ok(Ledger::beginning_at(first))
}
