//! The clock on disk: one small file with a checksum, replaced whole.
//!
//! Within a boot an old mark is as good as a new one, because the clock since boot tells what has passed. So it is written
//! only when it would lead elsewhere, and every ten seconds for the sake of the next boot.

use parking_lot::Mutex;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::source::BootId;
use crate::fs::{self, Fs, Readers};

const MAGIC: [u8; 8] = *b"GPclock1";
const LEN: usize = 60;
/// A longer file is another one.
const FILE_MAX: u64 = 4 << 10;

/// How far from the truth the mark may lead, in nanoseconds.
const TOLERANCE_NS: i64 = 1_000_000_000;
/// How old it may get.
const AGE_MAX_NS: i64 = 10_000_000_000;

/// A moment of a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) now_ns: i64,
    pub(super) boot_ns: i64,
    pub(super) accepted_ns: i64,
    pub(super) since_ns: i64,
    pub(super) boot: BootId,
}

/// The file.
#[derive(Debug)]
pub(super) struct Kept {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    boot: Option<BootId>,
    saved: Mutex<Option<Mark>>,
}

impl Kept {
    /// The file and what it holds; `None` where there is nothing, or nothing that can be read and understood.
    pub(super) fn open(fs: Arc<dyn Fs>, path: &Path, boot: Option<BootId>) -> (Self, Option<Mark>) {
        let mark = match fs::read(&*fs, path, FILE_MAX) {
            Ok(bytes) => Mark::decode(&bytes).or_else(|| {
                tracing::error!(path = %path.display(), "the clock file is damaged; the clock starts afresh");
                None
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "the clock file cannot be read; the clock starts afresh");
                None
            }
        };
        (Self { fs, path: path.to_owned(), boot, saved: Mutex::new(None) }, mark)
    }

    pub(super) fn boot(&self) -> Option<BootId> {
        self.boot
    }

    pub(super) fn is_same_boot(&self, mark: &Mark) -> bool {
        self.boot == Some(mark.boot)
    }

    /// Writes the mark, unless the last one leads to it.
    pub(super) fn save(&self, mark: &Mark) -> io::Result<()> {
        let mut saved = self.saved.lock();
        if saved.is_some_and(|saved| saved.leads_to(mark)) {
            return Ok(());
        }
        fs::replace(&*self.fs, &self.path, &mark.encode(), Readers::Owner)?;
        *saved = Some(*mark);
        Ok(())
    }
}

impl Mark {
    fn leads_to(&self, now: &Self) -> bool {
        let passed = now.boot_ns - self.boot_ns;
        let off = now.now_ns.saturating_sub(self.now_ns).saturating_sub(passed);
        self.accepted_ns == now.accepted_ns && off.saturating_abs() < TOLERANCE_NS && (0..AGE_MAX_NS).contains(&passed)
    }

    fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..8].copy_from_slice(&MAGIC);
        for (at, field) in [self.now_ns, self.boot_ns, self.accepted_ns, self.since_ns].iter().enumerate() {
            bytes[8 + at * 8..16 + at * 8].copy_from_slice(&field.to_le_bytes());
        }
        bytes[40..56].copy_from_slice(&self.boot.0);
        let sum = crc32fast::hash(&bytes[..56]);
        bytes[56..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; LEN] = bytes.try_into().ok()?;
        let sum = crc32fast::hash(&bytes[..56]).to_le_bytes();
        if bytes[..8] != MAGIC || bytes[56..] != sum {
            return None;
        }
        let field = |at: usize| bytes[8 + at * 8..16 + at * 8].try_into().map(i64::from_le_bytes).ok();
        Some(Self {
            now_ns: field(0)?,
            boot_ns: field(1)?,
            accepted_ns: field(2)?,
            since_ns: field(3)?,
            boot: BootId(bytes[40..56].try_into().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::trial::{self, Durable};

    /// The clock's file, as far as the time of its mark tells what it holds.
    struct Marked;

    impl Durable for Marked {
        fn write(&self, fs: &Arc<dyn Fs>, version: u8) -> io::Result<()> {
            let (kept, _) = Kept::open(Arc::clone(fs), &trial::path("clock"), None);
            let boot = BootId([7; 16]);
            kept.save(&Mark { now_ns: version.into(), boot_ns: 2, accepted_ns: 3, since_ns: 4, boot })
        }

        fn read(&self, fs: &Arc<dyn Fs>) -> Result<Option<u8>, String> {
            let (_, mark) = Kept::open(Arc::clone(fs), &trial::path("clock"), None);
            mark.map(|mark| u8::try_from(mark.now_ns).map_err(|error| error.to_string())).transpose()
        }
    }

    #[test]
    fn the_clock_survives_a_failing_disk_and_a_power_cut() {
        trial::pass(&Marked);
    }
}
