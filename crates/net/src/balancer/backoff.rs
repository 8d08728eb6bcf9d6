//! When to try again, and how often at all.
//!
//! [`Backoff`] spreads the retries of one batch; [`RetryBudget`] bounds the retries of a whole output, because even
//! well spread retries multiply the load of an endpoint that fails under load.

use parking_lot::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::Config;

/// Exponential waits with full jitter: drawn evenly between zero and a bound that doubles with each attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The bound of the first wait.
    pub base: Duration,
    /// The bound of every wait.
    pub cap: Duration,
}

impl Backoff {
    /// The waits between retries of a batch, as configured.
    pub fn between_retries(config: &Config) -> Self {
        Self { base: config.retry_base.get(), cap: config.retry_cap.get() }
    }

    /// The longest wait before this attempt; attempts count from 0.
    pub fn bound(&self, attempt: u32) -> Duration {
        self.base.saturating_mul(2u32.saturating_pow(attempt)).min(self.cap)
    }

    /// The wait before this attempt; attempts count from 0.
    pub fn delay(&self, attempt: u32, rng: &mut fastrand::Rng) -> Duration {
        self.bound(attempt).mul_f64(rng.f64())
    }
}

/// Retries that may be saved up. Bounds the burst after a long healthy time.
const MAX_SAVED: f64 = 100.0;

/// A bound on retries: a share of the first tries, and a few a second besides.
#[derive(Debug)]
pub struct RetryBudget {
    share: f64,
    per_second: f64,
    saved: Mutex<Saved>,
}

#[derive(Debug)]
struct Saved {
    retries: f64,
    at: Instant,
}

impl RetryBudget {
    /// A budget with ten seconds' worth of the configured floor in hand.
    pub fn new(config: &Config) -> Self {
        let per_second = f64::from(config.retries_per_second.get());
        let saved = Saved { retries: (10.0 * per_second).min(MAX_SAVED), at: Instant::now() };
        Self { share: config.retry_share.get(), per_second, saved: Mutex::new(saved) }
    }

    /// Tells the budget that a batch is sent for the first time.
    pub fn first_try(&self) {
        self.with(|retries| *retries += self.share);
    }

    /// Takes one retry out of the budget. `false` when it is exhausted: wait, then ask again.
    pub fn try_take(&self) -> bool {
        self.with(|retries| {
            let granted = *retries >= 1.0;
            if granted {
                *retries -= 1.0;
            }
            granted
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut f64) -> T) -> T {
        let now = Instant::now();
        let mut saved = self.saved.lock();
        saved.retries += self.per_second * now.saturating_duration_since(saved.at).as_secs_f64();
        saved.at = now;
        let result = change(&mut saved.retries);
        // A floor above the bound must not be cut to it: it would never be reached.
        saved.retries = saved.retries.min(MAX_SAVED.max(self.per_second));
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_the_cap_and_are_spread_over_the_whole_range() {
        let backoff = Backoff::between_retries(&Config::default());
        assert_eq!(backoff.bound(0), Duration::from_millis(500));
        assert_eq!(backoff.bound(3), Duration::from_secs(4));
        assert_eq!(backoff.bound(u32::MAX), Duration::from_secs(60));
        let mut rng = fastrand::Rng::with_seed(1);
        let waits: Vec<f64> = (0..1000).map(|_| backoff.delay(20, &mut rng).as_secs_f64()).collect();
        assert!(waits.iter().all(|wait| *wait <= 60.0));
        let mean = waits.iter().sum::<f64>() / 1000.0;
        assert!((28.0..32.0).contains(&mean), "{mean}");
    }

    #[tokio::test(start_paused = true)]
    async fn retries_are_a_tenth_of_first_tries_and_one_a_second() {
        let budget = RetryBudget::new(&Config::default());
        while budget.try_take() {}
        for _ in 0..200 {
            budget.first_try();
        }
        assert_eq!((0..1000).filter(|_| budget.try_take()).count(), 20);
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!((0..1000).filter(|_| budget.try_take()).count(), 7);
    }
}
