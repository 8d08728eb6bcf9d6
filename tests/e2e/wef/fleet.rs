//! A fleet through kills, lost answers and hosts that begin anew from what the gateway knows of them.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gatepost::lab::wef::{Faults, Forwarder};

use super::scene::{Scene, deliver_all, events, identities};

/// Hosts of the fleet; more with GATEPOST_WEF_HOSTS.
const HOSTS: u64 = 24;
/// Kills; more with GATEPOST_WEF_ROUNDS.
const ROUNDS: u64 = 12;
pub(crate) const EVENTS: usize = 120;

pub(crate) fn variable(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Logs bit by bit and delivers, whatever happens, until it is told that nobody is killed any more.
pub(crate) async fn forward(mut host: Forwarder, name: String, seed: u64, calm: Arc<AtomicBool>) {
    let all = events(&name, seed, EVENTS, 0.0);
    let mut rng = fastrand::Rng::with_seed(seed);
    while host.enumerate().await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut rest = all.iter();
    loop {
        let fresh: Vec<_> = rest.by_ref().take(rng.usize(1..12)).collect();
        fresh.iter().for_each(|event| host.log(event));
        host.deliver(rng.usize(1..20)).await.ok();
        if fresh.is_empty() && calm.load(Ordering::Relaxed) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(rng.u64(20..200))).await;
    }
    deliver_all(&mut host, 50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_arrives_once_over_kills_lost_answers_and_hosts_that_begin_anew() {
    let (hosts, rounds) = (variable("GATEPOST_WEF_HOSTS", HOSTS), variable("GATEPOST_WEF_ROUNDS", ROUNDS));
    let seed = variable("GATEPOST_WEF_SEED", fastrand::u64(..));
    println!("{hosts} hosts, {rounds} rounds, GATEPOST_WEF_SEED={seed}");
    // They all come from one address.
    let many = "limits.max_connections = 4096\nlimits.max_connections_per_address = 4096";
    let scene = Scene::new(&format!("wef.read_existing_events = true\n{many}"), "").await;
    let mut running = Some(scene.site.start().await);
    let calm = Arc::new(AtomicBool::new(false));
    let faults = Faults { lost_answers: 0.1, forgetfulness: 0.1 };
    let mut owed = HashSet::new();
    let mut fleet = Vec::new();
    for n in 0..hosts {
        let name = format!("pc{n}.plant.test");
        owed.extend(identities(&events(&name, seed ^ n, EVENTS, 0.0)));
        let host = scene.host(&name, faults, n);
        fleet.push(tokio::spawn(forward(host, name, seed ^ n, Arc::clone(&calm))));
    }
    let mut rng = fastrand::Rng::with_seed(seed);
    for _ in 0..rounds {
        tokio::time::sleep(Duration::from_millis(rng.u64(100..900))).await;
        running.take().expect("it runs").kill();
        running = Some(scene.site.start().await);
    }
    calm.store(true, Ordering::Relaxed);
    for host in fleet {
        host.await.unwrap();
    }
    scene.assert_arrived_once(&owed).await;
    assert!(running.take().expect("it runs").stop().success());
    scene.site.assert_audit_balances();
}
