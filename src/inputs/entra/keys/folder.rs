//! The folder of the keys on the disk: whoever else could read it could make tokens, and whoever could write it, too.

use parking_lot::Mutex;
use std::collections::HashSet;
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::rsa::KeyPair;

use super::Key;
use crate::faults;
use crate::fs::{self, Fs, Readers, RealFs};
use crate::metrics;

/// Longer files are no keys.
const FILE_MAX: u64 = 16 << 10;

/// More keys than anybody needs: others are left alone.
const KEYS_MAX: usize = 256;

/// What files with keys end with.
const KEPT: &str = "key";

/// Where keys are kept.
#[derive(Debug)]
pub(super) struct Folder {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    /// Files that are no keys and have been told once.
    left_alone: Mutex<HashSet<OsString>>,
}

impl Folder {
    /// The folder, which is made if it is not there, for its owner alone.
    ///
    /// # Errors
    ///
    /// When it cannot be made or seen, or others may use it.
    pub(super) fn open(fs: Arc<dyn Fs>, path: &Path) -> io::Result<Self> {
        fs.create_dir(path)?;
        check_private(path, "700")?;
        Ok(Self { fs, path: path.to_owned(), left_alone: Mutex::default() })
    }

    /// The same within the state directory, which is nobody else's: a backup that was put back may have lost its rights.
    ///
    /// # Errors
    ///
    /// When it cannot be made or seen.
    pub(super) fn own(fs: Arc<dyn Fs>, path: &Path) -> io::Result<Self> {
        fs.create_dir(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))?;
        // A key that another listener writes at this moment fails by it, and is made at its next look.
        fs::tidy(&*fs, path)?;
        Self::open(fs, path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Every key, the oldest first.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read, or others may use one of the files.
    pub(super) fn read_strictly(&self) -> io::Result<Vec<Arc<Key>>> {
        for path in self.files()? {
            check_private(&path, "600")?;
        }
        self.read(&[])
    }

    /// Every key, the oldest first; those that are known already are not read again. A file that is none, or that others may
    /// use, is left alone, and told once.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read.
    pub(super) fn read(&self, known: &[Arc<Key>]) -> io::Result<Vec<Arc<Key>>> {
        let mut keys = Vec::new();
        for path in self.files()? {
            let same = known.iter().find(|key| path.file_name().is_some_and(|name| *name == *file_name(key)));
            match same.map_or_else(|| read_one(&path).map(Arc::new), |key| Ok(Arc::clone(key))) {
                Ok(key) => keys.push(key),
                Err(reason) => self.leave_alone(&path, &reason),
            }
        }
        keys.sort_by(|a, b| (a.made, &a.id).cmp(&(b.made, &b.id)));
        Ok(keys)
    }

    /// Writes a key durably. Nothing is left of one that could not be written.
    ///
    /// # Errors
    ///
    /// When that fails.
    pub(super) fn keep(&self, key: &Key, der: &[u8]) -> io::Result<()> {
        let path = self.path.join(file_name(key));
        let written = fs::replace(&*self.fs, &path, der, Readers::Owner);
        if written.is_err() {
            // It may stand there without being durable, and must not sign then. What matters is why.
            drop(self.fs.remove(&path));
        }
        written
    }

    /// Removes a key. Another gateway may have been faster.
    ///
    /// # Errors
    ///
    /// When it is still there.
    pub(super) fn remove(&self, key: &Key) -> io::Result<()> {
        match self.fs.remove(&self.path.join(file_name(key))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn files(&self) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.path)?.take(4 * KEYS_MAX) {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == KEPT) && found.len() < KEYS_MAX {
                found.push(path);
            }
        }
        Ok(found)
    }

    fn leave_alone(&self, path: &Path, reason: &io::Error) {
        let mut told = self.left_alone.lock();
        let name = path.file_name().unwrap_or_default().to_owned();
        if told.len() < KEYS_MAX && told.insert(name) {
            metrics::STATE_DAMAGED.add(&["token_keys"], 1);
            tracing::warn!(file = %path.display(), %reason, "not a token key file; left alone");
        }
    }
}

/// Why keys cannot be kept in this folder; it is not made.
pub(in crate::inputs::entra) fn fault(path: &Path) -> Option<String> {
    if let Some(reason) = faults::in_folder(path) {
        return Some(reason);
    }
    if !path.exists() {
        return None;
    }
    let folder = Folder { fs: Arc::new(RealFs), path: path.to_owned(), left_alone: Mutex::default() };
    let read = check_private(path, "700").and_then(|()| folder.read_strictly());
    read.err().map(|error| error.to_string())
}

/// Refuses what others may read, write or search. A group that the gateway is in is not others: orchestrators give volumes, and
/// all files in them, to one at each start.
fn check_private(path: &Path, right: &str) -> io::Result<()> {
    let found = std::fs::metadata(path)?;
    let (mode, others) = (found.mode() & 0o777, if faults::is_own_group(found.gid()) { 0o007 } else { 0o077 });
    if mode & others == 0 {
        return Ok(());
    }
    let shown = path.display();
    Err(io::Error::other(format!(
        "others may use {shown} (mode {mode:o}), and could make tokens: chmod {right} {shown}"
    )))
}

fn file_name(key: &Key) -> String {
    format!("{:012}-{}.{KEPT}", key.made, key.id)
}

fn read_one(path: &Path) -> io::Result<Key> {
    check_private(path, "600")?;
    if std::fs::metadata(path)?.len() > FILE_MAX {
        return Err(io::Error::other("it is too long"));
    }
    let bytes = std::fs::read(path)?;
    let parse = || {
        let (made, id) = path.file_stem()?.to_str()?.split_once('-')?;
        let key = Key::new(KeyPair::from_pkcs8(&bytes).ok()?, made.parse().ok()?)?;
        (key.id == id).then_some(key)
    };
    parse().ok_or_else(|| io::Error::other("it holds no RSA key, or not the one of its name"))
}
