//! Spool to output: the second half of an event's way.
//!
//! [`Forwarder::run`] tells the story: build a batch, note its begin, hand it to a delivery; when the output has taken
//! it (or its events are kept as dead letters), settle it. Rules that hold at every line of it:
//!
//! - the read position moves last: a batch is settled after the output accepted it or the dead letters are durable;
//! - a begin is on file before the first byte is sent, and taken back when nobody can have it, so that after a crash the
//!   batches that may have been taken are known, sent again under their old ids, and counted as ambiguous;
//! - one output delays nobody else: each has its own reader, cursor, balancer and task;
//! - tries have no limit, only the age of an event has;
//! - where the log is replicated, nothing is sent while another gateway may have taken it over.
//!
//! It knows no protocol and no input.

use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::balancer::{Backoff, Balancer, RetryBudget};
use crate::outputs::output::Output;
use crate::replication::Permit;
use crate::spool::cursor::{Cursor, Settlement};
use crate::spool::dead_letter::SharedLetters;
use crate::spool::decided::Decided;
use crate::spool::{Ordinal, ReadError, Spool};

mod ahead;
pub mod alike;
mod aside;
pub mod batch;
mod builder;
mod config;
mod count;
mod deliver;
mod permitted;
mod piece;
mod position;
mod probes;
mod refusals;
mod settle;
mod shapeless;
mod standing;
mod told;
mod unburied;
mod waiting;

pub use config::Config;
pub use shapeless::Shapeless;
pub use unburied::Unburied;

use alike::Member;
use batch::{Batch, Identity};
use builder::{Builder, Built, Stuck};

/// How long to wait before an output begins anew.
const BEGIN_AGAIN: Duration = Duration::from_secs(1);

/// A batch stands in memory as it was uploaded, as rows, joined, and compressed.
const COPIES: u64 = 4;

/// What a forwarder works with.
pub struct Parts {
    /// The output's name.
    pub name: Arc<str>,
    /// How batches are made and tried.
    pub config: Config,
    /// The destination.
    pub output: Arc<dyn Output>,
    /// Spreads requests over its endpoints.
    pub balancer: Balancer,
    /// The log.
    pub spool: Spool,
    /// Where gateways share events, which of them are this one's to forward.
    pub decided: Option<Arc<Decided>>,
    /// Where the log is replicated, whether it may be sent.
    pub permit: Option<Permit>,
    /// What outputs of its form share with it.
    pub alike: Option<Arc<Member>>,
    /// The output's read position in it.
    pub cursor: Cursor,
    /// Keeps what no endpoint will take.
    pub dead_letters: SharedLetters,
    /// How long to wait before a batch is sent again.
    pub backoff: Backoff,
    /// How many batches may be sent again at once.
    pub budget: RetryBudget,
    /// Makes batch ids.
    pub identity: Identity,
    /// Makes the jitter.
    pub rng: fastrand::Rng,
    /// Bytes of memory that its batches may take while they are on their way.
    pub room: u64,
}

/// Forwards the events of the spool to one output.
pub struct Forwarder {
    name: Arc<str>,
    config: Config,
    output: Arc<dyn Output>,
    balancer: Balancer,
    spool: Spool,
    decided: Option<Arc<Decided>>,
    permit: Option<Permit>,
    alike: Option<Arc<Member>>,
    cursor: Mutex<Cursor>,
    dead_letters: SharedLetters,
    backoff: Backoff,
    budget: RetryBudget,
    identity: Identity,
    rng: Mutex<fastrand::Rng>,
    room: u64,
    counters: count::Counters,
    /// When the first event of each batch on its way was spooled, by position.
    on_the_way: Mutex<BTreeMap<Ordinal, u64>>,
    /// What the last failed request said, and when; cleared by the next accepted one.
    last_error: Mutex<Option<LastError>>,
    /// Records whose shape the output did not know.
    shapeless: shapeless::Seen,
    /// Whether events wait until they can be kept as dead letters.
    unburied: unburied::Waits,
    /// Whether endpoints reject everything.
    suspicion: Mutex<refusals::Suspicion>,
    /// What each endpoint refused last that another one took.
    contradicted: Mutex<BTreeMap<usize, LastError>>,
    /// How many events were settled when that was looked at last, and since when it is so many.
    progress: Mutex<(u64, Instant)>,
}

/// What went wrong last.
#[derive(Debug, Clone, serde::Serialize)]
pub struct LastError {
    /// Unix milliseconds.
    pub at_ms: u64,
    /// Which endpoint.
    pub endpoint: String,
    /// What became of the request, as in the metrics.
    pub outcome: &'static str,
    /// What it said.
    pub detail: String,
    /// What to do about it, when waiting is not enough.
    pub advice: Option<String>,
}

impl Forwarder {
    /// A forwarder that has not begun.
    pub fn new(parts: Parts) -> Self {
        let Parts {
            name,
            config,
            output,
            balancer,
            spool,
            decided,
            permit,
            alike,
            cursor,
            dead_letters,
            backoff,
            budget,
            identity,
            rng,
            room,
        } = parts;
        Self {
            counters: count::Counters::of(&name, &*output),
            name,
            config,
            output,
            balancer,
            spool,
            decided,
            permit,
            alike,
            cursor: Mutex::new(cursor),
            dead_letters,
            backoff,
            budget,
            identity,
            rng: Mutex::new(rng),
            room,
            on_the_way: Mutex::default(),
            last_error: Mutex::default(),
            shapeless: shapeless::Seen::default(),
            unburied: unburied::Waits::default(),
            suspicion: Mutex::default(),
            contradicted: Mutex::default(),
            progress: Mutex::new((0, Instant::now())),
        }
    }

    /// Forwards until it is stopped: then nothing new is begun, and what is on its way is given its answer. Dropping
    /// the future ends it at once; what has no answer then is sent again by the next run.
    ///
    /// A panic, or a position that can no longer be read, costs a new beginning from what is settled, not the output.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let Some(leave) = self.permitted(&stop).await else { return };
            let once = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&self).run_once(leave.token())));
            let ended = once.await;
            if stop.is_cancelled() {
                return;
            }
            if leave.is_over() {
                continue;
            }
            let error = ended.err().map(|ended| ended.to_string());
            tracing::error!(output = &*self.name, error, "the output restarts after the last settled event");
            pause(BEGIN_AGAIN, &stop).await;
        }
    }

    /// Returns when it is stopped, or when the spool cannot be read from where it stands.
    async fn run_once(self: Arc<Self>, stop: CancellationToken) {
        self.on_the_way.lock().clear();
        let mut deliveries = JoinSet::new();
        let mut end = self.spool.durable_end();
        let mut decisions = self.decided.as_ref().map(|decided| decided.changes());
        let mut builder = match self.builder() {
            Ok(builder) => builder,
            Err(error) => {
                tracing::error!(output = &*self.name, %error, "the spool cannot be read");
                return;
            }
        };
        let mut growing_since: Option<Instant> = None;
        while !stop.is_cancelled() {
            if deliveries.len() >= self.deliveries_max() {
                tokio::select! {
                    ended = deliveries.join_next() => delivered(ended),
                    () = stop.cancelled() => {}
                }
                continue;
            }
            end.mark_unchanged();
            decisions.as_mut().into_iter().for_each(watch::Receiver::mark_unchanged);
            let flush = growing_since.is_some_and(|since| since.elapsed() >= self.config.linger.get());
            builder.cut_to(self.balancer.largest_request());
            let built;
            (builder, built) = Arc::clone(&self).build(builder, flush).await;
            let built = match built {
                Ok(built) => built,
                Err(error @ (Stuck::Newer(_) | Stuck::Log(ReadError::Released | ReadError::BehindEnd { .. }))) => {
                    tracing::error!(output = &*self.name, %error, "the spool cannot be read");
                    break;
                }
                Err(error) => {
                    tracing::error!(output = &*self.name, %error, "the spool cannot be read; trying again");
                    pause(Duration::from_secs(1), &stop).await;
                    continue;
                }
            };
            self.settle_aside(built.aside, &stop).await;
            if let Some(batch) = built.batch {
                growing_since = None;
                let batch = self.take(batch);
                deliveries.spawn(Arc::clone(&self).deliver(batch, stop.clone()));
                while let Some(ended) = deliveries.try_join_next() {
                    delivered(Some(ended));
                }
                continue;
            }
            if builder.is_growing() && growing_since.is_none() {
                growing_since = Some(Instant::now());
            }
            if !built.unfilled {
                continue;
            }
            let linger = growing_since.map(|since| since + self.config.linger.get());
            tokio::select! {
                _ = end.changed() => {}
                () = changed(&mut decisions) => {}
                () = sleep_until(linger) => {}
                Some(ended) = deliveries.join_next() => delivered(Some(ended)),
                () = stop.cancelled() => {}
            }
        }
        while deliveries.join_next().await.is_some() {}
    }

    fn builder(&self) -> Result<Builder, ReadError> {
        let mut cursor = self.cursor();
        cursor.doubt_begun();
        let end = *self.spool.durable_end().borrow();
        let reader = self.spool.reader(cursor.low())?;
        let again = cursor.open_batches();
        let settled = settled_below(end, cursor.unsettled(cursor.low(), end));
        if !again.is_empty() {
            tracing::info!(output = &*self.name, batches = again.len(), "resending batches that were never answered");
        }
        let builder = Builder::new(Arc::clone(&self.name), Arc::clone(&self.output), reader, settled, again);
        Ok(builder.heeding(self.decided.clone()).sharing(self.alike.clone()))
    }

    /// Builds off the async runtime; the builder goes there and comes back.
    async fn build(self: Arc<Self>, mut builder: Builder, flush: bool) -> (Builder, Result<Built, Stuck>) {
        let oldest = self.spool.clock().horizon_ms(self.config.max_age.get());
        let work = move || {
            let built = builder.build(flush, oldest);
            if let Ok(Built { batch: Some(batch), .. }) = &built {
                self.make_room(batch.range().end);
            }
            (builder, built)
        };
        tokio::task::spawn_blocking(work).await.expect("building a batch does not panic and is never cancelled")
    }

    /// Takes a batch to be delivered.
    fn take(&self, batch: Batch) -> Batch {
        let range = batch.range();
        self.on_the_way.lock().insert(range.start, batch.spooled_at_ms);
        let resent = batch.resent || self.cursor().doubtful(&[range]) > 0;
        Batch { resent, ..batch }
    }

    fn settle(&self, range: Range<Ordinal>, settlement: Settlement) {
        if let Err(error) = self.cursor().settle(range.clone(), settlement) {
            tracing::warn!(output = &*self.name, first = range.start, end = range.end, %error, "settled events cannot be recorded; a restart would send them again");
        }
    }

    fn deliveries_max(&self) -> usize {
        let wanted = self.output.endpoints().iter().map(|endpoint| endpoint.max_in_flight).sum::<usize>();
        let batch = (self.output.limits().max_bytes as u64).saturating_mul(COPIES);
        wanted.min(usize::try_from(self.room / batch.max(1)).unwrap_or(usize::MAX)).max(1)
    }

    fn cursor(&self) -> MutexGuard<'_, Cursor> {
        self.cursor.lock()
    }
}

/// A delivery that panicked takes the run down with it: its batch would else never be settled, unseen by anybody.
fn delivered(ended: Option<Result<(), JoinError>>) {
    if let Some(Err(ended)) = ended
        && let Ok(panic) = ended.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}

/// What is settled below `end`, where `gaps` is not. From the beginning on, because a batch may end inside of a record: the
/// reader starts with that record, and its first events were sent.
fn settled_below(end: Ordinal, gaps: impl Iterator<Item = Range<Ordinal>>) -> Vec<Range<Ordinal>> {
    let mut settled = Vec::new();
    let mut from = 0;
    for gap in gaps {
        if from < gap.start {
            settled.push(from..gap.start);
        }
        from = gap.end;
    }
    if from < end {
        settled.push(from..end);
    }
    settled
}

/// Resolves with the next decision; never, where there is nothing to decide.
async fn changed(decisions: &mut Option<watch::Receiver<u64>>) {
    match decisions {
        Some(decisions) => drop(decisions.changed().await),
        None => std::future::pending().await,
    }
}

/// Resolves then; never, when there is no then.
async fn sleep_until(then: Option<Instant>) {
    match then {
        Some(then) => tokio::time::sleep_until(then).await,
        None => std::future::pending().await,
    }
}

/// Pauses, unless it is stopped.
async fn pause(span: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(span) => {}
        () = stop.cancelled() => {}
    }
}
