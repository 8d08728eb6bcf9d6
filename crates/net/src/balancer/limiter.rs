//! How much an endpoint may be given at once: requests in flight, which follow its answers.

use std::time::Duration;

use tokio::time::Instant;

/// What is left of the limit after an endpoint said that it has too much.
const DECREASE: f64 = 0.7;

/// Answers that arrive together speak of one moment: the limit falls once for all of them.
const DECREASE_INTERVAL: Duration = Duration::from_secs(1);

/// A limit on requests in flight: grows by one for each round of successes, shrinks at once on trouble.
///
/// It begins at its maximum: that was chosen by a person, and a gateway with a backlog should not crawl after a start.
#[derive(Debug)]
pub(super) struct Concurrency {
    limit: f64,
    max: f64,
    decreased: Option<Instant>,
}

impl Concurrency {
    pub(super) fn new(max: usize) -> Self {
        let max = max.max(1) as f64;
        Self { limit: max, max, decreased: None }
    }

    pub(super) fn limit(&self) -> f64 {
        self.limit
    }

    pub(super) fn max(&self) -> usize {
        self.max as usize
    }

    pub(super) fn increase(&mut self) {
        self.limit = (self.limit + 1.0 / self.limit).min(self.max);
    }

    /// Decreases, at most once per second and per round trip of this many seconds.
    pub(super) fn decrease(&mut self, round_trip: f64, now: Instant) {
        let interval = DECREASE_INTERVAL.as_secs_f64().max(round_trip);
        if self.decreased.is_none_or(|at| now.saturating_duration_since(at).as_secs_f64() >= interval) {
            self.limit = (self.limit * DECREASE).max(1.0);
            self.decreased = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_limit_falls_once_a_second_and_grows_by_one_a_round() {
        let now = Instant::now();
        let mut concurrency = Concurrency::new(10);
        concurrency.decrease(0.01, now);
        concurrency.decrease(0.01, now);
        assert_eq!(concurrency.limit(), 7.0);
        concurrency.decrease(3.0, now + Duration::from_secs(2));
        assert_eq!(concurrency.limit(), 7.0, "the round trip is longer than that");
        for _ in 0..7 {
            concurrency.increase();
        }
        assert!((7.9..8.0).contains(&concurrency.limit()));
        for second in 10..60 {
            concurrency.decrease(0.01, now + Duration::from_secs(second));
        }
        assert_eq!(concurrency.limit(), 1.0);
    }
}
