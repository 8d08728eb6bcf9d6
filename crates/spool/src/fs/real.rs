//! The file system of the machine. Files are for their owner only, unless somebody asks for more, and links are not followed.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FallocateFlags, OFlags};
use rustix::io::Errno;

use super::{Access, DirEntry, File, FileId, Fs, Readers};

/// The file system of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFs;

impl RealFs {
    fn options(readers: Readers) -> fs::OpenOptions {
        let mut options = fs::OpenOptions::new();
        let mode = if readers == Readers::Owner { 0o600 } else { 0o644 };
        options.mode(mode).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
        options
    }
}

impl Fs for RealFs {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let (Ok(name), Ok(metadata)) = (entry.file_name().into_string(), entry.metadata()) else { continue };
            if metadata.is_file() {
                entries.push(DirEntry { name, len: metadata.len() });
            }
        }
        Ok(entries)
    }

    fn create_for(&self, path: &Path, size: u64, readers: Readers) -> io::Result<Arc<dyn File>> {
        let file = Self::options(readers).read(true).write(true).create_new(true).open(path)?;
        match allocate(&file, size) {
            Ok(()) => Ok(Arc::new(file)),
            Err(e) => {
                // The space that was got so far would be missing elsewhere; the first error is the one to tell.
                drop(fs::remove_file(path));
                Err(e)
            }
        }
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        let file = Self::options(Readers::Owner).read(true).write(access == Access::ReadWrite).open(path)?;
        Ok(Arc::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }

    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn id(&self, path: &Path) -> io::Result<Option<FileId>> {
        fs::metadata(path).map(|metadata| Some(file_id(&metadata)))
    }
}

fn file_id(metadata: &fs::Metadata) -> FileId {
    FileId { device: metadata.dev(), number: metadata.ino() }
}

/// Allocates the blocks now, so that a full disk shows here and not in the middle of a commit.
fn allocate(file: &fs::File, size: u64) -> io::Result<()> {
    if size == 0 {
        return Ok(());
    }
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, size) {
        Ok(()) => Ok(()),
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => file.set_len(size),
        Err(e) => Err(e.into()),
    }
}

impl File for fs::File {
    fn pread(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buf, offset)
    }

    fn pwrite(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        FileExt::write_at(self, buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        fs::File::sync_data(self)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        fs::File::set_len(self, len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn id(&self) -> io::Result<Option<FileId>> {
        self.metadata().map(|metadata| Some(file_id(&metadata)))
    }
}
