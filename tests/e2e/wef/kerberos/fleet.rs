//! A fleet under tickets through kills, lost answers, and the end of the process that accepts tickets.

use std::collections::HashSet;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gatepost::lab::wef::kerberos::{self as lab, Scheme};
use gatepost::lab::wef::{Faults, Forwarder};

use super::super::fleet::variable;
use super::super::scene::{deliver_all, events, identities, until};
use super::kdc::SERVICES;
use super::{Domain, heartbeat, name, post};
use crate::support::Running;

/// Hosts of the fleet; more with GATEPOST_KERBEROS_HOSTS.
const HOSTS: u64 = 20;
/// Kills; more with GATEPOST_WEF_ROUNDS.
const ROUNDS: u64 = 6;
const EVENTS: usize = 120;

/// Logs bit by bit and delivers, whatever happens, until it is told that nobody is killed any more.
async fn forward(mut host: Forwarder, name: String, seed: u64, calm: Arc<AtomicBool>) {
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
async fn every_event_arrives_once_over_kills_lost_answers_and_new_tickets() {
    let (hosts, rounds) = (variable("GATEPOST_KERBEROS_HOSTS", HOSTS), variable("GATEPOST_WEF_ROUNDS", ROUNDS));
    let seed = variable("GATEPOST_WEF_SEED", fastrand::u64(..));
    println!("{hosts} hosts, {rounds} rounds, GATEPOST_WEF_SEED={seed}");
    let domain = Domain::new(hosts as usize, "wef.read_existing_events = true\nidentity.policy = \"enforce\"").await;
    let mut running = Some(domain.site().start().await);
    let calm = Arc::new(AtomicBool::new(false));
    let faults = Faults { lost_answers: 0.1, forgetfulness: 0.1 };
    let mut owed = HashSet::new();
    let mut fleet = Vec::new();
    for n in 0..hosts {
        let scheme = if n % 2 == 0 { Scheme::Kerberos } else { Scheme::Negotiate };
        let own = name(n as usize);
        owed.extend(identities(&events(&own, seed ^ n, EVENTS, 0.0)));
        let host = domain.host(n as usize, SERVICES[(n % 3 / 2) as usize], scheme, faults);
        fleet.push(tokio::spawn(forward(host, own, seed ^ n, Arc::clone(&calm))));
    }
    let mut rng = fastrand::Rng::with_seed(seed);
    for _ in 0..rounds {
        tokio::time::sleep(Duration::from_millis(rng.u64(100..900))).await;
        running.take().expect("it runs").kill();
        running = Some(domain.site().start().await);
    }
    calm.store(true, Ordering::Relaxed);
    for host in fleet {
        host.await.unwrap();
    }
    domain.scene.assert_arrived_once(&owed).await;
    assert!(running.take().expect("it runs").stop().success());
    domain.site().assert_audit_balances();
}

/// The processes that a gateway has started.
fn started_by(running: &Running) -> Vec<String> {
    let threads = std::fs::read_dir(format!("/proc/{}/task", running.id())).unwrap();
    let children = threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("children")).ok());
    children.flat_map(|ids| ids.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_the_process_that_accepts_tickets_ends_nothing_else() {
    let domain = Domain::new(2, "").await;
    let running = domain.site().start().await;
    assert_eq!(started_by(&running), Vec::<String>::new(), "nobody has shown a ticket");
    let (mut wire, mut ticket) = domain.greeted(0).await;
    let before = started_by(&running);
    let [accepting] = &before[..] else { panic!("{before:?}") };
    assert!(Command::new("kill").args(["-9", accepting]).status().unwrap().success());
    let message = heartbeat(0);
    let sealed = ticket.seal(&message).await.unwrap();
    let reply = post(&mut wire, &lab::framed(Scheme::Kerberos, message.len(), &sealed)).await.unwrap();
    assert_eq!(reply.status, 204, "who was there before goes on");
    // The first one may find that the process has gone.
    let (_, token) = domain.kdc.token("PC1$", Scheme::Kerberos).await;
    let mut other = lab::Wire::open(&domain.address()).await.unwrap();
    let status = lab::greet(&mut other, super::PATH, Scheme::Kerberos, &token).await.unwrap().status;
    assert!([200, 503].contains(&status), "{status}");
    domain.greeted(1).await;
    let after = started_by(&running);
    assert!(after.len() == 1 && after != before, "{after:?}");
    assert!(running.stop().success());
    let ended = async || std::fs::read(format!("/proc/{}/cmdline", after[0])).unwrap_or_default().is_empty();
    until(ended).await;
}
