//! One endpoint: everything that decides whether it may take a request, and how loaded it is.

use std::time::Duration;

use tokio::time::Instant;

use super::breaker::{Breaker, Phase, Trip};
use super::event_rate::Member;
use super::ewma::PeakEwma;
use super::health::{Probes, Slowness, Unanswered};
use super::limiter::Concurrency;
use super::snapshot::{Ejection, EndpointState, EndpointStatus};
use super::{Config, Spec, Verdict};

/// A request that names a longer time is asked again earlier: nobody may switch an output off for hours.
const RETRY_AFTER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// Whether an endpoint may take a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Availability {
    /// Yes, and it counts as a try of an ejected endpoint.
    Trial,
    /// Yes.
    Now,
    /// Not before this much time has passed.
    After(Duration),
    /// When one of its requests ends.
    Busy,
}

/// What a lease remembers of its start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Started {
    pub(super) request: u64,
    pub(super) term: u64,
    pub(super) at: Instant,
    pub(super) events: u32,
}

#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) spec: Spec,
    pub(super) breaker: Breaker,
    pub(super) probes: Probes,
    pub(super) slowness: Slowness,
    /// Why it was taken out of use, until it has recovered.
    pub(super) ejection: Option<Ejection>,
    pub(super) rate: Member,
    latency: PeakEwma,
    unanswered: Unanswered,
    concurrency: Concurrency,
    not_before: Instant,
    in_flight: usize,
}

impl Endpoint {
    pub(super) fn new(mut spec: Spec, config: &Config, now: Instant) -> Self {
        if !(spec.weight.is_finite() && spec.weight > 0.0) {
            spec.weight = 1.0;
        }
        Self {
            breaker: Breaker::new(config, now),
            probes: Probes::new(config, now),
            slowness: Slowness::new(config),
            ejection: None,
            latency: PeakEwma::new(config.latency_decay.get()),
            unanswered: Unanswered::default(),
            concurrency: Concurrency::new(spec.max_in_flight),
            rate: Member::new(spec.rate.clone(), spec.events_per_second, now),
            not_before: now,
            in_flight: 0,
            spec,
        }
    }

    /// Whether it may take a request of so many events.
    pub(super) fn availability(&self, events: u32, now: Instant) -> Availability {
        if let Phase::Open { until } = self.breaker.phase() {
            return Availability::After(until.saturating_duration_since(now));
        }
        if self.not_before > now {
            return Availability::After(self.not_before - now);
        }
        let paced = self.rate.wait(events, now);
        if !paced.is_zero() {
            return Availability::After(paced);
        }
        match self.breaker.phase() {
            // A trial is not held to the learnt limit: requests that hang since before the ejection would block it.
            Phase::HalfOpen { .. } if self.breaker.wants_trial() && self.in_flight < self.concurrency.max() => {
                Availability::Trial
            }
            Phase::Closed { .. } if self.in_flight < self.limit(now) => Availability::Now,
            _ => Availability::Busy,
        }
    }

    /// Requests that may be in flight now: slow start holds back here too, or a lone endpoint would have none.
    fn limit(&self, now: Instant) -> usize {
        ((self.concurrency.limit() * self.breaker.ramp(now)) as usize).max(1)
    }

    /// How loaded it is, for comparison only.
    pub(super) fn load(&self, now: Instant) -> f64 {
        let weight = self.spec.weight * self.breaker.ramp(now) * self.slowness.part();
        self.latency(now) * (self.in_flight as f64 + 1.0) / weight
    }

    /// Latency in seconds; a request that still waits is known to take at least as long as it has waited.
    pub(super) fn latency(&self, now: Instant) -> f64 {
        self.latency.get(now).max(self.unanswered.age(now).as_secs_f64())
    }

    /// Latency as the others see it: the last one measured, not faded by idleness.
    pub(super) fn measured_latency(&self) -> Option<f64> {
        self.latency.last()
    }

    /// How long it has been silent while requests, or a probe, wait.
    pub(super) fn silence(&self, now: Instant) -> Duration {
        self.unanswered.silence(self.probes.waits(now), now)
    }

    /// A request starts; or the time until it may, if its cap was used up meanwhile by others who share it.
    pub(super) fn start(&mut self, request: u64, events: u32, now: Instant) -> Result<Started, Duration> {
        self.rate.take(events, now)?;
        self.breaker.start();
        self.unanswered.start(request, now);
        self.probes.used(now);
        self.in_flight += 1;
        Ok(Started { request, term: self.breaker.term(), at: now, events })
    }

    /// A request ended. Tells whether the breaker should open, and why.
    pub(super) fn end(&mut self, started: Started, verdict: Verdict, now: Instant) -> Option<Trip> {
        self.in_flight -= 1;
        self.rate.end(started.events, now);
        self.unanswered.end(started.request, verdict != Verdict::Neutral, now);
        if let Verdict::RetryAfter(wait) = verdict {
            self.not_before = self.not_before.max(now + wait.clamp(RETRY_AFTER.0, RETRY_AFTER.1));
        }
        // What hung since before an ejection must not make the recovered endpoint look slow.
        if started.term != self.breaker.term() {
            return None;
        }
        let took = now.saturating_duration_since(started.at);
        match verdict {
            Verdict::Success => {
                self.concurrency.increase();
                self.probes.served();
                let recovered = self.breaker.success(started.term, now);
                if recovered {
                    self.ejection = None;
                    self.latency.reset(took, now)
                } else {
                    self.latency.observe(took, now)
                }
                None
            }
            Verdict::Failure => {
                self.concurrency.decrease(self.latency.get(now), now);
                self.latency.observe_failure(took, now);
                self.probes.suspect();
                self.breaker.failure(started.term, now)
            }
            Verdict::RetryAfter(_) => {
                self.concurrency.decrease(self.latency.get(now), now);
                self.breaker.neutral(started.term);
                None
            }
            Verdict::Neutral => {
                self.breaker.neutral(started.term);
                None
            }
        }
    }

    /// Takes it out of use.
    pub(super) fn eject(&mut self, why: Ejection, now: Instant, rng: &mut fastrand::Rng) {
        self.ejection = Some(why);
        self.breaker.open(now, rng);
        self.probes.ejected(now, rng);
        self.unanswered.forget();
    }

    pub(super) fn state(&self, now: Instant) -> EndpointState {
        let state = match self.breaker.phase() {
            Phase::Open { .. } => EndpointStatus::Open,
            _ if self.not_before > now => EndpointStatus::Throttled,
            Phase::HalfOpen { .. } => EndpointStatus::HalfOpen,
            Phase::Closed { recovered: Some(_) } => EndpointStatus::SlowStart,
            Phase::Closed { recovered: None } => EndpointStatus::Closed,
        };
        let available_in = match self.availability(1, now) {
            Availability::After(wait) => Some(wait),
            Availability::Now | Availability::Trial | Availability::Busy => None,
        };
        EndpointState {
            name: self.spec.name.clone(),
            state,
            ejected_for: self.ejection,
            ewma_ms: self.latency(now) * 1e3,
            in_flight: self.in_flight,
            limit: self.limit(now),
            consecutive_failures: self.breaker.consecutive(),
            available_in,
        }
    }
}
