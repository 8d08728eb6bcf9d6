//! One batch on its way: tried until it is settled.
//!
//! An endpoint that cannot take it now is left to the balancer; another one is tried. A batch that endpoints will not
//! take as it is gets halved, and its halves again, until the one event that stands in the way is alone: that one
//! becomes a dead letter, everything else arrives. Whose word counts for that is in [`super::refusals`]; what may be
//! there twice, in [`super::piece`].

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::batch::{Batch, Positioned};
use super::piece::Piece;
use super::refusals::{Patience, Refusals, Said};
use super::settle::Refused;
use super::{Forwarder, pause};
use crate::balancer::{Lease, Verdict};
use crate::event::Timestamp;
use crate::metrics;
use crate::outputs::output::{Outcome, Request, RetryReason};
use crate::spool::cursor::Settlement;

/// How long an endpoint that does not know us is left alone.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);
/// How long a batch that got no answer is tried only where it may already be. An endpoint that knows batch ids then
/// makes no duplicate of it; after this time it may be dead, and the batch goes elsewhere.
const AMBIGUOUS_PATIENCE: Duration = Duration::from_secs(60);
/// How long a batch is held that all endpoints reject, when they are suspected.
const SUSPICION_PAUSE: Duration = Duration::from_secs(10);

/// How the tries of one piece ended.
enum End {
    Accepted,
    /// It will not be taken as it is.
    Narrow(Refused),
    /// The gateway stops; the piece stays unsettled.
    Stopped,
}

/// Who sends a piece next.
enum Turn {
    Of(Lease),
    /// Those who are left cannot be had in time.
    Nobody,
    Stopped,
}

impl Forwarder {
    /// Delivers a batch, in pieces if need be, and settles each.
    pub(super) async fn deliver(self: Arc<Self>, batch: Batch, stop: CancellationToken) {
        let whole = batch.range();
        let mut patience = Patience::default();
        let mut pieces = vec![Piece::new(batch)];
        while let Some(mut piece) = pieces.pop() {
            match self.send_until_settled(&mut piece, &mut patience, &stop).await {
                End::Stopped => return,
                End::Accepted => self.accepted(&piece.batch),
                End::Narrow(refused) if refused.is_rejection() && self.suspicion().is_on() => {
                    let (output, events) = (&*self.name, piece.batch.events.len());
                    tracing::warn!(
                        output,
                        events,
                        "every event is rejected, so the output is held: check the rule and the stream"
                    );
                    pause(SUSPICION_PAUSE, &stop).await;
                    if stop.is_cancelled() {
                        return;
                    }
                    pieces.push(piece);
                }
                End::Narrow(refused) if piece.batch.events.len() == 1 => {
                    if !refused.is_rejection()
                        && let Some(shorter) = self.shortened(&piece.batch)
                    {
                        pieces.push(piece.with(shorter));
                        continue;
                    }
                    if refused.is_rejection() {
                        self.suspicion().rejected();
                    }
                    if !self.bury(piece.batch, refused, &stop).await {
                        return;
                    }
                }
                End::Narrow(_) => {
                    let (first, second) = piece.halves();
                    pieces.extend([second, first]);
                }
            }
        }
        self.on_the_way.lock().remove(&whole.start);
    }

    fn accepted(&self, batch: &Batch) {
        self.suspicion().accepted();
        self.count_ages(batch);
        self.count_changed(batch);
        self.settle_forwarded(batch);
    }

    /// The only event of a batch with its longest texts cut; `None` when nothing can be cut.
    fn shortened(&self, batch: &Batch) -> Option<Batch> {
        let [event] = &*batch.events else { return None };
        let row = self.output.shorten(&event.row)?;
        Some(Batch { events: vec![Positioned { row, ..event.clone() }], resent: false, for_several: false, ..*batch })
    }

    /// Counts events that arrived, and how old they were.
    fn count_ages(&self, batch: &Batch) {
        let clock = self.spool.clock();
        let now = Timestamp::of(clock.shown_now());
        let since_receipt = clock.now_ms().saturating_sub(batch.spooled_at_ms) as f64 / 1000.0;
        let age = |event: &Positioned| event.row.time.map_or(since_receipt, |time| now.seconds_since(time));
        self.counters.taken(batch.events.iter().map(age));
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
            tracing::warn!(output = &*self.name, first = range.start, end = range.end, %error, "settled events cannot be recorded; a restart would send them again");
        }
    }

    async fn send_until_settled(
        self: &Arc<Self>,
        piece: &mut Piece,
        patience: &mut Patience,
        stop: &CancellationToken,
    ) -> End {
        let request = self.encode(&piece.batch).await;
        self.budget.first_try();
        let mut tries = 0;
        // Where it may already be, and until when only that endpoint is asked.
        let mut asked: Option<(usize, Instant)> = None;
        let mut refusals = Refusals::default();
        loop {
            if stop.run_until_cancelled(self.output.admit(&request)).await.is_none() {
                return End::Stopped;
            }
            let lease = match self.turn(request.events, asked, &refusals, stop).await {
                Turn::Of(lease) => lease,
                Turn::Nobody => return End::Narrow(refusals.into_refused()),
                Turn::Stopped => return End::Stopped,
            };
            let endpoint = lease.endpoint;
            let began = Instant::now();
            let outcome = self.send(lease, piece, &request).await;
            let said = label(&outcome);
            let refused = match outcome {
                Outcome::Accepted => {
                    self.contradict(refusals, patience);
                    return End::Accepted;
                }
                // Nobody was asked: it is the same everywhere.
                Outcome::Split { status: None, detail } => return End::Narrow(Refused::too_large(None, detail)),
                Outcome::Split { status, detail } => Some(Refused::too_large(status, detail)),
                Outcome::Rejected { status, detail } => Some(Refused::rejected(status, detail)),
                // Counted from the first time: one that never answers must not keep the batch for ever.
                Outcome::Ambiguous { .. } if asked.is_none_or(|(earlier, _)| earlier != endpoint) => {
                    asked = Some((endpoint, began + AMBIGUOUS_PATIENCE));
                    None
                }
                Outcome::Ambiguous { .. } | Outcome::Retry { .. } if refusals.are_final() => {
                    return End::Narrow(refusals.into_refused());
                }
                Outcome::Ambiguous { .. } | Outcome::Retry { .. } => None,
            };
            if let Some(refused) = refused {
                // This endpoint has spoken, whatever it may have said unheard.
                asked = None;
                refusals.add(Said { endpoint, outcome: said, refused });
                if self.are_enough(&mut refusals, request.events, patience) {
                    return End::Narrow(refusals.into_refused());
                }
                continue;
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
        let (id, runs, rows) = (self.identity.batch_id(&batch.range()), batch.runs(), batch.rows());
        let for_several = batch.for_several;
        let work = move || {
            let is_shared = for_several && !rows.iter().any(|row| row.is_shortened);
            let make = || forwarder.output.body(&rows);
            match forwarder.alike.as_ref().filter(|_| is_shared) {
                Some(alike) => alike.body_of(runs, make),
                None => make(),
            }
        };
        let body = tokio::task::spawn_blocking(work).await.expect("encoding does not panic and is never cancelled");
        self.output.learn(&body);
        Request::new(id, body)
    }

    async fn send(&self, lease: Lease, piece: &mut Piece, request: &Request) -> Outcome {
        self.about_to_send(piece);
        let began = Instant::now();
        let outcome = self.output.send(lease.endpoint, request).await;
        self.counters.request(lease.endpoint, request, &outcome, began.elapsed());
        self.tell(lease.endpoint, request, &piece.batch.range(), &outcome, began.elapsed());
        lease.finish(verdict(&outcome));
        self.was_answered(piece, &outcome);
        outcome
    }

    /// A place at an endpoint: for a while only at the one that was asked without an answer, then at any that has not
    /// refused the piece yet, for as long as those are to be waited for.
    async fn turn(
        &self,
        events: usize,
        asked: Option<(usize, Instant)>,
        refusals: &Refusals,
        stop: &CancellationToken,
    ) -> Turn {
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        if let Some((endpoint, until)) = asked.filter(|(_, until)| Instant::now() < *until) {
            let lease = timeout_at(until, self.balancer.acquire(events, Some(endpoint)));
            match stop.run_until_cancelled(lease).await {
                Some(Ok(lease)) => return Turn::Of(lease),
                Some(Err(_)) => {}
                None => return Turn::Stopped,
            }
        }
        let others = self.balancer.acquire_besides(events, refusals.by());
        let lease = async {
            match refusals.until() {
                Some(until) => timeout_at(until, others).await.ok(),
                None => Some(others.await),
            }
        };
        match stop.run_until_cancelled(lease).await {
            Some(Some(lease)) => Turn::Of(lease),
            Some(None) => Turn::Nobody,
            None => Turn::Stopped,
        }
    }

    fn wait_before(&self, tries: u32) -> Duration {
        self.backoff.delay(tries.saturating_sub(1), &mut self.rng.lock())
    }
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

/// An outcome in a word, for metrics, the log and the page.
pub(super) fn label(outcome: &Outcome) -> &'static str {
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
#[path = "deliver_tests.rs"]
mod tests;
