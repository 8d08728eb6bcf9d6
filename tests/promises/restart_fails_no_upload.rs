//! A restart fails no upload: of clients that keep their connections and try nothing twice, while one gateway of two restarts
//! behind a balancer, again and again.

use std::time::Duration;

use bytes::Bytes;
use gatepost::lab::collector::{Collector, Memory};
use tokio::net::TcpStream;

use crate::balancer::{Balancer, Ports};
use crate::fleet::{Agent, Fleet};
use crate::nginx::Nginx;
use crate::relay::{PROBE, Relay};
use crate::support::{PATIENCE, Running, Site, free_port, workspace};

/// A gateway that takes uploads for so long after readiness has fallen.
pub(crate) fn site(collector: &Collector, listener: &str, grace: &str) -> Site {
    let outputs = format!("tls.mode = \"off\"\n{listener}\n{}", workspace("workspace", &[collector]));
    let site = Site::new(&outputs, "");
    site.configure(&site.config().replace("drain_grace = \"0 s\"", &format!("drain_grace = \"{grace}\"")));
    site
}

/// Waits until uploads come to this gateway.
async fn until_busy(site: &Site) {
    let received = async || site.metric("gatepost_events_received_total").await;
    let before = received().await;
    site.until("uploads come to the gateway that is about to restart", async || received().await > before + 20.0).await;
}

async fn is_not_ready(site: &Site) -> bool {
    site.admin_get("/readyz").await.status == 503
}

/// Restarts one gateway under load, then the other, when the one before is ready again and `is_back`; the first once more, with
/// a drain before.
async fn restart_each(sites: [&Site; 2], running: &mut [Option<Running>; 2], is_back: impl AsyncFn(usize)) {
    for (number, drain_first) in [(0, false), (1, false), (0, true), (1, false)] {
        let site = sites[number];
        until_busy(site).await;
        if drain_first {
            let client = gatepost::net::upload_client::Client::new(None).unwrap();
            let url = format!("http://127.0.0.1:{}/drain", site.admin);
            let answer = client.post(&url, &[], Bytes::new(), PATIENCE).await.expect("the admin plane answers");
            let said: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
            let grace = Duration::from_secs_f64(said["taken_for_seconds"].as_f64().expect("how long"));
            assert!(is_not_ready(site).await && grace > PROBE);
            tokio::time::sleep(grace).await;
            site.until("the door closes after the grace", async || {
                TcpStream::connect(("127.0.0.1", site.uploads)).await.is_err()
            })
            .await;
        }
        assert!(running[number].take().expect("it runs").stop().success(), "{}", site.log());
        running[number] = Some(site.start().await);
        is_back(number).await;
    }
}

async fn start(sites: [&Site; 2]) -> [Option<Running>; 2] {
    [Some(sites[0].start().await), Some(sites[1].start().await)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_haproxy_a_restart_fails_no_upload() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let listener = "proxy_protocol_from = [\"127.0.0.1/32\"]\nauth = { networks = [\"127.0.1.0/24\"] }";
    // As long as by default, since the shipped configuration has to go with it.
    let (one, two) = (site(&collector, listener, "10 s"), site(&collector, listener, "10 s"));
    let sites = [&one, &two];
    let mut running = start(sites).await;
    let folder = tempfile::tempdir().unwrap();
    let mut balancer = Balancer::start(folder.path(), sites.map(|site| Ports::of(site, free_port())));
    balancer.until_it_listens(folder.path()).await;
    let fleet = Fleet::start(balancer.port);
    restart_each(sites, &mut running, async |_| ()).await;
    balancer.assert_runs(folder.path());
    fleet.assert_none_failed(&sites, &collector).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_nginx_which_asks_nobody_for_readiness_a_restart_fails_no_upload() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let listener = "proxy_protocol_from = [\"127.0.0.1/32\"]\nauth = { networks = [\"127.0.1.0/24\"] }";
    let (one, two) = (site(&collector, listener, "3 s"), site(&collector, listener, "3 s"));
    let sites = [&one, &two];
    let mut running = start(sites).await;
    let nginx = Nginx::start(sites.map(|site| site.uploads)).await;
    let fleet = Fleet::start(nginx.port);
    restart_each(sites, &mut running, async |_| ()).await;
    fleet.assert_none_failed(&sites, &collector).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_bare_relay_a_restart_fails_no_upload() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let (one, two) = (site(&collector, "", "3 s"), site(&collector, "", "3 s"));
    let sites = [&one, &two];
    let mut running = start(sites).await;
    let relay = Relay::start(sites).await;
    let fleet = Fleet::start(relay.port);
    restart_each(sites, &mut running, async |number| relay.until_it_sees(number).await).await;
    fleet.assert_none_failed(&sites, &collector).await;
}

#[tokio::test]
async fn a_second_signal_and_a_person_at_the_terminal_need_not_wait_for_the_grace() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let site = site(&collector, "", "10 min");
    let running = site.start().await;
    running.signal("TERM");
    site.until("readiness falls", async || is_not_ready(&site).await).await;
    let mut agent = Agent::new(1, site.uploads);
    let (events, body) = agent.next();
    let result = agent.upload(&mut None, &body).await;
    agent.note(&events, result);
    assert!(agent.failed.is_empty(), "uploads are taken during the grace: {:?}", agent.failed);
    assert!(running.stop().success(), "the second signal ends the grace, in good order\n{}", site.log());
    site.assert_audit_balances();

    let mut running = site.start().await;
    running.signal("INT");
    site.until("Ctrl-C waits for nobody", async || running.has_ended()).await;
}

#[tokio::test]
async fn a_listener_that_moves_with_a_reload_answers_on_the_connections_that_it_has() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let site = site(&collector, "", "10 min");
    let running = site.start().await;
    let mut agent = Agent::new(1, site.uploads);
    let mut kept = None;
    let (_, body) = agent.next();
    agent.upload(&mut kept, &body).await.unwrap();

    let config = std::fs::read_to_string(site.config_path()).unwrap();
    let (old, new) = (format!("127.0.0.1:{}", site.uploads), format!("127.0.0.1:{}", free_port()));
    site.configure(&config.replace(&old, &new));
    site.until("the old address is free", async || TcpStream::connect(&old).await.is_err()).await;
    let (_, body) = agent.next();
    agent.upload(&mut kept, &body).await.unwrap();
    assert!(kept.is_none(), "and its client is told to connect anew");
    running.kill();
}
