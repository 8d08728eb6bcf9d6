//! One file for each resource, and a copy of it in a folder beside.
//!
//! Each file is replaced whole. Names are hashes, since ids hold what file names may not. Each file has a checksum; one that is damaged or
//! lost is made anew from its copy. The copy is written after the file and removed before it, so what only the copy has was
//! lost and not deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::admin::azure::{Entry, Shelf, Write, key};
use crate::faults::with_causes;
use crate::fs::sealed::{self, Seal};
use crate::fs::{self, Fs, Readers};
use crate::limits::AZURE_BODY_MAX_BYTES;

/// Bytes of a file: a body, written anew with what Azure adds, and each byte of it escaped at worst.
const FILE_MAX_BYTES: u64 = 8 * AZURE_BODY_MAX_BYTES as u64;

const KEPT: &str = "json";

/// What a file holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored<I, R> {
    id: I,
    resource: R,
    /// See [`sealed`].
    #[serde(rename = "crc32", default, skip_serializing)]
    _seal: Option<serde::de::IgnoredAny>,
}

/// What the file beside the folders holds.
#[derive(Serialize, Deserialize)]
struct Noted {
    revision: String,
    /// See [`sealed`].
    #[serde(rename = "crc32", default, skip_serializing)]
    _seal: Option<serde::de::IgnoredAny>,
}

/// What was found in the directories.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What could be read.
    pub(super) shelf: Shelf,
    /// Names of files that cannot be read, nor their copies; with the reason.
    pub(super) damaged: BTreeMap<String, String>,
    /// Names of files that were read from their copies; with the reason.
    pub(super) from_copy: BTreeMap<String, String>,
    /// Files whose other half has to be written: name and content.
    unequal: Vec<(String, Vec<u8>)>,
}

impl Found {
    /// What is found where the directory itself cannot be used.
    pub(super) fn nothing(why: &str) -> Self {
        Self { damaged: [("the folder".to_owned(), why.to_owned())].into(), ..Self::default() }
    }
}

/// A file that was read.
struct Read {
    entry: Entry,
    /// As they stand there, or would stand there with a checksum.
    bytes: Vec<u8>,
    /// Whether they have one: a former version wrote none.
    is_sealed: bool,
}

/// The directories.
#[derive(Debug)]
pub(super) struct Disk {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    copies: PathBuf,
}

impl Disk {
    /// Of a directory that exists. The copies stand in one beside it.
    pub(super) fn new(fs: Arc<dyn Fs>, dir: PathBuf) -> Self {
        let mut name = dir.file_name().unwrap_or_default().to_owned();
        name.push("-copy");
        let copies = dir.with_file_name(name);
        Self { fs, dir, copies }
    }

    /// Removes what a crash left unfinished.
    pub(super) fn tidy(&self) -> anyhow::Result<()> {
        for dir in [&self.dir, &self.copies] {
            // Its name must not go with the rules that are kept in it.
            let made = self.fs.create_dir(dir).and_then(|()| self.fs.sync_dir(fs::folder_of(dir)));
            made.with_context(|| format!("{} cannot be made", dir.display()))?;
        }
        for dir in [&self.dir, &self.copies] {
            fs::tidy(&*self.fs, dir).with_context(|| format!("{} cannot be read", dir.display()))?;
        }
        Ok(())
    }

    /// Reads everything; changes nothing.
    pub(super) fn load(&self) -> anyhow::Result<Found> {
        let mut found = Found::default();
        let files = self.list(&self.dir)?;
        // Made at the first start of a version that has them.
        let copies = self.list(&self.copies).unwrap_or_default();
        for name in files.union(&copies) {
            match extension(name) {
                _ if fs::is_unfinished(name) => {}
                Some(KEPT) => self.load_one(name, files.contains(name), copies.contains(name), &mut found),
                _ => tracing::warn!(file = name, "not a rule file; left alone"),
            }
        }
        Ok(found)
    }

    /// The file counts as long as it is whole: a person may have restored it.
    fn load_one(&self, name: &str, file: bool, copy: bool, found: &mut Found) {
        let file = self.read(&self.dir, name, file);
        let copy = self.read(&self.copies, name, copy);
        let Read { entry, bytes, .. } = match (file, copy) {
            (Ok(file), Ok(copy)) if file.is_sealed && file.bytes == copy.bytes => {
                return put(&mut found.shelf, file.entry);
            }
            (Ok(file), _) => file,
            (Err(error), Ok(copy)) => {
                found.from_copy.insert(name.to_owned(), with_causes(error.as_ref()));
                copy
            }
            (Err(error), Err(_)) => {
                found.damaged.insert(name.to_owned(), with_causes(error.as_ref()));
                return;
            }
        };
        put(&mut found.shelf, entry);
        found.unequal.push((name.to_owned(), bytes));
    }

    /// Writes the files and copies that [`Disk::load`] missed. What fails is told and tried again at the next start.
    pub(super) fn repair(&self, found: &Found) {
        for (name, bytes) in &found.unequal {
            for dir in [&self.dir, &self.copies] {
                if let Err(error) = self.replace(dir, name, bytes) {
                    tracing::warn!(file = name, folder = %dir.display(), %error, "a rule file cannot be restored");
                }
            }
        }
    }

    fn list(&self, dir: &Path) -> anyhow::Result<BTreeSet<String>> {
        let entries = self.fs.list(dir).with_context(|| format!("{} cannot be read", dir.display()))?;
        Ok(entries.into_iter().map(|entry| entry.name).collect())
    }

    fn read(&self, dir: &Path, name: &str, is_there: bool) -> anyhow::Result<Read> {
        if !is_there {
            bail!("it is gone");
        }
        let bytes = fs::read(&*self.fs, &dir.join(name), FILE_MAX_BYTES)?;
        let seal = sealed::check(&bytes);
        if seal == Seal::Broken {
            bail!("its checksum is wrong");
        }
        let stored: Stored<String, Value> = serde_json::from_slice(&bytes)?;
        if file_name(&key(&stored.id)) != name {
            bail!("it holds {:?}, which belongs in another file", stored.id);
        }
        let entry = Entry::read(&stored.id, stored.resource)?;
        let is_sealed = seal == Seal::Whole;
        let bytes = if is_sealed { bytes } else { content(&entry)? };
        Ok(Read { entry, bytes, is_sealed })
    }

    /// The revision that was noted last; none where there is none, or none that can be read: then other gateways are asked.
    pub(super) fn revision(&self) -> String {
        let bytes = fs::read(&*self.fs, &self.revision_path(), FILE_MAX_BYTES).unwrap_or_default();
        let whole = Some(bytes).filter(|bytes| sealed::check(bytes) == Seal::Whole);
        let noted = whole.and_then(|bytes| serde_json::from_slice::<Noted>(&bytes).ok());
        noted.map(|noted| noted.revision).unwrap_or_default()
    }

    /// Notes a revision durably: what stands in the folder is that one.
    pub(super) fn note_revision(&self, revision: &str) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(&Noted { revision: revision.to_owned(), _seal: None })?;
        sealed::seal(&mut bytes, 0);
        fs::replace(&*self.fs, &self.revision_path(), &bytes, Readers::Owner)
    }

    fn revision_path(&self) -> PathBuf {
        let mut name = self.dir.file_name().unwrap_or_default().to_owned();
        name.push("-revision");
        self.dir.with_file_name(name)
    }

    /// Makes a change durable. When this fails, what was there before is still there.
    pub(super) fn write(&self, write: &Write) -> io::Result<()> {
        match write {
            Write::Put(entry) => self.put(entry),
            Write::Delete(key) => self.delete(&file_name(key)),
        }
    }

    fn put(&self, entry: &Entry) -> io::Result<()> {
        let name = file_name(&key(&entry.id));
        let path = self.dir.join(&name);
        let before = self.content(&path)?;
        let bytes = content(entry)?;
        let written = self.replace(&self.dir, &name, &bytes);
        if written.is_err() {
            // The name may hold the new content already, without being durable: the old must not come as a surprise.
            let undone = match before {
                Some(before) => self.replace(&self.dir, &name, &before),
                None => self.fs.remove(&path),
            };
            drop(undone);
            return written;
        }
        if let Err(error) = self.replace(&self.copies, &name, &bytes) {
            tracing::warn!(file = name, %error, "a rule is kept, but without a copy until the next start");
            // An older copy must not take its place.
            drop(self.fs.remove(&self.copies.join(&name)));
        }
        Ok(())
    }

    /// Removes the file of this name, whole or not.
    pub(super) fn delete(&self, name: &str) -> io::Result<()> {
        let path = self.dir.join(name);
        let before = self.content(&path)?;
        let copy = self.copies.join(name);
        let copied = self.content(&copy)?;
        let removed = self
            .remove(&self.copies, copied.as_ref().map(|_| copy.as_path()))
            .and_then(|()| self.remove(&self.dir, before.as_ref().map(|_| path.as_path())));
        if removed.is_err() {
            for (dir, before) in [(&self.dir, before), (&self.copies, copied)] {
                drop(before.map(|before| self.replace(dir, name, &before)));
            }
        }
        removed
    }

    fn remove(&self, dir: &Path, path: Option<&Path>) -> io::Result<()> {
        let Some(path) = path else { return Ok(()) };
        self.fs.remove(path)?;
        self.fs.sync_dir(dir)
    }

    fn replace(&self, dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
        fs::replace(&*self.fs, &dir.join(name), bytes, Readers::Owner)
    }

    fn content(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        match fs::read(&*self.fs, path, u64::MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }
}

fn put(shelf: &mut Shelf, entry: Entry) {
    shelf.apply(&Write::Put(Arc::new(entry)));
}

fn content(entry: &Entry) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(&Stored { id: &*entry.id, resource: &entry.resource, _seal: None })?;
    sealed::seal(&mut bytes, 0);
    Ok(bytes)
}

/// The name of the file of the resource with this key.
pub(super) fn file_name(key: &str) -> String {
    let hash = digest::digest(&digest::SHA256, key.as_bytes());
    let name: String = hex::encode(hash);
    format!("{name}.{KEPT}")
}

fn extension(name: &str) -> Option<&str> {
    name.rsplit_once('.').map(|(_, extension)| extension)
}
