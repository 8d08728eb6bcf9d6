//! A host that forwards goes on where it was at whatever gateway it reaches.

use gatepost::lab::collector::Collector;
use gatepost::lab::events::{Host, SimulatedEvent};
use gatepost::lab::wef::{Authority, Faults, Forwarder, Setting};
use gatepost::net::upload_client::Client;

use super::engine::Engine;
use super::scene::{Gateway, assert_all_arrived, collector, gateway_with, identities};

const HOST: &str = "pc1.plant.test";

struct Plant {
    engine: Engine,
    authority: Authority,
    collector: Collector,
    one: Gateway,
    two: Gateway,
    _dir: tempfile::TempDir,
}

impl Plant {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new("Plant hosts").unwrap();
        let ca = dir.path().join("hosts-ca.pem");
        std::fs::write(&ca, authority.pem()).unwrap();
        let listener =
            format!("tls.client_ca = \"{}\"\nwef.enabled = true\nwef.read_existing_events = false\n", ca.display());
        let (engine, collector) = (Engine::start(&[]).await, collector().await);
        let one = gateway_with("one", &listener, &collector, engine.port).await;
        let two = gateway_with("two", &listener, &collector, engine.port).await;
        Self { engine, authority, collector, one, two, _dir: dir }
    }

    /// What a host of this name reaches a gateway with.
    fn setting(&self, name: &str, gateway: &Gateway) -> Setting {
        let pem = std::fs::read(gateway.site.state().join("tls/cert.pem")).unwrap();
        let client = Client::showing(Some(&pem), self.authority.issue(name).unwrap()).unwrap();
        Setting { host: name.to_owned(), manager: gateway.site.url("/wsman/SubscriptionManager/WEC"), client }
    }

    fn host(&self, name: &str, gateway: &Gateway) -> Forwarder {
        Forwarder::new(self.setting(name, gateway), Faults::default(), 1)
    }

    /// The balancer sends a host elsewhere, where it asks what it is to forward.
    async fn send_to(&self, host: &mut Forwarder, gateway: &Gateway) {
        host.turn_to(self.setting(HOST, gateway));
        host.enumerate().await.unwrap();
    }
}

/// So many events of a host of this name.
fn events(name: &str, seed: u64, count: usize) -> Vec<SimulatedEvent> {
    Host::new(name, seed).with_system_share(0.0).take(count).collect()
}

fn log(host: &mut Forwarder, events: &[SimulatedEvent]) {
    events.iter().for_each(|event| host.log(event));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_goes_on_at_another_gateway_from_the_bookmark_that_the_first_one_kept() {
    let plant = Plant::new().await;
    let all = events(HOST, 1, 60);
    let mut host = plant.host(HOST, &plant.one);
    host.enumerate().await.unwrap();
    assert_eq!(host.deliver(7).await.unwrap(), 0, "it has only said that it begins");
    log(&mut host, &all[..20]);
    assert_eq!(host.deliver(7).await.unwrap(), 20);
    // What is logged on the way is not missed, and what was delivered is not sent again.
    log(&mut host, &all[20..35]);
    plant.send_to(&mut host, &plant.two).await;
    assert_eq!(host.deliver(7).await.unwrap(), 15);
    log(&mut host, &all[35..]);
    plant.send_to(&mut host, &plant.one).await;
    assert_eq!(host.deliver(7).await.unwrap(), 25, "its own bookmark is older than the other gateway's");
    for gateway in [&plant.one, &plant.two] {
        gateway.until_settled().await;
    }
    assert_all_arrived(&plant.collector, &identities(&all), &[&plant.one, &plant.two]);
    assert!(plant.collector.held().events.values().all(|times| *times == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_engine_known_hosts_go_on_and_a_new_one_waits_and_nothing_is_missed_after_it_forgot() {
    let mut plant = Plant::new().await;
    let all = events(HOST, 1, 60);
    let mut host = plant.host(HOST, &plant.one);
    host.enumerate().await.unwrap();
    host.deliver(7).await.unwrap();
    log(&mut host, &all[..20]);
    assert_eq!(host.deliver(7).await.unwrap(), 20);
    plant.engine.kill();
    let away = async || plant.one.site.status().await["sharing"]["engine"]["state"] == "away";
    plant.one.site.until("the engine is away", away).await;
    log(&mut host, &all[20..40]);
    assert_eq!(host.deliver(7).await.unwrap(), 20, "its gateway knows that the others know it");
    let mut new = plant.host("pc2.plant.test", &plant.one);
    new.enumerate().await.unwrap();
    let of_new = events("pc2.plant.test", 2, 10);
    log(&mut new, &of_new);
    let refused = new.deliver(7).await.unwrap_err().to_string();
    assert!(refused.contains("503"), "{refused}");
    // An engine that has nothing any more: what the gateways know is told to it.
    plant.engine.begin().await;
    plant.engine.empty();
    for gateway in [&plant.one, &plant.two] {
        gateway.until_connected().await;
    }
    log(&mut host, &all[40..]);
    plant.send_to(&mut host, &plant.two).await;
    host.deliver(7).await.unwrap();
    plant.one.site.until("the new one is taken", async || new.deliver(7).await.is_ok()).await;
    for gateway in [&plant.one, &plant.two] {
        gateway.until_settled().await;
    }
    let sent: Vec<SimulatedEvent> = all.into_iter().chain(of_new).collect();
    assert_all_arrived(&plant.collector, &identities(&sent), &[&plant.one, &plant.two]);
}
