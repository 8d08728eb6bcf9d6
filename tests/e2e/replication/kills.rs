//! Gateways and servers are killed and cut off under load.
//!
//! `GATEPOST_REPLICATION_ROUNDS` (5) faults, from `GATEPOST_REPLICATION_SEED` (1), under uploads of less than
//! `GATEPOST_REPLICATION_BATCH` (120) events, at most 800: an upload may have 1 MB. `GATEPOST_BINARY` names the gateways to start, for
//! more events a second than an unoptimised build takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gatepost::lab::collector::{Collector, Memory};

use super::scene::{Gateway, agent, assert_all_arrived, three};
use super::servers::Servers;
use super::way::Carries;
use crate::cluster::kills::agent as to_two_gateways;
use crate::support::PATH;

pub(super) fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What happens in a round.
#[derive(Debug, Clone, Copy)]
enum Fault {
    KillGateway,
    /// So many servers at once.
    KillServers(usize),
    /// A server and the other two, or a gateway and all servers, do not reach each other.
    Partition,
}

use Fault::{KillGateway, KillServers, Partition};

/// In 90 rounds: 50 kills of a gateway, 20 of a server, 5 of two, 5 of all three, 10 partitions.
const ROUNDS: [Fault; 18] = [
    KillGateway,
    KillServers(1),
    KillGateway,
    Partition,
    KillGateway,
    KillServers(2),
    KillGateway,
    KillGateway,
    KillServers(1),
    KillGateway,
    Partition,
    KillGateway,
    KillServers(1),
    KillGateway,
    KillServers(3),
    KillGateway,
    KillServers(1),
    KillGateway,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_and_partitions_of_gateways_and_servers_lose_nothing_and_what_goes_twice_is_counted() {
    let (rounds, seed) = (number("GATEPOST_REPLICATION_ROUNDS", 5), number("GATEPOST_REPLICATION_SEED", 1));
    let batch = usize::try_from(number("GATEPOST_REPLICATION_BATCH", 120)).unwrap();
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut servers = Servers::start().await;
    let (collector, mut gateways) = three(&servers).await;
    let stop = Arc::new(AtomicBool::new(false));
    let doors: Vec<_> = gateways.iter().map(|gateway| (gateway.site.url(PATH), gateway.site.client())).collect();
    let begin = |host: u64| {
        let door = doors[usize::try_from(host).unwrap() % 3].clone();
        tokio::spawn(agent(seed * 100 + host, door, batch, Arc::clone(&stop)))
    };
    let agents: Vec<_> = (0..6).map(begin).collect();
    let began = tokio::time::Instant::now();
    faults(rounds, &mut servers, &mut gateways, &mut rng).await;
    stop.store(true, Ordering::Relaxed);
    let seconds = began.elapsed().as_secs_f64();
    let mut acknowledged = std::collections::HashSet::new();
    for agent in agents {
        acknowledged.extend(agent.await.unwrap());
    }
    assert_all_arrived(&collector, &acknowledged, &gateways).await;
    let (events, copies) = (acknowledged.len(), collector.held().copies());
    println!(
        "seed {seed}: {rounds} faults in {seconds:.0} s, {events} events ({:.0}/s) acknowledged, {copies} arrived twice",
        events as f64 / seconds
    );
}

/// So many of the rounds, from the first on.
async fn faults(rounds: u64, servers: &mut Servers, gateways: &mut [Gateway], rng: &mut fastrand::Rng) {
    for fault in ROUNDS.into_iter().cycle().take(usize::try_from(rounds).unwrap()) {
        tokio::time::sleep(Duration::from_millis(rng.u64(500..1_500))).await;
        match fault {
            KillGateway => kill_gateway(&mut gateways[rng.usize(..3)], rng).await,
            KillServers(count) => kill_servers(servers, count, rng).await,
            Partition => part(servers, gateways, rng).await,
        }
        for gateway in &*gateways {
            gateway.site.until_ready().await;
        }
    }
}

/// With the same variables. Agents go on at another gateway where one does not answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_and_partitions_forward_nothing_twice_that_agents_send_to_two_gateways() {
    let (rounds, seed) = (number("GATEPOST_REPLICATION_ROUNDS", 5), number("GATEPOST_REPLICATION_SEED", 1));
    let batch = usize::try_from(number("GATEPOST_REPLICATION_BATCH", 60)).unwrap();
    let mut rng = fastrand::Rng::with_seed(seed + 1_000);
    let mut servers = Servers::start().await;
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let mut gateways = Vec::new();
    for name in ["one", "two", "three"] {
        let mut gateway = Gateway::remembering(name, &servers, &collector).await;
        gateway.start().await;
        gateways.push(gateway);
    }
    let doors = gateways.iter().map(|gateway| (gateway.site.url(PATH), gateway.site.client())).collect();
    let (doors, stop) = (Arc::new(doors), Arc::new(AtomicBool::new(false)));
    let begin =
        |host: u64| tokio::spawn(to_two_gateways(seed * 100 + host, Arc::clone(&doors), batch, Arc::clone(&stop)));
    let agents: Vec<_> = (0..6).map(begin).collect();
    let began = tokio::time::Instant::now();
    faults(rounds, &mut servers, &mut gateways, &mut rng).await;
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = std::collections::HashSet::new();
    for agent in agents {
        acknowledged.extend(agent.await.unwrap());
    }
    let seconds = began.elapsed().as_secs_f64();
    assert_all_arrived(&collector, &acknowledged, &gateways).await;
    let (events, copies) = (acknowledged.len(), collector.held().copies());
    println!(
        "seed {seed}: {rounds} faults in {seconds:.0} s, {events} events ({:.0}/s, each sent to two), {copies} arrived twice",
        events as f64 / seconds
    );
}

async fn kill_gateway(gateway: &mut Gateway, rng: &mut fastrand::Rng) {
    gateway.kill().await;
    tokio::time::sleep(Duration::from_millis(rng.u64(0..400))).await;
    // Not ready while there is no leader, which is none of its doing.
    gateway.running = Some(gateway.site.launch());
}

async fn kill_servers(servers: &mut Servers, count: usize, rng: &mut fastrand::Rng) {
    let first = rng.usize(..3);
    let killed: Vec<usize> = (0..count).map(|n| (first + n) % 3).collect();
    killed.iter().for_each(|n| servers.kill(*n));
    tokio::time::sleep(Duration::from_millis(rng.u64(200..2_500))).await;
    killed.iter().for_each(|n| servers.begin(*n));
}

/// For as long as an election takes, or a takeover.
async fn part(servers: &Servers, gateways: &[Gateway], rng: &mut fastrand::Rng) {
    let (n, how) = (rng.usize(..3), if rng.bool() { Carries::Nothing } else { Carries::Silence });
    let set: &dyn Fn(Carries) = if rng.bool() {
        &|carries| servers.others_are_reached_by(n, carries)
    } else {
        &|carries| gateways[n].servers_are_reached_by(carries)
    };
    set(how);
    tokio::time::sleep(Duration::from_millis(rng.u64(2_000..14_000))).await;
    set(Carries::Everything);
}
