//! How endpoints are when no request says so: those that failed, those that are out, and those that had nothing to do.
//!
//! Each is asked at its own pace: one that hangs keeps no other from being asked. A dead collector is known within seconds,
//! whether events flow or not, so that the page and the alerts do not learn of it from the first upload of the morning.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;

use super::Forwarder;

/// How often the balancer is asked whom to ask, and so how often one that has just failed is.
const LOOK: Duration = Duration::from_millis(250);

/// Whoever takes longer for a probe would take no batch either.
const PATIENCE: Duration = Duration::from_secs(10);

impl Forwarder {
    /// Asks endpoints how they are, until it is stopped.
    pub async fn probe(self: Arc<Self>, stop: CancellationToken) {
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut asked = FuturesUnordered::new();
        loop {
            tokio::select! {
                _ = tick.tick() => {
                    asked.extend(self.balancer.probe_due(Instant::now()).into_iter().map(|endpoint| self.ask(endpoint)));
                }
                Some(()) = asked.next() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn ask(&self, endpoint: usize) {
        let answer = timeout(PATIENCE, self.output.probe(endpoint)).await;
        let answer = answer.unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")));
        if let Err(detail) = &answer {
            tracing::debug!(output = &*self.name, endpoint, detail, "an endpoint does not answer its probe");
        }
        self.balancer.probed(endpoint, answer.is_ok());
    }
}
