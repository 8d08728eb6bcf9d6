//! A file system that fails on command, around any other: for tests and for drills on a running gateway.

use parking_lot::{Condvar, Mutex};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::{Access, DirEntry, File, FileId, Fs, Readers};

/// What shall go wrong. Cheap to share; every change acts at once.
#[derive(Debug, Default)]
pub struct Faults {
    full: AtomicBool,
    failing_syncs: Failing,
    failing_changes: Failing,
    failing_lists: Failing,
    unlisted: Mutex<Option<PathBuf>>,
    first_failed: Mutex<Option<&'static str>>,
    longest_write: AtomicUsize,
    sync_delay_ms: AtomicU64,
    syncs: AtomicU64,
    gate: Mutex<Gate>,
    gate_moved: Condvar,
}

#[derive(Debug, Default)]
struct Gate {
    closed: bool,
    waiting: usize,
}

/// What fails from the n-th on, so many in a row.
#[derive(Debug, Default)]
struct Failing {
    before: AtomicU64,
    count: AtomicU64,
}

/// As a count: until it is mended.
const FOR_EVER: u64 = u64::MAX;

impl Failing {
    fn set(&self, nth: u64, count: u64) {
        self.before.store(nth.saturating_sub(1), Ordering::SeqCst);
        self.count.store(count, Ordering::SeqCst);
    }

    /// Whether the next one fails.
    fn takes_one(&self) -> bool {
        let less = |left: u64| left.checked_sub(1);
        if self.count.load(Ordering::SeqCst) == 0 {
            return false;
        }
        if self.before.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
            return false;
        }
        let lessened = |left: u64| if left == FOR_EVER { Some(left) } else { left.checked_sub(1) };
        self.count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, lessened).is_ok()
    }
}

impl Faults {
    /// While on, every write and every new file fails as on a full disk.
    pub fn disk_full(&self, on: bool) {
        self.full.store(on, Ordering::SeqCst);
    }

    /// Lets the n-th sync from now (1 is the next) fail with an I/O error, after its writes reached the file; then so
    /// many in a row.
    pub fn fail_syncs(&self, nth: u64, count: u64) {
        self.failing_syncs.set(nth, count);
    }

    /// Lets every sync fail until [`Faults::mend_syncs`].
    pub fn fail_all_syncs(&self) {
        self.fail_syncs(1, FOR_EVER);
    }

    /// Lets the n-th change of the disk from now (1 is the next) fail with an I/O error; then so many in a row, until
    /// [`Faults::mend_changes`] for `u64::MAX`. Changes are new files and folders, writes, cuts, syncs of files and folders, new
    /// names and removals. A write that fails has written half of its bytes; of all else nothing has happened.
    pub fn fail_changes(&self, nth: u64, count: u64) {
        *self.first_failed() = None;
        self.failing_changes.set(nth, count);
    }

    /// Lets the n-th look from now (1 is the next) at what is in this folder fail with an I/O error, and every one after it.
    pub fn fail_lists(&self, dir: &Path, nth: u64) {
        *self.unlisted.lock() = Some(dir.to_owned());
        self.failing_lists.set(nth, FOR_EVER);
    }

    /// Ends the failing of changes.
    pub fn mend_changes(&self) {
        self.failing_changes.set(0, 0);
    }

    /// Which change was the first to fail since [`Faults::fail_changes`]: the name of the call.
    pub fn failed(&self) -> Option<&'static str> {
        *self.first_failed()
    }

    /// Ends the failing of syncs.
    pub fn mend_syncs(&self) {
        self.failing_syncs.set(0, 0);
    }

    /// Lets one write take at most so many bytes; 0 for no bound.
    pub fn short_writes(&self, most: usize) {
        self.longest_write.store(most, Ordering::SeqCst);
    }

    /// Makes every sync take this much longer.
    pub fn slow_syncs(&self, by: Duration) {
        self.sync_delay_ms.store(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// Holds every sync back until [`Faults::let_syncs_go`].
    pub fn hold_syncs(&self) {
        self.gate().closed = true;
    }

    /// Lets held syncs go on.
    pub fn let_syncs_go(&self) {
        self.gate().closed = false;
        self.gate_moved.notify_all();
    }

    /// Blocks until a sync is held back. Only after [`Faults::hold_syncs`].
    pub fn wait_for_held_sync(&self) {
        let mut gate = self.gate();
        while gate.waiting == 0 {
            self.gate_moved.wait(&mut gate);
        }
    }

    /// Syncs of files so far, failed ones included.
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::SeqCst)
    }

    fn gate(&self) -> parking_lot::MutexGuard<'_, Gate> {
        self.gate.lock()
    }

    fn check_room(&self) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn at_sync(&self) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::SeqCst);
        let mut gate = self.gate();
        gate.waiting += 1;
        self.gate_moved.notify_all();
        while gate.closed {
            self.gate_moved.wait(&mut gate);
        }
        gate.waiting -= 1;
        drop(gate);
        std::thread::sleep(Duration::from_millis(self.sync_delay_ms.load(Ordering::SeqCst)));
        if self.failing_syncs.takes_one() { Err(broken()) } else { Ok(()) }
    }

    fn at_list(&self, dir: &Path) -> io::Result<()> {
        let is_meant = self.unlisted.lock().as_deref() == Some(dir);
        if is_meant && self.failing_lists.takes_one() { Err(broken()) } else { Ok(()) }
    }

    fn at_change(&self, call: &'static str) -> io::Result<()> {
        if !self.failing_changes.takes_one() {
            return Ok(());
        }
        self.first_failed().get_or_insert(call);
        Err(broken())
    }

    fn first_failed(&self) -> parking_lot::MutexGuard<'_, Option<&'static str>> {
        self.first_failed.lock()
    }
}

fn broken() -> io::Error {
    io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error())
}

/// Any file system, with faults.
#[derive(Debug)]
pub struct FaultyFs {
    inner: Arc<dyn Fs>,
    faults: Arc<Faults>,
}

impl FaultyFs {
    /// Wraps a file system; the second value lets it fail.
    pub fn new(inner: Arc<dyn Fs>) -> (Arc<Self>, Arc<Faults>) {
        let faults = Arc::new(Faults::default());
        (Arc::new(Self { inner, faults: Arc::clone(&faults) }), faults)
    }

    fn wrap(&self, inner: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(FaultyFile { inner, faults: Arc::clone(&self.faults) })
    }
}

impl Fs for FaultyFs {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.faults.at_change("create_dir")?;
        self.inner.create_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.faults.at_list(dir)?;
        self.inner.list(dir)
    }

    fn create_for(&self, path: &Path, size: u64, readers: Readers) -> io::Result<Arc<dyn File>> {
        self.faults.check_room()?;
        self.faults.at_change("create")?;
        self.inner.create_for(path, size, readers).map(|file| self.wrap(file))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        self.inner.open(path, access).map(|file| self.wrap(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.faults.at_change("rename")?;
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.faults.at_change("remove")?;
        self.inner.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.faults.at_change("sync_dir")?;
        self.inner.sync_dir(dir)
    }

    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        if self.faults.full.load(Ordering::SeqCst) { Ok(0) } else { self.inner.free_space(dir) }
    }

    fn id(&self, path: &Path) -> io::Result<Option<FileId>> {
        self.inner.id(path)
    }
}

#[derive(Debug)]
struct FaultyFile {
    inner: Arc<dyn File>,
    faults: Arc<Faults>,
}

impl File for FaultyFile {
    fn pread(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.pread(buf, offset)
    }

    fn pwrite(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.faults.check_room()?;
        if let Err(error) = self.faults.at_change("pwrite") {
            // What the disk still took is nobody's business any more.
            drop(self.inner.pwrite(&buf[..buf.len() / 2], offset));
            return Err(error);
        }
        let longest = match self.faults.longest_write.load(Ordering::SeqCst) {
            0 => buf.len(),
            most => most.min(buf.len()),
        };
        self.inner.pwrite(&buf[..longest], offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.faults.at_sync()?;
        self.faults.at_change("sync_data")?;
        self.inner.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.faults.at_change("set_len")?;
        self.inner.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn id(&self) -> io::Result<Option<FileId>> {
        self.inner.id()
    }
}
