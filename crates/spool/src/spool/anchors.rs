//! What must stay where it is, or an acknowledgement means nothing.
//!
//! A file that is deleted under a running process goes on taking bytes, which nobody will ever find again. So before an
//! append is acknowledged the spool looks whether each path still names what it named when it was opened: its directory, the
//! segment that is written, and what the owner of the directory asked for (the state directory, its lock). A few calls that
//! ask the system's cache, beside a sync. Once something has gone it stays gone: whatever stands at the path later is
//! another state, and only a restart may begin with it.

use parking_lot::Mutex;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::lock;
use crate::fs::{File, FileId, Fs};

#[derive(Debug)]
pub(super) struct Anchors {
    fs: Arc<dyn Fs>,
    held: Mutex<Vec<(PathBuf, FileId)>>,
    gone: OnceLock<PathBuf>,
}

impl Anchors {
    pub(super) fn new(fs: Arc<dyn Fs>) -> Self {
        Self { fs, held: Mutex::default(), gone: OnceLock::new() }
    }

    /// From now on this path must name this file.
    pub(super) fn hold(&self, path: &Path, id: Option<FileId>) {
        lock(&self.held).extend(id.map(|id| (path.to_owned(), id)));
    }

    /// What has gone, once something has.
    pub(super) fn gone(&self) -> Option<&Path> {
        self.gone.get().map(PathBuf::as_path)
    }

    /// Whether everything is where it was. What cannot be told for other reasons than its absence counts as there: a
    /// failing disk has its own way of being noticed.
    pub(super) fn check(&self) -> io::Result<()> {
        let is_there = |(path, id): &&(PathBuf, FileId)| match self.fs.id(path) {
            Ok(now) => now.is_none_or(|now| now == *id),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        };
        if self.gone().is_none()
            && let Some((path, _)) = lock(&self.held).iter().find(|held| !is_there(held))
        {
            self.note(path);
        }
        self.verdict()
    }

    /// The same, and whether the file that was written is what its path names.
    pub(super) fn check_with(&self, path: &Path, file: &dyn File) -> io::Result<()> {
        if self.gone().is_none() && !self.fs.names(path, file) {
            self.note(path);
        }
        self.check()
    }

    fn note(&self, path: &Path) {
        if self.gone.set(path.to_owned()).is_ok() {
            tracing::error!(path = %path.display(), "the state directory was removed or replaced under the running gateway; uploads are refused until a restart");
        }
    }

    fn verdict(&self) -> io::Result<()> {
        match self.gone() {
            None => Ok(()),
            Some(path) => Err(io::Error::other(format!(
                "{} was removed or replaced under the running gateway; only a restart helps",
                path.display()
            ))),
        }
    }
}
