//! Whose word counts when an endpoint will not take events as they are (400, 413).
//!
//! The endpoint may be the one that is wrong: a changed rule, a limit of a proxy before it. So its word alone neither
//! halves a batch nor makes a dead letter while another endpoint can be asked:
//!
//! - a batch is halved when two endpoints refuse it; that loses nothing, so two are enough;
//! - an event is given up when every endpoint that can be had refuses it, and at least two;
//! - one endpoint is taken at its word where it is the only one, and where none of the others can be had for
//!   [`SECOND_OPINION`]; for [`SUSPICION_MAX`] when it is out of use because others took what it refused. Before an event
//!   is given up, others that are well and only have no place are waited for [`A_PLACE`] in any case.
//!
//! Each endpoint is asked once, so no batch goes round for ever. One that is contradicted by another is told to the
//! balancer, as a failure: it is taken out of use as such refusals become more, and `/status` says why.
//!
//! Where all endpoints reject one event after the other and take nothing in between, a wrong rule is likelier than a
//! hundred wrong events. What they reject then is held and tried again whole, so that a mistake in a rule does not turn
//! the whole spool into dead letters; after [`SUSPICION_MAX`] they are taken at their word.

use parking_lot::MutexGuard;
use std::time::Duration;

use tokio::time::Instant;

use super::settle::Refused;
use super::{Forwarder, LastError};
use crate::balancer::EndpointStatus;
use crate::clock;
use crate::metrics;

/// How long others are waited for when one endpoint refuses something. A restart of theirs fits in.
const SECOND_OPINION: Duration = Duration::from_secs(60);

/// How long an event waits for a place at others that are well, also when its batch has waited in vain before. Several of
/// their answers come in this time, and a cap on events seldom makes a request wait longer.
const A_PLACE: Duration = Duration::from_secs(5);

/// So many events rejected in a row, with nothing accepted in between, and the endpoints are suspected instead.
const SUSPICIOUS: u32 = 10;
/// How long endpoints are suspected. Then the events may be wrong after all, and must not stand in the way of others.
const SUSPICION_MAX: Duration = Duration::from_secs(15 * 60);

const ADVICE: &str = "other endpoints take what this one refuses, so it is out of use and nothing is lost: compare its rule, \
     stream and limits with theirs";

/// Whether what all endpoints reject is the fault of the events.
#[derive(Debug, Default)]
pub(super) struct Suspicion {
    in_a_row: u32,
    since: Option<Instant>,
}

impl Suspicion {
    pub(super) fn accepted(&mut self) {
        *self = Self::default();
    }

    pub(super) fn rejected(&mut self) {
        self.in_a_row = self.in_a_row.saturating_add(1);
        if self.in_a_row >= SUSPICIOUS {
            self.since.get_or_insert_with(Instant::now);
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.since.is_some_and(|since| since.elapsed() < SUSPICION_MAX)
    }
}

/// Until when others are waited for. One for all pieces of a batch, so that a batch waits in vain once and not at each
/// halving.
#[derive(Debug, Default)]
pub(super) struct Patience(Option<Instant>);

/// Who will not take a piece as it is, and what they said.
#[derive(Default)]
pub(super) struct Refusals {
    by: Vec<usize>,
    said: Vec<(&'static str, String)>,
    refused: Option<Refused>,
    until: Option<Instant>,
}

impl Refusals {
    /// Who was asked.
    pub(super) fn by(&self) -> &[usize] {
        &self.by
    }

    /// How long others may be waited for; `None` while nobody has refused it.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Whether others were waited for long enough.
    pub(super) fn are_final(&self) -> bool {
        self.until.is_some_and(|until| until <= Instant::now())
    }

    /// What is to be said of it: that an endpoint rejects it, if one does, else that it is too large. Call it only when
    /// somebody has refused it.
    pub(super) fn into_refused(self) -> Refused {
        self.refused.expect("nobody is waited for before somebody has refused")
    }

    pub(super) fn add(&mut self, Said { endpoint, outcome, refused }: Said) {
        self.by.push(endpoint);
        self.said.push((outcome, refused.detail().to_owned()));
        if self.refused.as_ref().is_none_or(|first| refused.is_rejection() && !first.is_rejection()) {
            self.refused = Some(refused);
        }
    }
}

/// What an endpoint said that refuses a piece.
pub(super) struct Said {
    pub(super) endpoint: usize,
    /// As in the metrics.
    pub(super) outcome: &'static str,
    pub(super) refused: Refused,
}

impl Forwarder {
    /// Whether a piece of so many events is refused for good. If not, tells how long others are to be waited for: not at all
    /// when a second one has spoken.
    pub(super) fn are_enough(&self, refusals: &mut Refusals, events: usize, patience: &mut Patience) -> bool {
        let now = Instant::now();
        refusals.until = Some(match &*refusals.by {
            [only] => {
                let until = *patience.0.get_or_insert_with(|| now + self.patience_with(*only));
                // A batch can still be halved, an event would be gone.
                if events == 1 && self.others_are_well(refusals) { until.max(now + A_PLACE) } else { until }
            }
            _ => {
                *patience = Patience::default();
                now
            }
        });
        let asked = refusals.by.len();
        asked >= self.output.endpoints().len() || (events > 1 && asked > 1)
    }

    /// Whether an endpoint that has not refused is in use, and at most has no place.
    fn others_are_well(&self, refusals: &Refusals) -> bool {
        let endpoints = self.balancer.snapshot();
        let mut others = endpoints.iter().enumerate().filter(|(index, _)| !refusals.by.contains(index));
        others.any(|(_, other)| other.state != EndpointStatus::Open)
    }

    fn patience_with(&self, endpoint: usize) -> Duration {
        if self.balancer.is_contradicted(endpoint) { SUSPICION_MAX } else { SECOND_OPINION }
    }

    /// Takes note that an endpoint took what others had refused.
    pub(super) fn contradict(&self, refusals: Refusals, patience: &mut Patience) {
        for (endpoint, (outcome, detail)) in refusals.by.into_iter().zip(refusals.said) {
            *patience = Patience::default();
            let name = self.output.endpoints()[endpoint].name.clone();
            metrics::FORWARD_CONTRADICTED.add(&[&self.name], 1);
            if self.balancer.contradicted(endpoint) {
                tracing::warn!(output = &*self.name, endpoint = name, outcome, detail, "{ADVICE}");
            }
            let said =
                LastError { at_ms: clock::wall_ms(), endpoint: name, outcome, detail, advice: Some(ADVICE.to_owned()) };
            self.contradicted.lock().insert(endpoint, said);
        }
    }

    /// What an endpoint refuses that is out of use because others take it.
    pub(super) fn last_contradicted(&self) -> Option<LastError> {
        let contradicted = self.contradicted.lock();
        let out = contradicted.iter().filter(|(endpoint, _)| self.balancer.is_contradicted(**endpoint));
        out.map(|(_, said)| said).max_by_key(|said| said.at_ms).cloned()
    }

    pub(super) fn suspicion(&self) -> MutexGuard<'_, Suspicion> {
        self.suspicion.lock()
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
