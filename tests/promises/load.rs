//! What the tests upload, and what they are owed for it.

use std::collections::HashSet;
use std::sync::LazyLock;
use std::time::Duration;

use gatepost::admin::Scrape;
use gatepost::lab::collector::Collector;
use gatepost::lab::events::{Host, Identity, Shape, SimulatedEvent};
use gatepost::lab::held::Held;
use gatepost::net::upload_client::Client;
use serde_json::Value;

use crate::support::Site;

/// A spool of small segments, so that they fill and go within a test.
pub(crate) const SMALL_SPOOL: &str = "[spool]\nsegment_size = \"1 MiB\"\nmax_size = \"64 MiB\"\n";

/// The metrics of this process, for gateways that run in it: there can be one recorder.
pub(crate) fn scrape() -> Scrape {
    static SCRAPE: LazyLock<Scrape> = LazyLock::new(|| Scrape::install().expect("nobody else installs one"));
    SCRAPE.clone()
}

/// An agent: a host's events, uploaded batch by batch, and what was acknowledged of them.
pub(crate) struct Agent {
    host: Host,
    client: Client,
    /// Acknowledged, so to be delivered.
    pub(crate) owed: HashSet<Identity>,
}

impl Agent {
    pub(crate) fn new(site: &Site, name: &str, seed: u64) -> Self {
        Self { host: Host::new(name, seed), client: site.client(), owed: HashSet::new() }
    }

    /// The next so many events.
    pub(crate) fn events(&mut self, count: usize) -> Vec<SimulatedEvent> {
        self.host.by_ref().take(count).collect()
    }

    /// Uploads so many new events, which must be acknowledged.
    pub(crate) async fn upload(&mut self, site: &Site, count: usize) {
        let events = self.events(count);
        let answer = site.upload(&self.client, array(&events, Shape::Row)).await.expect("the gateway answers");
        assert_eq!(answer.status, 204, "{}\n{}", String::from_utf8_lossy(&answer.body), site.log());
        self.owed.extend(events.iter().map(SimulatedEvent::identity));
    }
}

/// Events as a JSON array, in one of the two JSON shapes.
pub(crate) fn array(events: &[SimulatedEvent], shape: Shape) -> Vec<u8> {
    let records: Vec<Vec<u8>> = events.iter().map(|event| event.render(shape)).collect();
    [b"[".as_slice(), &records.join(&b','), b"]"].concat()
}

/// Events one a line.
pub(crate) fn lines(events: &[SimulatedEvent], shape: Shape) -> Vec<u8> {
    events.iter().map(|event| event.render(shape)).collect::<Vec<_>>().join(&b'\n')
}

/// Posts to the plain door and returns the receipt.
pub(crate) async fn receipt(site: &Site, client: &Client, headers: &[(&str, &str)], body: Vec<u8>) -> Value {
    let answer = client.post(&site.url("/v1/events"), headers, body.into(), Duration::from_secs(30)).await;
    let answer = answer.expect("the gateway answers");
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    serde_json::from_slice(&answer.body).expect("a receipt is JSON")
}

/// What all these collectors hold together.
pub(crate) fn held(collectors: &[&Collector]) -> Held {
    let mut all = Held::default();
    for collector in collectors {
        all.merge(&collector.held());
    }
    all
}

/// Everything that is owed is there, once, and nothing else.
pub(crate) fn assert_each_once(owed: &HashSet<Identity>, collectors: &[&Collector]) {
    let held = held(collectors);
    let lost: Vec<_> = owed.iter().filter(|identity| !held.events.contains_key(*identity)).collect();
    assert!(lost.is_empty(), "{} of {} lost, among them {:?}", lost.len(), owed.len(), &lost[..lost.len().min(3)]);
    assert_eq!(held.repeated(), 0, "delivered more than once");
    assert_eq!(held.strangers, 0);
    assert_eq!(held.events.len(), owed.len(), "delivered without having been acknowledged");
}

/// The state of an endpoint on the status page.
pub(crate) async fn endpoint_state(site: &Site, output: usize, endpoint: usize) -> String {
    let state = site.status().await["outputs"][output]["endpoints"][endpoint]["state"].take();
    state.as_str().expect("the status names it").to_owned()
}

/// What a command printed as JSON, one value a line.
pub(crate) fn json_lines(output: &std::process::Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}
