//! Gateways over the servers, each by a way of its own that can be cut, and one collector that counts.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gatepost::lab::collector::{Collector, Memory};
use gatepost::lab::events::{Host, Identity, Shape, SimulatedEvent};
use gatepost::net::upload_client::Client;
use gatepost::replication::jetstream::JetStream;
use gatepost::replication::servers::{Chain, LogName, Servers as _};
use gatepost::replication::state::State;
use gatepost::replication::{Config, Kind};

use super::servers::Servers;
use super::way::{Carries, Way};
use crate::cluster::scene::SECRET;
use crate::support::{Running, Site, workspace};

pub(super) const AMBIGUOUS: &str = "gatepost_events_ambiguous_total{output=\"workspace\"}";
const POSSIBLE: &str = "gatepost_dedup_possible_duplicates_total";

/// A gateway, and its ways to the servers.
pub(super) struct Gateway {
    pub(super) site: Site,
    pub(super) running: Option<Running>,
    /// One to each server.
    ways: Vec<Way>,
    /// What processes that are gone had counted as ambiguous, or as possible duplicates.
    counted: f64,
}

impl Gateway {
    pub(super) async fn new(name: &str, servers: &Servers, collector: &Collector) -> Self {
        Self::with_room(name, servers, collector, "256 MiB").await
    }

    /// One of an installation whose servers keep so much.
    pub(super) async fn with_room(name: &str, servers: &Servers, collector: &Collector, max_size: &str) -> Self {
        Self::with(name, servers, &workspace("workspace", &[collector]), max_size).await
    }

    /// One with this TOML for its listener and its outputs.
    pub(super) async fn with(name: &str, servers: &Servers, outputs: &str, max_size: &str) -> Self {
        Self::of(name, servers, outputs, max_size, "").await
    }

    /// One that remembers events together with the others, at the servers.
    pub(super) async fn remembering(name: &str, servers: &Servers, collector: &Collector) -> Self {
        let dedup = format!("[dedup]\nkind = \"jetstream\"\nsecret = \"{SECRET}\"\n");
        Self::of(name, servers, &workspace("workspace", &[collector]), "256 MiB", &dedup).await
    }

    async fn of(name: &str, servers: &Servers, outputs: &str, max_size: &str, more: &str) -> Self {
        let mut ways = Vec::new();
        for port in servers.ports {
            ways.push(Way::to(port).await);
        }
        let addresses: Vec<String> = ways.iter().map(|way| format!("\"127.0.0.1:{}\"", way.port)).collect();
        let rest = format!(
            "[spool]\nsegment_size = \"64 KiB\"\nmax_size = \"64 MiB\"\n[replication]\nkind = \"jetstream\"\nname = \"{name}\"\n\
             servers = [{}]\nmax_size = \"{max_size}\"\ntakeover_after = \"10 s\"\nwait_max = \"20 s\"\ntimeout = \"3 s\"\n{more}",
            addresses.join(", ")
        );
        Self { site: Site::new(outputs, &rest), running: None, ways, counted: 0.0 }
    }

    /// How its ways to all servers are.
    pub(super) fn servers_are_reached_by(&self, carries: Carries) {
        self.ways.iter().for_each(|way| way.set(carries));
    }

    pub(super) async fn start(&mut self) {
        self.running = Some(self.site.start().await);
    }

    /// kill -9.
    pub(super) async fn kill(&mut self) {
        self.counted += self.counting().await;
        self.running.take().unwrap().kill();
    }

    pub(super) async fn upload(&self, client: &Client, events: &[SimulatedEvent]) -> bool {
        self.site.upload(client, body(events)).await.is_ok_and(|answer| answer.status == 204)
    }

    async fn counting(&self) -> f64 {
        self.site.metric(AMBIGUOUS).await + self.site.metric(POSSIBLE).await
    }

    /// What it and its former processes have counted as what may have gone twice.
    pub(super) async fn ambiguous(&self) -> f64 {
        match self.running {
            Some(_) => self.counted + self.counting().await,
            None => self.counted,
        }
    }

    pub(super) async fn replication(&self) -> serde_json::Value {
        self.site.status().await["replication"].take()
    }

    /// Waits until this process has acknowledged uploads of so many events.
    pub(super) async fn until_it_has_taken(&self, events: u64) {
        let taken =
            async || self.site.metric("gatepost_events_spooled_total{input=\"uploads\"}").await >= events as f64;
        self.site.until("it takes uploads", taken).await;
    }

    /// The item below which the servers think that its output needs nothing.
    pub(super) async fn told(&self, servers: &Servers) -> u64 {
        let log = self.replication().await["log"].as_str().and_then(LogName::parse).unwrap();
        let addresses = servers.ports.map(|port| format!("127.0.0.1:{port}")).to_vec();
        let config = Config { kind: Kind::Jetstream, servers: addresses, ..Config::default() };
        let state = JetStream::new(config).last(&Chain::State(log)).await.unwrap().unwrap();
        State::decode(&state.bytes).unwrap().lows.get("workspace").copied().unwrap_or(0)
    }

    /// How many logs it has taken over.
    pub(super) async fn taken_over(&self) -> u64 {
        self.replication().await["taken_over"].as_u64().unwrap()
    }
}

/// Three gateways that run.
pub(super) async fn three(servers: &Servers) -> (Collector, Vec<Gateway>) {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let mut gateways = Vec::new();
    for name in ["one", "two", "three"] {
        let mut gateway = Gateway::new(name, servers, &collector).await;
        gateway.start().await;
        gateways.push(gateway);
    }
    (collector, gateways)
}

pub(super) fn body(events: &[SimulatedEvent]) -> Vec<u8> {
    let rows: Vec<Vec<u8>> = events.iter().map(|event| event.render(Shape::Row)).collect();
    [b"[", &*rows.join(&b","[..]), b"]"].concat()
}

pub(super) fn events(host: u64, count: usize) -> Vec<SimulatedEvent> {
    Host::new(format!("HOST-{host}.plant.example"), host).take(count).collect()
}

pub(super) fn identities<'a>(events: impl IntoIterator<Item = &'a SimulatedEvent>) -> HashSet<Identity> {
    events.into_iter().map(SimulatedEvent::identity).collect()
}

/// A host that sends each upload to one gateway until that one has taken it; what was taken.
pub(super) async fn agent(host: u64, door: (String, Client), batch: usize, stop: Arc<AtomicBool>) -> HashSet<Identity> {
    let mut events = Host::new(format!("AGENT-{host}.plant.example"), host);
    let mut rng = fastrand::Rng::with_seed(host);
    let (mut taken, (url, client)) = (HashSet::new(), door);
    while !stop.load(Ordering::Relaxed) {
        let part: Vec<_> = events.by_ref().take(rng.usize(1..batch)).collect();
        let body = bytes::Bytes::from(body(&part));
        loop {
            let headers = [("content-type", "application/json")];
            let answer = client.post(&url, &headers, body.clone(), Duration::from_secs(30)).await;
            if answer.is_ok_and(|answer| answer.status == 204) {
                taken.extend(identities(&part));
                break;
            }
            if stop.load(Ordering::Relaxed) {
                return taken;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    taken
}

/// Nothing that was acknowledged is missing; what is there twice was counted.
pub(super) async fn assert_all_arrived(collector: &Collector, acknowledged: &HashSet<Identity>, gateways: &[Gateway]) {
    for gateway in gateways.iter().filter(|gateway| gateway.running.is_some()) {
        gateway.site.until_drained().await;
        gateway.site.assert_audit_balances();
    }
    assert_arrived(collector, acknowledged, gateways).await;
}

/// The same, whatever the gateways' own accounts say.
pub(super) async fn assert_arrived(collector: &Collector, acknowledged: &HashSet<Identity>, gateways: &[Gateway]) {
    for gateway in gateways.iter().filter(|gateway| gateway.running.is_some()) {
        gateway.site.until_drained().await;
    }
    let held = collector.held();
    let missing: Vec<&Identity> = acknowledged.iter().filter(|identity| !held.events.contains_key(*identity)).collect();
    let logs = || gateways.iter().map(|gateway| gateway.site.log()).collect::<Vec<_>>().join("\n---\n");
    assert!(
        missing.is_empty(),
        "{} of {} are lost, such as {:?}\n{}",
        missing.len(),
        acknowledged.len(),
        missing[0],
        logs()
    );
    let mut ambiguous = 0.0;
    for gateway in gateways {
        ambiguous += gateway.ambiguous().await;
    }
    let copies = held.copies() as f64;
    assert!(copies <= ambiguous, "{copies} arrived twice, and {ambiguous} were counted\n{}", logs());
}
