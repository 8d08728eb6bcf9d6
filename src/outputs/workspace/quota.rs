//! The limits that Azure puts on a data collection rule: requests and bytes a minute, whatever endpoint they come by.
//!
//! Above them it answers 429. Waiting here instead costs no request, and what Azure says all the same holds for the whole
//! rule. A request takes its place at once and then waits for it, so that nobody is passed over; a request larger than what
//! is left passes and is paid back, so that the average holds for any size.
//!
//! Gateways that send through one rule share its limits. Each tells the others what it uses and takes what they leave, but at
//! least its even part: who sends much beside idle ones has nearly all, and who begins need not wait until the others have made room.

use parking_lot::{Mutex, MutexGuard};
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use crate::values::PerMinute;

/// What a rule takes. Source: Azure Monitor's limits for custom logs.
const LIMIT: PerMinute = PerMinute { requests: 12_000, bytes: 2_000_000_000 };
/// For so many seconds, about, what was sent counts as being used.
const USED_FOR: f64 = 15.0;
/// What may be saved up while nothing is sent, in seconds' worth: Azure counts by the minute.
const SAVED: f64 = 5.0;

/// What a rule may still be sent. Shared by all outputs of the rule.
#[derive(Debug)]
pub(in crate::outputs) struct Quota {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What is ours of the limit.
    part: PerMinute,
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
    /// What this gateway may send through the rule.
    part: PerMinute,
    /// What it sends.
    used: PerMinute,
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
                part: LIMIT,
                requests: Bucket::new(LIMIT.requests, now),
                bytes: Bucket::new(LIMIT.bytes, now),
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

    /// What was sent of late.
    pub(in crate::outputs) fn used(&self) -> PerMinute {
        self.lock().used(Instant::now())
    }

    /// Takes what so many other gateways, which send this much through the rule together, leave of it.
    pub(in crate::outputs) fn leave_to(&self, others: usize, used: PerMinute) {
        // Never nothing, whoever claims to be there: waiting would have no end.
        let part = |limit: u64, used: u64| limit.saturating_sub(used).max(limit / (others as u64 + 1)).max(1);
        let part = PerMinute { requests: part(LIMIT.requests, used.requests), bytes: part(LIMIT.bytes, used.bytes) };
        let (mut state, now) = (self.lock(), Instant::now());
        state.part = part;
        state.requests.set(part.requests, now);
        state.bytes.set(part.bytes, now);
    }

    pub(super) fn status(&self) -> QuotaStatus {
        let (state, now) = (self.lock(), Instant::now());
        let paused = state.paused_until.map(|until| until.saturating_duration_since(now));
        QuotaStatus {
            part: state.part,
            used: state.used(now),
            throttled: state.throttled,
            paused_seconds: paused.unwrap_or_default().as_secs_f64(),
        }
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

    fn used(&self, now: Instant) -> PerMinute {
        PerMinute { requests: self.requests.used_a_minute(now), bytes: self.bytes.used_a_minute(now) }
    }
}

/// Credit that grows with time, up to [`SAVED`] seconds' worth, and may be negative.
#[derive(Debug)]
struct Bucket {
    per_second: f64,
    credit: f64,
    /// What was taken, less the longer ago that is.
    used: f64,
    at: Instant,
}

impl Bucket {
    fn new(per_minute: u64, now: Instant) -> Self {
        let per_second = per_minute as f64 / 60.0;
        Self { per_second, credit: per_second * SAVED, used: 0.0, at: now }
    }

    /// Grows as fast as this from now on.
    fn set(&mut self, per_minute: u64, now: Instant) {
        self.take(0.0, now);
        self.per_second = per_minute as f64 / 60.0;
        self.credit = self.credit_at(now);
    }

    fn used_a_minute(&self, now: Instant) -> u64 {
        (self.used_at(now) / USED_FOR * 60.0).round() as u64
    }

    fn used_at(&self, now: Instant) -> f64 {
        self.used * (-now.saturating_duration_since(self.at).as_secs_f64() / USED_FOR).exp()
    }

    fn wait(&self, now: Instant) -> Duration {
        Duration::from_secs_f64((-self.credit_at(now) / self.per_second).max(0.0))
    }

    fn take(&mut self, amount: f64, now: Instant) {
        self.credit = self.credit_at(now) - amount;
        self.used = self.used_at(now) + amount;
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
    async fn gateways_of_one_rule_stay_within_its_limits_together_and_each_has_what_the_others_leave() {
        let quotas = [Quota::new(), Quota::new(), Quota::new()];
        // As gateways tell each other, each second.
        let tell = async {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let used = quotas.each_ref().map(Quota::used);
                for (at, quota) in quotas.iter().enumerate() {
                    let others = used.iter().enumerate().filter(|(of, used)| *of != at && used.requests > 0);
                    quota.leave_to(others.clone().count(), others.map(|(_, used)| *used).sum());
                }
            }
        };
        let run = async {
            let alone = sent(&quotas[0], 100, 120).await;
            // The others begin, and for a moment there is more than may be: what was saved, and what nobody knew of yet.
            _ = tokio::join!(sent(&quotas[0], 100, 60), sent(&quotas[1], 100, 60), sent(&quotas[2], 100, 60));
            let all = tokio::join!(sent(&quotas[0], 100, 300), sent(&quotas[1], 100, 300), sent(&quotas[2], 100, 300));
            (alone, all)
        };
        let (alone, (one, two, three)) =
            tokio::select! { ran = run => ran, () = tell => unreachable!("it tells for ever") };
        assert!((24_000..=25_100).contains(&alone), "{alone} requests in two minutes");
        assert!((58_000..=61_500).contains(&(one + two + three)), "{one} + {two} + {three} in five minutes");
        for one in [one, two, three] {
            assert!((19_000..=21_500).contains(&one), "{one} of {}", one + two + three);
        }
        let part = quotas[0].status().part.requests;
        assert!((4_000..=4_100).contains(&part), "{part}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_even_part_is_there_for_who_begins_and_the_rest_for_who_sends() {
        let quota = Quota::new();
        quota.leave_to(1, LIMIT);
        let begins = sent(&quota, 100, 60).await;
        assert!((6_000..=6_600).contains(&begins), "{begins}: half, while the other one uses all");
        quota.leave_to(1, PerMinute { requests: 1_000, bytes: 0 });
        sent(&quota, 100, 10).await;
        let beside_little = sent(&quota, 100, 60).await;
        assert!((10_900..=11_100).contains(&beside_little), "{beside_little}");
        quota.leave_to(0, PerMinute::default());
        assert_eq!(quota.status().part, LIMIT);
        quota.leave_to(usize::try_from(LIMIT.bytes).expect("64 bits") * 2, LIMIT);
        assert_eq!(quota.status().part, PerMinute { requests: 1, bytes: 1 });
        assert!(
            tokio::time::timeout(Duration::from_secs(30), quota.admit(100)).await.is_err(),
            "it waits, and does not fail"
        );
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
