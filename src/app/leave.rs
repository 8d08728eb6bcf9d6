//! The way out, in an order that fails no upload: readiness falls first, and the doors close when balancers have had the time to
//! see it.

use tokio::time::Instant;

use super::build::Parts;
use crate::admin::Reason;

impl Parts {
    /// Says to balancers and, with each answer, to clients that others serve them from now on. Until when all is still taken:
    /// for `drain_grace`, counted from the first time that this was asked for.
    pub(super) fn begin_to_leave(&self, reason: Reason) -> Instant {
        self.readiness.fall(reason);
        self.uploads.leave();
        let grace = self.in_force.current().drain_grace.get();
        let until = *self.taken_until.get_or_init(|| Instant::now() + grace);
        let seconds = until.saturating_duration_since(Instant::now()).as_secs_f64().round() as u64;
        tracing::info!(
            reason = reason.code,
            seconds,
            "no longer ready; uploads and new tunnels are taken for the rest of drain_grace"
        );
        until
    }

    /// Takes no uploads and no new tunnels any more. What has begun is answered.
    pub(super) async fn close_doors(&self) {
        self.tunnels.drain();
        self.uploads.stop().await;
        self.ingest.stop();
    }
}
