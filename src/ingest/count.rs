//! What of an upload is counted, and when: with what is noted for the ledger, so that both tell the same.

use super::ledger::Tally;
use super::sort::Sorted;
use crate::metrics::{self, Metric};

/// Counts a share of the account. Wherever one is noted for the ledger it is counted too, so that both agree even
/// when the rest of its upload is refused.
pub(super) fn count(sorted: &Sorted, share: &Tally) {
    let input = &*sorted.input;
    add(&metrics::EVENTS_RECEIVED, input, share.received);
    add(&metrics::EVENTS_DUPLICATE, input, share.duplicate);
    add(&metrics::EVENTS_SET_ASIDE, input, share.set_aside);
    add(&metrics::EVENTS_SPOOLED, input, share.spooled);
}

/// Counts something of an input, if there is anything: the series is there from the start, and to find it costs more than to add.
pub(super) fn add(metric: &Metric, input: &str, n: u64) {
    if n > 0 {
        metric.add(&[input], n);
    }
}

/// Counts what of an upload that was kept cannot be compared with what comes another way, or again.
pub(super) fn count_unknowable(sorted: &Sorted, spooled: u64) {
    let input = &*sorted.input;
    add(&metrics::EVENTS_UNNUMBERED, input, sorted.unnumbered.min(spooled));
    add(&metrics::EVENTS_UNRECOGNISABLE, input, sorted.unrecognisable.min(spooled));
}
