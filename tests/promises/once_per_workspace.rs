//! Promise 3: within the window an event is forwarded once, however often and by whatever road it comes.

use std::collections::HashSet;

use aws_lc_rs::digest::{SHA256, digest};
use gatepost::lab::collector::{Collector, Memory};
use gatepost::lab::events::{Host, Identity, Shape, SimulatedEvent};
use gatepost::net::upload_client::Client;

use crate::load::{SMALL_SPOOL, array, assert_each_once, lines, receipt};
use crate::support::{Site, workspace};

async fn collector() -> Collector {
    Collector::start(Memory::Identities).await.unwrap()
}

fn host(seed: u64) -> Host {
    Host::new(format!("ONCE-{seed}.plant.example"), seed)
}

fn identities(events: &[SimulatedEvent]) -> HashSet<Identity> {
    events.iter().map(SimulatedEvent::identity).collect()
}

/// Uploads to the plain door: how many were new, and how many were seen before.
async fn new_and_seen(site: &Site, client: &Client, headers: &[(&str, &str)], body: Vec<u8>) -> (u64, u64) {
    let receipt = receipt(site, client, headers, body).await;
    let number = |key: &str| receipt[key].as_u64().expect("a number");
    assert_eq!(number("received"), number("spooled") + number("duplicate"), "{receipt}");
    (number("spooled"), number("duplicate"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_a_restart_nor_a_crash_forgets_what_was_acknowledged() {
    let collector = collector().await;
    let site = Site::new(&workspace("workspace", &[&collector]), SMALL_SPOOL);
    let mut running = site.start().await;
    let client = site.client();
    let mut all = Vec::new();
    let mut hosts = host(1);
    // What the books have made durable, and what only the log knows at the moment of a crash.
    for round in 0..6 {
        let fresh: Vec<_> = hosts.by_ref().take(200).collect();
        assert_eq!(new_and_seen(&site, &client, &[], array(&fresh, Shape::Row)).await, (200, 0));
        all.extend(fresh);
        if round % 2 == 0 {
            assert!(running.stop().success(), "{}", site.log());
        } else {
            running.kill();
        }
        running = site.start().await;
        for earlier in all.chunks(200) {
            assert_eq!(new_and_seen(&site, &client, &[], array(earlier, Shape::Row)).await, (0, 200), "round {round}");
        }
    }
    site.until_drained().await;
    assert!(running.stop().success());
    // The crash may have repeated a batch at a collector that does not recognise it, never an upload.
    assert_eq!(collector.held().events.keys().cloned().collect::<HashSet<_>>(), identities(&all));
    site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_forgets_nothing_that_has_left_the_spool() {
    // Tiny segments and a quick output: what dedup must know is in the journal only.
    let collector = collector().await;
    let spool = "[spool]\nsegment_size = \"64 KiB\"\nmax_size = \"4 MiB\"\ncompression_level = 0\nrecycle = 0\n";
    let site = Site::new(&workspace("workspace", &[&collector]), spool);
    let running = site.start().await;
    let client = site.client();
    let all: Vec<_> = host(2).take(1_000).collect();
    for part in all.chunks(20) {
        assert_eq!(new_and_seen(&site, &client, &[], array(part, Shape::Row)).await, (20, 0));
    }
    site.until_drained().await;
    site.until("segments have gone", async || site.status().await["spool"]["first"] != 0).await;
    running.kill();
    let running = site.start().await;
    for part in all.chunks(100) {
        assert_eq!(new_and_seen(&site, &client, &[], array(part, Shape::Row)).await, (0, 100));
    }
    assert!(running.stop().success());
    assert_eq!(collector.held().events.len(), all.len());
    site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_event_as_xml_as_nested_json_and_as_a_flat_row_arrives_once() {
    let collector = collector().await;
    let site = Site::new(&workspace("workspace", &[&collector]), SMALL_SPOOL);
    let running = site.start().await;
    let client = site.client();
    let mut owed = HashSet::new();
    // Each shape comes first once, so that no order of roads is left out.
    for (seed, first) in Shape::ALL.into_iter().enumerate() {
        let events: Vec<_> = host(10 + seed as u64).with_system_share(0.2).take(150).collect();
        owed.extend(identities(&events));
        let bodies = |shape| match shape {
            Shape::Row => array(&events, shape),
            Shape::Xml | Shape::EvtxJson => lines(&events, shape),
        };
        assert_eq!(new_and_seen(&site, &client, &[], bodies(first)).await, (150, 0), "{first:?} first");
        for shape in Shape::ALL {
            assert_eq!(new_and_seen(&site, &client, &[], bodies(shape)).await, (0, 150), "{shape:?} after {first:?}");
        }
        // And by the other door.
        assert_eq!(site.upload(&client, array(&events, Shape::EvtxJson)).await.unwrap().status, 204);
        assert_eq!(site.upload(&client, array(&events, Shape::Row)).await.unwrap().status, 204);
    }
    site.until_drained().await;
    assert_each_once(&owed, &[&collector]);
    assert!(running.stop().success());
    site.assert_audit_balances();
}

/// Events of two cloned hosts, which share their name and count their records alike: 50 logons and 50 new processes. `blank`
/// stands around every name and number.
fn of_clones(blank: &str) -> Vec<u8> {
    let event = |event_id: u32, record_id: u32| {
        let element = |name: &str, value: &str| format!("<{name}>{blank}{value}{blank}</{name}>");
        let system = [
            "<Provider Name='Microsoft-Windows-Security-Auditing'/>".to_owned(),
            element("EventID", &event_id.to_string()),
            "<TimeCreated SystemTime='2026-03-01T08:00:00.5Z'/>".to_owned(),
            element("EventRecordID", &record_id.to_string()),
            element("Channel", "Security"),
            element("Computer", "CLONE.plant.example"),
        ];
        format!("<Event><System>{}</System><EventData/></Event>", system.join(blank))
    };
    let events: Vec<_> = (0..50).flat_map(|record_id| [event(4624, record_id), event(4688, record_id)]).collect();
    events.join("\n").into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_differ_in_their_event_ids_alone_are_all_forwarded_and_layout_makes_no_difference() {
    let collector = collector().await;
    let site = Site::new(&workspace("workspace", &[&collector]), SMALL_SPOOL);
    let mut running = site.start().await;
    let client = site.client();
    assert_eq!(new_and_seen(&site, &client, &[], of_clones("")).await, (100, 0), "a clone's events are not lost");
    assert_eq!(
        new_and_seen(&site, &client, &[], of_clones("\n      ")).await,
        (0, 100),
        "the same, for people to read"
    );
    running.kill();
    running = site.start().await;
    assert_eq!(new_and_seen(&site, &client, &[], of_clones(" ")).await, (0, 100), "remembered over a crash");
    site.until_drained().await;
    assert_eq!(collector.held().events.values().sum::<u32>(), 100);
    assert!(running.stop().success());
    site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_twice_in_one_upload_and_in_uploads_at_the_same_time_arrives_once() {
    let collector = collector().await;
    let site = Site::new(&workspace("workspace", &[&collector]), SMALL_SPOOL);
    let running = site.start().await;
    let client = site.client();
    let events: Vec<_> = host(20).take(300).collect();
    let doubled: Vec<_> = events.iter().chain(&events[..100]).cloned().collect();
    let bodies = [array(&doubled, Shape::Row), lines(&events, Shape::Xml), array(&events, Shape::EvtxJson)];
    let uploads = bodies.into_iter().cycle().take(12).map(|body| new_and_seen(&site, &client, &[], body));
    let answers = futures_util::future::join_all(uploads).await;
    assert_eq!(answers.iter().map(|(new, _)| new).sum::<u64>(), 300, "{answers:?}");
    site.until_drained().await;
    assert_each_once(&identities(&events), &[&collector]);
    assert!(running.stop().success());
    site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_of_one_group_meet_and_strangers_cannot_make_an_event_look_like_a_duplicate() {
    let hash = |token: &str| {
        let hash = digest(&SHA256, token.as_bytes());
        hex::encode(hash)
    };
    let token = |name: &str, group: &str| format!("{{ name = \"{name}\", sha256 = \"{}\"{group} }}", hash(name));
    let group = ", group = \"host-agents\"";
    let tokens = [token("ama", group), token("fluent-bit", group), token("stranger", ""), token("other", "")];
    let collector = collector().await;
    let outputs = format!("auth = {{ tokens = [{}] }}\n{}", tokens.join(", "), workspace("workspace", &[&collector]));
    let site = Site::new(&outputs, SMALL_SPOOL);
    let running = site.start().await;
    let client = site.client();
    let events: Vec<_> = host(30).take(100).collect();
    let upload = async |token: &str, shape: Shape| {
        let bearer = format!("Bearer {token}");
        new_and_seen(&site, &client, &[("authorization", &bearer)], lines(&events, shape)).await
    };
    // The stranger is first with everything that the host's own agents are going to send.
    assert_eq!(upload("stranger", Shape::Row).await, (100, 0));
    assert_eq!(upload("ama", Shape::EvtxJson).await, (100, 0), "a stranger was believed");
    assert_eq!(upload("fluent-bit", Shape::Xml).await, (0, 100), "two agents of one host did not meet");
    assert_eq!(upload("other", Shape::Row).await, (100, 0), "tokens without a group are on their own");
    assert_eq!(upload("stranger", Shape::Xml).await, (0, 100), "within its own scope");
    let denied = client.post(&site.url("/v1/events"), &[], "[]".into(), crate::support::PATIENCE).await.unwrap();
    assert_eq!(denied.status, 401);
    site.until_drained().await;
    assert!(collector.held().events.values().all(|times| *times == 3));
    assert!(running.stop().success());
    site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn record_ids_that_begin_again_after_a_log_was_cleared_are_new_events() {
    let collector = collector().await;
    let site = Site::new(&workspace("workspace", &[&collector]), SMALL_SPOOL);
    let running = site.start().await;
    let client = site.client();
    let before: Vec<_> = host(40).take(100).collect();
    let after: Vec<_> = host(40).starting_at(1_775_000_000).take(100).collect();
    assert_eq!(identities(&before), identities(&after), "the same record ids");
    assert_eq!(new_and_seen(&site, &client, &[], array(&before, Shape::Row)).await, (100, 0));
    assert_eq!(new_and_seen(&site, &client, &[], array(&after, Shape::Row)).await, (100, 0));
    site.until_drained().await;
    let held = collector.held();
    assert!(held.events.len() == 100 && held.events.values().all(|times| *times == 2), "both are kept");
    assert!(running.stop().success());
    site.assert_audit_balances();
}
