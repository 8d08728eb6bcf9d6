//! The journal, read at a start: on every core, and handed out in its order.
//!
//! Most of a start is reading keys and bringing them into the order in which they are kept. Files know nothing of each other, so
//! threads take one each and prepare its batches, while one thread takes them, from the oldest file on. A thread that is ahead
//! waits with its next batch: memory stays within a few of them.

use parking_lot::Mutex;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use super::frame::{Kind, Scan};
use super::{Entry, Journal, JournalError, failed, file_end, read, read_file};
use crate::fs::{Access, Fs};

/// More threads would only wait for the one that takes.
const THREADS_MAX: usize = 4;

/// What [`Journal::load`] found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Keys within the window, repetitions included.
    pub keys: u64,
    /// Damaged stretches that were skipped, or frames whose keys could not be decoded.
    pub corrupt: u64,
    /// Bytes cut off torn ends.
    pub torn_bytes: u64,
}

/// How far a [`Journal::load`] is, for whoever waits for it.
#[derive(Debug, Default)]
pub struct Progress {
    read: AtomicU64,
    all: AtomicU64,
}

impl Progress {
    /// The files that were read, and how many there are: none before it has begun.
    pub fn files(&self) -> (u64, u64) {
        (self.read.load(Ordering::Relaxed), self.all.load(Ordering::Relaxed))
    }
}

/// What is told of a file: its batches, and at last what was found in it.
enum Told<T> {
    Batch(T),
    End(Result<Found, JournalError>),
}

/// What was found in a file.
#[derive(Default)]
struct Found {
    keys: u64,
    corrupt: u64,
    /// Between which ordinals its keys are.
    span: Range<u64>,
    scan: Scan,
}

type File = (i64, PathBuf);

impl Journal {
    /// How far its loading is.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Reads what is within the window before `now_unix_s`: entries with their times, in batches of about so many keys, which
    /// `prepare` turns into something on any of several threads. `each` gets them from the oldest on. Cuts torn ends. To be called
    /// before the first append.
    ///
    /// # Errors
    ///
    /// When the directory cannot be listed, or no thread can be had. A file that cannot be read counts as damage.
    pub fn load<T: Send>(
        &mut self,
        now_unix_s: i64,
        batch_keys: usize,
        prepare: impl Fn(Vec<(i64, Entry)>) -> T + Sync,
        mut each: impl FnMut(T),
    ) -> Result<Loaded, JournalError> {
        let limit = now_unix_s.saturating_sub(self.window_s);
        let mut files = self.files()?;
        files.retain(|(start, _)| file_end(*start) > limit);
        self.progress.all.store(files.len() as u64, Ordering::Relaxed);
        let reader = Reading { fs: Arc::clone(&self.fs), limit, batch_keys, prepare };
        let (tellers, told): (Vec<_>, Vec<_>) = files.iter().map(|_| mpsc::sync_channel(1)).unzip();
        let todo = Mutex::new(files.iter().zip(tellers));
        let next = || todo.lock().next();
        let mut loaded = Loaded::default();
        thread::scope(|scope| {
            let work = || {
                while let Some(((_, path), teller)) = next() {
                    reader.read(path, &teller);
                }
            };
            let cores = thread::available_parallelism().map_or(1, usize::from);
            for _ in 0..cores.min(THREADS_MAX).min(files.len()) {
                let begun = thread::Builder::new().name("dedup-load".to_owned()).spawn_scoped(scope, work);
                begun.map_err(failed("begin to read", &self.dir))?;
            }
            for (file, told) in files.iter().zip(told) {
                self.take(file, told, &mut each, &mut loaded);
                self.progress.read.fetch_add(1, Ordering::Relaxed);
            }
            Ok(loaded)
        })
    }

    /// Hands out what is told of a file, and mends its end.
    fn take<T>(
        &mut self,
        (start, path): &File,
        told: Receiver<Told<T>>,
        each: &mut impl FnMut(T),
        loaded: &mut Loaded,
    ) {
        for told in told {
            let found = match told {
                Told::Batch(batch) => {
                    each(batch);
                    continue;
                }
                Told::End(found) => found,
            };
            let Found { keys, corrupt, span, scan } = found.unwrap_or_else(|error| {
                tracing::error!(%error, "the keys in this dedup journal file were lost; repeated events are taken as new");
                Found { corrupt: 1, ..Found::default() }
            });
            self.widen(*start, span);
            loaded.keys += keys;
            loaded.corrupt += corrupt + scan.corrupt;
            loaded.torn_bytes += scan.torn_bytes;
            if scan.torn_bytes > 0
                && let Err(error) = cut(&*self.fs, path, scan.good_end)
            {
                tracing::warn!(%error, "an incomplete end of the file cannot be removed and is skipped");
            }
        }
    }
}

/// How files are read.
struct Reading<P> {
    fs: Arc<dyn Fs>,
    limit: i64,
    batch_keys: usize,
    prepare: P,
}

impl<P> Reading<P> {
    /// Reads a file and tells what is in it, as long as somebody listens.
    fn read<T>(&self, path: &Path, teller: &SyncSender<Told<T>>)
    where
        P: Fn(Vec<(i64, Entry)>) -> T,
    {
        let (mut found, mut batch, mut keys_of_batch) = (Found::default(), Vec::new(), 0);
        let scanned = read_file(&*self.fs, path, |frame| match read(&frame) {
            Ok(_) if frame.unix_s <= self.limit => {}
            Ok((ordinals, keys)) => {
                found.widen(ordinals);
                keys_of_batch += keys.len();
                let is_forgotten = frame.kind == Kind::Forgotten;
                found.keys += if is_forgotten { 0 } else { keys.len() as u64 };
                batch.push((frame.unix_s, if is_forgotten { Entry::Forgotten(keys) } else { Entry::Seen(keys) }));
                if keys_of_batch >= self.batch_keys {
                    keys_of_batch = 0;
                    teller.send(Told::Batch((self.prepare)(std::mem::take(&mut batch)))).ok();
                }
            }
            Err(_) => found.corrupt += 1,
        });
        // Nobody listens any more only when the one who took them has panicked.
        if !batch.is_empty() {
            teller.send(Told::Batch((self.prepare)(batch))).ok();
        }
        teller.send(Told::End(scanned.map(|scan| Found { scan, ..found }))).ok();
    }
}

impl Found {
    fn widen(&mut self, ordinals: Range<u64>) {
        if self.span.is_empty() {
            self.span = ordinals;
        } else if !ordinals.is_empty() {
            self.span = self.span.start.min(ordinals.start)..self.span.end.max(ordinals.end);
        }
    }
}

fn cut(fs: &dyn Fs, path: &Path, len: u64) -> Result<(), JournalError> {
    let file = fs.open(path, Access::ReadWrite).map_err(failed("open", path))?;
    file.set_len(len).and_then(|()| file.sync_data()).map_err(failed("cut", path))
}
