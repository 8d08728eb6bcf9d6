//! Who makes brief work long.
//!
//! A thread of the runtime serves everybody, in the order in which they come. Work of microseconds may be done there; where one
//! client's takes milliseconds, each of its connections would put that before everybody else's. So such a client is noted, and
//! for a while its work goes where clients take turns.

use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use super::Who;

/// What took more of a processor's time than this was not brief. Honest work of its size takes a tenth of it.
const LONG: Duration = Duration::from_millis(2);
/// How long it is remembered.
const REMEMBERED: Duration = Duration::from_secs(1);
/// Those whose time is over are looked for when there are so many.
const TIDIED_AT: usize = 256;

/// The processor's time of this thread: what others had of the core in between does not count.
pub(super) struct Clock(Duration);

/// Clients whose brief work was not.
#[derive(Debug, Default)]
pub(super) struct Lengthy {
    /// Whether there are any: usually there are none, and nobody need look.
    any: AtomicBool,
    until: Mutex<HashMap<Who, Instant>>,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self(of_this_thread())
    }

    pub(super) fn used(&self) -> Duration {
        of_this_thread().saturating_sub(self.0)
    }
}

fn of_this_thread() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

impl Lengthy {
    /// Whether this client was noted lately.
    pub(super) fn is(&self, who: &Who) -> bool {
        if !self.any.load(Ordering::Relaxed) {
            return false;
        }
        let mut until = self.until();
        let is_noted = until.get(who).is_some_and(|until| *until > Instant::now());
        if !is_noted && until.remove(who).is_some() {
            self.any.store(!until.is_empty(), Ordering::Relaxed);
        }
        is_noted
    }

    /// Notes how long the work of a client took.
    pub(super) fn note(&self, who: &Who, took: Duration) {
        if took < LONG {
            return;
        }
        let (mut until, now) = (self.until(), Instant::now());
        if until.len() >= TIDIED_AT {
            until.retain(|_, until| *until > now);
        }
        until.insert(who.clone(), now + REMEMBERED);
        self.any.store(true, Ordering::Relaxed);
    }

    fn until(&self) -> MutexGuard<'_, HashMap<Who, Instant>> {
        self.until.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_makes_brief_work_long_is_known_for_a_while_and_nobody_else() {
        let (lengthy, who) = (Lengthy::default(), |name: &str| Who::new(&name.into(), None));
        lengthy.note(&who("quick"), LONG / 2);
        assert!(!lengthy.is(&who("quick")));
        lengthy.note(&who("long"), LONG);
        assert!(lengthy.is(&who("long")) && !lengthy.is(&who("quick")));
        tokio::time::advance(REMEMBERED).await;
        assert!(!lengthy.is(&who("long")));
        assert!(lengthy.until().is_empty() && !lengthy.any.load(Ordering::Relaxed), "nobody is remembered for ever");
    }

    #[test]
    fn only_the_time_of_the_processor_counts() {
        let clock = Clock::start();
        std::thread::sleep(LONG * 10);
        assert!(clock.used() < LONG, "{:?}", clock.used());
    }
}
