//! The cores' time for uploads, shared out between those who send them.
//!
//! Inflating and reading an upload is work of the processor: microseconds for what agents send, a second for the largest that
//! is taken. So there are as many *turns* as cores, and who wants one waits in a [`Queue`]: one client after the other, the
//! small before the large. Large work gives its turn away whenever a slice of time is over and somebody waits ([`Turn::give_way`]);
//! thus a small upload waits for one slice of each other client at most, never for all that they have sent.
//!
//! What is small never gives way and runs where blocking work runs. What is large stands on a thread of its own while it
//! waits in the middle, so there are a few places for it. While nobody waits, a turn costs one lock.
//!
//! What is *brief* ([`BRIEF`]) takes less time than handing it to another thread would: it is done where it is asked for, on a
//! thread of the runtime ([`Turns::run_brief`]). Who is found to make brief work long loses that for a while and goes the way of
//! what is small, where clients take turns.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::memory::Shares;
use fair::Fair;
use lengthy::Lengthy;

mod fair;
mod lengthy;
mod queue;
mod turn;
mod who;

pub use queue::{Crowded, Queue, Ticket};
pub use turn::Turn;
pub use who::{Who, network};

/// Work on so many bytes is done before a slice is over, or soon after.
pub const SMALL: u64 = 1 << 20;
/// Work on so many bytes, and to so many, is over in the time that a change of threads takes, or a few of those.
pub const BRIEF: u64 = 64 << 10;
/// How long large work goes on while somebody waits.
const SLICE: Duration = Duration::from_millis(10);

/// Turns of a number of cores. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Turns {
    cores: Arc<Fair>,
    /// Large work that has begun.
    places: Arc<Fair>,
    /// Whose brief work was not.
    lengthy: Arc<Lengthy>,
    slice: Duration,
}

/// Why work was not done to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Its client has too much waiting already, or the system gives no thread.
    Crowded,
    /// It panicked.
    Panicked,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Crowded => "too much of this client's work is waiting",
            Self::Panicked => "it ended in a panic",
        })
    }
}

impl Turns {
    /// The turns of this machine: cores belong to it, however many gateways and listeners share them.
    pub fn here() -> Self {
        static HERE: LazyLock<Turns> = LazyLock::new(|| {
            let cores = std::thread::available_parallelism().map_or(2, usize::from);
            Turns::new(cores, Shares::here().turns().min(cores * 2), SLICE)
        });
        HERE.clone()
    }

    /// So many at once, so much large work begun at once, and how long a slice of it is.
    pub fn new(cores: usize, places: usize, slice: Duration) -> Self {
        Self { cores: Fair::new(cores), places: Fair::new(places), lengthy: Arc::default(), slice }
    }

    /// Does work on at most [`BRIEF`] bytes, which makes no more than that, in its client's turn and on the thread that asks. It may
    /// not wait for anything. For a client whose work took long lately it is the same as [`Turns::run`].
    ///
    /// # Errors
    ///
    /// When it was not begun, or panicked.
    pub async fn run_brief<R: Send + 'static>(
        &self,
        who: &Who,
        bytes: u64,
        work: impl FnOnce(&Turn) -> R + Send + 'static,
    ) -> Result<R, Ended> {
        if bytes > BRIEF || self.lengthy.is(who) {
            return self.run(who, bytes, work).await;
        }
        let held = Fair::take(&self.cores, who, bytes).await?;
        let clock = lengthy::Clock::start();
        let done = catch_unwind(AssertUnwindSafe(|| work(&Turn::small(held)))).map_err(|_| Ended::Panicked);
        self.lengthy.note(who, clock.used());
        done
    }

    /// Does work of the processor on so many bytes for a client, in its turn and where blocking is allowed. Work that was begun
    /// goes on to its end, whoever waits for it.
    ///
    /// # Errors
    ///
    /// When it was not begun, or panicked.
    pub async fn run<R: Send + 'static>(
        &self,
        who: &Who,
        bytes: u64,
        work: impl FnOnce(&Turn) -> R + Send + 'static,
    ) -> Result<R, Ended> {
        if bytes <= SMALL {
            let held = Fair::take(&self.cores, who, bytes).await?;
            // Its time begins when it does: blocking work of others may take every thread for a while.
            let begun = move || work(&Turn::small(held));
            return tokio::task::spawn_blocking(begun).await.map_err(|_| Ended::Panicked);
        }
        let place = Fair::take(&self.places, who, bytes).await?;
        let held = Fair::take(&self.cores, who, bytes).await?;
        let (who, slice) = (who.clone(), self.slice);
        let (done, result) = oneshot::channel();
        let on_its_thread = move || {
            let turn = Turn::large(held, who, bytes, slice);
            let made = work(&turn);
            // Whoever gets the result may begin at once.
            drop((turn, place));
            done.send(made).ok();
        };
        std::thread::Builder::new().name("large-upload".to_owned()).spawn(on_its_thread).map_err(|_| Ended::Crowded)?;
        result.await.map_err(|_| Ended::Panicked)
    }
}

impl From<Crowded> for Ended {
    fn from(_: Crowded) -> Self {
        Self::Crowded
    }
}

#[cfg(test)]
mod tests;
