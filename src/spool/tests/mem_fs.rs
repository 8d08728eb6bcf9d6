//! A file system in memory that models a power cut: unsynced sectors survive or not, each on its own.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::spool::fs::{Access, DirEntry, File, Fs};
use crate::spool::lock;

const SECTOR: usize = 512;

#[derive(Debug, Default)]
struct Bytes {
    written: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Debug, Clone, Default)]
struct MemFile(Arc<Mutex<Bytes>>);

type Names = BTreeMap<PathBuf, MemFile>;

#[derive(Debug, Default)]
pub(super) struct MemFs {
    names: Mutex<Names>,
    durable_names: Mutex<Names>,
}

impl MemFs {
    /// What a power cut leaves.
    pub(super) fn after_crash(&self, rng: &mut fastrand::Rng) -> Self {
        let names = if rng.bool() { lock(&self.names).clone() } else { lock(&self.durable_names).clone() };
        let names: Names = names.into_iter().map(|(path, file)| (path, file.after_crash(rng))).collect();
        Self { durable_names: Mutex::new(names.clone()), names: Mutex::new(names) }
    }

    fn get(&self, path: &Path) -> io::Result<MemFile> {
        lock(&self.names).get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl MemFile {
    fn after_crash(&self, rng: &mut fastrand::Rng) -> Self {
        let bytes = lock(&self.0);
        let mut left = bytes.durable.clone();
        left.resize(bytes.written.len(), 0);
        for (old, new) in left.chunks_mut(SECTOR).zip(bytes.written.chunks(SECTOR)) {
            if rng.bool() {
                old.copy_from_slice(new);
            }
        }
        Self(Arc::new(Mutex::new(Bytes { written: left.clone(), durable: left })))
    }
}

impl Fs for MemFs {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, _: &Path) -> io::Result<Vec<DirEntry>> {
        let entry = |(path, file): (&PathBuf, &MemFile)| DirEntry {
            name: path.file_name().unwrap().to_string_lossy().into_owned(),
            len: lock(&file.0).written.len() as u64,
        };
        Ok(lock(&self.names).iter().map(entry).collect())
    }

    fn create(&self, path: &Path, size: u64) -> io::Result<Arc<dyn File>> {
        let zeros = vec![0; size as usize];
        let file = MemFile(Arc::new(Mutex::new(Bytes { written: zeros.clone(), durable: zeros })));
        lock(&self.names).insert(path.to_owned(), file.clone());
        Ok(Arc::new(file))
    }

    fn open(&self, path: &Path, _: Access) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(self.get(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let file = self.get(from)?;
        let mut names = lock(&self.names);
        names.remove(from);
        names.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        lock(&self.names).remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        *lock(&self.durable_names) = lock(&self.names).clone();
        Ok(())
    }

    fn free_space(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

impl File for MemFile {
    fn pread(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = lock(&self.0);
        let from = bytes.written.get(offset as usize..).unwrap_or_default();
        let n = from.len().min(buf.len());
        buf[..n].copy_from_slice(&from[..n]);
        Ok(n)
    }

    fn pwrite(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let mut bytes = lock(&self.0);
        let end = offset as usize + buf.len();
        if bytes.written.len() < end {
            bytes.written.resize(end, 0);
        }
        bytes.written[offset as usize..end].copy_from_slice(buf);
        Ok(buf.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut bytes = lock(&self.0);
        bytes.durable = bytes.written.clone();
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut bytes = lock(&self.0);
        bytes.written.resize(len as usize, 0);
        bytes.durable.resize(len as usize, 0);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.0).written.len() as u64)
    }
}
