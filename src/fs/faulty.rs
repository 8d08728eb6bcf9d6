//! A file system that fails on command, around any other: for tests and for drills on a running gateway.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::{Access, DirEntry, File, FileId, Fs};

/// What shall go wrong. Cheap to share; every change acts at once.
#[derive(Debug, Default)]
pub struct Faults {
    full: AtomicBool,
    failing_syncs: AtomicU64,
    syncs_before_failure: AtomicU64,
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

const NEVER: u64 = u64::MAX;

impl Faults {
    /// While on, every write and every new file fails as on a full disk.
    pub fn disk_full(&self, on: bool) {
        self.full.store(on, Ordering::SeqCst);
    }

    /// Lets the n-th sync from now (1 is the next) fail with an I/O error, after its writes reached the file; then so
    /// many in a row.
    pub fn fail_syncs(&self, nth: u64, count: u64) {
        self.syncs_before_failure.store(nth.saturating_sub(1), Ordering::SeqCst);
        self.failing_syncs.store(count, Ordering::SeqCst);
    }

    /// Lets every sync fail until [`Faults::mend_syncs`].
    pub fn fail_all_syncs(&self) {
        self.fail_syncs(1, NEVER);
    }

    /// Ends the failing of syncs.
    pub fn mend_syncs(&self) {
        self.failing_syncs.store(0, Ordering::SeqCst);
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
            gate = self.gate_moved.wait(gate).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Syncs of files so far, failed ones included.
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::SeqCst)
    }

    fn gate(&self) -> std::sync::MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
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
            gate = self.gate_moved.wait(gate).unwrap_or_else(PoisonError::into_inner);
        }
        gate.waiting -= 1;
        drop(gate);
        std::thread::sleep(Duration::from_millis(self.sync_delay_ms.load(Ordering::SeqCst)));
        let failing = self.failing_syncs.load(Ordering::SeqCst);
        if failing == 0 {
            return Ok(());
        }
        if self.syncs_before_failure.load(Ordering::SeqCst) > 0 {
            self.syncs_before_failure.fetch_sub(1, Ordering::SeqCst);
            return Ok(());
        }
        if failing != NEVER {
            self.failing_syncs.fetch_sub(1, Ordering::SeqCst);
        }
        Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()))
    }
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
        self.inner.create_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.inner.list(dir)
    }

    fn create(&self, path: &Path, size: u64) -> io::Result<Arc<dyn File>> {
        self.faults.check_room()?;
        self.inner.create(path, size).map(|file| self.wrap(file))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        self.inner.open(path, access).map(|file| self.wrap(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
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
        let longest = match self.faults.longest_write.load(Ordering::SeqCst) {
            0 => buf.len(),
            most => most.min(buf.len()),
        };
        self.inner.pwrite(&buf[..longest], offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.faults.at_sync()?;
        self.inner.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn id(&self) -> io::Result<Option<FileId>> {
        self.inner.id()
    }
}
