//! What becomes of events that are not taken: dead letters, and what the spool has lost. Both are made durable before the
//! read position moves.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::aside::Aside;
use super::batch::{Batch, Positioned};
use super::builder::UNSENDABLE;
use super::{Forwarder, pause};
use crate::metrics;
use crate::spool::Ordinal;
use crate::spool::cursor::Settlement;
use crate::spool::dead_letter::{Letter, Source};

/// Label value: an endpoint will never take it.
const REJECTED: &str = "rejected";
/// Most bytes of a dead letter's detail; the whole answer stands beside it.
const DETAIL_MAX: usize = 400;
/// How long to wait before what could not be kept is tried again.
const KEEP_AGAIN: Duration = Duration::from_secs(5);
/// Letters that are kept together: of more, the first are kept although there is no room for all.
const TOGETHER: usize = 500;

/// Why an event alone in its request was not taken.
pub(super) struct Refused {
    reason: &'static str,
    status: Option<u16>,
    detail: String,
    /// The body of the endpoint's answer.
    answer: Option<String>,
}

/// An event that becomes a dead letter.
struct Dead {
    event: Positioned,
    refused: Refused,
    spooled_at_ms: u64,
}

impl Refused {
    /// Larger than it may be. Without a status nobody was asked.
    pub(super) fn too_large(status: Option<u16>, detail: String) -> Self {
        Self { reason: UNSENDABLE, status, answer: status.and_then(|_| body_of(&detail)), detail }
    }

    /// What was said.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// Whether an endpoint rejected it, rather than its size being wrong.
    pub(super) fn is_rejection(&self) -> bool {
        self.reason == REJECTED
    }

    pub(super) fn rejected(status: Option<u16>, mut detail: String) -> Self {
        let answer = status.and_then(|_| body_of(&detail));
        detail.truncate(detail.floor_char_boundary(DETAIL_MAX));
        Self { reason: REJECTED, status, detail, answer }
    }
}

impl Forwarder {
    /// Keeps the only event of a batch as a dead letter. False when the gateway stops before it could be kept.
    pub(super) async fn bury(self: &Arc<Self>, batch: Batch, refused: Refused, stop: &CancellationToken) -> bool {
        let Batch { mut events, spooled_at_ms, .. } = batch;
        let Some(event) = events.pop() else { return true };
        self.keep_dead(vec![Dead { event, refused, spooled_at_ms }], stop).await
    }

    /// Settles what the builder found unfit for a batch. Dead letters are made durable together: there may be many.
    pub(super) async fn settle_aside(self: &Arc<Self>, aside: Vec<Aside>, stop: &CancellationToken) {
        let (mut dead, mut lost) = (Vec::new(), Vec::new());
        for aside in aside {
            match aside {
                Aside::Skipped(range) => self.settle(range, Settlement::Skipped),
                Aside::Damaged(range, reason) => lost.extend(self.missed(range, &reason)),
                Aside::DeadLetter { event, reason, detail, spooled_at_ms } => {
                    dead.push(Dead {
                        event,
                        refused: Refused { reason, status: None, detail, answer: None },
                        spooled_at_ms,
                    });
                }
            }
        }
        if !lost.is_empty() && self.keep_damage(stop).await {
            lost.into_iter().for_each(|range| self.settle(range, Settlement::Damaged));
        }
        if !dead.is_empty() {
            // When the gateway stops before they could be kept, the next start finds them again.
            self.keep_dead(dead, stop).await;
        }
    }

    /// What the spool cannot give. Of that, what left it because nobody needed it (this output was away) was given up
    /// then, and is settled; the rest is lost.
    fn missed(&self, range: Range<Ordinal>, reason: &str) -> Option<Range<Ordinal>> {
        let floor = self.spool.damage().floor().clamp(range.start, range.end.max(range.start));
        let left = range.start..floor;
        if !left.is_empty() {
            let events = self.unsettled(&left).iter().map(|gap| gap.end - gap.start).sum::<u64>();
            tracing::warn!(output = &*self.name, events, "the spool no longer holds these events; they were discarded");
            metrics::EVENTS_SKIPPED.add(&[&self.name], events);
            self.settle(left, Settlement::Skipped);
        }
        let lost = floor..range.end;
        self.spool.damage().lose(&self.unsettled(&lost), reason);
        (!lost.is_empty()).then_some(lost)
    }

    /// Makes the damage that was met durable, so that it will be told. False when the gateway stops before that.
    async fn keep_damage(self: &Arc<Self>, stop: &CancellationToken) -> bool {
        loop {
            let spool = self.spool.clone();
            match tokio::task::spawn_blocking(move || spool.damage().keep()).await {
                Ok(Ok(())) => return true,
                Ok(Err(error)) => {
                    tracing::error!(output = &*self.name, %error, "spool damage cannot be recorded; the output waits");
                }
                Err(ended) => {
                    tracing::error!(output = &*self.name, %ended, "the task that records spool damage failed; the output waits");
                }
            }
            if stop.is_cancelled() {
                return false;
            }
            pause(KEEP_AGAIN, stop).await;
        }
    }

    async fn keep_dead(self: &Arc<Self>, dead: Vec<Dead>, stop: &CancellationToken) -> bool {
        if let [first, ..] = &*dead {
            let Refused { reason, status, detail, .. } = &first.refused;
            let (ordinal, events) = (first.event.ordinal, dead.len());
            tracing::warn!(output = &*self.name, events, ordinal, reason, status, detail, "kept as dead letters");
        }
        let mut dead = dead;
        while !dead.is_empty() {
            let behind = dead.split_off(dead.len().min(TOGETHER));
            if !self.keep_some(std::mem::replace(&mut dead, behind), stop).await {
                return false;
            }
        }
        true
    }

    /// As often as it takes: what cannot be kept waits, and this output with it.
    async fn keep_some(self: &Arc<Self>, dead: Vec<Dead>, stop: &CancellationToken) -> bool {
        let letters: Vec<Letter> = dead.iter().map(|dead| self.letter(dead)).collect();
        let mut waiting = None;
        loop {
            let letters = letters.clone();
            let why = match self.dead_letters.work(move |kept| kept.put(letters)).await {
                Ok(Ok(_)) => break,
                Ok(Err(error)) => error.to_string(),
                Err(ended) => format!("keeping them ended: {ended}"),
            };
            let waiting = waiting.get_or_insert_with(|| self.unburied.wait(&self.name));
            waiting.because(why, self.spool.clock().shown_now_ms());
            if stop.is_cancelled() {
                return false;
            }
            pause(KEEP_AGAIN, stop).await;
        }
        for Dead { event, refused, .. } in dead {
            metrics::EVENTS_DEAD_LETTERED.add(&[&self.name, refused.reason], 1);
            self.settle(event.ordinal..event.ordinal + 1, Settlement::DeadLettered);
        }
        true
    }

    fn letter(&self, dead: &Dead) -> Letter {
        let Dead { event, refused, spooled_at_ms } = dead;
        let clock = self.spool.clock();
        let now = clock.shown_now_ms();
        Letter {
            id: 0,
            first_seen_ms: first_of([event.earlier.first_seen_ms, clock.shown_ms(*spooled_at_ms), now]),
            last_seen_ms: now,
            tries: event.earlier.tries.saturating_add(1),
            source: Source::Output { name: self.name.to_string() },
            reason: refused.reason.to_owned(),
            status: refused.status,
            detail: refused.detail.clone(),
            answer: refused.answer.clone(),
            format: event.event.format as u8,
            stream: event.event.stream.to_string(),
            client: event.event.client.as_deref().map(str::to_owned),
            raw: event.event.raw.to_vec(),
        }
    }
}

/// What followed the status and the code in what an output says of an answer: `400 InvalidPayload: {"error": …}`.
fn body_of(detail: &str) -> Option<String> {
    detail.split_once(": ").map(|(_, body)| body.to_owned())
}

/// The first time that is known; 0 is none.
fn first_of(times: [u64; 3]) -> u64 {
    times.into_iter().find(|time| *time > 0).unwrap_or_default()
}
