//! How much an endpoint may be given at once: requests in flight that follow its answers, and a cap in events a second.

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

/// Credit that may be saved up while nothing is sent, in seconds. Small, because collectors count by the second: a
/// whole second's worth on top of the running second would be twice the cap.
const SAVED_SECONDS: f64 = 0.1;

/// A cap in events a second that works with debt: a batch passes when nothing is owed, and what it takes too much is
/// paid back before the next. So a batch larger than the cap passes too, and the average holds for any batch size.
#[derive(Debug)]
pub(super) struct EventRate {
    per_second: f64,
    credit: f64,
    at: Instant,
}

impl EventRate {
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        Self { per_second: f64::from(per_second.max(1)), credit: 0.0, at: now }
    }

    /// Time until a batch may pass; zero when it may now.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        Duration::from_secs_f64((-self.credit_at(now) / self.per_second).max(0.0))
    }

    pub(super) fn take(&mut self, events: u32, now: Instant) {
        self.credit = self.credit_at(now) - f64::from(events);
        self.at = now;
    }

    fn credit_at(&self, now: Instant) -> f64 {
        let earned = self.per_second * now.saturating_duration_since(self.at).as_secs_f64();
        (self.credit + earned).min(self.per_second * SAVED_SECONDS)
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

    #[tokio::test(start_paused = true)]
    async fn a_batch_larger_than_the_cap_passes_and_is_paid_back() {
        let now = Instant::now();
        let mut rate = EventRate::new(100, now);
        assert_eq!(rate.wait(now), Duration::ZERO);
        rate.take(1_000, now);
        assert_eq!(rate.wait(now), Duration::from_secs(10));
        assert_eq!(rate.wait(now + Duration::from_secs(10)), Duration::ZERO);
    }
}
