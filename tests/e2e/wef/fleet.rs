//! A fleet through kills, lost answers, hosts that begin anew, renewed certificates, another subscription, and a workspace that is
//! away.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gatepost::lab::collector::{Behaviour, Fault};
use gatepost::lab::wef::{Authority, Faults, Forwarder};

use super::scene::{Scene, deliver_all_within, events, identities};
use crate::support::Running;

/// Hosts of the fleet; more with GATEPOST_WEF_HOSTS.
const HOSTS: u64 = 48;
/// Kills; more with GATEPOST_WEF_ROUNDS.
const ROUNDS: u64 = 10;
const EVENTS: usize = 100;

const SECURITY: &str = "[[filter.rules]]\nname = \"all\"\nqueries = [\"Security!*\"]\noutputs = [\"workspace\"]\n";
const BOTH: &str =
    "[[filter.rules]]\nname = \"all\"\nqueries = [\"Security!*\", \"System!*\"]\noutputs = [\"workspace\"]\n";

pub(crate) fn variable(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// What every host of the fleet has.
struct Fleet {
    scene: Scene,
    /// Certificates are renewed by this one.
    successor: Authority,
    /// Nobody is killed any more, and hosts are asked for what they will be.
    calm: AtomicBool,
    /// How long the slowest may take.
    patience: Duration,
}

/// Logs bit by bit and delivers, whatever happens, until it is told that nobody is killed any more.
async fn forward(fleet: Arc<Fleet>, mut host: Forwarder, name: String, seed: u64) {
    let all = events(&name, seed, EVENTS, 0.3);
    let mut rng = fastrand::Rng::with_seed(seed);
    while host.enumerate().await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut rest = all.iter();
    loop {
        let fresh: Vec<_> = rest.by_ref().take(rng.usize(1..12)).collect();
        fresh.iter().for_each(|event| host.log(event));
        host.deliver(rng.usize(1..20)).await.ok();
        // Its Refresh is over, now and then its certificate is renewed.
        if rng.u8(0..8) == 0 {
            host.enumerate().await.ok();
        }
        if rng.u8(0..20) == 0 {
            host.show(fleet.scene.showing(fleet.successor.issue(&name).unwrap()));
        }
        if fresh.is_empty() && fleet.calm.load(Ordering::Relaxed) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(rng.u64(20..200))).await;
    }
    let until = tokio::time::Instant::now() + fleet.patience;
    while let Err(error) = host.enumerate().await {
        assert!(tokio::time::Instant::now() < until, "{name} never gets its subscriptions: {error:#}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    deliver_all_within(&mut host, 50, fleet.patience).await;
}

/// What happens to a gateway: it is killed again and again, its workspace goes and comes back, and its rules change.
async fn disturb(scene: &Scene, mut running: Running, rounds: u64, rng: &mut fastrand::Rng) -> Running {
    for round in 0..rounds {
        if round == rounds / 3 {
            scene.collector.set(Behaviour { fault: Some(Fault::Down), ..Behaviour::default() });
        }
        if round == rounds / 2 {
            scene.site.configure(&scene.site.config().replace(SECURITY, BOTH));
            running.signal("HUP");
        }
        if round == rounds * 2 / 3 {
            scene.collector.set(Behaviour { recognise_repeats: true, ..Behaviour::default() });
        }
        tokio::time::sleep(Duration::from_millis(rng.u64(100..900))).await;
        running.kill();
        running = scene.site.start().await;
    }
    running
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_arrives_once_over_kills_lost_answers_renewed_certificates_and_another_subscription() {
    let (hosts, rounds) = (variable("GATEPOST_WEF_HOSTS", HOSTS), variable("GATEPOST_WEF_ROUNDS", ROUNDS));
    let seed = variable("GATEPOST_WEF_SEED", fastrand::u64(..));
    println!("{hosts} hosts, {rounds} rounds, GATEPOST_WEF_SEED={seed}");
    // They all come from one address.
    let many = "limits.max_connections = 4096\nlimits.max_connections_per_address = 4096";
    let scene = Scene::new(&format!("wef.read_existing_events = true\n{many}"), SECURITY).await;
    let successor = Authority::new("Plant hosts 2").unwrap();
    scene.trust(&[&scene.authority, &successor]);
    let running = scene.site.start().await;
    let patience = crate::support::PATIENCE + Duration::from_millis(300) * u32::try_from(hosts).unwrap();
    let fleet = Arc::new(Fleet { scene, successor, calm: AtomicBool::new(false), patience });
    let faults = Faults { lost_answers: 0.1, forgetfulness: 0.1 };
    let mut owed = HashSet::new();
    let mut hosts_of_it = Vec::new();
    for n in 0..hosts {
        let name = format!("pc{n}.plant.test");
        owed.extend(identities(&events(&name, seed ^ n, EVENTS, 0.3)));
        let host = fleet.scene.host(&name, faults, n);
        hosts_of_it.push(tokio::spawn(forward(Arc::clone(&fleet), host, name, seed ^ n)));
    }
    let running = disturb(&fleet.scene, running, rounds, &mut fastrand::Rng::with_seed(seed)).await;
    fleet.calm.store(true, Ordering::Relaxed);
    for host in hosts_of_it {
        host.await.unwrap();
    }
    fleet.scene.assert_arrived_once(&owed).await;
    assert!(running.stop().success());
    fleet.scene.site.assert_audit_balances();
}
