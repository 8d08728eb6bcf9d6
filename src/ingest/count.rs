//! What of an upload is counted, and when: with what is noted for the ledger, so that both tell the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

use super::ledger::Tally;
use super::sort::Sorted;
use crate::metrics::{self, Counter, Histogram};

/// The series of each input, found with its first upload. As many as inputs were configured since the start.
#[derive(Default)]
pub(super) struct Counters {
    inputs: RwLock<BTreeMap<Arc<str>, Arc<OfInput>>>,
}

/// The series of one input.
pub(super) struct OfInput {
    received: Counter,
    duplicate: Counter,
    set_aside: Counter,
    spooled: Counter,
    unnumbered: Counter,
    unrecognisable: Counter,
    ages: Histogram,
    append_seconds: Histogram,
}

impl Counters {
    /// Those of this input.
    pub(super) fn of(&self, input: &Arc<str>) -> Arc<OfInput> {
        if let Some(known) = self.inputs.read().get(input) {
            return Arc::clone(known);
        }
        Arc::clone(self.inputs.write().entry(Arc::clone(input)).or_insert_with(|| Arc::new(OfInput::new(input))))
    }
}

impl OfInput {
    fn new(input: &str) -> Self {
        Self {
            received: metrics::EVENTS_RECEIVED.counter(&[input]),
            duplicate: metrics::EVENTS_DUPLICATE.counter(&[input]),
            set_aside: metrics::EVENTS_SET_ASIDE.counter(&[input]),
            spooled: metrics::EVENTS_SPOOLED.counter(&[input]),
            unnumbered: metrics::EVENTS_UNNUMBERED.counter(&[input]),
            unrecognisable: metrics::EVENTS_UNRECOGNISABLE.counter(&[input]),
            ages: metrics::EVENT_AGE_AT_RECEIPT.histogram(&[input]),
            append_seconds: metrics::SPOOL_APPEND_SECONDS.histogram(&[]),
        }
    }

    /// Counts a share of the account. Wherever one is noted for the ledger it is counted too, so that both agree even
    /// when the rest of its upload is refused.
    pub(super) fn share(&self, share: &Tally) {
        self.received.increment(share.received);
        self.duplicate.increment(share.duplicate);
        self.set_aside.increment(share.set_aside);
        self.spooled.increment(share.spooled);
    }

    /// Counts events that a rule dropped, which no share has.
    pub(super) fn dropped(&self, received: u64) {
        self.received.increment(received);
    }

    /// Counts what of an upload that was kept cannot be compared with what comes another way, or again.
    pub(super) fn unknowable(&self, sorted: &Sorted, spooled: u64) {
        self.unnumbered.increment(sorted.unnumbered.min(spooled));
        self.unrecognisable.increment(sorted.unrecognisable.min(spooled));
    }

    /// Records how old its events were.
    pub(super) fn ages(&self, sorted: &Sorted) {
        sorted.ages.record(&self.ages);
    }

    /// Records how long an append took.
    pub(super) fn appended(&self, seconds: f64) {
        self.append_seconds.record(seconds);
    }
}
