//! Whether an endpoint is used at all: closed (used), open (ejected), half-open (one request may try it).
//!
//! The breaker counts and says when it should trip; its owner decides, because only the owner knows whether another
//! endpoint is left. Every change of phase begins a new term, and answers to requests of an earlier term are not
//! counted: a request that hung since before the ejection says nothing about the endpoint now.

use std::time::Duration;

use tokio::time::Instant;

use super::Config;
use super::backoff::Backoff;

/// The part of the full weight that a recovered endpoint begins with.
const SLOW_START_FROM: f64 = 0.1;

/// An ejection lasts at least this part of the base: full jitter alone may draw next to nothing.
const SHORTEST_PART: u32 = 10;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Phase {
    /// In use; `recovered` when it came back from an ejection.
    Closed { recovered: Option<Instant> },
    /// Out of use until then.
    Open { until: Instant },
    /// Being tried by so many requests.
    HalfOpen { trials: u32, by_probe: bool },
}

/// Why the breaker should open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trip {
    /// Failures in a row, or a failed trial: opens always. The spool waits, nothing is lost.
    Consecutive,
    /// The share of failures: opens only if another endpoint is left.
    Share,
}

#[derive(Debug)]
pub(super) struct Breaker {
    phase: Phase,
    term: u64,
    consecutive: u32,
    window: Window,
    /// Ejections without a full slow start between them.
    ejections: u32,
    /// A trial that a good probe brought about failed: only time counts until the next success.
    probes_mislead: bool,
    limits: Limits,
}

#[derive(Debug)]
struct Limits {
    consecutive: u32,
    share: f64,
    minimum: u32,
    trials: u32,
    slow_start: Duration,
    ejection: Backoff,
}

impl Breaker {
    pub(super) fn new(config: &Config, now: Instant) -> Self {
        Self {
            phase: Phase::Closed { recovered: None },
            term: 0,
            consecutive: 0,
            window: Window::new(config.failure_window.get(), now),
            ejections: 0,
            probes_mislead: false,
            limits: Limits {
                consecutive: config.consecutive_failures.get(),
                share: config.failure_share.get(),
                minimum: config.failure_minimum.get(),
                trials: config.half_open_requests.get(),
                slow_start: config.slow_start.get(),
                ejection: Backoff { base: config.ejection_base.get(), cap: config.ejection_cap.get() },
            },
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// The number of the running term; a request carries it to its end.
    pub(super) fn term(&self) -> u64 {
        self.term
    }

    pub(super) fn consecutive(&self) -> u32 {
        self.consecutive
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed { .. })
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open { .. })
    }

    /// True when a trial may start now.
    pub(super) fn wants_trial(&self) -> bool {
        matches!(self.phase, Phase::HalfOpen { trials, .. } if trials < self.limits.trials)
    }

    /// True while it is half-open and nothing tries it.
    pub(super) fn awaits_trial(&self) -> bool {
        matches!(self.phase, Phase::HalfOpen { trials: 0, .. })
    }

    /// The part of its weight and its limit that the endpoint gets now, above 0 and up to 1.
    pub(super) fn ramp(&self, now: Instant) -> f64 {
        let Phase::Closed { recovered: Some(since) } = self.phase else { return 1.0 };
        let passed = now.saturating_duration_since(since).as_secs_f64() / self.limits.slow_start.as_secs_f64();
        (SLOW_START_FROM + (1.0 - SLOW_START_FROM) * passed).min(1.0)
    }

    /// Lets time do its part: an ejection that is over becomes half-open, a finished slow start is forgotten.
    pub(super) fn tick(&mut self, now: Instant) {
        match self.phase {
            Phase::Open { until } if until <= now => self.enter(Phase::HalfOpen { trials: 0, by_probe: false }),
            Phase::Closed { recovered: Some(_) } if self.ramp(now) >= 1.0 => {
                self.phase = Phase::Closed { recovered: None };
                self.ejections = 0;
            }
            _ => {}
        }
    }

    /// A request starts.
    pub(super) fn start(&mut self) {
        if let Phase::HalfOpen { trials, .. } = &mut self.phase {
            *trials += 1;
        }
    }

    /// A request ended without saying anything about the endpoint's health.
    pub(super) fn neutral(&mut self, term: u64) {
        if let Phase::HalfOpen { trials, .. } = &mut self.phase
            && term == self.term
        {
            *trials = trials.saturating_sub(1);
        }
    }

    /// A request was answered well. True when this brought the endpoint back into use.
    pub(super) fn success(&mut self, term: u64, now: Instant) -> bool {
        if term != self.term {
            return false;
        }
        self.consecutive = 0;
        self.window.record(true, now);
        let trial = matches!(self.phase, Phase::HalfOpen { .. });
        if trial {
            self.probes_mislead = false;
            self.window = Window::new(self.window.length, now);
            self.enter(Phase::Closed { recovered: Some(now) });
        }
        trial
    }

    /// A request failed. Tells whether the breaker should open, and why.
    pub(super) fn failure(&mut self, term: u64, now: Instant) -> Option<Trip> {
        if term != self.term {
            return None;
        }
        self.consecutive = self.consecutive.saturating_add(1);
        self.window.record(false, now);
        match self.phase {
            Phase::HalfOpen { by_probe, .. } => {
                self.probes_mislead |= by_probe;
                Some(Trip::Consecutive)
            }
            Phase::Closed { .. } if self.consecutive >= self.limits.consecutive => Some(Trip::Consecutive),
            Phase::Closed { .. } => {
                self.window.fails(self.limits.share, self.limits.minimum, now).then_some(Trip::Share)
            }
            Phase::Open { .. } => None,
        }
    }

    /// Takes the endpoint out of use.
    pub(super) fn open(&mut self, now: Instant, rng: &mut fastrand::Rng) {
        let backoff = self.limits.ejection;
        let length = backoff.delay(self.ejections, rng).max(backoff.base / SHORTEST_PART);
        self.ejections = self.ejections.saturating_add(1);
        self.enter(Phase::Open { until: now + length });
    }

    /// A probe found the endpoint well. True when this ends an ejection early.
    pub(super) fn probed_well(&mut self) -> bool {
        let early = self.is_open() && !self.probes_mislead;
        if early {
            self.enter(Phase::HalfOpen { trials: 0, by_probe: true });
        }
        early
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.term += 1;
    }
}

const BUCKETS: usize = 10;

/// Successes and failures of the last while, in ten buckets of time, so that old ones leave without being kept singly.
#[derive(Debug)]
struct Window {
    length: Duration,
    began: Instant,
    current: u64,
    buckets: [(u32, u32); BUCKETS],
}

impl Window {
    fn new(length: Duration, now: Instant) -> Self {
        Self { length, began: now, current: 0, buckets: [(0, 0); BUCKETS] }
    }

    fn record(&mut self, good: bool, now: Instant) {
        self.turn(now);
        let (successes, failures) = &mut self.buckets[(self.current % BUCKETS as u64) as usize];
        let counter = if good { successes } else { failures };
        *counter = counter.saturating_add(1);
    }

    fn fails(&mut self, share: f64, minimum: u32, now: Instant) -> bool {
        self.turn(now);
        let sum = |pick: fn(&(u32, u32)) -> u32| self.buckets.iter().map(|b| u64::from(pick(b))).sum::<u64>();
        let (successes, failures) = (sum(|b| b.0), sum(|b| b.1));
        let total = successes + failures;
        total >= u64::from(minimum) && failures as f64 >= share * total as f64
    }

    fn turn(&mut self, now: Instant) {
        let bucket = self.length.as_secs_f64() / BUCKETS as f64;
        let target = (now.saturating_duration_since(self.began).as_secs_f64() / bucket) as u64;
        for _ in 0..target.saturating_sub(self.current).min(BUCKETS as u64) {
            self.current += 1;
            self.buckets[(self.current % BUCKETS as u64) as usize] = (0, 0);
        }
        if target > self.current {
            // Every bucket was emptied: jump. The position within the ring does not matter.
            self.current = target;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> (Breaker, Instant, fastrand::Rng) {
        let now = Instant::now();
        (Breaker::new(&Config::default(), now), now, fastrand::Rng::with_seed(7))
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_open_it_and_a_trial_closes_it() {
        let (mut breaker, now, mut rng) = breaker();
        assert!((0..4).all(|_| breaker.failure(0, now).is_none()));
        assert_eq!(breaker.failure(0, now), Some(Trip::Consecutive));
        breaker.open(now, &mut rng);
        let later = now + Duration::from_secs(5);
        breaker.tick(later);
        assert!(breaker.wants_trial());
        breaker.start();
        assert!(!breaker.wants_trial(), "one at a time");
        assert!(breaker.success(breaker.term(), later));
        assert_eq!(breaker.ramp(later), 0.1);
        assert!((0.54..0.56).contains(&breaker.ramp(later + Duration::from_secs(5))));
        breaker.tick(later + Duration::from_secs(10));
        assert_eq!(breaker.phase(), Phase::Closed { recovered: None });
    }

    #[tokio::test(start_paused = true)]
    async fn answers_of_an_earlier_term_are_not_counted() {
        let (mut breaker, now, mut rng) = breaker();
        breaker.open(now, &mut rng);
        assert!(!breaker.success(0, now));
        assert_eq!(breaker.failure(0, now), None);
        assert_eq!(breaker.consecutive(), 0);
        assert!(matches!(breaker.phase(), Phase::Open { .. }));
    }

    #[tokio::test(start_paused = true)]
    async fn half_of_twenty_failing_trips_by_share() {
        let (mut breaker, now, _) = breaker();
        for _ in 0..9 {
            assert_eq!(breaker.failure(0, now), None);
            breaker.success(0, now);
        }
        breaker.success(0, now);
        assert_eq!(breaker.failure(0, now), Some(Trip::Share));
        let later = now + Duration::from_secs(40);
        assert_eq!(breaker.failure(0, later), None, "the window has moved on");
    }

    #[tokio::test(start_paused = true)]
    async fn ejections_double_up_to_the_cap() {
        let (mut breaker, now, mut rng) = breaker();
        for round in 0..40u32 {
            breaker.open(now, &mut rng);
            let Phase::Open { until } = breaker.phase() else { panic!("not open") };
            let bound = Duration::from_secs(5).saturating_mul(2u32.saturating_pow(round)).min(Duration::from_secs(60));
            assert!(until - now <= bound && until - now >= Duration::from_millis(500), "{round}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_misled_once_is_not_believed_until_a_success() {
        let (mut breaker, now, mut rng) = breaker();
        breaker.open(now, &mut rng);
        assert!(breaker.probed_well());
        breaker.start();
        assert_eq!(breaker.failure(breaker.term(), now), Some(Trip::Consecutive));
        breaker.open(now, &mut rng);
        assert!(!breaker.probed_well());
        breaker.tick(now + Duration::from_secs(60));
        assert!(breaker.success(breaker.term(), now));
        breaker.open(now, &mut rng);
        assert!(breaker.probed_well());
    }
}
