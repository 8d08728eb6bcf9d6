//! Gateways, their engine, and one collector that counts.

use std::collections::HashSet;
use std::time::Duration;

use gatepost::lab::collector::{Collector, Memory};
use gatepost::lab::events::{Host, Identity, Shape, SimulatedEvent};
use gatepost::net::upload_client::Client;
use tokio::time::Instant;

use super::engine::Engine;
use crate::support::{PATIENCE, Running, Site, workspace};

/// What others change is in force within two seconds. A machine that runs other tests meanwhile gets four more.
pub(crate) const IN_FORCE_WITHIN: Duration = Duration::from_secs(6);

pub(crate) const SECRET: &str = "a secret that all gateways of this test share";

pub(crate) struct Gateway {
    pub(crate) site: Site,
    pub(crate) running: Option<Running>,
}

/// A gateway that finds the engine at this port, with more TOML for `dedup.redis`.
pub(super) async fn gateway(name: &str, collector: &Collector, port: u16, more: &str) -> Gateway {
    gateway_at(name, collector, &format!("addresses = [\"127.0.0.1:{port}\"]\n{more}")).await
}

/// A gateway with this TOML for `dedup.redis`.
pub(super) async fn gateway_at(name: &str, collector: &Collector, redis: &str) -> Gateway {
    let mut gateway = Gateway { site: site_at(name, collector, SECRET, redis), running: None };
    gateway.start().await;
    gateway
}

pub(super) fn site(name: &str, collector: &Collector, port: u16, secret: &str, more: &str) -> Site {
    site_at(name, collector, secret, &format!("addresses = [\"127.0.0.1:{port}\"]\n{more}"))
}

/// A gateway that finds the engine at this port, with more TOML for its listener.
pub(super) async fn gateway_with(name: &str, listener: &str, collector: &Collector, port: u16) -> Gateway {
    let redis = format!("addresses = [\"127.0.0.1:{port}\"]");
    let outputs = format!("{listener}\n{}", workspace("workspace", &[collector]));
    let mut gateway = Gateway { site: site_of(name, &outputs, SECRET, &redis), running: None };
    gateway.start().await;
    gateway
}

pub(super) fn site_at(name: &str, collector: &Collector, secret: &str, redis: &str) -> Site {
    site_of(name, &workspace("workspace", &[collector]), secret, redis)
}

/// Segments are as small as can be, so that what was forwarded leaves the spool.
fn site_of(name: &str, outputs: &str, secret: &str, redis: &str) -> Site {
    let dedup = format!(
        "[spool]\nsegment_size = \"64 KiB\"\nmax_size = \"64 MiB\"\n[dedup]\nkind = \"redis\"\nsecret = \"{secret}\"\n\
         [dedup.redis]\nname = \"{name}\"\nlease = \"1 s\"\ntimeout = \"1 s\"\n{redis}\n"
    );
    Site::new(outputs, &dedup)
}

impl Gateway {
    pub(crate) async fn start(&mut self) {
        self.running = Some(self.site.start().await);
    }

    pub(crate) fn kill(&mut self) {
        self.running.take().unwrap().kill();
    }

    /// Uploads; whether it was acknowledged.
    pub(crate) async fn upload(&self, client: &Client, events: &[SimulatedEvent]) -> bool {
        self.site.upload(client, body(events)).await.is_ok_and(|answer| answer.status == 204)
    }

    /// A number of `sharing` on `/status`.
    pub(crate) async fn sharing(&self, key: &str) -> u64 {
        self.site.status().await["sharing"][key].as_u64().unwrap()
    }

    /// Waits until nothing of it is undecided or unsent.
    pub(crate) async fn until_settled(&self) {
        until(&self.site, "everything is decided", async || self.sharing("undecided").await == 0).await;
        self.site.until_drained().await;
    }

    /// Waits until what it took first has left the spool.
    pub(super) async fn until_spool_begins_after(&self, ordinal: u64) {
        let is_after = async || self.site.status().await["spool"]["first"].as_u64().unwrap() >= ordinal;
        until(&self.site, "the spool lets go what was forwarded", is_after).await;
    }

    /// Waits until its engine is at this port.
    pub(super) async fn until_connected_to(&self, port: u16) {
        let place = format!("127.0.0.1:{port}");
        let connected = async || self.site.status().await["sharing"]["engine"]["address"] == *place;
        until(&self.site, "the engine is there", connected).await;
    }

    pub(crate) async fn until_connected(&self) {
        let connected = async || self.site.status().await["sharing"]["engine"]["state"] == "connected";
        until(&self.site, "the engine is there", connected).await;
    }
}

/// Waits for something.
pub(crate) async fn until(site: &Site, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < until, "never: {what}\n{}", site.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn body(events: &[SimulatedEvent]) -> Vec<u8> {
    let rows: Vec<Vec<u8>> = events.iter().map(|event| event.render(Shape::Row)).collect();
    [b"[", &*rows.join(&b","[..]), b"]"].concat()
}

pub(crate) fn events(host: u64, count: usize) -> Vec<SimulatedEvent> {
    Host::new(format!("HOST-{host}.plant.example"), host).take(count).collect()
}

pub(crate) fn identities<'a>(events: impl IntoIterator<Item = &'a SimulatedEvent>) -> HashSet<Identity> {
    events.into_iter().map(SimulatedEvent::identity).collect()
}

pub(crate) async fn collector() -> Collector {
    Collector::start(Memory::Identities).await.unwrap()
}

/// Three gateways over one engine.
pub(super) async fn three(engine: &Engine, more: &str) -> (Collector, Vec<Gateway>) {
    let collector = collector().await;
    let mut gateways = Vec::new();
    for name in ["one", "two", "three"] {
        gateways.push(gateway(name, &collector, engine.port, more).await);
    }
    (collector, gateways)
}

/// Nothing is missing, and nothing is there that was not sent.
pub(super) fn assert_all_arrived(collector: &Collector, sent: &HashSet<Identity>, gateways: &[&Gateway]) {
    let held = collector.held();
    let missing: Vec<&Identity> = sent.iter().filter(|identity| !held.events.contains_key(*identity)).collect();
    let logs = || gateways.iter().map(|gateway| gateway.site.log()).collect::<Vec<_>>().join("\n---\n");
    assert!(missing.is_empty(), "{} of {} are lost, such as {:?}\n{}", missing.len(), sent.len(), missing[0], logs());
    assert!(held.events.keys().all(|identity| sent.contains(identity)));
}

/// The sum of a series over gateways that run.
pub(super) async fn sum(gateways: &[Gateway], series: &str) -> f64 {
    let mut sum = 0.0;
    for gateway in gateways.iter().filter(|gateway| gateway.running.is_some()) {
        sum += gateway.site.metric(series).await;
    }
    sum
}
