//! The state of everything as metrics, once a second: what is worked out by looking rather than counted as it happens.

use std::time::Duration;

use tokio::time::Instant;

use super::build::Parts;
use super::gauges::Gauge;
use super::growth::{Growth, Left};
use super::objections::STARTING;
use super::{EVERY, replicas, replicating, sharing};
use crate::clock::Standing;
use crate::dedup::store::Store as _;
use crate::forward::Forwarder;
use crate::ingest::ledger::Tally;
use crate::metrics;
use crate::spool::Health;

/// Counters of inner layers as they were last shown.
pub(super) struct Seen {
    evicted: u64,
    commits: u64,
    jumps: u64,
    held: bool,
    growth: Growth,
    states: Gauge,
    latencies: Gauge,
    running: Gauge,
    sharing: sharing::Seen,
    replicating: replicating::Seen,
    replicas: replicas::Seen,
    /// Why what is shared at the servers cannot be reached.
    state_sharing: Option<String>,
}

impl Seen {
    /// Nothing was shown yet.
    pub(super) fn new() -> Self {
        Self {
            evicted: 0,
            commits: 0,
            jumps: 0,
            held: false,
            growth: Growth::default(),
            states: Gauge::new(&metrics::ENDPOINT_STATE),
            latencies: Gauge::new(&metrics::ENDPOINT_LATENCY_SECONDS),
            running: Gauge::new(&metrics::OUTPUT_RUNNING),
            sharing: sharing::Seen::default(),
            replicating: replicating::Seen::default(),
            replicas: replicas::Seen::default(),
            state_sharing: None,
        }
    }
}

/// Shows the state of everything as metrics, and lets the front door know whether uploads are welcome.
pub(super) fn show(parts: &Parts, seen: &mut Seen) {
    parts.tunnels.tidy();
    show_spool(parts, seen);
    parts.ingest.look_for_trouble();
    parts.judge();
    let standing = parts.readiness.standing();
    // Who is only starting is about to be ready.
    parts.uploads.set_ready(standing.objections.iter().all(|reason| *reason == STARTING));
    show_clock(parts.clock.standing(), seen);

    let remembered = parts.dedup.remembered();
    metrics::DEDUP_KEYS.set(&[], remembered.keys as f64);
    metrics::DEDUP_BYTES.set(&[], remembered.bytes as f64);
    metrics::DEDUP_EVICTED.add(&[], remembered.evicted - seen.evicted);
    seen.evicted = remembered.evicted;
    let apart = |tally: &Tally| {
        tally.received as f64 - (tally.filtered + tally.duplicate + tally.set_aside + tally.spooled) as f64
    };
    metrics::ACCOUNT_DIFFERENCE.set(&[], parts.books.ledger().tallies.values().map(apart).sum());

    if let Some(sharing) = &parts.sharing {
        sharing.show(parts, &mut seen.sharing);
    }
    if let Some(replicating) = &parts.replicating {
        replicating.show(&parts.spool, &mut seen.replicating);
    }
    if let Some(replicas) = &parts.replicas {
        replicas.show(&mut seen.replicas);
    }
    if let Some(sharing) = &parts.state_sharing {
        sharing.show(&mut seen.state_sharing);
    }
    show_letters(parts);
    parts.uploads.agents().show();
    parts.expiry.show(parts);
    show_outputs(parts, seen);
    parts.history.look(parts);
}

fn show_spool(parts: &Parts, seen: &mut Seen) {
    let spool = parts.spool.status();
    metrics::SPOOL_BYTES.set(&[], spool.bytes as f64);
    metrics::SPOOL_LIMIT_BYTES.set(&[], spool.limit as f64);
    metrics::SPOOL_EVENTS.set(&[], (spool.end - spool.first) as f64);
    metrics::SPOOL_COMMITS.add(&[], spool.commits - seen.commits);
    seen.commits = spool.commits;
    let is_removed = matches!(spool.health, Health::Removed { .. });
    metrics::STATE_REMOVED.set(&[], f64::from(u8::from(is_removed)));
    let Ok(disk) = rustix::fs::statvfs(&parts.in_force.started().state_dir) else { return };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    metrics::STATE_FREE_BYTES.set(&[], free as f64);
    let left = Left { disk: free, spool: spool.limit.saturating_sub(spool.bytes) };
    let full_in = seen.growth.look(Instant::now(), left);
    metrics::SECONDS_TO_FULL.set(&[], full_in.unwrap_or(f64::INFINITY));
    parts.history.full_in(full_in);
}

fn show_letters(parts: &Parts) {
    let forwarders = parts.outputs.forwarders();
    let (dead, waiting, used) = {
        let letters = parts.dead_letters().look();
        let used = |name: &str| letters.kept_of(name) as f64 / letters.share_of(name).max(1) as f64;
        let used: Vec<f64> = forwarders.iter().map(|forwarder| used(forwarder.name())).collect();
        (letters.totals(), letters.waiting().clone(), used)
    };
    for ((source, reason), count) in &waiting {
        metrics::DEAD_LETTERS_BY_REASON.set(&[source, reason], *count as f64);
    }
    metrics::DEAD_LETTERS.set(&[], dead.count as f64);
    metrics::DEAD_LETTER_BYTES.set(&[], dead.bytes as f64);
    for (forwarder, used) in forwarders.iter().zip(used) {
        let waits = forwarder.unburied().is_some();
        metrics::OUTPUT_WAITS_FOR_LETTERS.set(&[forwarder.name()], f64::from(u8::from(waits)));
        metrics::DEAD_LETTERS_SHARE_USED.set(&[forwarder.name()], used);
    }
}

/// An output that cannot start keeps its events and nothing else from its work; a person must know of it.
fn show_outputs(parts: &Parts, seen: &mut Seen) {
    let forwarders = parts.outputs.forwarders();
    let left_behind = parts.outputs.left_behind();
    let running = forwarders.iter().map(|forwarder| (vec![forwarder.name().to_owned()], 1.0));
    seen.running.show(running.chain(left_behind.iter().map(|(name, _)| (vec![name.clone()], 0.0))));
    let (mut states, mut latencies) = (Vec::new(), Vec::new());
    for forwarder in forwarders {
        let name = forwarder.name();
        metrics::EVENTS_PENDING.set(&[name], forwarder.pending() as f64);
        metrics::EVENTS_IN_DOUBT.set(&[name], forwarder.in_doubt() as f64);
        let stalled = forwarder.stalled_for();
        metrics::OUTPUT_STALLED_SECONDS.set(&[name], stalled.as_secs_f64());
        warn_of_stall(&forwarder, stalled);
        metrics::OLDEST_PENDING_SECONDS.set(&[name], forwarder.oldest_pending().as_secs_f64());
        let endpoints = forwarder.balancer().snapshot();
        metrics::OUTPUT_IN_FLIGHT
            .set(&[name], endpoints.iter().map(|endpoint| endpoint.in_flight).sum::<usize>() as f64);
        for endpoint in endpoints {
            let labels = vec![name.to_owned(), endpoint.name];
            latencies.push((labels.clone(), endpoint.ewma_ms / 1000.0));
            states.push((labels, endpoint.state.number()));
        }
    }
    seen.states.show(states);
    seen.latencies.show(latencies);
}

/// A jump keeps nothing from being taken and forwarded, but a person must know of it.
fn show_clock(clock: Standing, seen: &mut Seen) {
    metrics::CLOCK_DIFFERENCE_SECONDS.set(&[], clock.difference_seconds);
    metrics::CLOCK_HELD.set(&[], f64::from(u8::from(clock.held)));
    metrics::CLOCK_JUMPS.add(&[], clock.jumps - seen.jumps);
    let (seconds, jumped) = (clock.difference_seconds, clock.jumps > seen.jumps);
    if jumped {
        tracing::error!(
            seconds,
            "the wall clock jumped; windows and ages continue by the time since boot until it comes back, or until `gatepost clock accept` confirms it"
        );
    }
    if (jumped || seen.held) && !clock.held {
        tracing::info!(seconds, "the wall clock is trusted again");
    }
    (seen.jumps, seen.held) = (clock.jumps, clock.held);
}

/// After so long without progress an output is reported, and again each time that it has passed.
const STALL: Duration = Duration::from_secs(60);

/// Other gateways could not do better, so readiness stays; but silence must not look like health.
fn warn_of_stall(forwarder: &Forwarder, stalled: Duration) {
    let (now, before) =
        (stalled.as_secs() / STALL.as_secs(), stalled.saturating_sub(EVERY).as_secs() / STALL.as_secs());
    if now > before {
        let (pending, last_error) = (forwarder.pending(), forwarder.last_error());
        let usable = forwarder.balancer().snapshot().iter().filter(|endpoint| endpoint.available_in.is_none()).count();
        let output = forwarder.name();
        tracing::error!(
            output,
            pending,
            usable_endpoints = usable,
            stalled_seconds = stalled.as_secs(),
            endpoint = last_error.as_ref().map(|error| error.endpoint.as_str()),
            outcome = last_error.as_ref().map(|error| error.outcome),
            detail = last_error.as_ref().map(|error| error.detail.as_str()),
            advice = last_error.as_ref().and_then(|error| error.advice.as_deref()),
            "an output makes no progress"
        );
    }
}
