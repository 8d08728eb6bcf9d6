//! The remembered keys on disk, for longer than the spool keeps the events.
//!
//! The spool holds the keys of every record that it still has. This journal takes them over before the spool recycles
//! a segment: who lets segments go follows the spool's index, appends here, calls [`Journal::sync`], and only then
//! releases. After a crash the journal may thus hold keys that the spool holds as well; loading keys twice is harmless.
//!
//! One file for every half hour, named by the Unix second at which it begins: forgetting is removing a file. A file is a
//! list of [`frame`]s. What is damaged is skipped and counted, not fatal: a lost frame costs at most a duplicate, while a
//! refusal to start would cost the service. A torn end, as a crash leaves it, is cut.
//!
//! Keys stand with the ordinals of their events. When the spool loses events together with the heads of their records, this
//! is who still knows their keys ([`Journal::keys_of`]); that they are to be taken again is an entry of its own
//! ([`Journal::forget`]). The journals of former versions have no ordinals; their keys are remembered, and cannot be found.
//!
//! The half hour is fixed, not a share of the window, so that a changed window finds the files it expects. All calls
//! block; call them off the async runtime.

pub mod frame;
mod load;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use self::load::{Loaded, Progress};

use self::frame::{Frame, Kind, Scan};
use crate::event::EventKey;
use crate::event::key::{KeyError, decode_keys, encode_keys};
use crate::fs::{self, Access, File, Fs};

/// Seconds of keys in one file.
const FILE_SPAN_S: i64 = 1_800;
/// Appended bytes that may wait in memory for the next write.
const BUFFER_MAX: usize = 1 << 20;
/// Most keys of one entry that forgets: within the bound of a frame.
const FORGOTTEN_MAX: usize = 1 << 20;
const SUFFIX: &str = "keys";

/// Which step on which file failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} {}: {source}", path.display())]
pub struct JournalError {
    /// What was tried.
    pub step: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// One entry of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// These were seen.
    Seen(Vec<EventKey>),
    /// These were lost by the spool after they had been seen.
    Forgotten(Vec<EventKey>),
}

/// Keys on disk. One process at a time may have it open.
#[derive(Debug)]
pub struct Journal {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    window_s: i64,
    open: Option<Open>,
    /// Between which ordinals the keys of each file are, by its start.
    spans: BTreeMap<i64, Range<u64>>,
    progress: Arc<Progress>,
}

/// The file that is appended to.
#[derive(Debug)]
struct Open {
    start: i64,
    path: PathBuf,
    file: Arc<dyn File>,
    /// Where what is written next goes.
    end: u64,
    waiting: Vec<u8>,
}

impl Journal {
    /// Opens the journal in `dir`, which is made when missing; only the owner may read it.
    pub fn open(fs: Arc<dyn Fs>, dir: &Path, window: Duration) -> Result<Self, JournalError> {
        fs.create_dir(dir).map_err(failed("create", dir))?;
        let window_s = i64::try_from(window.as_secs()).unwrap_or(i64::MAX).max(1);
        Ok(Self { fs, dir: dir.to_owned(), window_s, open: None, spans: BTreeMap::new(), progress: Arc::default() })
    }

    /// How long keys are kept.
    pub fn window(&self) -> Duration {
        Duration::from_secs(self.window_s.unsigned_abs())
    }

    /// The second in which the newest file begins: keys were stamped then or a little later. `None` without files.
    pub fn newest_s(&self) -> Result<Option<i64>, JournalError> {
        Ok(self.files()?.last().map(|(start, _)| *start))
    }

    /// Appends keys, as `event::key::encode_keys` writes them, that became durable at `unix_s`. The first of them are those
    /// of the events with these ordinals. They are on disk only after [`Journal::sync`]. Refuses more than 64 MiB of keys,
    /// which no upload has.
    ///
    /// After an error of this or of `sync`, everything since the last good `sync` has to be appended again.
    pub fn append(&mut self, unix_s: i64, ordinals: Range<u64>, keys: &[u8]) -> Result<(), JournalError> {
        let count = ordinals.end.saturating_sub(ordinals.start);
        let payload = [&ordinals.start.to_le_bytes(), &count.to_le_bytes(), keys].concat();
        self.write(Kind::NumberedKeys, unix_s, &payload)?;
        self.widen(file_start(unix_s), ordinals);
        Ok(())
    }

    /// Appends that these keys, if they were seen before, were not; like [`Journal::append`].
    pub fn forget(&mut self, unix_s: i64, keys: &[EventKey]) -> Result<(), JournalError> {
        keys.chunks(FORGOTTEN_MAX).try_for_each(|keys| self.write(Kind::Forgotten, unix_s, &encode_keys(keys)))
    }

    fn write(&mut self, kind: Kind, unix_s: i64, payload: &[u8]) -> Result<(), JournalError> {
        if payload.len() > frame::PAYLOAD_MAX {
            let reason = io::Error::new(io::ErrorKind::InvalidInput, "the keys of one append are more than 64 MiB");
            return Err(failed("append to", &self.dir)(reason));
        }
        let start = file_start(unix_s);
        if self.open.as_ref().is_some_and(|open| open.start != start) {
            self.sync()?;
            self.open = None;
        }
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(Open::at(&*self.fs, &self.dir, start)?),
        };
        frame::write(&mut open.waiting, kind, unix_s, payload);
        if open.waiting.len() < BUFFER_MAX {
            return Ok(());
        }
        open.write_out().inspect_err(|_| self.open = None)
    }

    /// Returns when all that was appended is on disk.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        // After a failed fsync the system may forget what it could not write, and a second fsync would lie. So the file
        // is given up and the caller appends again.
        open.write_out()
            .and_then(|()| open.file.sync_data().map_err(failed("sync", &open.path)))
            .and_then(|()| open.is_named(&*self.fs).map_err(failed("find again", &open.path)))
            .inspect_err(|_| self.open = None)
    }

    /// The keys of the events with these ordinals, as far as they are known: within the window, and on disk.
    pub fn keys_of(&self, ordinals: &[Range<u64>]) -> Result<Vec<EventKey>, JournalError> {
        let mut found = Vec::new();
        for (start, path) in self.files()? {
            let touches = |span: &Range<u64>| ordinals.iter().any(|range| overlap(range, span));
            if !self.spans.get(&start).is_some_and(touches) {
                continue;
            }
            let scanned = read_file(&*self.fs, &path, |frame| {
                let Ok((span, keys)) = read(&frame) else { return };
                let numbered =
                    span.zip(keys).filter(|(ordinal, _)| ordinals.iter().any(|range| range.contains(ordinal)));
                found.extend(numbered.map(|(_, key)| key));
            });
            if let Err(error) = scanned {
                // What is lost must be told all the same, or nothing would ever be given back.
                tracing::error!(%error, "keys in this dedup journal file cannot be released; repeated events count as duplicates");
            }
        }
        Ok(found)
    }

    /// Takes note that a file has keys of these ordinals.
    fn widen(&mut self, start: i64, ordinals: Range<u64>) {
        if !ordinals.is_empty() {
            let span = self.spans.entry(start).or_insert_with(|| ordinals.clone());
            *span = span.start.min(ordinals.start)..span.end.max(ordinals.end);
        }
    }

    /// Removes the files whose keys are all older than the window; returns how many.
    pub fn expire(&mut self, now_unix_s: i64) -> Result<u64, JournalError> {
        let limit = now_unix_s.saturating_sub(self.window_s);
        let in_use = self.open.as_ref().map(|open| open.start);
        let mut removed = 0;
        for (start, path) in self.files()? {
            if file_end(start) <= limit && in_use != Some(start) {
                self.fs.remove(&path).map_err(failed("remove", &path))?;
                self.spans.remove(&start);
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn files(&self) -> Result<Vec<(i64, PathBuf)>, JournalError> {
        files(&*self.fs, &self.dir)
    }
}

/// The files with their starts, oldest first. Other files in the directory are left alone.
fn files(fs: &dyn Fs, dir: &Path) -> Result<Vec<(i64, PathBuf)>, JournalError> {
    let mut files = Vec::new();
    for entry in fs.list(dir).map_err(failed("list", dir))? {
        let path = dir.join(entry.name);
        let start = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        if let Some(start) = start.filter(|_| path.extension().is_some_and(|extension| extension == SUFFIX)) {
            files.push((start, path));
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Hands out the keys of events in these ranges that were stamped after `since_unix_s`, entry by entry with the ordinals of
/// each entry's first keys, from a journal that somebody else may be appending to. Ends when `each` says `false`. A file
/// that cannot be read is passed over, and told at the end.
pub fn numbered(
    fs: &dyn Fs,
    dir: &Path,
    since_unix_s: i64,
    wanted: &[Range<u64>],
    mut each: impl FnMut(Range<u64>, Vec<EventKey>) -> bool,
) -> Result<(), JournalError> {
    let (mut goes_on, mut result) = (true, Ok(()));
    for (_, path) in files(fs, dir)?.into_iter().filter(|(start, _)| file_end(*start) > since_unix_s) {
        let scanned = read_file(fs, &path, |frame| {
            if !goes_on || frame.unix_s <= since_unix_s || frame.kind != Kind::NumberedKeys {
                return;
            }
            let Ok((ordinals, keys)) = read(&frame) else { return };
            if wanted.iter().any(|range| overlap(range, &ordinals)) {
                goes_on = each(ordinals, keys);
            }
        });
        if !goes_on {
            break;
        }
        result = scanned.map(drop).and(result);
    }
    result
}

impl Open {
    fn at(fs: &dyn Fs, dir: &Path, start: i64) -> Result<Self, JournalError> {
        let path = dir.join(format!("{start}.{SUFFIX}"));
        let file = match fs.open(&path, Access::ReadWrite) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs.create(&path, 0),
            opened => opened,
        };
        let file = file.map_err(failed("open", &path))?;
        let end = file.len().map_err(failed("open", &path))?;
        // The name must be durable too, or a crash loses the file with all that was synced into it.
        fs.sync_dir(dir).map_err(failed("sync", dir))?;
        Ok(Self { start, path, file, end, waiting: Vec::new() })
    }

    /// Fails when the file was removed or replaced: what was written to it will not be found at the next start.
    fn is_named(&self, fs: &dyn Fs) -> io::Result<()> {
        if fs.names(&self.path, &*self.file) { Ok(()) } else { Err(io::Error::other("it was removed or replaced")) }
    }

    /// What a full disk took of it is cut off again: behind half a frame, the next start would take the next one for damage.
    fn write_out(&mut self) -> Result<(), JournalError> {
        if let Err(error) = self.file.write_all_at(&self.waiting, self.end) {
            drop(self.file.set_len(self.end));
            return Err(failed("write", &self.path)(error));
        }
        self.end += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }
}

/// The ordinals and the keys of a frame; no ordinals where it has none.
fn read(frame: &Frame<'_>) -> Result<(Range<u64>, Vec<EventKey>), KeyError> {
    let (numbers, keys) = match frame.kind {
        Kind::NumberedKeys => frame.payload.split_first_chunk::<16>().ok_or(KeyError::CutOff)?,
        Kind::Keys | Kind::Forgotten => (&[0; 16], frame.payload),
    };
    let [first, count] = [0, 8].map(|at| u64::from_le_bytes(std::array::from_fn(|i| numbers[at + i])));
    Ok((first..first.saturating_add(count), decode_keys(keys)?))
}

fn overlap(one: &Range<u64>, other: &Range<u64>) -> bool {
    one.start < other.end && other.start < one.end
}

fn read_file(fs: &dyn Fs, path: &Path, each: impl FnMut(Frame<'_>)) -> Result<Scan, JournalError> {
    let file = fs.open(path, Access::Read).map_err(failed("open", path))?;
    frame::scan(fs::Reading::of(file), each).map_err(failed("read", path))
}

fn file_start(unix_s: i64) -> i64 {
    unix_s.saturating_sub(unix_s.rem_euclid(FILE_SPAN_S))
}

fn file_end(start: i64) -> i64 {
    start.saturating_add(FILE_SPAN_S)
}

fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError { step, path, source }
}
