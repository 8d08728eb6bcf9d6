//! A disk in memory whose power can be cut: for tests of what is durable, without a race.
//!
//! Written bytes are volatile until their file is synced, names until their directory is. A cut keeps of each file any
//! sectors that were not synced, and of each directory any number of its last changes, in order; all of it by a seed.
//! From the cut on every call fails: what the gateway that it struck still tries reaches nobody.

use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Access, DirEntry, File, Fs, Readers};

const SECTOR: usize = 512;

/// A disk; see the module.
#[derive(Debug, Clone, Default)]
pub struct VolatileFs {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Debug, Clone, Default)]
struct Disk {
    is_off: bool,
    /// It says that it made things durable and does not.
    ignores_syncs: bool,
    /// The power goes off instead of the change after so many.
    changes_left: Option<u64>,
    files: Vec<Bytes>,
    directories: BTreeMap<PathBuf, Directory>,
}

/// A file's bytes, and the last durable form of each sector that was written since.
#[derive(Debug, Clone, Default)]
struct Bytes {
    written: Vec<u8>,
    volatile: BTreeMap<usize, [u8; SECTOR]>,
}

type Names = BTreeMap<String, usize>;

/// A directory's names, as they are and as they would be after a cut without any of the last changes.
#[derive(Debug, Clone, Default)]
struct Directory {
    names: Names,
    durable: Names,
    changes: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Put(String, usize),
    Remove(String),
    Rename(String, String),
}

/// What a cut leaves of what was not synced.
#[derive(Debug, Clone, Copy)]
enum Luck {
    None,
    All,
    Some,
}

impl Luck {
    fn keeps(self, rng: &mut fastrand::Rng) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Some => rng.bool(),
        }
    }
}

impl VolatileFs {
    /// Cuts the power, and gives the disk as it is when the power is back.
    pub fn cut(&self, rng: &mut fastrand::Rng) -> Self {
        let luck = [Luck::None, Luck::All, Luck::Some][rng.usize(..3)];
        let mut left = self.switch_off();
        left.files.iter_mut().for_each(|file| file.lose(luck, rng));
        left.directories.values_mut().for_each(|directory| directory.lose(luck, rng));
        Self { disk: Arc::new(Mutex::new(left)) }
    }

    /// Ends the process that uses the disk: what it wrote is all there, and as volatile as it was.
    pub fn kill(&self) -> Self {
        Self { disk: Arc::new(Mutex::new(self.switch_off())) }
    }

    /// Another disk that holds the same, and lost nothing.
    pub fn copy(&self) -> Self {
        Self { disk: Arc::new(Mutex::new(self.disk().clone())) }
    }

    fn switch_off(&self) -> Disk {
        let mut disk = self.disk();
        disk.is_off = true;
        Disk { is_off: false, ignores_syncs: false, changes_left: None, ..disk.clone() }
    }

    /// Lets the power go off by itself after so many more writes, syncs and changes of names.
    pub fn cut_after(&self, changes: u64) {
        self.disk().changes_left = Some(changes);
    }

    /// Lets it lie until the next cut: every sync succeeds, and none makes anything durable.
    pub fn ignore_syncs(&self) {
        self.disk().ignores_syncs = true;
    }

    /// Whether there is power.
    pub fn is_on(&self) -> bool {
        !self.disk().is_off
    }

    /// Does this while there is power for sure: no cut falls into it. `None` without power.
    pub fn while_on<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let disk = self.disk();
        (!disk.is_off).then(work)
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock()
    }

    fn on(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = self.disk();
        if disk.is_off { Err(io::Error::other("the power is off")) } else { Ok(disk) }
    }

    /// For a change of the disk: the one that it goes off at does not happen.
    fn changed(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let mut disk = self.on()?;
        if disk.changes_left == Some(0) {
            disk.is_off = true;
        }
        disk.changes_left = disk.changes_left.map(|left| left.saturating_sub(1));
        if disk.is_off { Err(io::Error::other("the power is off")) } else { Ok(disk) }
    }

    fn file(&self, index: usize) -> Arc<dyn File> {
        Arc::new(VolatileFile { disk: self.clone(), index })
    }
}

impl Disk {
    fn directory(&mut self, path: &Path) -> io::Result<(&mut Directory, String)> {
        let name = path.file_name().and_then(|name| name.to_str()).ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        let directory = self.directories.get_mut(path.parent().unwrap_or(Path::new("")));
        Ok((directory.ok_or(io::ErrorKind::NotFound)?, name))
    }
}

impl Bytes {
    /// Notes how the sectors of a range are before they are written, unless they are volatile already.
    fn touch(&mut self, from: usize, until: usize) {
        for sector in from / SECTOR..until.div_ceil(SECTOR) {
            let start = (sector * SECTOR).min(self.written.len());
            let end = (start + SECTOR).min(self.written.len());
            self.volatile.entry(sector).or_insert_with(|| {
                let mut durable = [0; SECTOR];
                durable[..end - start].copy_from_slice(&self.written[start..end]);
                durable
            });
        }
    }

    fn lose(&mut self, luck: Luck, rng: &mut fastrand::Rng) {
        for (sector, durable) in std::mem::take(&mut self.volatile) {
            let start = (sector * SECTOR).min(self.written.len());
            let end = (start + SECTOR).min(self.written.len());
            if !luck.keeps(rng) {
                self.written[start..end].copy_from_slice(&durable[..end - start]);
            }
        }
    }
}

impl Directory {
    fn change(&mut self, change: Change) -> io::Result<()> {
        apply(&mut self.names, &change).ok_or(io::ErrorKind::NotFound)?;
        self.changes.push(change);
        Ok(())
    }

    fn lose(&mut self, luck: Luck, rng: &mut fastrand::Rng) {
        let kept = match luck {
            Luck::None => 0,
            Luck::All => self.changes.len(),
            Luck::Some => rng.usize(..=self.changes.len()),
        };
        for change in self.changes.drain(..).take(kept) {
            apply(&mut self.durable, &change);
        }
        self.names = self.durable.clone();
    }
}

fn apply(names: &mut Names, change: &Change) -> Option<()> {
    match change {
        Change::Put(name, file) => drop(names.insert(name.clone(), *file)),
        Change::Remove(name) => drop(names.remove(name)?),
        Change::Rename(from, to) => {
            let file = names.remove(from)?;
            names.insert(to.clone(), file);
        }
    }
    Some(())
}

impl Fs for VolatileFs {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.changed()?.directories.entry(dir.to_owned()).or_default();
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let disk = self.on()?;
        let names = &disk.directories.get(dir).ok_or(io::ErrorKind::NotFound)?.names;
        let entry = |(name, file): (&String, &usize)| DirEntry {
            name: name.clone(),
            len: disk.files[*file].written.len() as u64,
        };
        Ok(names.iter().map(entry).collect())
    }

    fn create_for(&self, path: &Path, size: u64, _: Readers) -> io::Result<Arc<dyn File>> {
        let mut disk = self.changed()?;
        let index = disk.files.len();
        let (directory, name) = disk.directory(path)?;
        if directory.names.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        directory.change(Change::Put(name, index))?;
        disk.files.push(Bytes { written: vec![0; usize::try_from(size).unwrap_or(0)], ..Bytes::default() });
        Ok(self.file(index))
    }

    fn open(&self, path: &Path, _: Access) -> io::Result<Arc<dyn File>> {
        let mut disk = self.on()?;
        let (directory, name) = disk.directory(path)?;
        let index = directory.names.get(&name).copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(self.file(index))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.changed()?;
        let (_, to) = disk.directory(to)?;
        let (directory, from) = disk.directory(from)?;
        directory.change(Change::Rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.changed()?;
        let (directory, name) = disk.directory(path)?;
        directory.change(Change::Remove(name))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.changed()?;
        let is_ignored = disk.ignores_syncs;
        let directory = disk.directories.get_mut(dir).ok_or(io::ErrorKind::NotFound)?;
        if is_ignored {
            return Ok(());
        }
        directory.changes.clear();
        directory.durable = directory.names.clone();
        Ok(())
    }

    fn free_space(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

#[derive(Debug)]
struct VolatileFile {
    disk: VolatileFs,
    index: usize,
}

impl File for VolatileFile {
    fn pread(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let disk = self.disk.on()?;
        let from = disk.files[self.index].written.get(offset as usize..).unwrap_or_default();
        let n = from.len().min(buf.len());
        buf[..n].copy_from_slice(&from[..n]);
        Ok(n)
    }

    fn pwrite(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let mut disk = self.disk.changed()?;
        let file = &mut disk.files[self.index];
        let (start, end) = (offset as usize, offset as usize + buf.len());
        if file.written.len() < end {
            file.written.resize(end, 0);
        }
        file.touch(start, end);
        file.written[start..end].copy_from_slice(buf);
        Ok(buf.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.disk.changed()?;
        if !disk.ignores_syncs {
            disk.files[self.index].volatile.clear();
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut disk = self.disk.changed()?;
        let file = &mut disk.files[self.index];
        file.written.resize(len as usize, 0);
        let first_gone = file.written.len().div_ceil(SECTOR);
        file.volatile.retain(|sector, _| *sector < first_gone);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.on()?.files[self.index].written.len() as u64)
    }
}

#[cfg(test)]
#[path = "volatile_tests.rs"]
mod tests;
