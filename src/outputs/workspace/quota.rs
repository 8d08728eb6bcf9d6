//! The limits that Azure puts on a data collection rule: requests and bytes a minute, whatever endpoint they come by.
//!
//! Above them it answers 429. Waiting here instead costs no request, and what Azure says all the same holds for the whole
//! rule. A request takes its place at once and then waits for it, so that nobody is passed over; a request larger than what
//! is left passes and is paid back, so that the average holds for any size.

use parking_lot::{Mutex, MutexGuard};
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep_until};

/// Requests a minute that a rule takes. Source: Azure Monitor's limits for custom logs.
const REQUESTS_A_MINUTE: f64 = 12_000.0;
/// Bytes a minute that a rule takes, as they come over the wire.
const BYTES_A_MINUTE: f64 = 2e9;
/// What may be saved up while nothing is sent, in seconds' worth: Azure counts by the minute.
const SAVED: f64 = 5.0;

/// What a rule may still be sent. Shared by all outputs of the rule.
#[derive(Debug)]
pub(in crate::outputs) struct Quota {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    requests: Bucket,
    bytes: Bucket,
    /// Azure said that it is enough for now.
    paused_until: Option<Instant>,
    /// How often it did.
    throttled: u64,
}

/// What the status page shows of a quota.
#[derive(Debug, Serialize)]
pub(super) struct QuotaStatus {
    /// How often Azure answered 429.
    throttled: u64,
    /// Seconds until the rule is asked again.
    paused_seconds: f64,
}

impl Quota {
    /// Nothing used yet.
    pub(in crate::outputs) fn new() -> Self {
        let now = Instant::now();
        Self {
            state: Mutex::new(State {
                requests: Bucket::new(REQUESTS_A_MINUTE / 60.0, now),
                bytes: Bucket::new(BYTES_A_MINUTE / 60.0, now),
                paused_until: None,
                throttled: 0,
            }),
        }
    }

    /// Resolves when a request of so many bytes may be sent. Its place is taken even when this is dropped.
    pub(super) async fn admit(&self, bytes: usize) {
        let then = self.lock().take(bytes, Instant::now());
        sleep_until(then).await;
        // A pause that began meanwhile holds for those who wait, too.
        while let Some(until) = self.pause() {
            sleep_until(until).await;
        }
    }

    /// Until when the rule is left alone, if it is.
    fn pause(&self) -> Option<Instant> {
        self.lock().paused_until.filter(|until| *until > Instant::now())
    }

    /// Azure answered 429 and asked for so much patience.
    pub(super) fn throttled(&self, patience: Duration) {
        let mut state = self.lock();
        let until = Instant::now() + patience;
        state.paused_until = Some(state.paused_until.map_or(until, |before| before.max(until)));
        state.throttled += 1;
    }

    pub(super) fn status(&self) -> QuotaStatus {
        let state = self.lock();
        let paused = state.paused_until.map(|until| until.saturating_duration_since(Instant::now()));
        QuotaStatus { throttled: state.throttled, paused_seconds: paused.unwrap_or_default().as_secs_f64() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    /// Takes a place, and says when its time comes.
    fn take(&mut self, bytes: usize, now: Instant) -> Instant {
        let wait = self.requests.wait(now).max(self.bytes.wait(now));
        self.requests.take(1.0, now);
        self.bytes.take(bytes as f64, now);
        now + wait
    }
}

/// Credit that grows with time, up to [`SAVED`] seconds' worth, and may be negative.
#[derive(Debug)]
struct Bucket {
    per_second: f64,
    credit: f64,
    at: Instant,
}

impl Bucket {
    fn new(per_second: f64, now: Instant) -> Self {
        Self { per_second, credit: per_second * SAVED, at: now }
    }

    fn wait(&self, now: Instant) -> Duration {
        Duration::from_secs_f64((-self.credit_at(now) / self.per_second).max(0.0))
    }

    fn take(&mut self, amount: f64, now: Instant) {
        self.credit = self.credit_at(now) - amount;
        self.at = now;
    }

    fn credit_at(&self, now: Instant) -> f64 {
        let earned = self.per_second * now.saturating_duration_since(self.at).as_secs_f64();
        (self.credit + earned).min(self.per_second * SAVED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends requests of this size for so many seconds, one after the other, and counts them.
    async fn sent(quota: &Quota, bytes: usize, seconds: u64) -> u64 {
        let end = Instant::now() + Duration::from_secs(seconds);
        let mut sent = 0;
        while Instant::now() < end {
            quota.admit(bytes).await;
            sent += 1;
        }
        sent
    }

    #[tokio::test(start_paused = true)]
    async fn a_rule_gets_its_requests_and_bytes_a_minute_and_no_more() {
        let quota = Quota::new();
        // Ten minutes, with what was saved up at the beginning.
        let small = sent(&quota, 100, 600).await;
        assert!((120_000..=121_100).contains(&small), "{small} requests");
        let quota = Quota::new();
        let large = sent(&quota, 1_000_000, 600).await;
        assert!((20_000..=20_200).contains(&large), "{large} MB");
    }

    #[tokio::test(start_paused = true)]
    async fn what_azure_says_holds_for_everybody_who_waits() {
        let quota = Quota::new();
        quota.throttled(Duration::from_secs(30));
        quota.throttled(Duration::from_secs(3));
        let began = Instant::now();
        quota.admit(10).await;
        assert_eq!(began.elapsed().as_secs(), 30, "the longer pause holds");
        assert_eq!(quota.status().throttled, 2);
    }
}
