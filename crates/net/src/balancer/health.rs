//! When to probe an endpoint, and when it is an outlier: much slower than the others, or silent while requests wait.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::Config;
use super::ewma::FLOOR;

/// What an endpoint keeps of its weight while it is an outlier by latency.
const SLOW_PART: f64 = 0.25;

/// The largest part of the interval that is added to it at random, so that gateways do not probe in step.
const PROBE_JITTER: f64 = 0.2;

/// When the next probe is due, and what the last ones are worth.
///
/// One failure makes an endpoint suspect: it is asked at every look, because the next request may be long in coming, or go to
/// another one. A good answer ends that. Probes may be wrong, such as where a firewall lets only requests through: once a request
/// went well after a probe that did not, bad probes count for nothing until one is good.
#[derive(Debug)]
pub(super) struct Probes {
    due: Instant,
    used: Instant,
    interval: Duration,
    idle_after: Duration,
    /// Since when one is on its way.
    asked: Option<Instant>,
    suspect: bool,
    /// The last one went wrong, and no request has gone well since.
    failed: bool,
    doubted: bool,
}

impl Probes {
    pub(super) fn new(config: &Config, now: Instant) -> Self {
        Self {
            due: now,
            used: now,
            interval: config.probe_interval.get(),
            idle_after: config.probe_idle_after.get(),
            asked: None,
            suspect: false,
            failed: false,
            doubted: false,
        }
    }

    /// The endpoint got a request: no need to ask it how it is.
    pub(super) fn used(&mut self, now: Instant) {
        self.used = now;
    }

    /// The next probe waits one interval from now.
    pub(super) fn postpone(&mut self, now: Instant, rng: &mut fastrand::Rng) {
        self.due = now + self.interval.mul_f64(1.0 + PROBE_JITTER * rng.f64());
    }

    /// A request failed, or a probe: the endpoint is asked again at once.
    pub(super) fn suspect(&mut self) {
        self.suspect = true;
    }

    /// What was suspected is known: it is out of use.
    pub(super) fn ejected(&mut self, now: Instant, rng: &mut fastrand::Rng) {
        self.suspect = false;
        self.postpone(now, rng);
    }

    /// A request was answered well.
    pub(super) fn served(&mut self) {
        self.suspect = false;
        self.doubted |= std::mem::take(&mut self.failed);
    }

    /// True when a probe is due, and none is on its way; the next regular one is then an interval away.
    pub(super) fn take(&mut self, ejected: bool, now: Instant, rng: &mut fastrand::Rng) -> bool {
        let idle = now.saturating_duration_since(self.used) >= self.idle_after;
        let regular = (ejected || idle || self.doubted) && self.due <= now;
        let due = self.asked.is_none() && (self.suspect || regular);
        if due {
            self.asked = Some(now);
            self.postpone(now, rng);
        }
        due
    }

    /// A probe was answered, or given up. True when that says something about the endpoint.
    pub(super) fn answered(&mut self, ok: bool) -> bool {
        self.asked = None;
        let counts = ok || !self.doubted;
        self.failed = !ok;
        if ok {
            self.doubted = false;
        }
        if !counts || ok {
            self.suspect = false;
        }
        counts
    }

    /// How long the one that is on its way has waited.
    pub(super) fn waits(&self, now: Instant) -> Duration {
        self.asked.filter(|_| !self.doubted).map_or(Duration::ZERO, |asked| now.saturating_duration_since(asked))
    }
}

/// Requests that an endpoint has not answered yet, oldest first.
#[derive(Debug, Default)]
pub(super) struct Unanswered {
    began: BTreeMap<u64, Instant>,
    answered: Option<Instant>,
}

impl Unanswered {
    pub(super) fn start(&mut self, request: u64, now: Instant) {
        self.began.insert(request, now);
    }

    /// A request ended; `answered` when the endpoint had something to do with it.
    pub(super) fn end(&mut self, request: u64, answered: bool, now: Instant) {
        self.began.remove(&request);
        if answered {
            self.answered = Some(now);
        }
    }

    /// Stops to watch what was sent so far: after an ejection it says nothing new.
    pub(super) fn forget(&mut self) {
        self.began.clear();
    }

    /// How long the oldest request has waited.
    pub(super) fn age(&self, now: Instant) -> Duration {
        self.began.values().next().map_or(Duration::ZERO, |began| now.saturating_duration_since(*began))
    }

    /// How long requests, or a probe that waits for so long, have waited without an answer to any of them.
    pub(super) fn silence(&self, probe: Duration, now: Instant) -> Duration {
        let answered = self.answered.map_or(Duration::MAX, |at| now.saturating_duration_since(at));
        self.age(now).max(probe).min(answered)
    }
}

/// Whether an endpoint has been much slower than the others for long.
#[derive(Debug)]
pub(super) struct Slowness {
    since: Option<Instant>,
    cut: bool,
    times: f64,
    lasting: Duration,
}

impl Slowness {
    pub(super) fn new(config: &Config) -> Self {
        Self { since: None, cut: false, times: f64::from(config.slow_times.get()), lasting: config.slow_for.get() }
    }

    /// Compares a latency with those of the others, all in seconds.
    pub(super) fn compare(&mut self, own: f64, others: &mut [f64], now: Instant) {
        let slow = median(others).is_some_and(|median| own > self.times * median.max(FLOOR));
        self.since = if slow { self.since.or(Some(now)) } else { None };
        self.cut = self.since.is_some_and(|since| now.saturating_duration_since(since) >= self.lasting);
    }

    /// The part of its weight that the endpoint keeps.
    pub(super) fn part(&self) -> f64 {
        if self.cut { SLOW_PART } else { 1.0 }
    }
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn slow_for_long_is_slow_and_one_good_moment_ends_it() {
        let now = Instant::now();
        let mut slowness = Slowness::new(&Config::default());
        for second in 0..10 {
            slowness.compare(1.0, &mut [0.1, 0.12, 9.0], now + Duration::from_secs(second));
            assert_eq!(slowness.part(), 1.0);
        }
        slowness.compare(1.0, &mut [0.1, 0.12, 9.0], now + Duration::from_secs(10));
        assert_eq!(slowness.part(), 0.25);
        slowness.compare(0.2, &mut [0.1, 0.12, 9.0], now + Duration::from_secs(11));
        assert_eq!(slowness.part(), 1.0);
        slowness.compare(0.2, &mut [], now);
        assert_eq!(slowness.part(), 1.0, "nobody to compare with");
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_answers_anything_is_not_silent() {
        let now = Instant::now();
        let at = |second| now + Duration::from_secs(second);
        let mut unanswered = Unanswered::default();
        unanswered.start(1, at(0));
        unanswered.start(2, at(1));
        assert_eq!(unanswered.silence(Duration::ZERO, at(8)), Duration::from_secs(8));
        unanswered.end(2, true, at(8));
        assert_eq!(unanswered.age(at(9)), Duration::from_secs(9));
        assert_eq!(unanswered.silence(Duration::ZERO, at(9)), Duration::from_secs(1));
        unanswered.forget();
        assert_eq!(unanswered.age(at(20)), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn probes_come_when_ejected_or_idle_and_keep_their_distance() {
        let now = Instant::now();
        let mut rng = fastrand::Rng::with_seed(5);
        let mut probes = Probes::new(&Config::default(), now);
        assert!(!probes.take(false, now, &mut rng));
        assert!(probes.take(true, now, &mut rng));
        assert!(!probes.take(true, now + Duration::from_secs(4), &mut rng), "one is on its way");
        probes.answered(true);
        assert!(!probes.take(true, now + Duration::from_secs(1), &mut rng));
        assert!(probes.take(true, now + Duration::from_secs(3), &mut rng));
        probes.answered(true);
        assert!(probes.take(false, now + Duration::from_secs(30), &mut rng));
        probes.answered(true);
        probes.used(now + Duration::from_secs(39));
        assert!(!probes.take(false, now + Duration::from_secs(40), &mut rng));
    }
}
