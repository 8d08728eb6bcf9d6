//! One file for each resource.
//!
//! A file is written under another name, made durable, and renamed: at any moment the name holds the old content or the
//! new, whole. Names are hashes, since ids hold what file names may not.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::admin::azure::{Entry, Meaning, Shelf, Write, key};
use crate::limits::AZURE_BODY_MAX_BYTES;
use crate::spool::fs::{Access, DirEntry, Fs};

/// Bytes of a file: a body, written anew with what Azure adds, and each byte of it escaped at worst.
const FILE_MAX_BYTES: u64 = 8 * AZURE_BODY_MAX_BYTES as u64;

const KEPT: &str = "json";
const UNFINISHED: &str = "new";

/// What a file holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored<I, R> {
    id: I,
    resource: R,
}

/// The directory.
#[derive(Debug)]
pub(super) struct Disk {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
}

impl Disk {
    pub(super) fn new(fs: Arc<dyn Fs>, dir: PathBuf) -> Self {
        Self { fs, dir }
    }

    /// Removes what a crash left unfinished.
    pub(super) fn tidy(&self) -> anyhow::Result<()> {
        for file in self.list()? {
            let path = self.dir.join(&file.name);
            if path.extension().is_some_and(|extension| extension == UNFINISHED) {
                self.fs.remove(&path).with_context(|| format!("{} cannot be removed", path.display()))?;
            }
        }
        Ok(())
    }

    /// Reads everything.
    pub(super) fn load(&self) -> anyhow::Result<Shelf> {
        let mut shelf = Shelf::default();
        for file in self.list()? {
            let path = self.dir.join(&file.name);
            match path.extension().and_then(|extension| extension.to_str()) {
                Some(UNFINISHED) => {}
                Some(KEPT) => {
                    let entry = self.read(&path, file.len).with_context(|| damaged(&path))?;
                    shelf.apply(&Write::Put(Arc::new(entry)));
                }
                _ => tracing::warn!(file = %path.display(), "this file is none of the rules' and is left alone"),
            }
        }
        for entry in shelf.associations.values() {
            if let Meaning::Association { rule_id, .. } = &entry.meaning
                && !shelf.rules.contains_key(&key(rule_id))
            {
                let path = self.path(&key(&entry.id), KEPT);
                bail!("{}: it names the rule {rule_id:?}, of which there is no file", damaged(&path));
            }
        }
        Ok(shelf)
    }

    fn list(&self) -> anyhow::Result<Vec<DirEntry>> {
        self.fs.list(&self.dir).with_context(|| format!("{} cannot be read", self.dir.display()))
    }

    fn read(&self, path: &Path, len: u64) -> anyhow::Result<Entry> {
        if len > FILE_MAX_BYTES {
            bail!("it is longer than {FILE_MAX_BYTES} bytes");
        }
        let mut bytes = vec![0; usize::try_from(len)?];
        let read = self.fs.open(path, Access::Read)?.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        let stored: Stored<String, Value> = serde_json::from_slice(&bytes)?;
        if self.path(&key(&stored.id), KEPT) != path {
            bail!("it holds {:?}, which belongs in another file", stored.id);
        }
        Ok(Entry::read(&stored.id, stored.resource)?)
    }

    /// Makes a change durable. When this fails, what was there before is still there.
    pub(super) fn write(&self, write: &Write) -> io::Result<()> {
        match write {
            Write::Put(entry) => self.put(entry),
            Write::Delete(key) => self.delete(key),
        }
    }

    fn put(&self, entry: &Entry) -> io::Result<()> {
        let key = key(&entry.id);
        let (path, unfinished) = (self.path(&key, KEPT), self.path(&key, UNFINISHED));
        let before = self.content(&path)?;
        let bytes = serde_json::to_vec(&Stored { id: &*entry.id, resource: &entry.resource })?;
        let written = self.replace(&unfinished, &path, &bytes);
        if written.is_err() {
            // The name may hold the new content already, without being durable: the old must not come as a surprise.
            let undone = match before {
                Some(before) => self.replace(&unfinished, &path, &before),
                None => self.fs.remove(&path),
            };
            drop(undone);
            drop(self.fs.remove(&unfinished));
        }
        written
    }

    fn delete(&self, key: &str) -> io::Result<()> {
        let path = self.path(key, KEPT);
        let before = self.content(&path)?;
        self.fs.remove(&path)?;
        let synced = self.fs.sync_dir(&self.dir);
        if let (Err(_), Some(before)) = (&synced, before) {
            drop(self.replace(&self.path(key, UNFINISHED), &path, &before));
        }
        synced
    }

    fn replace(&self, unfinished: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
        match self.fs.remove(unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.fs.create(unfinished, 0)?;
        file.write_all_at(bytes, 0)?;
        file.sync_data()?;
        self.fs.rename(unfinished, path)?;
        self.fs.sync_dir(&self.dir)
    }

    fn content(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let file = match self.fs.open(path, Access::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
        file.read_at(&mut bytes, 0)?;
        Ok(Some(bytes))
    }

    fn path(&self, key: &str, extension: &str) -> PathBuf {
        let hash = digest::digest(&digest::SHA256, key.as_bytes());
        let name: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        self.dir.join(name).with_extension(extension)
    }
}

fn damaged(path: &Path) -> String {
    format!("{} is damaged: restore it, or remove it and make the resource anew", path.display())
}
