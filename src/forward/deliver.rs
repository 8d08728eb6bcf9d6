//! One batch on its way: tried until it is settled.
//!
//! An endpoint that cannot take it now is left to the balancer; another one is tried. A batch that an endpoint will
//! not take as it is gets halved, and its halves again, until the one event that stands in the way is alone: that one
//! becomes a dead letter, everything else arrives.
//!
//! An endpoint that rejects one event after the other and takes nothing in between more likely has a wrong rule than a
//! hundred wrong events. What it rejects then is held and tried again whole, as a refusal would be, so that a mistake
//! in a rule does not turn the whole spool into dead letters; after [`SUSPICION_MAX`] it is taken at its word.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::batch::{Batch, Positioned};
use super::settle::Refused;
use super::{Forwarder, LastError, pause};
use crate::balancer::{Lease, Verdict};
use crate::clock;
use crate::event::Timestamp;
use crate::metrics;
use crate::outputs::output::{Outcome, Request, RetryReason};
use crate::spool::cursor::Settlement;

/// How long an endpoint that does not know us is left alone.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);
/// How long a batch that got no answer is tried only where it may already be. An endpoint that knows batch ids then
/// makes no duplicate of it; after this time it may be dead, and the batch goes elsewhere.
const AMBIGUOUS_PATIENCE: Duration = Duration::from_secs(60);

/// So many events rejected in a row, with nothing accepted in between, and the endpoints are suspected instead.
const SUSPICIOUS: u32 = 10;
/// How long a batch is held that suspected endpoints reject.
const SUSPICION_PAUSE: Duration = Duration::from_secs(10);
/// How long endpoints are suspected. Then the events may be wrong after all, and must not stand in the way of others.
const SUSPICION_MAX: Duration = Duration::from_secs(15 * 60);

/// Whether what endpoints reject is the fault of the events.
#[derive(Debug, Default)]
pub(super) struct Suspicion {
    in_a_row: u32,
    since: Option<Instant>,
}

impl Suspicion {
    fn accepted(&mut self) {
        *self = Self::default();
    }

    fn rejected(&mut self) {
        self.in_a_row = self.in_a_row.saturating_add(1);
        if self.in_a_row >= SUSPICIOUS {
            self.since.get_or_insert_with(Instant::now);
        }
    }

    fn is_on(&self) -> bool {
        self.since.is_some_and(|since| since.elapsed() < SUSPICION_MAX)
    }
}

/// How the tries of one batch ended.
enum End {
    Accepted,
    /// It will not be taken as it is.
    Narrow(Refused),
    /// The gateway stops; the batch stays unsettled.
    Stopped,
}

impl Forwarder {
    /// Delivers a batch, in pieces if need be, and settles each.
    pub(super) async fn deliver(self: Arc<Self>, batch: Batch, stop: CancellationToken) {
        let whole = batch.range();
        let mut pieces = vec![batch];
        while let Some(piece) = pieces.pop() {
            match self.send_until_settled(&piece, &stop).await {
                End::Stopped => return,
                End::Accepted => {
                    self.suspicion().accepted();
                    metrics::EVENTS_FORWARDED.add(&[&self.name], piece.events.len() as u64);
                    self.count_changed(&piece);
                    self.settle_forwarded(&piece);
                }
                End::Narrow(refused) if refused.is_rejection() && self.suspicion().is_on() => {
                    let (output, events) = (&*self.name, piece.events.len());
                    tracing::warn!(output, events, "everything is rejected: is the rule or the stream wrong? Held");
                    pause(SUSPICION_PAUSE, &stop).await;
                    if stop.is_cancelled() {
                        return;
                    }
                    pieces.push(piece);
                }
                End::Narrow(refused) if piece.events.len() == 1 => {
                    if !refused.is_rejection()
                        && let Some(shorter) = self.shortened(&piece)
                    {
                        pieces.push(shorter);
                        continue;
                    }
                    if refused.is_rejection() {
                        self.suspicion().rejected();
                    }
                    if !self.bury(piece, refused, &stop).await {
                        return;
                    }
                }
                End::Narrow(_) => {
                    self.take_back(&piece);
                    let (first, second) = piece.halves();
                    pieces.push(second);
                    pieces.push(first);
                }
            }
        }
        // All its pieces: each half was noted on its own.
        self.on_the_way.lock().unwrap_or_else(PoisonError::into_inner).retain(|start, _| !whole.contains(start));
    }

    /// The only event of a batch with its longest texts cut; `None` when nothing can be cut.
    fn shortened(&self, batch: &Batch) -> Option<Batch> {
        let [event] = &*batch.events else { return None };
        let row = self.output.shorten(&event.row)?;
        Some(Batch { events: vec![Positioned { row, ..event.clone() }], resent: false, ..*batch })
    }

    /// Counts what did not arrive as it was.
    fn count_changed(&self, batch: &Batch) {
        let shortened = batch.events.iter().filter(|event| event.row.is_shortened).count();
        if shortened > 0 {
            metrics::EVENTS_SHORTENED.add(&[&self.name], shortened as u64);
        }
        self.shapeless.note(&self.name, &*self.output, batch);
        let now = Timestamp::of(SystemTime::now());
        let times = batch.events.iter().filter_map(|event| event.row.time);
        let restamped = times.filter(|time| !self.output.keeps_time(*time, now)).count();
        if restamped > 0 {
            metrics::EVENTS_RESTAMPED.add(&[&self.name], restamped as u64);
        }
    }

    fn settle_forwarded(&self, batch: &Batch) {
        if let Err(error) = self.cursor().settle_batch(&batch.runs(), Settlement::Forwarded) {
            let range = batch.range();
            tracing::warn!(output = &*self.name, ?range, %error, "a settlement cannot be noted; a restart would repeat it");
        }
    }

    fn suspicion(&self) -> MutexGuard<'_, Suspicion> {
        self.suspicion.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send_until_settled(self: &Arc<Self>, batch: &Batch, stop: &CancellationToken) -> End {
        let request = self.encode(batch).await;
        self.budget.first_try();
        let mut tries = 0;
        // Where the batch may already be, and until when only that endpoint is asked.
        let mut asked: Option<(usize, Instant)> = None;
        let mut may_be_there = batch.resent;
        loop {
            let only = asked.filter(|(_, until)| Instant::now() < *until).map(|(endpoint, _)| endpoint);
            if stop.run_until_cancelled(self.output.admit(&request)).await.is_none() {
                return End::Stopped;
            }
            let Some(lease) = self.lease(request.events, only, stop).await else {
                return End::Stopped;
            };
            let endpoint = lease.endpoint;
            self.begin(batch);
            let began = Instant::now();
            let outcome = self.output.send(endpoint, &request).await;
            self.count(endpoint, &request, &outcome, began.elapsed());
            lease.finish(verdict(&outcome));
            may_be_there |= leaves_doubt(&outcome);
            if !may_be_there && outcome != Outcome::Accepted {
                self.take_back(batch);
            }
            match outcome {
                Outcome::Accepted => return End::Accepted,
                Outcome::Split { detail } => return End::Narrow(Refused::too_large(detail)),
                Outcome::Rejected { status, detail } => return End::Narrow(Refused::rejected(status, detail)),
                // Counted from the first time: one that never answers must not keep the batch for ever.
                Outcome::Ambiguous { .. } if asked.is_none_or(|(earlier, _)| earlier != endpoint) => {
                    asked = Some((endpoint, began + AMBIGUOUS_PATIENCE));
                }
                Outcome::Ambiguous { .. } | Outcome::Retry { .. } => {}
            }
            tries += 1;
            // The first repetition may go to another endpoint at once if the budget allows; after that, patience.
            if tries > 1 || !self.budget.try_take() {
                pause(self.wait_before(tries), stop).await;
            }
        }
    }

    async fn encode(self: &Arc<Self>, batch: &Batch) -> Request {
        let forwarder = Arc::clone(self);
        let batch = batch.clone();
        let work = move || batch.encode(&forwarder.identity, &*forwarder.output);
        tokio::task::spawn_blocking(work).await.expect("encoding does not panic and is never cancelled")
    }

    /// A place at an endpoint; `None` when the gateway stops first.
    async fn lease(&self, events: usize, only: Option<usize>, stop: &CancellationToken) -> Option<Lease> {
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        // A while at most: the endpoint that was to be asked alone may never come back.
        let lease = tokio::time::timeout(AMBIGUOUS_PATIENCE, self.balancer.acquire(events, only));
        match stop.run_until_cancelled(lease).await? {
            Ok(lease) => Some(lease),
            Err(_) => stop.run_until_cancelled(self.balancer.acquire(events, None)).await,
        }
    }

    fn wait_before(&self, tries: u32) -> Duration {
        self.backoff.delay(tries.saturating_sub(1), &mut self.rng.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn count(&self, endpoint: usize, request: &Request, outcome: &Outcome, took: Duration) {
        let name = self.output.endpoints()[endpoint].name.as_str();
        metrics::FORWARD_REQUESTS.add(&[&self.name, name, label(outcome)], 1);
        metrics::FORWARD_REQUEST_SECONDS.observe(&[&self.name, name], took.as_secs_f64());
        metrics::FORWARD_BYTES.add(&[&self.name, "wire"], request.body.len() as u64);
        metrics::FORWARD_BYTES.add(&[&self.name, "plain"], request.plain_bytes as u64);
        let detail = match outcome {
            Outcome::Accepted => None,
            Outcome::Retry { detail, .. } | Outcome::Split { detail } | Outcome::Rejected { detail, .. } => {
                Some(detail)
            }
            Outcome::Ambiguous { detail } => {
                metrics::EVENTS_AMBIGUOUS.add(&[&self.name], request.events as u64);
                Some(detail)
            }
        };
        if let Some(detail) = detail {
            let batch = request.batch_id.as_str();
            tracing::info!(output = &*self.name, endpoint = name, batch, outcome = label(outcome), detail, "not taken");
        }
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = detail.map(|detail| LastError {
            at_ms: clock::wall_ms(),
            endpoint: name.to_owned(),
            outcome: label(outcome),
            detail: detail.clone(),
            advice: self.output.advise(outcome),
        });
    }
}

/// Whether an endpoint may have taken the batch after all: it gave no answer, or failed with the batch in its hands.
fn leaves_doubt(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Ambiguous { .. } | Outcome::Retry { reason: RetryReason::Failed, .. })
}

/// What an outcome means for the endpoint.
fn verdict(outcome: &Outcome) -> Verdict {
    match outcome {
        Outcome::Accepted => Verdict::Success,
        // The endpoint works; it is the batch that does not.
        Outcome::Split { .. } | Outcome::Rejected { .. } => Verdict::Neutral,
        Outcome::Ambiguous { .. } => Verdict::Failure,
        Outcome::Retry { after, reason, .. } => match reason {
            RetryReason::Unauthorized | RetryReason::Forbidden | RetryReason::NotFound | RetryReason::Refused => {
                Verdict::RetryAfter(after.unwrap_or(REFUSED_PAUSE))
            }
            // Nothing was sent: it says nothing about the endpoint.
            RetryReason::Token => Verdict::Neutral,
            RetryReason::Throttled | RetryReason::Busy | RetryReason::Connect | RetryReason::Failed => {
                after.map_or(Verdict::Failure, Verdict::RetryAfter)
            }
        },
    }
}

fn label(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Accepted => "accepted",
        Outcome::Ambiguous { .. } => "ambiguous",
        Outcome::Split { .. } => "split",
        Outcome::Rejected { .. } => "rejected",
        Outcome::Retry { reason, .. } => match reason {
            RetryReason::Connect => "retry_connect",
            RetryReason::Throttled => "retry_throttled",
            RetryReason::Busy => "retry_busy",
            RetryReason::Failed => "retry_failed",
            RetryReason::Token => "retry_token",
            RetryReason::Unauthorized => "retry_unauthorized",
            RetryReason::Forbidden => "retry_forbidden",
            RetryReason::NotFound => "retry_not_found",
            RetryReason::Refused => "retry_refused",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn endpoints_are_suspected_after_rejections_in_a_row_but_not_for_ever() {
        let mut suspicion = Suspicion::default();
        for _ in 0..3 {
            (1..SUSPICIOUS).for_each(|_| suspicion.rejected());
            assert!(!suspicion.is_on(), "some events are wrong");
            suspicion.accepted();
        }
        (0..SUSPICIOUS).for_each(|_| suspicion.rejected());
        assert!(suspicion.is_on());
        tokio::time::advance(SUSPICION_MAX).await;
        suspicion.rejected();
        assert!(!suspicion.is_on(), "the events are wrong after all");
        suspicion.accepted();
        (0..SUSPICIOUS).for_each(|_| suspicion.rejected());
        assert!(suspicion.is_on());
    }
}
