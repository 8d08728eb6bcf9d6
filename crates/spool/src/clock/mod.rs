//! Time that does not jump.
//!
//! What is remembered for a window and what is given up for its age must not depend on what somebody sets the wall clock
//! to: +30 hours for five seconds would forget every seen event for good, and an event that was taken while the clock stood
//! ten years back would be thrown away as too old. So all of that follows a [`Clock`]:
//!
//! 1. It shows Unix time, starts with the wall clock, and goes on by the system's time since its boot, which nobody sets.
//! 2. Small corrections of the wall clock are followed, slowly. A difference beyond a bound is a jump: it is *held*, which
//!    means that time goes on as before, and told to a person. It ends when the wall clock comes back, or when the person
//!    accepts it.
//! 3. Accepting a jump changes what is shown ([`Clock::shown_ms`]), never the time that windows and ages are counted in. So
//!    nothing is forgotten and nothing expires by it either.
//! 4. It is kept on disk, with the boot that it belongs to. A restart goes on exactly; another boot goes on where the last one
//!    ended, and believes the wall clock about an absence of up to an hour.
//! 5. It has a beginning. A stamp from before it was made by another clock, and is not believed: it counts from the
//!    beginning.
//!
//! What other people's clocks must agree with stays with the wall clock ([`wall_s`], [`wall_ms`]): tokens and certificates,
//! answers, the log.

use parking_lot::{Mutex, MutexGuard};
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

mod kept;
mod source;
mod steady;

pub use source::{BootId, Reading, Source, System};

use kept::Kept;
use steady::Steady;

use crate::fs::Fs;

const NS_PER_MS: i64 = 1_000_000;
const MS_PER_S: u64 = 1_000;

/// A clock that does not jump. Cheap to clone; clones are one clock.
#[derive(Clone)]
pub struct Clock {
    inner: Arc<Inner>,
}

struct Inner {
    source: Arc<dyn Source>,
    steady: Mutex<Steady>,
    kept: Option<Kept>,
}

/// How a clock and the wall clock stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Standing {
    /// Whether a jump of the wall clock is held.
    pub held: bool,
    /// Seconds that the wall clock is ahead of what is believed; negative when it is behind.
    pub difference_seconds: f64,
    /// Seconds that accepted jumps have taken the wall clock away from the time that windows are counted in.
    pub accepted_seconds: f64,
    /// Jumps since the start of the process.
    pub jumps: u64,
}

impl Clock {
    /// A clock that starts with the wall clock and is kept nowhere: for tools and tests.
    pub fn system() -> Self {
        Self::unkept(Arc::new(System))
    }

    /// The same over another source.
    pub fn unkept(source: Arc<dyn Source>) -> Self {
        let steady = Steady::beginning_at(source.read());
        Self { inner: Arc::new(Inner { source, steady: Mutex::new(steady), kept: None }) }
    }

    /// The clock that is kept in this file, going on; a new one where there is none or where it cannot be read. `stamped_ms` is
    /// the newest stamp that an earlier clock is known to have made: a new clock does not begin after it.
    pub fn open(fs: Arc<dyn Fs>, path: &Path, source: Arc<dyn Source>, stamped_ms: Option<u64>) -> Self {
        let reading = source.read();
        let (kept, mark) = Kept::open(fs, path, source.boot_id());
        let steady = match mark {
            Some(mark) => Steady::going_on(&mark, kept.is_same_boot(&mark), reading),
            None => Steady::beginning_before(stamped_ms, reading),
        };
        Self { inner: Arc::new(Inner { source, steady: Mutex::new(steady), kept: Some(kept) }) }
    }

    /// Milliseconds since 1970, for windows and ages. Never runs back within a process.
    pub fn now_ms(&self) -> u64 {
        self.look().now_ms()
    }

    /// The same in seconds.
    pub fn now_s(&self) -> u64 {
        self.now_ms() / MS_PER_S
    }

    /// What a person is to be shown for a stamp of this clock: the wall clock's time, unless a jump is held.
    pub fn shown_ms(&self, stamp_ms: u64) -> u64 {
        self.look().shown_ms(stamp_ms)
    }

    /// What a person is to be shown for this moment: no jump of the wall clock is in it. Also for what is compared with times
    /// that others wrote, such as those of events.
    pub fn shown_now_ms(&self) -> u64 {
        let steady = self.look();
        steady.shown_ms(steady.now_ms())
    }

    /// The same as a time of the system.
    pub fn shown_now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.shown_now_ms())
    }

    /// What is stamped below this has waited longer than `span`. 0 while the clock itself is younger than that: then nothing
    /// is known to have.
    pub fn horizon_ms(&self, span: Duration) -> u64 {
        self.look().horizon_ms(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
    }

    /// A stamp as far as it can be believed: not from before the beginning of this clock, not from the future.
    pub fn believed_ms(&self, stamp_ms: u64) -> u64 {
        self.look().believed_ms(stamp_ms)
    }

    /// How it and the wall clock stand to each other now.
    pub fn standing(&self) -> Standing {
        self.look().standing()
    }

    /// Takes what the wall clock shows for right from now on: the hold ends. Nothing is forgotten or expires by it.
    pub fn accept(&self) -> Standing {
        let mut steady = self.look();
        steady.accept();
        steady.standing()
    }

    /// Makes it durable, if what is on disk would not lead back to it. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// When that fails; the next call tries again.
    pub fn keep(&self) -> io::Result<()> {
        let Some(kept) = &self.inner.kept else { return Ok(()) };
        let mark = self.look().mark(kept.boot());
        kept.save(&mark)
    }

    /// Looks at the source first, so that no jump is missed that lasts until somebody asks.
    fn look(&self) -> MutexGuard<'_, Steady> {
        let mut steady = self.inner.steady.lock();
        // Under the lock: an older reading must not come after a newer one.
        steady.look(self.inner.source.read());
        steady
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("standing", &self.standing()).finish_non_exhaustive()
    }
}

/// The wall clock, as time since 1970. For what others judge by theirs, and for people; never for a window or an age.
pub fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The wall clock in seconds since 1970.
pub fn wall_s() -> u64 {
    wall().as_secs()
}

/// The wall clock in milliseconds since 1970.
pub fn wall_ms() -> u64 {
    u64::try_from(wall().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
