//! The few file operations that everything durable is built on, as a trait, so that tests and drills can let them fail.
//!
//! What is kept beside the log is replaced whole, by [`replace()`], whose module says what a crash leaves.
//!
//! What is promised about durability is a promise about the order of these calls; a test double that loses unsynced
//! bytes or refuses a sync shows whether the order is right.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

#[cfg(any(test, feature = "faulty"))]
pub mod faulty;
mod real;
mod replace;
pub mod sealed;
#[cfg(any(test, feature = "faulty"))]
pub mod trial;
#[cfg(any(test, feature = "faulty"))]
pub mod volatile;

pub use real::RealFs;
pub use replace::{folder_of, is_unfinished, read, replace, replace_and_open, tidy};

/// One regular file of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// Its name within the directory.
    pub name: String,
    /// Its length in bytes.
    pub len: u64,
}

/// What an opened file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading only.
    Read,
    /// Reading and writing.
    ReadWrite,
}

/// Who may read a new file. Its owner alone writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Its owner.
    Owner,
    /// Everybody whom the folders above let in, as far as the mask of the process grants it.
    Everybody,
}

/// Which file it is, whatever it is called: its device and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    /// The device.
    pub device: u64,
    /// The number.
    pub number: u64,
}

/// A file system, as far as a gateway needs one. Paths are passed through as they are.
pub trait Fs: Send + Sync + fmt::Debug + 'static {
    /// Makes a directory and its parents, for the owner only. Nothing happens when it is there.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// The regular files of a directory, in no order. Links are left out.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;

    /// Makes a new file of so many bytes of zero, with its blocks allocated if the file system can. Fails if the path
    /// is taken; takes nothing when it fails.
    fn create_for(&self, path: &Path, size: u64, readers: Readers) -> io::Result<Arc<dyn File>>;

    /// The same for its owner only.
    fn create(&self, path: &Path, size: u64) -> io::Result<Arc<dyn File>> {
        self.create_for(path, size, Readers::Owner)
    }

    /// Opens an existing file; never follows a link.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>>;

    /// Renames within one directory, replacing the target.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names of a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Bytes that may still be written to the file system of this directory.
    fn free_space(&self, dir: &Path) -> io::Result<u64>;

    /// Which file or directory the path names now; `None` where files have no numbers.
    fn id(&self, path: &Path) -> io::Result<Option<FileId>> {
        let _ = path;
        Ok(None)
    }

    /// Whether the path names this open file, as far as that can be told. What is written to a file without a name, or
    /// under another one, is lost to whoever opens the path next.
    fn names(&self, path: &Path, file: &dyn File) -> bool {
        match (file.id(), self.id(path)) {
            (Ok(Some(file)), Ok(Some(path))) => file == path,
            (Ok(Some(_)), Err(error)) => error.kind() != io::ErrorKind::NotFound,
            _ => true,
        }
    }
}

/// An open file, read and written at given positions by any number of threads.
pub trait File: Send + Sync + fmt::Debug {
    /// Reads at most `buf.len()` bytes; 0 at the end of the file.
    fn pread(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes at most `buf.len()` bytes and says how many.
    fn pwrite(&self, buf: &[u8], offset: u64) -> io::Result<usize>;

    /// Makes every byte written so far durable.
    fn sync_data(&self) -> io::Result<()>;

    /// Cuts the file, or lengthens it with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Which file it is; `None` where files have no numbers.
    fn id(&self) -> io::Result<Option<FileId>> {
        Ok(None)
    }

    /// Whether it has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads until the buffer is full or the file ends; says how many bytes.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match self.pread(&mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }

    /// Writes all of the buffer, or fails.
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let mut done = 0;
        while done < buf.len() {
            match self.pwrite(&buf[done..], offset + done as u64) {
                Ok(0) => return Err(io::Error::new(io::ErrorKind::WriteZero, "the file took no bytes")),
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// A file read from its beginning to its end.
#[derive(Debug)]
pub struct Reading {
    file: Arc<dyn File>,
    at: u64,
}

impl Reading {
    /// From the beginning.
    pub fn of(file: Arc<dyn File>) -> Self {
        Self { file, at: 0 }
    }
}

impl io::Read for Reading {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let got = self.file.pread(buf, self.at)?;
        self.at += got as u64;
        Ok(got)
    }
}

/// Whether an error says that there is no room: a full disk or a used-up quota.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}
