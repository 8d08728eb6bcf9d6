//! A rolling upgrade: gateways behind HAProxy restart one after the other, then the servers do, under load of clients that keep their
//! connections and try nothing twice.
//!
//! `GATEPOST_ROLLING_ROUNDS` (1) times each.

use std::time::Duration;

use gatepost::lab::collector::{Collector, Memory};

use super::kills::number;
use super::scene::Gateway;
use super::servers::Servers;
use crate::balancer::{Balancer, Ports};
use crate::fleet::{Fleet, Pace};
use crate::support::{free_port, workspace};

/// Of the shipped configuration of HAProxy.
const LISTENER: &str =
    "tls.mode = \"off\"\nproxy_protocol_from = [\"127.0.0.1/32\"]\nauth = { networks = [\"127.0.1.0/24\"] }\n";

/// Waits until more uploads have come, to whichever gateway: clients keep their connections, so one that was away gets few.
async fn until_more_is_taken(gateways: &[Gateway]) {
    let before = taken(gateways).await;
    gateways[0].site.until("uploads are taken", async || taken(gateways).await > before + 200.0).await;
}

async fn taken(gateways: &[Gateway]) -> f64 {
    let mut taken = 0.0;
    for gateway in gateways {
        taken += gateway.site.metric("gatepost_events_spooled_total{input=\"uploads\"}").await;
    }
    taken
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_upgrade_of_gateways_and_of_servers_fails_no_upload() {
    let rounds = number("GATEPOST_ROLLING_ROUNDS", 1);
    let mut servers = Servers::start().await;
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let outputs = LISTENER.to_owned() + &workspace("workspace", &[&collector]);
    let mut gateways = Vec::new();
    for name in ["one", "two", "three"] {
        let mut gateway = Gateway::with(name, &servers, &outputs, "256 MiB").await;
        let patient = gateway.site.config().replace("drain_grace = \"0 s\"", "drain_grace = \"10 s\"");
        gateway.site.configure(&patient);
        gateway.start().await;
        gateways.push(gateway);
    }
    let folder = tempfile::tempdir().unwrap();
    let ports: [Ports; 3] = std::array::from_fn(|n| Ports::of(&gateways[n].site, free_port()));
    let mut balancer = Balancer::start(folder.path(), ports);
    balancer.until_it_listens(folder.path()).await;
    let fleet = Fleet::at(balancer.port, Pace { agents: 12, batch: 20, pause: Duration::from_millis(20) });
    for _ in 0..rounds {
        for n in 0..3 {
            until_more_is_taken(&gateways).await;
            let gateway = &mut gateways[n];
            assert!(gateway.running.take().unwrap().stop().success(), "{}", gateway.site.log());
            gateway.start().await;
        }
        for server in 0..3 {
            until_more_is_taken(&gateways).await;
            servers.restart(server).await;
        }
    }
    until_more_is_taken(&gateways).await;
    balancer.assert_runs(folder.path());
    let sites: Vec<_> = gateways.iter().map(|gateway| &gateway.site).collect();
    fleet.assert_none_failed(&sites, &collector).await;
    for gateway in &gateways {
        gateway.site.assert_audit_balances();
    }
}
