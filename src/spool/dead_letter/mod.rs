//! Dead letters: events that no endpoint will take, kept apart for a person to list, replay and purge.
//!
//! Files of one JSON object a line, so that they can be read without Gatepost. [`DeadLetters::put`] returns when its
//! letters are durable. Removing rewrites a file beside the old one and renames it. Each line has a checksum; what cannot be
//! read, and what is gone, is counted ([`DeadLetters::damage`]) and keeps nothing else from being read. A torn last line is
//! what a crash left of a write that was not acknowledged.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::fs::{Access, File, Fs, is_full};

mod config;
mod kept;
mod lines;
mod load;
#[cfg(test)]
mod tests;

pub use config::Config;
pub use load::Damage;

use kept::{Kept, Note};

/// The reason of a letter of an input, whose own is a whole sentence, among the reasons of outputs.
pub const NOT_UNDERSTOOD: &str = "not_understood";

/// How many letters are kept, by the name of their source and their reason in one word.
pub type Waiting = BTreeMap<(String, String), u64>;

/// A new file is begun when the last one is longer.
const ROLL_AT: u64 = 8 << 20;

/// A longer file is none of ours: even the letters of a whole upload take less.
const FILE_MAX: u64 = 1 << 30;

/// Where a letter comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// An input could not read it.
    Input {
        /// The input's name.
        name: String,
    },
    /// An output's endpoint refused it.
    Output {
        /// The output's name.
        name: String,
    },
}

impl Source {
    /// The name of the input or output.
    pub fn name(&self) -> &str {
        match self {
            Self::Input { name } | Self::Output { name } => name,
        }
    }
}

/// One event that is set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// Its number; given by [`DeadLetters::put`], whatever it was before.
    pub id: u64,
    /// When it was first set aside, in milliseconds since 1970.
    pub first_seen_ms: u64,
    /// Where it comes from.
    pub source: Source,
    /// When it was last set aside: later than first when it was replayed and refused again.
    #[serde(default)]
    pub last_seen_ms: u64,
    /// How often it was set aside.
    #[serde(default = "once")]
    pub tries: u32,
    /// Why: of an output a short word for metrics, of an input a sentence.
    pub reason: String,
    /// The status of the endpoint's answer, if there was one.
    pub status: Option<u16>,
    /// What was said, for a person.
    pub detail: String,
    /// The body of the endpoint's answer, at most 4 KiB of it, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// Who uploaded it, where the input's policy wanted that kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// How `raw` is written, as a number of the caller's.
    pub format: u8,
    /// The stream it was uploaded to; may be empty.
    pub stream: String,
    /// The event as it was uploaded.
    #[serde(with = "lines::base64_text")]
    pub raw: Vec<u8>,
}

/// Which letters are wanted: all that match every field that is set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// From the input or output of this name.
    pub source: Option<String>,
    /// For this reason; those of inputs have one name, [`NOT_UNDERSTOOD`].
    pub reason: Option<String>,
    /// First set aside at this time or later, in milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// First set aside before this time.
    pub before_ms: Option<u64>,
    /// With this id or a lower one.
    pub until: Option<u64>,
}

/// Which part of a listing is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Letters with higher ids only; 0 for the beginning.
    pub after: u64,
    /// Most letters.
    pub limit: usize,
}

/// How much is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Letters.
    pub count: u64,
    /// Bytes of disk.
    pub bytes: u64,
}

/// Why letters were not kept.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// The bound or the disk is full.
    #[error("the dead letters are full")]
    Full,
    /// The disk refused.
    #[error("the dead letters cannot be written: {0}")]
    Io(#[source] io::Error),
    /// Opened for reading only.
    #[error("the dead letters are open for reading only")]
    ReadOnly,
}

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    /// Bytes of whole lines.
    len: u64,
    count: u64,
    /// The highest id in it, or the one before its name.
    last: u64,
}

/// The kept letters of one directory.
#[derive(Debug)]
pub struct DeadLetters {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    max_bytes: u64,
    segments: Vec<Segment>,
    next_id: u64,
    read_only: bool,
    waiting: Waiting,
    /// The last file failed to be written: the next letters go to a new one.
    roll: bool,
    damage: Damage,
    note: Note,
}

impl DeadLetters {
    /// Opens the letters of a directory, which is made if need be. At most `max_bytes` are kept.
    pub fn open(fs: Arc<dyn Fs>, dir: &Path, max_bytes: u64) -> io::Result<Self> {
        fs.create_dir(dir)?;
        // A killed process may have named its last file and not lived to make the name durable.
        fs.sync_dir(dir)?;
        Self::load(fs, dir, max_bytes, false)
    }

    /// Opens them for reading only, also while Gatepost runs.
    pub fn open_read_only(fs: Arc<dyn Fs>, dir: &Path) -> io::Result<Self> {
        Self::load(fs, dir, u64::MAX, true)
    }

    /// Keeps letters; durable when it returns their ids, one sync for all. On an error none is kept for sure.
    pub fn put(&mut self, letters: Vec<Letter>) -> Result<Vec<u64>, PutError> {
        if self.read_only {
            return Err(PutError::ReadOnly);
        }
        let ids: Vec<u64> = (self.next_id..).take(letters.len()).collect();
        let mut bytes = Vec::new();
        let mut kinds = Vec::with_capacity(letters.len());
        for (mut letter, id) in letters.into_iter().zip(&ids) {
            letter.id = *id;
            lines::push(&mut bytes, &letter);
            kinds.push(kind(&letter));
        }
        if self.totals().bytes + bytes.len() as u64 > self.max_bytes {
            return Err(PutError::Full);
        }
        // Numbers of a write that failed are not used again: it may have reached the disk.
        self.next_id += ids.len() as u64;
        self.append(&bytes, &ids).map_err(|e| {
            self.roll = true;
            if is_full(&e) { PutError::Full } else { PutError::Io(e) }
        })?;
        for kind in kinds {
            *self.waiting.entry(kind).or_default() += 1;
        }
        Ok(ids)
    }

    fn append(&mut self, bytes: &[u8], ids: &[u64]) -> io::Result<()> {
        let (Some(first), Some(last)) = (ids.first(), ids.last()) else { return Ok(()) };
        if self.roll || self.segments.last().is_none_or(|segment| segment.len >= ROLL_AT) {
            let path = self.dir.join(format!("{first:020}.ndjson"));
            self.fs.create(&path, 0)?;
            self.fs.sync_dir(&self.dir)?;
            self.segments.push(Segment { path, len: 0, count: 0, last: first - 1 });
            self.roll = false;
        }
        let segment = self.segments.last_mut().expect("one was made if there was none");
        let file = self.fs.open(&segment.path, Access::ReadWrite)?;
        let written = file.write_all_at(bytes, segment.len).and_then(|()| file.sync_data());
        if let Err(e) = written {
            // What was not acknowledged must not be listed; if this fails too, a listing shows more than was promised.
            drop(file.set_len(segment.len));
            return Err(e);
        }
        segment.len += bytes.len() as u64;
        segment.count += ids.len() as u64;
        segment.last = *last;
        Ok(())
    }

    /// Letters that match, oldest first.
    pub fn list(&self, filter: &Filter, page: Page) -> io::Result<Vec<Letter>> {
        let mut found = Vec::new();
        for segment in self.segments.iter().filter(|segment| segment.last > page.after) {
            let bytes = read_file(&*self.fs, &segment.path)?;
            let wanted = lines::letters(&bytes).filter(|letter| letter.id > page.after && filter.matches(letter));
            found.extend(wanted.take(page.limit - found.len()));
            if found.len() >= page.limit {
                break;
            }
        }
        Ok(found)
    }

    /// The letter of this id.
    pub fn get(&self, id: u64) -> io::Result<Option<Letter>> {
        let page = Page { after: id.saturating_sub(1), limit: 1 };
        Ok(self.list(&Filter::default(), page)?.into_iter().find(|letter| letter.id == id))
    }

    /// Removes letters; how many there were.
    pub fn remove(&mut self, ids: &[u64]) -> io::Result<u64> {
        if self.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        let wanted: std::collections::HashSet<u64> = ids.iter().copied().collect();
        let mut removed = 0;
        let fewer = self.totals().count.saturating_sub(wanted.len() as u64);
        self.note.write(Kept { letters: fewer, last_id: self.last_id() })?;
        for segment in self.segments.iter_mut().filter(|segment| wanted.iter().any(|id| *id <= segment.last)) {
            let bytes = read_file(&*self.fs, &segment.path)?;
            let (kept, gone) = lines::without(&bytes, &wanted);
            if !gone.is_empty() {
                replace(&*self.fs, &segment.path, &kept)?;
                let count: u64 = gone.values().sum();
                segment.len = kept.len() as u64;
                segment.count -= count.min(segment.count);
                removed += count;
                for (kind, count) in gone {
                    let waiting = self.waiting.entry(kind).or_default();
                    *waiting -= count.min(*waiting);
                }
            }
        }
        self.drop_empty()?;
        Ok(removed)
    }

    /// Removes files without letters, but not the last one: its name keeps the numbering going.
    fn drop_empty(&mut self) -> io::Result<()> {
        let last = self.segments.len().saturating_sub(1);
        let mut index = 0;
        let mut failure = Ok(());
        self.segments.retain(|segment| {
            index += 1;
            let empty = segment.len == 0 && index <= last;
            if empty && let Err(e) = self.fs.remove(&segment.path) {
                failure = Err(e);
            }
            !empty
        });
        self.roll |= self.segments.last().is_some_and(|segment| segment.len == 0 && segment.last > 0);
        failure
    }

    /// Notes how many are kept, so that a later opening misses those that have gone meanwhile. Blocks on the disk.
    pub fn note(&mut self) -> io::Result<()> {
        if self.read_only {
            return Ok(());
        }
        self.note.write(Kept { letters: self.totals().count, last_id: self.last_id() })
    }

    /// What opening them found wrong.
    pub fn damage(&self) -> &Damage {
        &self.damage
    }

    /// How much is kept.
    pub fn totals(&self) -> Totals {
        let count = self.segments.iter().map(|segment| segment.count).sum();
        Totals { count, bytes: self.segments.iter().map(|segment| segment.len).sum() }
    }

    /// How many are kept, by kind. What there was since this was opened and is no more stands there with 0.
    pub fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    /// The highest number that was ever given; 0 before the first.
    pub fn last_id(&self) -> u64 {
        self.next_id - 1
    }

    /// Whether not even a small letter fits.
    pub fn is_full(&self) -> bool {
        self.totals().bytes + 1024 > self.max_bytes
    }
}

impl Filter {
    fn matches(&self, letter: &Letter) -> bool {
        self.source.as_ref().is_none_or(|name| name == letter.source.name())
            && self.reason.as_ref().is_none_or(|reason| reason == letter.short_reason())
            && self.since_ms.is_none_or(|since| letter.first_seen_ms >= since)
            && self.before_ms.is_none_or(|before| letter.first_seen_ms < before)
            && self.until.is_none_or(|until| letter.id <= until)
    }
}

impl Letter {
    /// The reason in one word of a closed set.
    pub fn short_reason(&self) -> &str {
        match self.source {
            Source::Input { .. } => NOT_UNDERSTOOD,
            Source::Output { .. } => &self.reason,
        }
    }
}

fn kind(letter: &Letter) -> (String, String) {
    (letter.source.name().to_owned(), letter.short_reason().to_owned())
}

fn once() -> u32 {
    1
}

fn read_file(fs: &dyn Fs, path: &Path) -> io::Result<Vec<u8>> {
    let file = fs.open(path, Access::Read)?;
    let len = file.len()?;
    if len > FILE_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "no file of letters is so long"));
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    let got = file.read_at(&mut bytes, 0)?;
    bytes.truncate(got);
    Ok(bytes)
}

fn replace(fs: &dyn Fs, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    match fs.remove(&fresh) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let file: Arc<dyn File> = fs.create(&fresh, 0)?;
    file.write_all_at(bytes, 0)?;
    file.sync_data()?;
    fs.rename(&fresh, path)?;
    fs.sync_dir(path.parent().unwrap_or(Path::new(".")))
}
