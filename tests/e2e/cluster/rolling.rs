//! A rolling upgrade: three gateways over one engine restart behind HAProxy, one after the other, under load of clients that keep their
//! connections and try nothing twice.
//!
//! `GATEPOST_ROLLING_ROUNDS` (1) times each, under `GATEPOST_ROLLING_AGENTS` (12) agents with uploads of `GATEPOST_ROLLING_BATCH`
//! (20) events, the first of which waits `GATEPOST_ROLLING_PAUSE_MS` (20) between two.

use std::time::Duration;

use gatepost::lab::collector::Collector;

use super::engine::Engine;
use super::kills::number;
use super::scene::collector;
use crate::balancer::{Balancer, Ports};
use crate::fleet::{Fleet, Pace};
use crate::support::{Running, Site, free_port, workspace};

/// Uploads come from HAProxy, which names their hosts; all is taken for as long as by default, since the shipped configuration has to
/// go with it.
fn site(name: &str, collector: &Collector, engine: u16) -> Site {
    let listener = "tls.mode = \"off\"\nproxy_protocol_from = [\"127.0.0.1/32\"]\n\
                    auth = { networks = [\"127.0.1.0/24\"] }\n";
    let dedup = format!(
        "[dedup]\nkind = \"redis\"\nsecret = \"{}\"\n[dedup.redis]\nname = \"{name}\"\naddresses = [\"127.0.0.1:{engine}\"]\n",
        super::scene::SECRET
    );
    let site = Site::new(&(listener.to_owned() + &workspace("workspace", &[collector])), &dedup);
    site.configure(&site.config().replace("drain_grace = \"0 s\"", "drain_grace = \"10 s\""));
    site
}

async fn received(site: &Site) -> f64 {
    site.metric("gatepost_events_received_total").await
}

/// Restarts each in turn, as soon as the one before is ready again and has work.
async fn roll(sites: [&Site; 3], running: &mut [Option<Running>; 3]) {
    for (site, running) in sites.into_iter().zip(running) {
        site.until("uploads come to the gateway that is about to restart", async || received(site).await > 100.0).await;
        let ended = running.take().expect("it runs").stop();
        assert!(ended.success(), "{}", site.log());
        *running = Some(site.start().await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_upgrade_of_three_gateways_fails_no_upload() {
    let setting = |name: &str, default| number(&format!("GATEPOST_ROLLING_{name}"), default);
    let rounds = setting("ROUNDS", 1);
    let pace = Pace {
        agents: u8::try_from(setting("AGENTS", 12)).expect("at most 255 agents"),
        batch: usize::try_from(setting("BATCH", 20)).expect("a number of events"),
        pause: Duration::from_millis(setting("PAUSE_MS", 20)),
    };
    let (engine, collector) = (Engine::start(&[]).await, collector().await);
    let sites = ["one", "two", "three"].map(|name| site(name, &collector, engine.port));
    let [one, two, three] = &sites;
    let sites = [one, two, three];
    let mut running = [Some(one.start().await), Some(two.start().await), Some(three.start().await)];
    let folder = tempfile::tempdir().unwrap();
    let mut balancer = Balancer::start(folder.path(), sites.map(|site| Ports::of(site, free_port())));
    balancer.until_it_listens(folder.path()).await;
    let fleet = Fleet::at(balancer.port, pace);
    for _ in 0..rounds {
        roll(sites, &mut running).await;
    }
    balancer.assert_runs(folder.path());
    fleet.assert_none_failed(&sites, &collector).await;
    assert_eq!(collector.held().copies(), 0, "each upload was sent once");
    for (site, running) in sites.into_iter().zip(running) {
        assert!(running.is_some_and(|running| running.stop().success()), "{}", site.log());
        site.assert_audit_balances();
    }
}
