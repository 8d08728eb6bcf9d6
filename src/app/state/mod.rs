//! The state directory: private, used by one gateway at a time, with the secret of the installation.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::faults;
use crate::fs::{File as _, FileId, Fs};

mod safety;
mod secret;

pub(super) use safety::owner_beside_root;
pub(super) use secret::Secret;

const LOCK: &str = "lock";

/// The state directory, locked for as long as this lives.
#[derive(Debug)]
pub struct StateDir {
    folder: Folder,
    dir: File,
    lock: File,
}

impl StateDir {
    /// Makes the directory if need be and locks it. Fails when another gateway uses it, or others may.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let problems = safety::problems(path);
        if !problems.is_empty() {
            bail!("{}", problems.join("; "));
        }
        make_private(path)?;
        let opened = |result: io::Result<File>, path: &Path| {
            result.with_context(|| format!("{} cannot be opened", path.display()))
        };
        let dir = opened(File::open(path), path)?;
        let lock_path = path.join(LOCK);
        let file = opened(private().create(true).write(true).truncate(false).open(&lock_path), &lock_path)?;
        if lock(&file).and_then(|()| lock_dir(&dir)).is_err() {
            bail!("another gateway uses the state directory {}; give each its own state_dir", path.display());
        }
        Ok(Self { folder: Folder { path: path.to_owned() }, dir, lock: file })
    }

    /// Why it could not be used, whether or not a gateway uses it now. Makes nothing and locks nothing.
    pub fn faults(path: &Path) -> Vec<String> {
        let lock = path.join(LOCK);
        let lock = lock.is_file().then(|| faults::in_appended_file(&lock)).flatten();
        faults::in_folder(path).into_iter().chain(safety::problems(path)).chain(lock).collect()
    }

    /// Whether a gateway uses this directory now.
    pub fn is_in_use(path: &Path) -> bool {
        let is_locked = |path: &Path| {
            let shared = File::open(path).map(|file| flock(&file, FlockOperation::NonBlockingLockShared));
            matches!(shared, Ok(Err(Errno::WOULDBLOCK)))
        };
        is_locked(&path.join(LOCK)) || is_locked(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The folder itself.
    pub(super) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// The secret of the installation; made at the first start. Event keys and batch ids depend on it.
    pub(super) fn secret(&self, fs: &dyn Fs) -> anyhow::Result<Secret> {
        secret::open(fs, self.path(), self.path().join("spool").is_dir())
    }

    /// What must stay where it is for as long as this gateway uses the directory: paths, and the files that they named
    /// when it was locked.
    pub(super) fn held(&self) -> [(PathBuf, Option<FileId>); 2] {
        let id = |file: &File| File::id(file).ok().flatten();
        [(self.path().to_owned(), id(&self.dir)), (self.path().join(LOCK), id(&self.lock))]
    }
}

/// A folder with private folders in it.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A directory within, made if need be. Its name is durable before anything is kept in it: a power cut would take both.
    pub(super) fn dir(&self, fs: &dyn Fs, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.path.join(name);
        let made = fs.create_dir(&path).and_then(|()| fs.sync_dir(&self.path));
        made.with_context(|| cannot_be_made(&path))?;
        Ok(path)
    }

    /// A folder within, without what it held.
    pub(super) fn emptied(&self, fs: &dyn Fs, name: &str) -> anyhow::Result<Self> {
        let path = self.path.join(name);
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("{} cannot be emptied", path.display()));
            }
            _ => {}
        }
        Ok(Self { path: self.dir(fs, name)? })
    }
}

/// Locks it, or fails with `WouldBlock` when somebody else holds it.
fn lock(file: &File) -> io::Result<()> {
    Ok(flock(file, FlockOperation::NonBlockingLockExclusive)?)
}

/// Locks the directory itself, where the file system can: the lock file may be deleted under a running gateway.
fn lock_dir(dir: &File) -> io::Result<()> {
    match lock(dir) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Ok(()),
        result => result,
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

fn make_private(path: &Path) -> anyhow::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(|| cannot_be_made(path))
}

fn cannot_be_made(path: &Path) -> String {
    format!("the directory {} cannot be made", path.display())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::fs::RealFs;
    use crate::fs::faulty::FaultyFs;

    #[test]
    fn one_gateway_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = StateDir::open(dir.path()).unwrap();
        assert!(StateDir::is_in_use(dir.path()));
        let error = StateDir::open(dir.path()).unwrap_err();
        assert!(error.to_string().contains("another gateway"), "{error}");
        drop(first);
        assert!(!StateDir::is_in_use(dir.path()));
        assert!(StateDir::open(dir.path()).is_ok());
    }

    #[test]
    fn the_name_of_a_folder_is_durable_before_anything_is_kept_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder { path: dir.path().to_owned() };
        let (fs, faults) = FaultyFs::new(Arc::new(RealFs));
        for (nth, change) in [(1, "create_dir"), (2, "sync_dir")] {
            faults.fail_changes(nth, 1);
            assert!(folder.dir(&*fs, "spool").is_err());
            assert_eq!(faults.failed(), Some(change));
        }
        assert_eq!(folder.dir(&*fs, "spool").unwrap(), dir.path().join("spool"));
    }

    #[test]
    fn a_deleted_lock_lets_no_second_gateway_in() {
        let dir = tempfile::tempdir().unwrap();
        let first = StateDir::open(dir.path()).unwrap();
        std::fs::remove_file(dir.path().join(LOCK)).unwrap();
        assert!(StateDir::is_in_use(dir.path()));
        assert!(StateDir::open(dir.path()).unwrap_err().to_string().contains("another gateway"));
        drop(first);
        assert!(StateDir::open(dir.path()).is_ok());
    }
}
