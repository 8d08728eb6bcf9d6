//! What an upload asks: claims from what was read, confirmations by saying so and reading it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::follower::Follower;
use super::heard::{Heard, Inner};
use super::log::Log;
use super::replica::Replica;
use super::speaker::Speaker;
use crate::dedup::Config;
use crate::dedup::several::Watcher;
use crate::dedup::several::ask::{Answer, Ask, Away, Job, What};
use crate::dedup::several::engine::{Board, Engine};

/// Jobs that wait for a message: more than uploads fit into the gateway.
const JOBS_MAX: usize = 4_096;

/// Asks. What is said goes to a task of its own.
pub(super) struct Seen {
    inner: Arc<Inner>,
    jobs: mpsc::Sender<Job>,
}

/// What has to run.
pub(super) struct Run {
    follower: Follower,
    speaker: Speaker,
}

impl Seen {
    /// Over a log that nobody has read yet.
    pub(super) fn new(log: Arc<dyn Log>, board: Arc<Board>, config: &Config, timeout: Duration) -> (Self, Run) {
        let most_bytes = usize::try_from(config.jetstream.max_size.as_u64()).unwrap_or(usize::MAX);
        let window_s = u32::try_from(config.window.get().as_secs()).unwrap_or(u32::MAX);
        let inner = Arc::new(Inner {
            log,
            board,
            replica: Mutex::new(Heard { replica: Replica::new(window_s, most_bytes), at: Instant::now() }),
            is_loaded: AtomicBool::new(false),
            waiting: Mutex::default(),
            window_s,
            most_bytes,
            timeout,
            check: config.check_value(),
        });
        let (jobs, todo) = mpsc::channel(JOBS_MAX);
        let run = Run { follower: Follower::new(Arc::clone(&inner)), speaker: Speaker::new(Arc::clone(&inner), todo) };
        (Self { inner, jobs }, run)
    }
}

impl Run {
    /// Runs until nobody can ask any more.
    pub(super) async fn run(self, watcher: Arc<dyn Watcher>) {
        let Self { follower, speaker } = self;
        tokio::select! {
            () = follower.run(watcher) => {}
            () = speaker.run() => {}
        }
    }
}

impl Engine for Seen {
    fn ask(&self, ask: Ask) -> BoxFuture<'_, Result<Vec<Answer>, Away>> {
        match ask.what {
            // Durable or not: nobody is kept waiting for what is only claimed.
            What::Claim { .. } => ready(self.inner.claim(&ask.parts)).boxed(),
            What::Release => ready(Ok(vec![Answer::Ended; ask.parts.len()])).boxed(),
            What::Confirm => {
                let gone = || Away { reason: "the gateway stops".to_owned(), refused: false };
                let (reply, answer) = oneshot::channel();
                let asked = async move {
                    self.jobs.send(Job { ask, reply }).await.map_err(|_| gone())?;
                    answer.await.unwrap_or_else(|_| Err(gone()))
                };
                asked.boxed()
            }
        }
    }

    /// Only releases are told, and nobody waits for a claim here.
    fn tell(&self, _: Ask) {}
}
