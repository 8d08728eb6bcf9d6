//! Promise 2, "nothing acknowledged is lost", and promise 3, "once per workspace", against `kill -9`.
//!
//! Uploaders hold obligations: an event is owed from its acknowledgement on. The process is killed at random moments
//! under load, restarted, killed again. At the end every obligation must have been delivered, and nothing twice, to a
//! collector that answers unambiguously (one that recognises a batch id that it has seen). To one that recognises nothing,
//! what is there twice must have been counted, from one kill to the next, and hardly more than what was on its way.

#![expect(clippy::unwrap_used, reason = "a test may panic and say what it saw")]

#[path = "../support/mod.rs"]
mod support;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gatepost::cli::send::client::Client;
use gatepost::cli::simulate::collector::{Behaviour, Collector, Memory};
use gatepost::cli::simulate::events::{Host, Identity, Shape, SimulatedEvent};
use gatepost::cli::simulate::held::Held;
use support::{PATH, Running, Site, workspace};

/// Rounds of `kill -9`; more with GATEPOST_CRASH_ROUNDS.
const ROUNDS: u64 = 100;
/// The same where each round is counted by itself.
const COUNTED_ROUNDS: u64 = 40;
const UPLOADERS: u64 = 3;
/// Events of a batch where copies are counted.
const BATCH: u64 = 50;

/// What uploaders know: what they were promised, and what they sent without hearing an answer.
#[derive(Default)]
struct Oracle {
    owed: Mutex<HashSet<Identity>>,
    issued: Mutex<HashSet<Identity>>,
    stop: AtomicBool,
    uploads: AtomicU64,
}

/// One agent: it keeps a batch until it is acknowledged, whatever happens to the gateway meanwhile.
async fn agent(number: u64, client: Client, url: String, oracle: Arc<Oracle>) {
    let mut host = Host::new(format!("CRASH-{number}.plant.example"), number).with_system_share(0.0);
    let mut rng = fastrand::Rng::with_seed(number);
    while !oracle.stop.load(Ordering::Relaxed) {
        let batch: Vec<SimulatedEvent> = (0..rng.usize(1..60)).map(|_| host.next_event()).collect();
        oracle.issued.lock().unwrap().extend(batch.iter().map(SimulatedEvent::identity));
        let rows: Vec<Vec<u8>> = batch.iter().map(|event| event.render(Shape::Row)).collect();
        let body = [b"[".as_slice(), &rows.join(&b','), b"]"].concat();
        while !oracle.stop.load(Ordering::Relaxed) {
            let headers = [("content-type", "application/json")];
            let answer = client.post(&url, &headers, body.clone().into(), Duration::from_secs(5)).await;
            if answer.is_ok_and(|answer| answer.status == 204) {
                oracle.owed.lock().unwrap().extend(batch.iter().map(SimulatedEvent::identity));
                oracle.uploads.fetch_add(1, Ordering::Relaxed);
                break;
            }
            tokio::time::sleep(Duration::from_millis(rng.u64(5..50))).await;
        }
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// How many rounds, and what decides about their moments.
fn rounds(usual: u64) -> (u64, fastrand::Rng) {
    let rounds = variable("GATEPOST_CRASH_ROUNDS").unwrap_or(usual);
    let seed = variable("GATEPOST_CRASH_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("{rounds} rounds, GATEPOST_CRASH_SEED={seed}");
    (rounds, fastrand::Rng::with_seed(seed))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_nothing_arrives_twice_over_a_hundred_kills() {
    let (rounds, mut rng) = rounds(ROUNDS);
    let collector = Collector::start(Memory::Identities).await.unwrap();
    collector.set(Behaviour { recognise_repeats: true, latency: Duration::from_millis(3), ..Behaviour::default() });
    let site = Site::new(
        &workspace("workspace", &[&collector]),
        "[spool]\nsegment_size = \"1 MiB\"\nmax_size = \"256 MiB\"\n",
    );
    let running = site.start().await;
    let oracle = Arc::new(Oracle::default());
    let agents: Vec<_> = (0..UPLOADERS)
        .map(|number| tokio::spawn(agent(number, site.client(), site.url(PATH), Arc::clone(&oracle))))
        .collect();

    let mut running = Some(running);
    for round in 0..rounds {
        tokio::time::sleep(Duration::from_millis(rng.u64(20..400))).await;
        running.take().unwrap().kill();
        if round % 4 == 0 {
            // Killed again while it recovers.
            let again = site.launch();
            tokio::time::sleep(Duration::from_millis(rng.u64(1..60))).await;
            again.kill();
        }
        running = Some(site.start().await);
    }
    oracle.stop.store(true, Ordering::Relaxed);
    for agent in agents {
        agent.await.unwrap();
    }
    site.until_drained().await;
    assert!(running.take().unwrap().stop().success(), "{}", site.log());
    site.assert_audit_balances();

    let owed = oracle.owed.lock().unwrap();
    let issued = oracle.issued.lock().unwrap();
    let held = collector.held();
    let lost: Vec<_> = owed.iter().filter(|identity| !held.events.contains_key(*identity)).take(5).collect();
    assert!(lost.is_empty(), "acknowledged and lost, among others: {lost:?}\n{}", site.log());
    let twice: Vec<_> = held.events.iter().filter(|(_, times)| **times > 1).take(5).collect();
    assert!(twice.is_empty(), "delivered more than once, {} in all, among others: {twice:?}", held.repeated());
    assert!(held.events.keys().all(|identity| issued.contains(identity)), "delivered but never sent");
    assert_eq!(held.strangers, 0);
    println!(
        "{} kills, {} uploads acknowledged, {} events owed, {} delivered, {} repeats recognised by their id",
        rounds + rounds.div_ceil(4),
        oracle.uploads.load(Ordering::Relaxed),
        owed.len(),
        held.events.len(),
        collector.tally().repeats,
    );
    assert!(owed.len() as u64 > rounds * 10, "there was hardly any load: {} events", owed.len());
}

/// What one process left at collectors that recognise nothing.
#[derive(Debug, Clone, Copy, Default)]
struct Left {
    /// Events that are there beyond their first time, in all rounds so far.
    copies: u64,
    /// Events that may be there and were not settled when it was killed.
    in_flight: u64,
}

/// Kills the process and accounts for its round. Both collectors are frozen meanwhile, so that what it counted and what
/// they hold belong to one moment.
async fn kill_and_count(site: &Site, running: Running, collectors: [&Collector; 2], before: Left) -> Left {
    let frozen = [collectors[0].freeze().await, collectors[1].freeze().await];
    let counted = site.metric_if_up("gatepost_events_ambiguous_total").await.unwrap_or_default() as u64;
    let in_flight = collectors.map(Collector::in_flight).iter().sum();
    running.kill();
    let copies = collectors.map(|collector| collector.held()).into_iter().fold(Held::default(), |mut all, held| {
        all.merge(&held);
        all
    });
    let left = Left { copies: copies.copies(), in_flight };
    let made = left.copies - before.copies;
    assert!(made <= counted, "{made} copies, {counted} counted; {before:?}\n{}", site.log());
    let most = before.in_flight + 2 * BATCH;
    assert!(counted <= most, "{counted} counted, {} were in flight; {made} copies\n{}", before.in_flight, site.log());
    drop(frozen);
    left
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_kills_make_of_copies_is_counted_in_each_round_and_hardly_more() {
    let (rounds, mut rng) = rounds(COUNTED_ROUNDS);
    let first = Collector::start(Memory::Identities).await.unwrap();
    let collectors = [&first, &first.start_beside().await.unwrap()];
    collectors.map(|collector| collector.set(Behaviour { latency: Duration::from_millis(5), ..Behaviour::default() }));
    let output = workspace("workspace", &collectors) + &format!("max_batch_events = {BATCH}\n");
    let site = Site::new(&output, "[spool]\nsegment_size = \"1 MiB\"\nmax_size = \"256 MiB\"\n");
    let mut running = site.start().await;
    let oracle = Arc::new(Oracle::default());
    let agents: Vec<_> = (0..UPLOADERS)
        .map(|number| tokio::spawn(agent(number, site.client(), site.url(PATH), Arc::clone(&oracle))))
        .collect();

    let mut left = Left::default();
    for round in 0..rounds {
        tokio::time::sleep(Duration::from_millis(rng.u64(20..400))).await;
        left = kill_and_count(&site, running, collectors, left).await;
        if round % 4 == 0 {
            // Killed again while it recovers. What it had not sent again is still in doubt.
            let again = site.launch();
            tokio::time::sleep(Duration::from_millis(rng.u64(1..60))).await;
            let in_flight = left.in_flight;
            left = kill_and_count(&site, again, collectors, left).await;
            left.in_flight += in_flight;
        }
        running = site.start().await;
    }
    oracle.stop.store(true, Ordering::Relaxed);
    for agent in agents {
        agent.await.unwrap();
    }
    site.until_drained().await;
    left = kill_and_count(&site, running, collectors, left).await;
    site.assert_audit_balances();

    let held = collectors.map(|collector| collector.held());
    let owed = oracle.owed.lock().unwrap();
    let is_held = |identity: &&Identity| held.iter().any(|held| held.events.contains_key(*identity));
    assert_eq!(owed.iter().filter(is_held).count(), owed.len(), "acknowledged and lost\n{}", site.log());
    println!("{} events owed, {} copies", owed.len(), left.copies);
    assert!(left.copies > 0, "no kill made a copy: the test shows nothing");
}
