//! Promise 2, "nothing acknowledged is lost", and promise 3, "once per workspace", against `kill -9`.
//!
//! Uploaders hold obligations: an event is owed from its acknowledgement on. The process is killed at random moments
//! under load, restarted, killed again. At the end every obligation must have been delivered, and nothing twice, to a
//! collector that answers unambiguously (one that recognises a batch id that it has seen).

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
use support::{PATH, Site, workspace};

/// Rounds of `kill -9`; more with GATEPOST_CRASH_ROUNDS.
const ROUNDS: u64 = 100;
const UPLOADERS: u64 = 3;

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_nothing_arrives_twice_over_a_hundred_kills() {
    let rounds = std::env::var("GATEPOST_CRASH_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS);
    let seed =
        std::env::var("GATEPOST_CRASH_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("{rounds} rounds, GATEPOST_CRASH_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);

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
