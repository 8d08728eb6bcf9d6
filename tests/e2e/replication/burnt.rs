//! The machine of a gateway is gone, with everything that it had acknowledged and not forwarded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gatepost::lab::collector::{Behaviour, Fault};

use super::scene::{agent, assert_all_arrived, assert_arrived, events, identities, three};
use super::servers::Servers;
use crate::support::PATH;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_outlives_the_machine_of_the_gateway() {
    let servers = Servers::start().await;
    let (collector, mut gateways) = three(&servers).await;
    let client = gateways[0].site.client();
    let sent = events(1, 300);
    let (forwarded, pending) = sent.split_at(100);
    for part in forwarded.chunks(20) {
        assert!(gateways[0].upload(&client, part).await);
    }
    gateways[0].site.until_drained().await;
    collector.set(Behaviour { fault: Some(Fault::Down), ..Behaviour::default() });
    for part in pending.chunks(20) {
        assert!(gateways[0].upload(&client, part).await, "{}", gateways[0].site.log());
    }
    let told = async || gateways[0].told(&servers).await >= 100;
    gateways[0].site.until("the servers know what was forwarded", told).await;
    gateways[0].kill().await;
    std::fs::remove_dir_all(gateways[0].site.state()).unwrap();
    let others = &gateways[1..];
    others[0]
        .site
        .until("another gateway takes it over", async || {
            others[0].taken_over().await + others[1].taken_over().await == 1
        })
        .await;
    collector.set(Behaviour::default());
    // The gateway comes back on an empty disk, and is one like the others.
    gateways[0].start().await;
    let (client, later) = (gateways[0].site.client(), events(2, 40));
    assert!(gateways[0].upload(&client, &later).await);
    assert_all_arrived(&collector, &identities(sent.iter().chain(&later)), &gateways).await;
    assert!(
        gateways[1].ambiguous().await + gateways[2].ambiguous().await <= 200.0,
        "what was forwarded is not sent again"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_loses_its_state_under_load_loses_nothing_that_it_acknowledged() {
    let servers = Servers::start().await;
    let (collector, mut gateways) = three(&servers).await;
    collector.set(Behaviour { latency: Duration::from_millis(300), ..Behaviour::default() });
    let stop = Arc::new(AtomicBool::new(false));
    let doors: Vec<_> = gateways.iter().map(|gateway| (gateway.site.url(PATH), gateway.site.client())).collect();
    let agents = (0..6).map(|host| tokio::spawn(agent(host, doors[host as usize % 3].clone(), 60, Arc::clone(&stop))));
    let agents: Vec<_> = agents.collect();
    gateways[0].until_it_has_taken(300).await;
    gateways[0].kill().await;
    std::fs::remove_dir_all(gateways[0].site.state().join("spool")).unwrap();
    std::fs::remove_dir_all(gateways[0].site.state().join("outputs")).unwrap();
    let others = &gateways[1..];
    let taken_over = async || others[0].taken_over().await + others[1].taken_over().await == 1;
    others[0].site.until("another gateway takes it over", taken_over).await;
    gateways[0].start().await;
    gateways[0].until_it_has_taken(100).await;
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = std::collections::HashSet::new();
    for agent in agents {
        acknowledged.extend(agent.await.unwrap());
    }
    collector.set(Behaviour::default());
    // The ledger is older than the log now, which has an account of its own: the promises of the state hold that.
    assert_arrived(&collector, &acknowledged, &gateways).await;
}
