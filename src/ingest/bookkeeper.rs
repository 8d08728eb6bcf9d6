//! Follows the log behind ingest and keeps what must outlive its segments: the seen keys and the account.
//!
//! Every record carries the keys of its events and its share of the account, made durable by the same fsync. The
//! bookkeeper reads them in the order of the log (never the events themselves), appends the keys to the dedup journal,
//! folds the account into the ledger, and makes both durable. Only then may the spool recycle what it has passed. At
//! the start it walks from its last position to the end of the log before the first upload is taken, so that dedup
//! knows everything that was ever acknowledged inside the window.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::ledger::{Ledger, Note, Waiting};
use super::reserve::Reserve;
use crate::dedup::journal::{Journal, JournalError};
use crate::dedup::memory::MemoryStore;
use crate::event::key;
use crate::metrics;
use crate::spool::fs::is_full;
use crate::spool::{Entry, HeadItem, Ordinal, ReadError, Reader, Spool};

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
    spool: Spool,
    waiting: Arc<Waiting>,
    path: PathBuf,
    reserve: Reserve,
    /// The number of the next record without events.
    next_number: AtomicU64,
    books: Mutex<Books>,
}

struct Books {
    reader: Reader,
    journal: Journal,
    ledger: Ledger,
    /// The ledger as it stands on disk.
    saved: Ledger,
}

impl Bookkeeper {
    /// Opens the books and brings them and `dedup` up to the end of the log.
    pub fn open(
        state_dir: &Path,
        spool: Spool,
        waiting: Arc<Waiting>,
        mut journal: Journal,
        dedup: &MemoryStore,
    ) -> Result<Self, BookError> {
        let loaded = journal.load(now_s(), |unix_s, keys| dedup.load(unix_s, &keys))?;
        tracing::info!(?loaded, "dedup journal read");
        metrics::STATE_DAMAGED.add(&["dedup"], loaded.corrupt);
        if loaded.corrupt > 0 {
            tracing::error!(
                stretches = loaded.corrupt,
                "the dedup journal is damaged: what repeats its lost keys is forwarded again"
            );
        }
        let path = Ledger::path(state_dir);
        let ledger = load_or_begin(&path)?;
        // What was counted must never be numbered again, even if damage took it from the log.
        spool.advance_to(ledger.position);
        // Read apart from keeping the books: those need to write, and a full disk must not keep the gateway from
        // starting, since only a running one empties it.
        let mut end = ledger.clone();
        follow(&mut spool.reader(ledger.position)?, &mut end, |unix_s, index| {
            match key::decode_keys(index) {
                Ok(keys) => dedup.load(unix_s, &keys),
                Err(error) => tracing::error!(%error, "a record's keys are unreadable"),
            }
            Ok(())
        })?;
        let next_number = AtomicU64::new(end.last_number + 1);
        let reader = spool.reader(ledger.position)?;
        let books = Mutex::new(Books { reader, journal, saved: ledger.clone(), ledger });
        let reserve = Reserve::new(state_dir);
        let bookkeeper = Self { spool, waiting, path, reserve, next_number, books };
        if let Err(error) = bookkeeper.checkpoint() {
            tracing::error!(%error, "the books cannot be brought up to date yet; the spool keeps what they need");
        }
        Ok(bookkeeper)
    }

    /// Catches up with the log, makes the books durable and returns the position they stand for: everything below is
    /// no longer needed for them. Blocks on the disk. After an error the same stretch of the log is read again.
    ///
    /// The spool gives segments back only behind the books, and the books take a little space: on a full disk it comes
    /// from the reserve.
    pub fn checkpoint(&self) -> Result<Ordinal, BookError> {
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        let mut result = books.catch_up(&self.path, &self.spool);
        if result.as_ref().is_err_and(BookError::is_full) && self.reserve.give_up() {
            tracing::warn!("the disk is full: the reserve goes to the books");
            result = books.catch_up(&self.path, &self.spool);
        }
        result?;
        self.reserve.keep();
        Ok(books.saved.position)
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
        self.books.lock().unwrap_or_else(PoisonError::into_inner).ledger.clone()
    }
}

impl Books {
    fn catch_up(&mut self, path: &Path, spool: &Spool) -> Result<(), BookError> {
        let result = self.write_up(path);
        if result.is_err() {
            self.ledger = self.saved.clone();
            self.reader = spool.reader(self.saved.position)?;
        }
        result
    }

    fn write_up(&mut self, path: &Path) -> Result<(), BookError> {
        // First what gives space back.
        self.journal.expire(now_s())?;
        let Self { reader, journal, ledger, .. } = self;
        follow(reader, ledger, |unix_s, index| Ok(journal.append(unix_s, index)?))?;
        if self.ledger != self.saved {
            self.journal.sync()?;
            self.ledger.save(path)?;
            metrics::SPOOL_DAMAGED_EVENTS.add(&[], self.ledger.damaged - self.saved.damaged);
            self.saved = self.ledger.clone();
        }
        Ok(())
    }
}

/// Follows the log to its end: folds its notes into the ledger and hands out the keys of each record, with the second
/// in which they became durable.
fn follow(
    reader: &mut Reader,
    ledger: &mut Ledger,
    mut keys: impl FnMut(i64, &[u8]) -> Result<(), BookError>,
) -> Result<(), BookError> {
    while let Some(item) = reader.next_head()? {
        match item {
            HeadItem::Head(head) => {
                if !head.index.is_empty() {
                    keys(i64::try_from(head.appended_at_ms / 1000).unwrap_or(i64::MAX), &head.index)?;
                }
                match Note::decode(&head.note) {
                    Ok(note) => ledger.count(head.first + u64::from(head.items), &note),
                    Err(error) => tracing::error!(%error, ordinal = head.first, "a record's share of the account"),
                }
            }
            HeadItem::Damaged { first, until, reason } => {
                tracing::error!(first, until, reason, "the spool is damaged: these events are lost");
                ledger.damaged += until - first;
                ledger.position = until;
            }
        }
    }
    Ok(())
}

/// The ledger; an empty one in place of one that cannot be understood, which is put aside. The account then begins
/// with the oldest record that is kept.
fn load_or_begin(path: &Path) -> io::Result<Ledger> {
    match Ledger::load(path) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            metrics::STATE_DAMAGED.add(&["ledger"], 1);
            let aside = path.with_extension("damaged");
            tracing::error!(%error, aside = %aside.display(), "the ledger is damaged and put aside; the account begins anew");
            std::fs::rename(path, aside)?;
            Ok(Ledger::default())
        }
        result => result,
    }
}

fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
