//! A gateway for hosts that forward, an authority for their certificates, and a collector that recognises what it has seen.

use std::collections::HashSet;
use std::time::Duration;

use gatepost::lab::collector::{Behaviour, Collector, Memory};
use gatepost::lab::events::{Host, Identity, SimulatedEvent};
use gatepost::lab::wef::{Authority, Faults, Forwarder, Setting};
use gatepost::net::upload_client::Client;

use crate::support::{Site, workspace};

/// All that a test needs beside the hosts.
pub(crate) struct Scene {
    pub(crate) site: Site,
    pub(crate) authority: Authority,
    pub(crate) collector: Collector,
}

impl Scene {
    /// With more keys for the listener (such as `wef.read_existing_events = true`) and more tables in front of it.
    pub(crate) async fn new(listener: &str, rest: &str) -> Self {
        let own = tempfile::tempdir().unwrap();
        let dir = own.keep();
        let authority = Authority::new("Plant hosts").unwrap();
        std::fs::write(dir.join("hosts-ca.pem"), authority.pem()).unwrap();
        let collector = Collector::start(Memory::Identities).await.unwrap();
        collector.set(Behaviour { recognise_repeats: true, ..Behaviour::default() });
        let outputs = format!(
            "tls.client_ca = \"{}\"\nwef.enabled = true\n{listener}\n{}",
            dir.join("hosts-ca.pem").display(),
            workspace("workspace", &[&collector])
        );
        let spool = "[spool]\nsegment_size = \"1 MiB\"\nmax_size = \"64 MiB\"\n";
        let site = Site::at(&dir, &outputs, &format!("{rest}\n{spool}"));
        Self { site, authority, collector }
    }

    /// A client that shows the certificate of this name. Make it after the first start.
    pub(crate) fn client(&self, name: &str) -> Client {
        let pem = std::fs::read(self.site.state().join("tls/cert.pem")).unwrap();
        Client::showing(Some(&pem), self.authority.issue(name).unwrap()).unwrap()
    }

    pub(crate) fn manager(&self) -> String {
        self.site.url("/wsman/SubscriptionManager/WEC")
    }

    /// A host of this name, which shows a certificate of that name.
    pub(crate) fn host(&self, name: &str, faults: Faults, seed: u64) -> Forwarder {
        let setting = Setting { host: name.to_owned(), manager: self.manager(), client: self.client(name) };
        Forwarder::new(setting, faults, seed)
    }

    /// Waits until the collector holds all of these, and sees that it holds none twice and nothing else.
    pub(crate) async fn assert_arrived_once(&self, owed: &HashSet<Identity>) {
        self.site.until_drained().await;
        let held = self.collector.held();
        let lost: Vec<_> = owed.iter().filter(|identity| !held.events.contains_key(*identity)).take(5).collect();
        assert!(lost.is_empty(), "lost, among others: {lost:?}\n{}", self.site.log());
        let twice: Vec<_> = held.events.iter().filter(|(_, times)| **times > 1).take(5).collect();
        assert!(twice.is_empty(), "twice, among others: {twice:?}\n{}", self.site.log());
        let strange: Vec<_> = held.events.keys().filter(|identity| !owed.contains(*identity)).take(5).collect();
        assert!(strange.is_empty() && held.strangers == 0, "not sent, among others: {strange:?}");
    }

    /// What `/status` says of the first host.
    pub(crate) async fn shown(&self) -> serde_json::Value {
        self.site.status().await["wef"].clone()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.site.dir));
    }
}

/// So many events of a host of this name.
pub(crate) fn events(name: &str, seed: u64, count: usize, system_share: f64) -> Vec<SimulatedEvent> {
    Host::new(name, seed).with_system_share(system_share).take(count).collect()
}

pub(crate) fn identities<'e>(events: impl IntoIterator<Item = &'e SimulatedEvent>) -> HashSet<Identity> {
    events.into_iter().map(SimulatedEvent::identity).collect()
}

/// Delivers until all is acknowledged, whatever happens to the gateway meanwhile.
pub(crate) async fn deliver_all(host: &mut Forwarder, most: usize) {
    let until = tokio::time::Instant::now() + crate::support::PATIENCE;
    loop {
        match host.deliver(most).await {
            Ok(_) => return,
            Err(error) => assert!(tokio::time::Instant::now() < until, "never delivered: {error:#}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits for something that must happen.
pub(crate) async fn until(mut condition: impl AsyncFnMut() -> bool) {
    let until = tokio::time::Instant::now() + crate::support::PATIENCE;
    while !condition().await {
        assert!(tokio::time::Instant::now() < until, "it never happens");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
