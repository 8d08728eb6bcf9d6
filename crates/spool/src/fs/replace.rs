//! How a small file is replaced: whole, or not at all.
//!
//! The new content is written beside the file under one fixed name, made durable, and renamed over it; then the folder's
//! names are made durable. So:
//!
//! - A crash, of the process or of the machine, leaves the old content or the new one under the name, at whatever moment it
//!   comes. It may leave an unfinished file beside it, one at most for each name: the next replacement removes it, and
//!   [`tidy`] does.
//! - `Ok` means that the new content is durable.
//! - An error means that it may not be. Before the rename the name still holds the old content, and nothing is left beside it.
//!   Where only the folder's names could not be made durable, it holds the new content, and a power cut may bring the old one
//!   back: who cannot live with either of the two puts the old one back, as the store of rules does.
//!
//! One at a time may replace a file; whoever reads it at the same moment sees the old content or the new one. Links are not
//! followed but replaced.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Access, File, Fs, Readers};

/// What the name of an unfinished file ends with, behind the whole name of the file it is for.
const UNFINISHED: &str = "new";

/// Replaces a file whole, or makes it; see the module for what a crash or an error leaves. `readers` may read the new one from
/// its first byte on.
pub fn replace(fs: &dyn Fs, path: &Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
    put_in_place(fs, path, bytes, readers, 0).map(drop)
}

/// The same for a file of its owner that goes on being written: gives it back open, at least `size` bytes long, with zeros
/// behind the content.
pub fn replace_and_open(fs: &dyn Fs, path: &Path, bytes: &[u8], size: u64) -> io::Result<Arc<dyn File>> {
    put_in_place(fs, path, bytes, Readers::Owner, size)
}

/// Reads a file whole.
///
/// # Errors
///
/// `FileTooLarge` when it is longer than `most` bytes, and what the file system says.
pub fn read(fs: &dyn Fs, path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = fs.open(path, Access::Read)?;
    let len = file.len()?;
    if len > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is longer than {most} bytes")));
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    let got = file.read_at(&mut bytes, 0)?;
    bytes.truncate(got);
    Ok(bytes)
}

/// Removes what crashes left unfinished in a folder whose files nobody replaces now. What cannot be removed is told and stays:
/// the next replacement tries again.
pub fn tidy(fs: &dyn Fs, dir: &Path) -> io::Result<()> {
    for entry in fs.list(dir)?.iter().filter(|entry| is_unfinished(&entry.name)) {
        if let Err(error) = fs.remove(&dir.join(&entry.name)) {
            tracing::warn!(folder = %dir.display(), file = entry.name, %error, "a temporary file left by a crash cannot be removed");
        }
    }
    Ok(())
}

/// Whether a file of this name was left by a crash.
pub fn is_unfinished(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, extension)| extension == UNFINISHED)
}

/// The folder that a path stands in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn put_in_place(fs: &dyn Fs, path: &Path, bytes: &[u8], readers: Readers, size: u64) -> io::Result<Arc<dyn File>> {
    let beside = beside(path);
    match fs.remove(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = write(fs, &beside, bytes, readers, size).and_then(|file| fs.rename(&beside, path).map(|()| file));
    if written.is_err() {
        // It may never have been there, and the first error is the one to tell.
        drop(fs.remove(&beside));
    }
    let file = written?;
    fs.sync_dir(folder_of(path))?;
    Ok(file)
}

fn beside(path: &Path) -> PathBuf {
    path.with_added_extension(UNFINISHED)
}

fn write(fs: &dyn Fs, path: &Path, bytes: &[u8], readers: Readers, size: u64) -> io::Result<Arc<dyn File>> {
    let file = fs.create_for(path, size, readers)?;
    file.write_all_at(bytes, 0)?;
    file.sync_data()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::trial::{self, Durable};
    use super::super::{Fs, RealFs};
    use super::*;

    /// A file without a checksum: what a disk that lies makes of it cannot be told.
    struct Plain;

    impl Durable for Plain {
        fn write(&self, fs: &Arc<dyn Fs>, version: u8) -> io::Result<()> {
            replace(&**fs, &trial::path("plain"), &[version; 1_500], Readers::Owner)
        }

        fn read(&self, fs: &Arc<dyn Fs>) -> Result<Option<u8>, String> {
            match read(&**fs, &trial::path("plain"), 1_500) {
                Ok(bytes) if bytes.len() == 1_500 && bytes.iter().all(|byte| *byte == bytes[0]) => Ok(Some(bytes[0])),
                Ok(bytes) => Err(format!("{} bytes, not of one content", bytes.len())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error.to_string()),
            }
        }
    }

    #[test]
    fn a_replaced_file_holds_the_old_or_the_new_whatever_fails_and_whenever_the_power_goes() {
        trial::fails_at_every_change(&Plain);
        trial::loses_power_at_every_change(&Plain);
    }

    /// What [`replace`] is there to prevent: a file that is written without one of its steps.
    struct Careless(fn(&dyn Fs, &Path, &[u8]) -> io::Result<()>);

    impl Durable for Careless {
        fn write(&self, fs: &Arc<dyn Fs>, version: u8) -> io::Result<()> {
            self.0(&**fs, &trial::path("plain"), &[version; 1_500])
        }

        fn read(&self, fs: &Arc<dyn Fs>) -> Result<Option<u8>, String> {
            Plain.read(fs)
        }
    }

    #[test]
    #[should_panic = "power cut at change"]
    fn the_trial_notices_a_file_that_is_not_synced() {
        trial::loses_power_at_every_change(&Careless(|fs, path, bytes| {
            drop(fs.remove(&beside(path)));
            fs.create(&beside(path), 0)?.write_all_at(bytes, 0)?;
            fs.rename(&beside(path), path)?;
            fs.sync_dir(folder_of(path))
        }));
    }

    #[test]
    #[should_panic = "power cut at change"]
    fn the_trial_notices_a_file_that_is_written_in_place() {
        trial::loses_power_at_every_change(&Careless(|fs, path, bytes| {
            let file = fs.open(path, Access::ReadWrite).or_else(|_| fs.create(path, 0))?;
            file.write_all_at(bytes, 0)?;
            file.sync_data()?;
            fs.sync_dir(folder_of(path))
        }));
    }

    #[test]
    fn who_may_read_it_is_told_from_the_first_byte_on_and_a_link_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("file"), dir.path().join("other"));
        std::fs::write(&other, "mine").unwrap();
        for (readers, mode) in [(Readers::Owner, 0o600), (Readers::Everybody, 0o644)] {
            std::fs::remove_file(&path).ok();
            std::os::unix::fs::symlink(&other, &path).unwrap();
            std::os::unix::fs::symlink(&other, beside(&path)).unwrap();
            replace(&RealFs, &path, b"new", readers).unwrap();
            let found = std::fs::symlink_metadata(&path).unwrap();
            // Whatever the mask of this process takes away.
            assert!(found.is_file() && found.permissions().mode() & 0o777 & !mode == 0);
            assert_eq!(found.permissions().mode() & 0o600, 0o600);
            assert_eq!(std::fs::read(&other).unwrap(), b"mine");
        }
    }

    #[test]
    fn a_file_that_is_longer_than_it_may_be_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        replace(&RealFs, &path, &[7; 10], Readers::Owner).unwrap();
        assert_eq!(read(&RealFs, &path, 10).unwrap(), [7; 10]);
        assert_eq!(read(&RealFs, &path, 9).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn what_a_crash_left_unfinished_goes_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.json", "a.json.new", "new", "b.renew"] {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        tidy(&RealFs, dir.path()).unwrap();
        let mut left: Vec<_> = RealFs.list(dir.path()).unwrap().into_iter().map(|entry| entry.name).collect();
        left.sort();
        assert_eq!(left, ["a.json", "b.renew", "new"]);
    }

    #[test]
    fn a_file_without_a_folder_stands_in_the_working_directory() {
        assert_eq!(folder_of(Path::new("file")), Path::new("."));
        assert_eq!(folder_of(Path::new("a/file")), Path::new("a"));
    }
}
