//! Sending only while the log is this gateway's: where it is replicated, another one takes it over when this one seems gone.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::Forwarder;
use crate::metrics;
use crate::spool::Ordinal;
use crate::spool::cursor::Settlement;

/// Leave to send, for as long as it is given.
pub(super) struct Leave {
    over: CancellationToken,
    _watch: Option<AbortOnDropHandle<()>>,
}

impl Leave {
    /// Cancelled when it is over, or everything stops.
    pub(super) fn token(&self) -> CancellationToken {
        self.over.clone()
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }
}

impl Forwarder {
    /// Waits until this gateway may send, and passes over what another one has taken over. None when it is stopped first.
    pub(super) async fn permitted(&self, stop: &CancellationToken) -> Option<Leave> {
        let over = stop.child_token();
        let Some(mut permit) = self.permit.clone() else { return Some(Leave { over, _watch: None }) };
        let handed_over = stop.run_until_cancelled(permit.granted()).await?;
        self.hand_over(handed_over);
        let (name, ends) = (Arc::clone(&self.name), over.clone());
        let watch = tokio::spawn(async move {
            permit.over().await;
            tracing::warn!(
                output = &*name,
                "nothing is sent until the servers of the replicated log answer again: another gateway may take the log over"
            );
            ends.cancel();
        });
        Some(Leave { over, _watch: Some(AbortOnDropHandle::new(watch)) })
    }

    /// What is below is another gateway's, for good.
    fn hand_over(&self, before: Ordinal) {
        let ranges: Vec<_> = {
            let cursor = self.cursor();
            cursor.unsettled(cursor.low(), before).collect()
        };
        let events: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        if events == 0 {
            return;
        }
        ranges.into_iter().for_each(|range| self.settle(range, Settlement::HandedOver));
        metrics::EVENTS_HANDED_OVER.add(&[&self.name], events);
        tracing::warn!(
            output = &*self.name,
            events,
            before,
            "another gateway has taken these events over while this one was gone; they are not sent from here"
        );
    }
}
