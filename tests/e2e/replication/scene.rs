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
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::servers::Servers;
use crate::support::{Running, Site, workspace};

pub(super) const AMBIGUOUS: &str = "gatepost_events_ambiguous_total{output=\"workspace\"}";

/// A gateway, and its way to the servers.
pub(super) struct Gateway {
    pub(super) site: Site,
    pub(super) running: Option<Running>,
    pub(super) way: Way,
    /// What processes that are gone had counted as ambiguous.
    counted: f64,
}

/// Carries connections to the servers until it is cut.
pub(super) struct Way {
    ports: Vec<u16>,
    cut: watch::Sender<bool>,
}

impl Way {
    async fn to(servers: &Servers) -> Self {
        let cut = watch::Sender::new(false);
        let mut ports = Vec::new();
        for server in servers.ports {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            ports.push(listener.local_addr().unwrap().port());
            let cut = cut.subscribe();
            tokio::spawn(async move {
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(carry(client, server, cut.clone()));
                }
            });
        }
        Self { ports, cut }
    }

    pub(super) fn set_cut(&self, is_cut: bool) {
        self.cut.send_replace(is_cut);
    }
}

async fn carry(mut client: TcpStream, port: u16, mut cut: watch::Receiver<bool>) {
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = cut.wait_for(|cut| *cut) => {}
    }
}

impl Gateway {
    pub(super) async fn new(name: &str, servers: &Servers, collector: &Collector) -> Self {
        let way = Way::to(servers).await;
        let addresses: Vec<String> = way.ports.iter().map(|port| format!("\"127.0.0.1:{port}\"")).collect();
        let rest = format!(
            "[spool]\nsegment_size = \"64 KiB\"\nmax_size = \"64 MiB\"\n[replication]\nkind = \"jetstream\"\nname = \"{name}\"\n\
             servers = [{}]\nmax_size = \"256 MiB\"\ntakeover_after = \"10 s\"\nwait_max = \"20 s\"\ntimeout = \"3 s\"\n",
            addresses.join(", ")
        );
        let site = Site::new(&workspace("workspace", &[collector]), &rest);
        Self { site, running: None, way, counted: 0.0 }
    }

    pub(super) async fn start(&mut self) {
        self.running = Some(self.site.start().await);
    }

    /// kill -9.
    pub(super) async fn kill(&mut self) {
        self.counted += self.site.metric(AMBIGUOUS).await;
        self.running.take().unwrap().kill();
    }

    pub(super) async fn upload(&self, client: &Client, events: &[SimulatedEvent]) -> bool {
        self.site.upload(client, body(events)).await.is_ok_and(|answer| answer.status == 204)
    }

    /// What it and its former processes have counted as ambiguous.
    pub(super) async fn ambiguous(&self) -> f64 {
        match self.running {
            Some(_) => self.counted + self.site.metric(AMBIGUOUS).await,
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
