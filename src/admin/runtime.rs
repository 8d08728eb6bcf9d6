//! What tokio says of itself, as far as that is stable: threads, tasks, and how busy they are.

use parking_lot::Mutex;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::metrics;

/// What was seen last.
#[derive(Default)]
pub(super) struct Runtime(Mutex<Option<(Instant, Duration)>>);

impl Runtime {
    /// Shows the runtime that this is called on; nothing where there is none.
    pub(super) fn show(&self) {
        let Ok(runtime) = Handle::try_current() else { return };
        let runtime = runtime.metrics();
        metrics::RUNTIME_WORKERS.set(&[], runtime.num_workers() as f64);
        metrics::RUNTIME_TASKS.set(&[], runtime.num_alive_tasks() as f64);
        metrics::RUNTIME_QUEUED_TASKS.set(&[], runtime.global_queue_depth() as f64);
        let busy: Duration = (0..runtime.num_workers()).map(|worker| runtime.worker_total_busy_duration(worker)).sum();
        let now = Instant::now();
        let mut seen = self.0.lock();
        let since = seen.replace((now, busy));
        let share =
            since.map_or(0.0, |(at, before)| share(busy.saturating_sub(before), now - at, runtime.num_workers()));
        metrics::RUNTIME_BUSY.set(&[], share);
    }
}

fn share(busy: Duration, passed: Duration, workers: usize) -> f64 {
    let all = passed.as_secs_f64() * workers as f64;
    if all > 0.0 { (busy.as_secs_f64() / all).min(1.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_that_of_all_threads() {
        let seconds = Duration::from_secs;
        assert!((share(seconds(3), seconds(3), 2) - 0.5).abs() < 1e-9);
        assert!(share(seconds(1), Duration::ZERO, 2).abs() < 1e-9);
        assert!((share(seconds(9), seconds(3), 2) - 1.0).abs() < 1e-9, "clocks of threads are read one after another");
    }
}
