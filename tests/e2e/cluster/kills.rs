//! Gateways and the engine are killed under load.
//!
//! `GATEPOST_CLUSTER_ROUNDS` (4) kills, from `GATEPOST_CLUSTER_SEED` (1), under uploads of less than `GATEPOST_CLUSTER_BATCH` (60) events.
//! `GATEPOST_BINARY` names the gateways to start, for more events a second than an unoptimised build takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gatepost::lab::events::{Host, Identity};
use gatepost::net::upload_client::Client;
use tokio::time::Instant;

use super::engine::Engine;
use super::scene::{assert_all_arrived, body, identities, sum, three};

pub(super) fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A host that sends each upload to two gateways, and again until both copies were taken by somebody.
pub(crate) async fn agent(
    host: u64,
    doors: Arc<Vec<(String, Client)>>,
    batch: usize,
    stop: Arc<AtomicBool>,
) -> Vec<Identity> {
    let mut events = Host::new(format!("AGENT-{host}.plant.example"), host);
    let mut rng = fastrand::Rng::with_seed(host);
    let mut sent = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let part: Vec<_> = events.by_ref().take(rng.usize(1..batch)).collect();
        let first = rng.usize(..doors.len());
        let copies = [first, (first + 1) % doors.len()].map(|door| take(&doors, door, body(&part)));
        let [one, other] = copies;
        tokio::join!(one, other);
        sent.extend(identities(&part));
    }
    sent
}

/// Until some gateway has taken it; the one that is asked first is asked again too.
async fn take(doors: &[(String, Client)], mut door: usize, body: Vec<u8>) {
    loop {
        let (url, client) = &doors[door];
        let headers = [("content-type", "application/json")];
        let answer = client.post(url, &headers, body.clone().into(), Duration::from_secs(20)).await;
        if answer.is_ok_and(|answer| answer.status == 204) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
        door = (door + 1) % doors.len();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_of_gateways_and_of_the_engine_lose_nothing_and_what_goes_twice_is_counted() {
    let (rounds, seed) = (number("GATEPOST_CLUSTER_ROUNDS", 4), number("GATEPOST_CLUSTER_SEED", 1));
    let batch = usize::try_from(number("GATEPOST_CLUSTER_BATCH", 60)).expect("a number of events");
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut engine = Engine::start(&[]).await;
    let (collector, mut gateways) = three(&engine, "").await;
    let doors: Vec<_> =
        gateways.iter().map(|gateway| (gateway.site.url(crate::support::PATH), gateway.site.client())).collect();
    let (doors, stop) = (Arc::new(doors), Arc::new(AtomicBool::new(false)));
    let agents: Vec<_> = (0..6)
        .map(|host| tokio::spawn(agent(seed * 100 + host, Arc::clone(&doors), batch, Arc::clone(&stop))))
        .collect();
    let begin = Instant::now();
    // Counters of a process end with it.
    let (mut ambiguous, mut possible) = (0.0, 0.0);
    let counted = ["gatepost_events_ambiguous_total", "gatepost_dedup_possible_duplicates_total"];
    for round in 0..rounds {
        tokio::time::sleep(Duration::from_millis(rng.u64(200..600))).await;
        if round % 4 == 3 {
            engine.kill();
            tokio::time::sleep(Duration::from_millis(rng.u64(0..2_500))).await;
            engine.begin().await;
            continue;
        }
        let gateway = &mut gateways[rng.usize(..3)];
        ambiguous += gateway.site.metric(counted[0]).await;
        possible += gateway.site.metric(counted[1]).await;
        gateway.kill();
        tokio::time::sleep(Duration::from_millis(rng.u64(0..400))).await;
        gateway.start().await;
    }
    stop.store(true, Ordering::Relaxed);
    let seconds = begin.elapsed().as_secs_f64();
    let mut sent = std::collections::HashSet::new();
    for agent in agents {
        sent.extend(agent.await.unwrap());
    }
    for gateway in &gateways {
        gateway.until_connected().await;
        super::scene::until(&gateway.site, "others know", async || gateway.sharing("alone").await == 0).await;
        gateway.until_settled().await;
        gateway.site.assert_audit_balances();
    }
    assert_all_arrived(&collector, &sent, &gateways.iter().collect::<Vec<_>>());
    ambiguous += sum(&gateways, counted[0]).await;
    possible += sum(&gateways, counted[1]).await;
    let copies = collector.held().copies() as f64;
    println!(
        "seed {seed}: {} events ({:.0}/s, each sent to two) in {rounds} kills, {copies} twice, {ambiguous} ambiguous, {possible} possible duplicates",
        sent.len(),
        sent.len() as f64 / seconds
    );
    assert!(copies <= ambiguous + possible, "{copies} went twice, and {ambiguous} + {possible} were counted");
}
