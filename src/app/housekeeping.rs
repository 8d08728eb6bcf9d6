//! What has to be done now and then: checkpoints, recycling, gauges, readiness.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::build::Parts;
use super::{series, sharing};
use crate::clock::Standing;
use crate::dedup::store::Store as _;
use crate::forward::Forwarder;
use crate::ingest::Trouble;
use crate::metrics;
use crate::spool::Health;
use crate::spool::dead_letter::DeadLetters;

/// How often.
const EVERY: Duration = Duration::from_secs(1);

/// How often outputs that could not start are tried again.
const RETRY_EVERY: Duration = Duration::from_secs(5);

/// Keeps house until it is stopped. A disk that hangs holds checkpoints up, not what is shown.
pub(super) async fn run(parts: Arc<Parts>, stop: CancellationToken) {
    let books = async {
        let mut tick = ticks(EVERY);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            checkpoint(&parts).await;
        }
    };
    let windows = async {
        let mut tick = ticks(EVERY);
        let mut seen = Seen::default();
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            // Off the runtime: it asks for locks that others hold while the disk works.
            let parts = Arc::clone(&parts);
            let shown = tokio::task::spawn_blocking(move || {
                show(&parts, &mut seen);
                seen
            });
            seen = shown.await.unwrap_or(seen);
        }
    };
    let left_behind = async {
        let mut tick = ticks(RETRY_EVERY);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            retry(&parts).await;
        }
    };
    tokio::join!(books, windows, left_behind);
}

/// Tries outputs again that could not start: what was in their way may be gone.
async fn retry(parts: &Parts) {
    let _alone = parts.reloading.lock().await;
    let config = parts.in_force.current();
    if parts.outputs.retry(parts.outputs_of(&config)) {
        series::begin_counters(parts);
        // The warning is a copy that looks renew; until the next one it would contradict the state that is shown beside it.
        show_running(parts);
    }
}

fn ticks(every: Duration) -> tokio::time::Interval {
    let mut tick = tokio::time::interval(every);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tick
}

/// Makes the read positions and the books durable, then lets the spool recycle what nobody needs any more. The positions
/// come first: what an output has passed over as damaged is then told before its segment goes.
///
/// Of a state that was taken away nothing is written: what stands at its path now may be somebody else's.
pub(super) async fn checkpoint(parts: &Arc<Parts>) {
    parts.books.flush().await;
    let spool = parts.spool.clone();
    let note = move |letters: &mut DeadLetters| if spool.is_in_place() { letters.note() } else { Ok(()) };
    // It is noted again with the next checkpoint.
    parts.dead_letters().work(note).await.ok();
    let parts = Arc::clone(parts);
    let work = move || -> anyhow::Result<()> {
        if !parts.spool.is_in_place() {
            return Ok(());
        }
        if let Err(error) = parts.clock.keep() {
            tracing::error!(%error, "the clock cannot be kept; another boot would take its time from the last one that was");
        }
        let low = parts.outputs.checkpoint();
        let damage = parts.spool.damage();
        damage.judge(|range| parts.outputs.unsettled(range));
        if let Err(error) = damage.keep() {
            // No output goes past it meanwhile, so nothing of it is released.
            tracing::error!(%error, "damage of the spool cannot be noted yet");
        }
        let counted = parts.books.checkpoint()?;
        if let Some(sharing) = &parts.sharing {
            sharing.keep();
        }
        if let Some(low) = low {
            parts.spool.release(counted.min(low));
        }
        Ok(())
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "the books cannot be made durable; the spool keeps what they need"),
        Err(ended) => tracing::error!(%ended, "a checkpoint ended badly"),
    }
}

/// Counters of inner layers as they were last shown.
#[derive(Clone, Copy, Default)]
struct Seen {
    evicted: u64,
    commits: u64,
    jumps: u64,
    held: bool,
    sharing: sharing::Seen,
}

/// Shows the state of everything as metrics, and what of it keeps the gateway from being ready.
fn show(parts: &Parts, seen: &mut Seen) {
    parts.tunnels.tidy();
    let spool = parts.spool.status();
    metrics::SPOOL_BYTES.set(&[], spool.bytes as f64);
    metrics::SPOOL_LIMIT_BYTES.set(&[], spool.limit as f64);
    metrics::SPOOL_EVENTS.set(&[], (spool.end - spool.first) as f64);
    metrics::SPOOL_COMMITS.add(&[], spool.commits - seen.commits);
    seen.commits = spool.commits;
    parts.readiness.set("the spool is at its watermark", spool.above_watermark);
    let is_removed = matches!(spool.health, Health::Removed { .. });
    metrics::STATE_REMOVED.set(&[], f64::from(u8::from(is_removed)));
    parts.readiness.set("the state was removed or replaced under the gateway", is_removed);
    parts.readiness.set("the disk of the spool is full or failing", spool.health != Health::Ok && !is_removed);
    show_troubles(parts);
    // Who is only starting is about to be ready.
    parts.uploads.set_ready(parts.readiness.reasons().iter().all(|reason| reason == super::STARTING));
    parts.judge();
    if let Ok(disk) = rustix::fs::statvfs(&parts.in_force.started().state_dir) {
        metrics::STATE_FREE_BYTES.set(&[], disk.f_bavail.saturating_mul(disk.f_frsize) as f64);
    }

    show_clock(parts.clock.standing(), seen);

    let remembered = parts.dedup.remembered();
    metrics::DEDUP_KEYS.set(&[], remembered.keys as f64);
    metrics::DEDUP_BYTES.set(&[], remembered.bytes as f64);
    metrics::DEDUP_EVICTED.add(&[], remembered.evicted - seen.evicted);
    seen.evicted = remembered.evicted;

    if let Some(sharing) = &parts.sharing {
        sharing.show(parts, &mut seen.sharing);
    }
    show_letters(parts);
    parts.uploads.agents().show();
    parts.expiry.show(parts);
    show_running(parts);

    for forwarder in parts.outputs.forwarders() {
        let name = forwarder.name();
        metrics::EVENTS_PENDING.set(&[name], forwarder.pending() as f64);
        metrics::EVENTS_IN_DOUBT.set(&[name], forwarder.in_doubt() as f64);
        let stalled = forwarder.stalled_for();
        metrics::OUTPUT_STALLED_SECONDS.set(&[name], stalled.as_secs_f64());
        warn_of_stall(&forwarder, stalled);
        metrics::OLDEST_PENDING_SECONDS.set(&[name], forwarder.oldest_pending().as_secs_f64());
        for endpoint in forwarder.balancer().snapshot() {
            metrics::ENDPOINT_IN_FLIGHT.set(&[name, &endpoint.name], endpoint.in_flight as f64);
            for state in crate::balancer::EndpointStatus::ALL {
                let is = f64::from(u8::from(endpoint.state == state));
                metrics::ENDPOINT_STATE.set(&[name, &endpoint.name, state.as_str()], is);
            }
        }
    }
    metrics::READY.set(&[], f64::from(u8::from(parts.readiness.is_ready())));
}

/// An output without room for its dead letters waits alone: that is told, and keeps the gateway from being ready only when no
/// output can go on. Another gateway may have room.
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
    let mut unburied = 0;
    for (forwarder, used) in forwarders.iter().zip(used) {
        let waits = forwarder.unburied().is_some();
        unburied += usize::from(waits);
        metrics::OUTPUT_WAITS_FOR_LETTERS.set(&[forwarder.name()], f64::from(u8::from(waits)));
        metrics::DEAD_LETTERS_SHARE_USED.set(&[forwarder.name()], used);
    }
    let all = unburied > 0 && unburied == forwarders.len();
    parts.readiness.set("no output can keep its dead letters", all);
    parts.readiness.warn("an output cannot keep its dead letters", unburied > 0 && !all);
}

/// An output that cannot start keeps its events and nothing else from its work; a person must know of it.
pub(super) fn show_running(parts: &Parts) {
    let forwarders = parts.outputs.forwarders();
    let left_behind = parts.outputs.left_behind();
    let running = forwarders.iter().map(|forwarder| (vec![forwarder.name().to_owned()], 1.0));
    let others = left_behind.iter().map(|(name, _)| (vec![name.clone()], 0.0));
    parts.running.lock().unwrap_or_else(PoisonError::into_inner).show(running.chain(others));
    parts.readiness.warn("an output cannot start", !left_behind.is_empty());
}

/// What only uploads can find out; what is wrong with the spool is seen above. What one client alone meets sends nobody away.
fn show_troubles(parts: &Parts) {
    parts.ingest.look_for_trouble();
    let lasting = parts.ingest.troubles();
    for trouble in Trouble::ALL.iter().filter(|trouble| trouble.is_told_to_readiness()) {
        let lasting = lasting.iter().find(|lasting| lasting.reason == trouble.code);
        let one_client = lasting.is_some_and(|lasting| lasting.one_client);
        parts.readiness.set(trouble.text, lasting.is_some() && !one_client);
        parts.readiness.warn(trouble.text, one_client);
    }
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
            "the wall clock jumped: windows and ages go on by the time since boot, until it comes back or `gatepost clock \
             accept` says that it is right now"
        );
    }
    if (jumped || seen.held) && !clock.held {
        tracing::info!(seconds, "the wall clock is believed again");
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
