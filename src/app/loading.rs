//! A start that takes its time: what was seen before is read while everything that does not need it is served.
//!
//! Tunnels and the admin plane need nothing of it. Uploads are refused with a time to come back, so that senders keep what they have;
//! `/readyz` says how far it is. A service manager is asked for patience as long as it goes on, and no longer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::Instant;

use super::build::Parts;
use super::objections::LOADING;
use crate::admin::Latch;
use crate::faults::with_causes;

/// How often the service manager is told.
const TOLD_EVERY: Duration = Duration::from_secs(1);
/// How much longer it is asked to wait, each time.
const PATIENCE: Duration = Duration::from_secs(30);
/// So long without getting on is no getting on: then it may do what it does with a service that does not start. The largest file
/// takes a second or two, a disk that was asleep some more.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// A start that is not over: uploads are refused, and it is told why.
#[must_use = "dropping it lets uploads in"]
pub(super) struct Loading {
    parts: Arc<Parts>,
    _told: Latch,
}

/// From now on, until it is dropped.
pub(super) fn begin(parts: &Arc<Parts>) -> Loading {
    parts.ingest.load(true);
    Loading { parts: Arc::clone(parts), _told: parts.readiness.hold(LOADING) }
}

impl Drop for Loading {
    fn drop(&mut self) {
        self.parts.is_loading.store(false, Ordering::Relaxed);
        self.parts.judge();
        self.parts.ingest.load(false);
    }
}

/// Reads what was seen before this start. When that fails nobody can judge events: the state stands as one that cannot be used.
pub(super) async fn load(parts: &Arc<Parts>) {
    let books = Arc::clone(parts);
    let mut loading = tokio::task::spawn_blocking(move || books.books.load());
    let mut tick = tokio::time::interval(TOLD_EVERY);
    let (mut seen, mut moved) = (0, Instant::now());
    let loaded = loop {
        tokio::select! {
            loaded = &mut loading => break loaded,
            _ = tick.tick() => {}
        }
        let (read, _) = parts.books.progress().files();
        if read > seen {
            (seen, moved) = (read, Instant::now());
        }
        if moved.elapsed() < STUCK_AFTER {
            ask_for_patience(parts);
        }
    };
    let failed = match loaded {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(with_causes(&error)),
        Err(ended) => Some(ended.to_string()),
    };
    if let Some(error) = failed {
        tracing::error!(
            error,
            "the state directory is unusable: uploads are refused and nothing is forwarded until it is repaired and the gateway restarted; tunnels are served"
        );
        crate::metrics::STATE_DAMAGED.add(&["spool"], 1);
        parts.is_standing_in.store(true, Ordering::Relaxed);
    }
}

/// How far it is, for people; none when it is over.
pub(super) fn progress(parts: &Parts) -> Option<String> {
    let (read, all) = parts.books.progress().files();
    parts.is_loading().then(|| format!("{read} of {all} files of remembered events are read"))
}

fn ask_for_patience(parts: &Parts) {
    let status = progress(parts).unwrap_or_default();
    let micros = u32::try_from(PATIENCE.as_micros()).unwrap_or(u32::MAX);
    if let Err(error) = sd_notify::notify(&[NotifyState::ExtendTimeoutUsec(micros), NotifyState::Status(&status)]) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}
