//! What has to be done now and then: checkpoints, recycling, a look at everything for what is shown.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::build::Parts;
use super::shown::{Seen, show};
use super::{EVERY, series};
use crate::spool::dead_letter::DeadLetters;

/// How often outputs that could not start are tried again.
const RETRY_EVERY: Duration = Duration::from_secs(5);

/// Keeps house until it is stopped. A disk that hangs holds checkpoints up, not what is shown.
pub(super) async fn run(parts: Arc<Parts>, stop: CancellationToken) {
    let books = async {
        let mut tick = ticks(EVERY);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            checkpoint(&parts).await;
        }
    };
    let windows = async {
        let mut tick = ticks(EVERY);
        let mut seen = Seen::new();
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            // Off the runtime: it asks for locks that others hold while the disk works.
            let parts = Arc::clone(&parts);
            let shown = tokio::task::spawn_blocking(move || {
                show(&parts, &mut seen);
                seen
            });
            seen = shown.await.unwrap_or_else(|_| Seen::new());
        }
    };
    let left_behind = async {
        let mut tick = ticks(RETRY_EVERY);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            retry(&parts).await;
        }
    };
    tokio::join!(books, windows, left_behind);
}

/// Tries outputs again that could not start: what was in their way may be gone.
async fn retry(parts: &Parts) {
    let _alone = parts.reloading.lock().await;
    let config = parts.in_force.current();
    if !parts.is_standing_in() && parts.outputs.retry(&config.outputs) {
        series::begin_counters(parts);
    }
}

fn ticks(every: Duration) -> tokio::time::Interval {
    let mut tick = tokio::time::interval(every);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tick
}

/// Makes the read positions and the books durable, then lets the spool recycle what nobody needs any more. The positions
/// come first: what an output has passed over as damaged is then told before its segment goes.
///
/// Of a state that was taken away nothing is written: what stands at its path now may be somebody else's. Of one that cannot be used
/// only the clock is: no output runs that could say what is still needed.
pub(super) async fn checkpoint(parts: &Arc<Parts>) {
    parts.books.flush().await;
    let spool = parts.spool.clone();
    let note = move |letters: &mut DeadLetters| if spool.is_in_place() { letters.note() } else { Ok(()) };
    // It is noted again with the next checkpoint.
    parts.dead_letters().work(note).await.ok();
    let parts = Arc::clone(parts);
    let work = move || -> anyhow::Result<()> {
        if !parts.spool.is_in_place() {
            return Ok(());
        }
        if let Err(error) = parts.clock.keep() {
            tracing::error!(%error, "the clock file cannot be written; after a reboot time would continue from the last one written");
        }
        if parts.is_standing_in() {
            return Ok(());
        }
        let low = parts.outputs.checkpoint();
        let damage = parts.spool.damage();
        damage.judge(|range| parts.outputs.unsettled(range));
        if let Err(error) = damage.keep() {
            // No output goes past it meanwhile, so nothing of it is released.
            tracing::error!(%error, "spool damage cannot be recorded yet");
        }
        let counted = parts.books.checkpoint()?;
        if let Some(sharing) = &parts.sharing {
            sharing.keep();
        }
        if let Some(replicating) = &parts.replicating {
            replicating.note(&parts);
        }
        if let Some(low) = low {
            parts.spool.release(counted.min(low));
        }
        Ok(())
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::error!(%error, "the ledger cannot be made durable; the spool keeps the events it has not covered")
        }
        Err(ended) => tracing::error!(%ended, "a checkpoint task failed"),
    }
}
