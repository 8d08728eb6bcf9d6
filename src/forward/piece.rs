//! A batch on its way, or a part of it: whether it may be there already, and what the journal and the metrics know of that.
//!
//! - The journal has a piece as begun from just before a request on until it is certain that no endpoint can have taken
//!   it. So a kill finds in doubt what was in the hands of an endpoint, and not what only waited for its turn.
//! - A copy is counted before it is sent: this process may not live to count it afterwards. Where it turns out that it
//!   cannot have been taken, the next one is counted with it. So there are never more copies than were counted, and at
//!   most one too many is counted of each piece.
//! - Halves inherit both: what an endpoint has of the whole, it has of each.

use super::Forwarder;
use super::batch::Batch;
use crate::metrics;
use crate::outputs::output::{Outcome, RetryReason};

/// Why an endpoint may have a piece although none said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubt {
    /// A former process sent it, and did not live to hear the answer.
    Restart,
    /// It was sent and no answer came.
    NoAnswer,
    /// The answer was that something failed behind the request, or one that nobody understands.
    Failed,
    /// The endpoint says that it has too much to do. Most take nothing then; nobody promises it.
    Overloaded,
}

impl Doubt {
    /// What this outcome leaves; `None` when it is certain.
    fn left_by(outcome: &Outcome) -> Option<Self> {
        match outcome {
            Outcome::Ambiguous { .. } => Some(Self::NoAnswer),
            Outcome::Retry { may_be_taken: true, reason: RetryReason::Throttled | RetryReason::Busy, .. } => {
                Some(Self::Overloaded)
            }
            Outcome::Retry { may_be_taken: true, .. } => Some(Self::Failed),
            _ => None,
        }
    }

    /// As a label value.
    fn reason(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::NoAnswer => "no_answer",
            Self::Failed => "failed",
            Self::Overloaded => "overloaded",
        }
    }
}

/// A batch, or a part of one.
pub(super) struct Piece {
    pub(super) batch: Batch,
    /// Why an endpoint may have it.
    doubt: Option<Doubt>,
    /// Its next copy is counted already.
    is_counted: bool,
    /// The journal has it as begun.
    is_begun: bool,
}

impl Piece {
    /// A batch as it comes from the builder. One that a former process sent is counted when it is begun.
    pub(super) fn new(batch: Batch) -> Self {
        let resent = batch.resent;
        Self { batch, doubt: resent.then_some(Doubt::Restart), is_counted: resent, is_begun: false }
    }

    /// Both halves, as [`Batch::halves`]. Where the whole may be there it stays begun in the journal, and each half with
    /// it; else each is noted when its turn comes.
    pub(super) fn halves(self) -> (Self, Self) {
        let (first, second) = self.batch.halves();
        (Self { batch: first, is_begun: false, ..self }, Self { batch: second, is_begun: false, ..self })
    }

    /// The same events in another form.
    pub(super) fn with(&self, batch: Batch) -> Self {
        Self { batch, ..*self }
    }
}

impl Forwarder {
    /// Notes and counts what is to be known before a piece is sent.
    pub(super) fn about_to_send(&self, piece: &mut Piece) {
        if !piece.is_begun {
            piece.is_begun = true;
            self.begin(&piece.batch);
        }
        if let Some(doubt) = piece.doubt.filter(|_| !piece.is_counted && !self.output.recognises_batches()) {
            piece.is_counted = true;
            self.count_ambiguous(doubt, piece.batch.events.len() as u64);
        }
    }

    /// Takes note of what became of a piece that was sent. When it is certain that nobody has it, the journal is told: a
    /// kill while it waits for its next try must not find it in doubt.
    pub(super) fn was_answered(&self, piece: &mut Piece, outcome: &Outcome) {
        if let Some(doubt) = Doubt::left_by(outcome) {
            piece.doubt = Some(doubt);
            piece.is_counted = false;
        } else if *outcome != Outcome::Accepted && piece.doubt.is_none() {
            piece.is_begun = false;
            self.take_back(&piece.batch);
        }
    }

    /// Counts events that are sent although they may be there.
    pub(super) fn count_ambiguous(&self, doubt: Doubt, events: u64) {
        metrics::EVENTS_AMBIGUOUS.add(&[&self.name], events);
        metrics::EVENTS_AMBIGUOUS_BY_REASON.add(&[&self.name, doubt.reason()], events);
    }
}
