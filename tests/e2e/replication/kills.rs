//! Gateways and servers are killed under load.
//!
//! `GATEPOST_REPLICATION_ROUNDS` (5) kills, from `GATEPOST_REPLICATION_SEED` (1).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::scene::{agent, assert_all_arrived, three};
use super::servers::Servers;
use crate::support::PATH;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_of_gateways_and_of_servers_lose_nothing_and_what_goes_twice_is_counted() {
    let (rounds, seed) = (number("GATEPOST_REPLICATION_ROUNDS", 5), number("GATEPOST_REPLICATION_SEED", 1));
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut servers = Servers::start().await;
    let (collector, mut gateways) = three(&servers).await;
    let stop = Arc::new(AtomicBool::new(false));
    let doors: Vec<_> = gateways.iter().map(|gateway| (gateway.site.url(PATH), gateway.site.client())).collect();
    let begin = |host: u64| {
        let door = doors[usize::try_from(host).unwrap() % 3].clone();
        tokio::spawn(agent(seed * 100 + host, door, 120, Arc::clone(&stop)))
    };
    let agents: Vec<_> = (0..6).map(begin).collect();
    let began = tokio::time::Instant::now();
    for round in 0..rounds {
        tokio::time::sleep(Duration::from_millis(rng.u64(500..1_500))).await;
        match round % 5 {
            // One server, two, or all of them; the rest of the time gateways.
            3 => kill_servers(&mut servers, 1 + usize::from(round % 10 > 5), &mut rng).await,
            4 => kill_servers(&mut servers, if round % 10 > 5 { 3 } else { 1 }, &mut rng).await,
            _ => {
                let gateway = &mut gateways[rng.usize(..3)];
                gateway.kill().await;
                tokio::time::sleep(Duration::from_millis(rng.u64(0..400))).await;
                // Not ready while there is no leader, which is none of its doing.
                gateway.running = Some(gateway.site.launch());
            }
        }
        for gateway in &gateways {
            gateway.site.until_ready().await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let seconds = began.elapsed().as_secs_f64();
    let mut acknowledged = std::collections::HashSet::new();
    for agent in agents {
        acknowledged.extend(agent.await.unwrap());
    }
    assert_all_arrived(&collector, &acknowledged, &gateways).await;
    let (events, copies) = (acknowledged.len(), collector.held().copies());
    println!(
        "seed {seed}: {rounds} kills, {events} events ({:.0}/s) acknowledged, {copies} arrived twice",
        events as f64 / seconds
    );
}

async fn kill_servers(servers: &mut Servers, count: usize, rng: &mut fastrand::Rng) {
    let first = rng.usize(..3);
    let killed: Vec<usize> = (0..count).map(|n| (first + n) % 3).collect();
    killed.iter().for_each(|n| servers.kill(*n));
    tokio::time::sleep(Duration::from_millis(rng.u64(200..2_500))).await;
    killed.iter().for_each(|n| servers.begin(*n));
}
