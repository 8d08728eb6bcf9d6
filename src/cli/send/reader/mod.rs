//! Reads records out of event logs and texts, on a thread of its own: what `/v1/events` takes, however long it is.
//!
//! Damage is reported and stepped over: one bad record, or one bad file, never stops the rest.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::event::from_evtx;

mod logs;
mod texts;

/// A batch is closed at this size, however few records it has.
const BATCH_BYTES: usize = 8 << 20;

/// The largest event log that is read from standard input, where it has to be in memory.
const PIPED_LOG_MAX: u64 = 1 << 30;

/// The form in which events of .evtx files are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// Event XML.
    Xml,
    /// The nested JSON of evtx tools.
    Json,
    /// A flat row in the shape of the WindowsEvent table.
    Row,
}

/// Where records come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An event log or a text on standard input.
    Stdin,
    /// An event log or a text in a file.
    File(PathBuf),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stdin => f.write_str("standard input"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// What the reader found; `source` is the index into the list of sources.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Records, at most a batch of them.
    Records {
        /// Where they come from.
        source: usize,
        /// The records, each one JSON object or one `<Event>` element.
        records: Vec<Bytes>,
    },
    /// A record, or the rest of a source, that cannot be read.
    Damaged {
        /// Where it is.
        source: usize,
        /// What is wrong with it.
        error: String,
    },
    /// The source is read to its end.
    End {
        /// Which one.
        source: usize,
    },
}

/// The sources behind the paths of a command line: `-` is standard input, folders are searched for .evtx files.
pub fn sources(paths: &[PathBuf]) -> io::Result<Vec<Source>> {
    let mut found = Vec::new();
    for path in paths {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
        if path.as_os_str() == "-" {
            found.push(Source::Stdin);
        } else if std::fs::metadata(path).map_err(named)?.is_dir() {
            let mut files = Vec::new();
            search(path, &mut files).map_err(named)?;
            files.sort();
            found.extend(files.into_iter().map(Source::File));
        } else {
            found.push(Source::File(path.clone()));
        }
    }
    Ok(found)
}

fn search(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            search(&entry.path(), files)?;
        } else if is_evtx(&entry.path()) {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn is_evtx(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("evtx"))
}

/// The receiver is gone: there is nobody to read for.
struct Unwanted;

/// Reads all sources in order and sends what it finds, in batches of at most `batch` records. Returns early when
/// the receiver is gone. Blocks: call it on a thread of its own.
pub fn read(sources: &[Source], form: Form, batch: usize, pieces: &mpsc::Sender<Piece>) {
    for (source, place) in sources.iter().enumerate() {
        let mut out = Out { source, batch, pieces, records: Vec::new(), bytes: 0 };
        let read = match place {
            Source::Stdin => read_piped(io::stdin().lock(), form, &mut out),
            Source::File(path) => read_file(path, form, &mut out),
        };
        if read.and_then(|()| out.flush()).is_err() || pieces.blocking_send(Piece::End { source }).is_err() {
            return;
        }
    }
}

struct Out<'a> {
    source: usize,
    batch: usize,
    pieces: &'a mpsc::Sender<Piece>,
    records: Vec<Bytes>,
    bytes: usize,
}

impl Out<'_> {
    fn record(&mut self, record: impl Into<Bytes>) -> Result<(), Unwanted> {
        let record = record.into();
        self.bytes += record.len();
        self.records.push(record);
        if self.records.len() >= self.batch || self.bytes >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Unwanted> {
        self.bytes = 0;
        match std::mem::take(&mut self.records) {
            records if records.is_empty() => Ok(()),
            records => self.send(Piece::Records { source: self.source, records }),
        }
    }

    fn damaged(&mut self, error: String) -> Result<(), Unwanted> {
        self.send(Piece::Damaged { source: self.source, error })
    }

    fn send(&self, piece: Piece) -> Result<(), Unwanted> {
        self.pieces.blocking_send(piece).map_err(|_| Unwanted)
    }
}

/// A file is what its first bytes say. One that is named as an event log must be one.
fn read_file(path: &Path, form: Form, out: &mut Out<'_>) -> Result<(), Unwanted> {
    let opened = File::open(path).and_then(|mut file| {
        let begin = begin(&mut file)?;
        file.rewind()?;
        Ok((file, begin))
    });
    match opened {
        Ok((file, begin)) if begin == from_evtx::MAGIC => logs::read(file, form, out),
        Ok(_) if is_evtx(path) => out.damaged("this is no event log: it does not begin as one".to_owned()),
        Ok((file, _)) => texts::read(file, out),
        Err(error) => out.damaged(error.to_string()),
    }
}

fn read_piped(mut piped: impl Read, form: Form, out: &mut Out<'_>) -> Result<(), Unwanted> {
    let begin = match begin(&mut piped) {
        Ok(begin) => begin,
        Err(error) => return out.damaged(error.to_string()),
    };
    let is_log = begin == from_evtx::MAGIC;
    let mut whole = Cursor::new(begin).chain(piped);
    if !is_log {
        return texts::read(whole, out);
    }
    let mut log = Vec::new();
    match whole.by_ref().take(PIPED_LOG_MAX + 1).read_to_end(&mut log) {
        Ok(read) if read as u64 > PIPED_LOG_MAX => {
            out.damaged("an event log of more than 1 GiB is read from a file only; name the file".to_owned())
        }
        Ok(_) => logs::read(Cursor::new(log), form, out),
        Err(error) => out.damaged(error.to_string()),
    }
}

/// The first bytes, as many as tell an event log.
fn begin(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut begin = Vec::new();
    reader.take(from_evtx::MAGIC.len() as u64).read_to_end(&mut begin)?;
    Ok(begin)
}

#[cfg(test)]
mod tests;
