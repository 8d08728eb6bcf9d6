//! Which endpoint takes the next request, and whether any may.
//!
//! A caller asks with [`Balancer::pick`], sends, and says with [`Lease::finish`] how it went. From nothing but these
//! answers, and probes when there are none, the balancer learns:
//!
//! 1. who may take a request at all: not ejected (`breaker`), not asked to wait, within its limit of requests in
//!    flight (`limiter`) and its cap of events a second (`event_rate`);
//! 2. of those with the lowest priority number, who should: the less loaded of two at random (`p2c`), where load
//!    is latency (`ewma`) × requests in flight ÷ weight;
//! 3. who should be left alone: endpoints that fail, hang or lag behind the others (`health`), or refuse what others take.
//!
//! Two rules bound the harm it can do. Judgements by comparison (share of failures, silence, latency, refusals) never take
//! the last endpoint out of use; only failures in a row do, when trying costs more than waiting, and nothing is lost
//! because the spool waits. And nobody starves: estimates fade, ejections end, [`Pick::Wait`] is short.
//!
//! It knows nothing of batches, outputs or protocols: an endpoint is an index into the list it was given. It sends
//! nothing itself, probes neither: [`Balancer::probe_due`] says whom to ask.

use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

mod backoff;
mod breaker;
#[cfg(test)]
mod cap_tests;
mod config;
mod endpoint;
mod event_rate;
mod ewma;
mod health;
mod limiter;
mod p2c;
mod snapshot;
mod spec;
#[cfg(test)]
mod tests;

pub use backoff::{Backoff, RetryBudget};
pub use config::Config;
pub use event_rate::{EventRates, SharedRate};
pub use snapshot::{Ejection, EndpointState, EndpointStatus};
pub use spec::Spec;

use breaker::Trip;
use endpoint::{Availability, Endpoint, Started};

/// Shorter waits than this are not worth a timer.
const SHORTEST_WAIT: Duration = Duration::from_millis(10);

/// Nobody waits longer than this without asking again: a lost wake-up costs a second, never a stall.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// How often endpoints are compared with each other.
const REVIEW_INTERVAL: Duration = Duration::from_millis(500);

/// How a request went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The endpoint did its job, whatever it thought of the events.
    Success,
    /// The endpoint failed, could not be reached or did not answer in time.
    Failure,
    /// The endpoint is well but asks to be left alone for so long; kept between 1 second and 5 minutes.
    RetryAfter(Duration),
    /// The request says nothing about the endpoint: it was never sent, or was given up by the caller.
    Neutral,
}

/// The answer to "who takes this batch?".
#[derive(Debug)]
pub enum Pick {
    /// This endpoint does.
    Lease(Lease),
    /// Nobody may now. Ask again after this time (10 ms to 1 s), or when [`Balancer::changed`] resolves.
    Wait(Duration),
}

/// The right to send one request to one endpoint. Dropping it unfinished counts as [`Verdict::Neutral`].
#[derive(Debug)]
pub struct Lease {
    /// The index of the endpoint.
    pub endpoint: usize,
    started: Started,
    verdict: Verdict,
    shared: Arc<Shared>,
}

impl Lease {
    /// Ends the lease and says how the request went.
    pub fn finish(mut self, verdict: Verdict) {
        self.verdict = verdict;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared.lock().end(self.endpoint, self.started, self.verdict);
        self.shared.changed.notify_waiters();
    }
}

/// Spreads requests over endpoints. Clones share everything.
#[derive(Debug, Clone)]
pub struct Balancer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is only numbers; a panic elsewhere cannot leave it worse than one request off.
        self.state.lock()
    }
}

impl Balancer {
    /// A balancer over these endpoints, all taken to be well. With no endpoint, every pick waits.
    pub fn new(specs: Vec<Spec>, config: &Config, rng: fastrand::Rng) -> Self {
        let now = Instant::now();
        let state = State {
            endpoints: specs.into_iter().map(|spec| Endpoint::new(spec, config, now)).collect(),
            stalled_after: config.stalled_after.get(),
            reviewed: now,
            requests: 0,
            rng,
        };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() }) }
    }

    /// Picks an endpoint for a request of so many events.
    pub fn pick(&self, events: u32) -> Pick {
        self.pick_besides(events, &[])
    }

    fn pick_besides(&self, events: u32, but: &[usize]) -> Pick {
        self.pick_by(events, |state, now| state.choose(events, but, now))
    }

    /// The same for a request that only this endpoint should get: it may hold the events already, and knows best.
    pub fn pick_at(&self, endpoint: usize, events: u32) -> Pick {
        self.pick_by(events, |state, now| state.choose_only(endpoint, events, now))
    }

    fn pick_by(&self, events: u32, choose: impl FnOnce(&mut State, Instant) -> Result<usize, Duration>) -> Pick {
        let now = Instant::now();
        let mut state = self.shared.lock();
        state.review(now);
        let chosen = choose(&mut state, now);
        match chosen.and_then(|endpoint| Ok((endpoint, state.start(endpoint, events, now)?))) {
            Ok((endpoint, started)) => {
                Pick::Lease(Lease { endpoint, started, verdict: Verdict::Neutral, shared: Arc::clone(&self.shared) })
            }
            Err(wait) => Pick::Wait(wait.clamp(SHORTEST_WAIT, LONGEST_WAIT)),
        }
    }

    /// Waits until an endpoint may take a request of so many events; until this one may, if `only` names one. Safe to
    /// drop at any time.
    pub async fn acquire(&self, events: u32, only: Option<usize>) -> Lease {
        match only {
            Some(endpoint) => self.acquire_by(|| self.pick_at(endpoint, events)).await,
            None => self.acquire_besides(events, &[]).await,
        }
    }

    /// The same, where these endpoints will not do.
    pub async fn acquire_besides(&self, events: u32, but: &[usize]) -> Lease {
        self.acquire_by(|| self.pick_besides(events, but)).await
    }

    async fn acquire_by(&self, pick: impl Fn() -> Pick) -> Lease {
        loop {
            // Before asking: what changes in between must wake us.
            let changed = self.changed();
            match pick() {
                Pick::Lease(lease) => return lease,
                Pick::Wait(wait) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep(wait) => {}
                },
            }
        }
    }

    /// Resolves when a lease ends or a probe brings an endpoint back. Counts from the call on, not from the first poll.
    pub fn changed(&self) -> Notified<'_> {
        self.shared.changed.notified()
    }

    /// The endpoints to probe now: those that failed and may have fallen, ejected ones, and ones that had no request for long.
    /// Ask a few times a second, and tell each result to [`Balancer::probed`]: until then the endpoint is not named again.
    pub fn probe_due(&self, now: Instant) -> Vec<usize> {
        let mut state = self.shared.lock();
        state.review(now);
        let State { endpoints, rng, .. } = &mut *state;
        let due = |(index, endpoint): (usize, &mut Endpoint)| {
            endpoint.breaker.tick(now);
            let ejected = endpoint.breaker.is_open();
            endpoint.probes.take(ejected, now, rng).then_some(index)
        };
        endpoints.iter_mut().enumerate().filter_map(due).collect()
    }

    /// A probe of this endpoint went well or not. A good one lets an ejected endpoint be tried early; a bad one counts
    /// as a failure of an endpoint in use, or of one that waits to be tried.
    pub fn probed(&self, endpoint: usize, ok: bool) {
        self.shared.lock().probed(endpoint, ok, Instant::now());
        self.shared.changed.notify_waiters();
    }

    /// Another endpoint took what this one had refused. As bad as a failure, and kept in mind: it is taken out of use when
    /// that happens often, unless it is the last one. True when it is, and was not for this before.
    pub fn contradicted(&self, endpoint: usize) -> bool {
        let fresh = self.shared.lock().contradicted(endpoint, Instant::now());
        self.shared.changed.notify_waiters();
        fresh
    }

    /// Whether this endpoint is out of use, or on trial, because others took what it refused.
    pub fn is_contradicted(&self, endpoint: usize) -> bool {
        let state = self.shared.lock();
        state.endpoints.get(endpoint).is_some_and(|endpoint| endpoint.ejection == Some(Ejection::Contradicted))
    }

    /// The most events that a request should hold, so that the cap of no endpoint of the best priority is spent in a burst;
    /// `None` when one of them has none: it can take large requests, and those that go elsewhere are paid for with time.
    pub fn largest_request(&self) -> Option<u32> {
        let state = self.shared.lock();
        let best = state.endpoints.iter().map(|endpoint| endpoint.spec.priority).min()?;
        let mut of_the_best = state.endpoints.iter().filter(|endpoint| endpoint.spec.priority == best);
        let least = of_the_best.try_fold(u32::MAX, |least, endpoint| Some(least.min(endpoint.rate.cap()?)));
        least.map(event_rate::share)
    }

    /// Every endpoint as it is now, in the order in which they were given.
    pub fn snapshot(&self) -> Vec<EndpointState> {
        let now = Instant::now();
        let mut state = self.shared.lock();
        state.endpoints.iter_mut().for_each(|endpoint| endpoint.breaker.tick(now));
        state.endpoints.iter().map(|endpoint| endpoint.state(now)).collect()
    }
}

#[derive(Debug)]
struct State {
    endpoints: Vec<Endpoint>,
    stalled_after: Duration,
    reviewed: Instant,
    requests: u64,
    rng: fastrand::Rng,
}

impl State {
    /// The endpoint for the next request, none of `but`, or the time until there may be one.
    fn choose(&mut self, events: u32, but: &[usize], now: Instant) -> Result<usize, Duration> {
        let mut wait = LONGEST_WAIT;
        let mut best = u32::MAX;
        let mut candidates: Vec<usize> = Vec::with_capacity(self.endpoints.len());
        let endpoints = self.endpoints.iter_mut().enumerate();
        for (index, endpoint) in endpoints.filter(|(index, _)| !but.contains(index)) {
            endpoint.breaker.tick(now);
            match endpoint.availability(events, now) {
                Availability::After(time) => wait = wait.min(time),
                Availability::Busy => {}
                Availability::Now | Availability::Trial => {
                    if endpoint.spec.priority < best || candidates.is_empty() {
                        best = endpoint.spec.priority;
                        candidates.clear();
                    }
                    if endpoint.spec.priority == best {
                        candidates.push(index);
                    }
                }
            }
        }
        // A trial goes first: a recovered endpoint would else wait for the others to be loaded.
        let trial = candidates.iter().find(|index| self.endpoints[**index].breaker.wants_trial());
        if let Some(index) = trial {
            return Ok(*index);
        }
        let loads: Vec<f64> = candidates.iter().map(|index| self.endpoints[*index].load(now)).collect();
        p2c::choose(&loads, &mut self.rng).map(|chosen| candidates[chosen]).ok_or(wait)
    }

    /// This endpoint, or the time until it may be asked.
    fn choose_only(&mut self, index: usize, events: u32, now: Instant) -> Result<usize, Duration> {
        let Some(endpoint) = self.endpoints.get_mut(index) else { return Err(LONGEST_WAIT) };
        endpoint.breaker.tick(now);
        match endpoint.availability(events, now) {
            Availability::After(time) => Err(time),
            Availability::Busy => Err(LONGEST_WAIT),
            Availability::Now | Availability::Trial => Ok(index),
        }
    }

    fn start(&mut self, endpoint: usize, events: u32, now: Instant) -> Result<Started, Duration> {
        self.requests += 1;
        self.endpoints[endpoint].start(self.requests, events, now)
    }

    fn end(&mut self, endpoint: usize, started: Started, verdict: Verdict) {
        let now = Instant::now();
        let trip = self.endpoints[endpoint].end(started, verdict, now);
        self.trip(endpoint, trip, now);
    }

    fn probed(&mut self, index: usize, ok: bool, now: Instant) {
        let Some(endpoint) = self.endpoints.get_mut(index) else { return };
        let counts = endpoint.probes.answered(ok);
        if ok {
            endpoint.breaker.probed_well();
        } else if counts && (endpoint.breaker.is_closed() || endpoint.breaker.awaits_trial()) {
            endpoint.probes.suspect();
            let trip = endpoint.breaker.failure(endpoint.breaker.term(), now);
            self.trip(index, trip, now);
        }
    }

    fn trip(&mut self, endpoint: usize, trip: Option<Trip>, now: Instant) {
        match trip {
            Some(Trip::Consecutive) => self.endpoints[endpoint].eject(Ejection::Failures, now, &mut self.rng),
            Some(Trip::Share) => _ = self.eject_outlier(endpoint, Ejection::Failures, now),
            None => {}
        }
    }

    fn contradicted(&mut self, index: usize, now: Instant) -> bool {
        let Some(endpoint) = self.endpoints.get_mut(index) else { return false };
        let before = endpoint.ejection;
        let trip = endpoint.breaker.failure(endpoint.breaker.term(), now);
        let ejected = trip.is_some() && self.eject_outlier(index, Ejection::Contradicted, now);
        ejected && before != Some(Ejection::Contradicted)
    }

    /// Ejects an endpoint for being worse than the others, unless it is the last one in use.
    fn eject_outlier(&mut self, endpoint: usize, why: Ejection, now: Instant) -> bool {
        let others_in_use =
            self.endpoints.iter().enumerate().any(|(index, e)| index != endpoint && e.breaker.is_closed());
        if others_in_use {
            self.endpoints[endpoint].eject(why, now, &mut self.rng);
        }
        others_in_use
    }

    /// Compares the endpoints in use with each other, now and then.
    fn review(&mut self, now: Instant) {
        if now.saturating_duration_since(self.reviewed) < REVIEW_INTERVAL {
            return;
        }
        self.reviewed = now;
        for index in 0..self.endpoints.len() {
            let endpoint = &self.endpoints[index];
            if endpoint.breaker.is_closed() && endpoint.silence(now) >= self.stalled_after {
                self.eject_outlier(index, Ejection::Silent, now);
            }
        }
        for index in 0..self.endpoints.len() {
            let others =
                self.endpoints.iter().enumerate().filter(|(other, e)| *other != index && e.breaker.is_closed());
            let mut latencies: Vec<f64> = others.filter_map(|(_, other)| other.measured_latency()).collect();
            let own = self.endpoints[index].latency(now);
            self.endpoints[index].slowness.compare(own, &mut latencies, now);
        }
    }
}
