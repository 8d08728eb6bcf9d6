//! The way out, in an order that fails no upload: readiness falls first, and the doors close when balancers have had the time to
//! see it. And the way back from a drain.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::build::Parts;
use super::objections::{DRAINING, STOPPING};
use crate::admin::{ControlError, Reason};

/// A way out that has begun.
pub(super) struct Leaving {
    /// Until when uploads and tunnels are still taken.
    until: Instant,
    /// The process is about to end.
    is_final: bool,
    taken_back: CancellationToken,
}

impl Parts {
    /// Says to balancers and, with each answer, to clients that others serve them from now on. Until when all is still taken:
    /// for `drain_grace`, counted from the first time that this was asked for.
    pub(super) fn begin_to_leave(&self, reason: Reason) -> Instant {
        self.readiness.fall(reason);
        self.uploads.leave();
        let grace = self.in_force.current().drain_grace.get();
        let begin = || Leaving { until: Instant::now() + grace, is_final: false, taken_back: CancellationToken::new() };
        let until = {
            let mut leaving = self.leaving.lock();
            let leaving = leaving.get_or_insert_with(begin);
            leaving.is_final |= reason == STOPPING;
            leaving.until
        };
        let seconds = until.saturating_duration_since(Instant::now()).as_secs_f64().round() as u64;
        tracing::info!(
            reason = reason.code,
            seconds,
            "no longer ready; uploads and new tunnels are taken for the rest of drain_grace"
        );
        until
    }

    /// Takes no uploads and no new tunnels any more from then on, unless that is taken back. What has begun is answered.
    pub(super) async fn close_doors_at(self: Arc<Self>, until: Instant) {
        let Some(taken_back) = self.leaving.lock().as_ref().map(|leaving| leaving.taken_back.clone()) else { return };
        if taken_back.run_until_cancelled(tokio::time::sleep_until(until)).await.is_none() {
            return;
        }
        let _alone = self.doors.lock().await;
        if taken_back.is_cancelled() {
            return;
        }
        self.tunnels.drain();
        self.uploads.stop().await;
        self.ingest.stop();
    }

    /// The way back from a drain.
    pub(super) async fn come_back(&self) -> Result<(), ControlError> {
        let refused = |why: &str| Err(ControlError::Refused(why.to_owned()));
        self.leaving.lock().iter().filter(|leaving| !leaving.is_final).for_each(|leaving| leaving.taken_back.cancel());
        // Doors that are closing close first; a reload would open others meanwhile.
        let _alone = tokio::join!(self.doors.lock(), self.reloading.lock());
        match self.leaving.lock().as_ref().map(|leaving| leaving.is_final) {
            None => return refused("the gateway does not drain"),
            Some(is_final) if is_final || self.stopping.is_cancelled() => return refused("the gateway stops"),
            Some(_) => {}
        }
        let current = self.in_force.current();
        self.ingest.go_on();
        if let Err(error) = self.uploads.come_back(&current.listeners) {
            self.ingest.stop();
            return Err(ControlError::Failed(format!("a listener cannot be opened again: {error}")));
        }
        let is_final = self.leaving.lock().take_if(|leaving| !leaving.is_final).is_none();
        if is_final {
            self.uploads.leave();
            return refused("the gateway stops");
        }
        self.tunnels.undrain();
        self.readiness.rise(DRAINING);
        tracing::info!("the drain is over; uploads and new tunnels are taken");
        Ok(())
    }
}
