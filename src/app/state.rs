//! The state directory: private, used by one gateway at a time, with the secret of the installation.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};

/// The state directory, locked for as long as this lives.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Makes the directory if need be and locks it. Fails when another gateway uses it.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        make_private(path)?;
        let lock_path = path.join("lock");
        let lock = private()
            .create(true)
            .write(true)
            .truncate(false)
            .open(&lock_path)
            .with_context(|| format!("{} cannot be opened", lock_path.display()))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            bail!("another gateway uses the state directory {}; give each its own state_dir", path.display());
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Whether a gateway uses this directory now.
    pub fn is_in_use(path: &Path) -> bool {
        let Ok(lock) = File::open(path.join("lock")) else { return false };
        flock(&lock, FlockOperation::NonBlockingLockShared).is_err()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A directory within, made if need be.
    pub fn dir(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.path.join(name);
        make_private(&path)?;
        Ok(path)
    }

    /// The secret of the installation; made at the first start. Event keys and batch ids depend on it: losing it makes
    /// every event new once more.
    pub fn secret(&self) -> anyhow::Result<[u8; 32]> {
        let path = self.path.join("secret.key");
        let mut secret = [0_u8; 32];
        match File::open(&path) {
            Ok(mut file) => {
                file.read_exact(&mut secret).with_context(|| format!("{} holds less than 32 bytes", path.display()))?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                aws_lc_rs::rand::fill(&mut secret).map_err(|_| anyhow::anyhow!("no random bytes can be had"))?;
                let fresh = path.with_extension("new");
                let mut file = private().create(true).write(true).truncate(true).open(&fresh)?;
                file.write_all(&secret)?;
                file.sync_all()?;
                std::fs::rename(&fresh, &path)?;
                File::open(&self.path)?.sync_all()?;
            }
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
        }
        Ok(secret)
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

fn make_private(path: &Path) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("the directory {} cannot be made", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn the_secret_stays_the_same_and_is_nobody_elses() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        let secret = state.secret().unwrap();
        assert_eq!(state.secret().unwrap(), secret);
        let mode = std::fs::metadata(dir.path().join("secret.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
