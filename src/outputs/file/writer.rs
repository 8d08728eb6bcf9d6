//! Writes batches to numbered files and repairs what a crash or a full disk left of one.
//!
//! All of it is blocking I/O. After any error the state is thrown away, and the next call reads it back from the disk:
//! there is one way of repair, and a restart takes the same one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::position::{Position, Sidecar};

/// Why a batch was not written. Nothing of it remains in the files, or the next call sees to that.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// Another output, or the one before a reload, writes there.
    #[error("{directory} is in use by another output")]
    Locked {
        /// The directory.
        directory: PathBuf,
    },
    /// The disk is full or broken, or the permissions are wrong.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl WriteError {
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, path: path.to_owned(), source }
    }
}

/// Writes bytes at the current place of a file and makes them durable. A seam for tests: disks fail in many ways.
pub(super) type Put = Box<dyn FnMut(&mut File, &[u8]) -> io::Result<()> + Send>;

/// The writer of one directory.
pub(super) struct Writer {
    directory: PathBuf,
    rotate_at: u64,
    keep_files: usize,
    put: Put,
    open: Option<Open>,
    /// The last write failed: the system's cache may show bytes that are not on the disk, so they prove nothing.
    spoiled: bool,
}

/// What is known of an open directory.
struct Open {
    sidecar: Sidecar,
    turn: u64,
    tail: Tail,
}

/// Where the next batch goes.
struct Tail {
    file: u64,
    end: u64,
    /// The id of the batch that ends there, when it is whole.
    written: Option<String>,
}

impl Tail {
    fn of_new_file(file: u64) -> Self {
        Self { file, end: 0, written: None }
    }
}

impl Writer {
    /// A writer that opens nothing yet. `keep_files` of 0 keeps all.
    pub(super) fn new(directory: PathBuf, rotate_at: u64, keep_files: usize) -> Self {
        let put = |file: &mut File, bytes: &[u8]| {
            file.write_all(bytes)?;
            file.sync_data()
        };
        Self::with_put(directory, rotate_at, keep_files, Box::new(put))
    }

    pub(super) fn with_put(directory: PathBuf, rotate_at: u64, keep_files: usize, put: Put) -> Self {
        Self { directory, rotate_at, keep_files, put, open: None, spoiled: false }
    }

    /// Writes a batch once: `Ok` when it is durable, by this call or an earlier one under the same id.
    pub(super) fn write(&mut self, id: &str, body: &[u8]) -> Result<(), WriteError> {
        self.open()?;
        // Taken out, so that an error or a panic leaves the directory closed.
        let mut open = self.open.take().expect("open() succeeded");
        if open.tail.written.as_deref() != Some(id) {
            self.make_room(&mut open.tail, body.len() as u64)?;
            let position = Position {
                turn: open.turn + 1,
                id: id.to_owned(),
                file: open.tail.file,
                start: open.tail.end,
                length: body.len() as u64,
                crc: crc32fast::hash(body),
            };
            open.sidecar.write(&position).map_err(WriteError::io("note the batch in", &self.directory))?;
            if let Err(error) = self.append(&position, body) {
                self.spoiled = true;
                drop(open);
                // Readers should not have to look at half a batch until the next try. If this fails, that try repeats it.
                self.open().ok();
                return Err(error);
            }
            open.turn = position.turn;
            open.tail = Tail { file: position.file, end: position.start + position.length, written: Some(position.id) };
        }
        self.open = Some(open);
        Ok(())
    }

    /// Opens the directory and takes out what an interrupted batch left. Does nothing when it is open.
    pub(super) fn open(&mut self) -> Result<(), WriteError> {
        if self.open.is_some() {
            return Ok(());
        }
        fs::create_dir_all(&self.directory).map_err(WriteError::io("create", &self.directory))?;
        let (sidecar, last) = Sidecar::open(&self.directory)?;
        let turn = last.as_ref().map_or(0, |position| position.turn);
        let tail = match last {
            Some(position) => self.repair(position)?,
            None => Tail::of_new_file(self.unused_number(1)?),
        };
        self.open = Some(Open { sidecar, turn, tail });
        self.spoiled = false;
        Ok(())
    }

    /// Finds out what became of the last batch that was begun: whole, partly there, or not there.
    fn repair(&self, last: Position) -> Result<Tail, WriteError> {
        let path = self.path(last.file);
        let Some(length) = length(&path)? else {
            return Ok(Tail::of_new_file(if last.start == 0 { last.file } else { self.unused_number(last.file + 1)? }));
        };
        let end = last.start + last.length;
        if length == end && !self.spoiled && matches(&path, &last)? {
            self.flush_directory()?;
            return Ok(Tail { file: last.file, end, written: Some(last.id) });
        }
        if (last.start..=end).contains(&length) {
            truncate(&path, last.start)?;
            return Ok(Tail { file: last.file, end: last.start, written: None });
        }
        // Somebody else cut the file or wrote to it. What we cannot explain we do not touch.
        Ok(Tail::of_new_file(self.unused_number(last.file + 1)?))
    }

    /// Moves on to a new file when this one would grow too large, or when it is not as we left it.
    fn make_room(&self, tail: &mut Tail, bytes: u64) -> Result<(), WriteError> {
        let full = tail.end > 0 && tail.end + bytes > self.rotate_at;
        if full || length(&self.path(tail.file))?.unwrap_or(0) != tail.end {
            *tail = Tail::of_new_file(self.unused_number(tail.file + 1)?);
        }
        Ok(())
    }

    fn append(&mut self, position: &Position, body: &[u8]) -> Result<(), WriteError> {
        let path = self.path(position.file);
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(WriteError::io("open", &path))?;
        file.seek(SeekFrom::Start(position.start))
            .and_then(|_| (self.put)(&mut file, body))
            .map_err(WriteError::io("write", &path))?;
        if position.start == 0 {
            self.flush_directory()?;
            // The batch is durable: files that cannot be deleted are no reason to send it again.
            self.delete_old().unwrap_or_else(|error| tracing::warn!(%error, "an old event file cannot be removed"));
        }
        Ok(())
    }

    fn flush_directory(&self) -> Result<(), WriteError> {
        File::open(&self.directory)
            .and_then(|directory| directory.sync_all())
            .map_err(WriteError::io("flush", &self.directory))
    }

    /// Deletes the oldest files beyond `keep_files`.
    fn delete_old(&self) -> Result<(), WriteError> {
        let mut numbers = self.numbers()?;
        numbers.sort_unstable();
        let surplus = if self.keep_files == 0 { 0 } else { numbers.len().saturating_sub(self.keep_files) };
        for number in &numbers[..surplus] {
            let path = self.path(*number);
            fs::remove_file(&path).map_err(WriteError::io("delete", &path))?;
        }
        Ok(())
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("events-{number:08}.ndjson"))
    }

    /// The number after the highest one in use, at least `least`.
    fn unused_number(&self, least: u64) -> Result<u64, WriteError> {
        Ok(self.numbers()?.into_iter().max().map_or(least, |highest| least.max(highest.saturating_add(1))))
    }

    fn numbers(&self) -> Result<Vec<u64>, WriteError> {
        let number = |name: &str| name.strip_prefix("events-")?.strip_suffix(".ndjson")?.parse().ok();
        let entries = fs::read_dir(&self.directory).map_err(WriteError::io("list", &self.directory))?;
        Ok(entries.flatten().filter_map(|entry| number(entry.file_name().to_str()?)).collect())
    }
}

/// The length of a file; `None` when it is not there.
fn length(path: &Path) -> Result<Option<u64>, WriteError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(WriteError::io("look at", path)(error)),
    }
}

/// Whether the bytes at a position are the batch's. If so, they are made durable: they may only be in the cache.
fn matches(path: &Path, position: &Position) -> Result<bool, WriteError> {
    let read = || {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        file.seek(SeekFrom::Start(position.start))?;
        let mut hasher = crc32fast::Hasher::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                count => hasher.update(&buffer[..count]),
            }
        }
        file.sync_data()?;
        Ok(hasher.finalize() == position.crc)
    };
    read().map_err(WriteError::io("read", path))
}

fn truncate(path: &Path, length: u64) -> Result<(), WriteError> {
    let cut = || {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(length)?;
        file.sync_all()
    };
    cut().map_err(WriteError::io("truncate", path))
}
