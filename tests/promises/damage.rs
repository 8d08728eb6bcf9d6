//! Promise 12: damage is told and can be repaired. What a bad disk takes from the spool is counted once, named in the log, shown
//! by `/status` and the audit, and whoever still has it can send it again; what nobody lost pages nobody.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use gatepost::lab::collector::{Behaviour, Collector, Fault, Memory};
use gatepost::lab::events::{Host, Identity, Shape, SimulatedEvent};
use serde_json::Value;

use crate::load::{array, receipt};
use crate::support::{Site, workspace};

/// Small segments, and records as large as their events.
const SPOOL: &str = "[spool]\nsegment_size = \"64 KiB\"\nmax_size = \"64 MiB\"\ncompression_level = 0\n";
const COUNTER: &str = "gatepost_spool_damaged_events_total";

fn down() -> Behaviour {
    Behaviour { fault: Some(Fault::Answer { status: 503, retry_after: None }), ..well() }
}

fn well() -> Behaviour {
    Behaviour { recognise_repeats: true, ..Behaviour::default() }
}

/// What one agent has sent, and keeps.
struct Agent {
    uploads: Vec<Vec<SimulatedEvent>>,
}

impl Agent {
    fn new(name: &str, uploads: usize) -> Self {
        let mut host = Host::new(name, 12).with_system_share(0.0);
        Self { uploads: (0..uploads).map(|_| host.by_ref().take(40).collect()).collect() }
    }

    fn identities(&self) -> HashSet<Identity> {
        self.uploads.iter().flatten().map(SimulatedEvent::identity).collect()
    }

    /// Sends everything, and says how much of it was taken as new.
    async fn send(&self, site: &Site) -> u64 {
        let client = site.client();
        let mut spooled = 0;
        for events in &self.uploads {
            let receipt = receipt(site, &client, &[], array(events, Shape::Row)).await;
            spooled += receipt["spooled"].as_u64().expect("a number");
        }
        spooled
    }
}

/// The segments, oldest first.
fn segments(site: &Site) -> Vec<PathBuf> {
    let files = std::fs::read_dir(site.state().join("spool")).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> = files.filter(|path| path.extension().is_some_and(|of| of == "seg")).collect();
    segments.sort();
    segments
}

/// Does something to a segment file.
type Blow = fn(Vec<u8>) -> Vec<u8>;

/// The last byte that is not zero, so within the last record.
fn end(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).expect("it holds records")
}

/// In the body of a record in the middle: its head stays whole.
fn flip(mut bytes: Vec<u8>) -> Vec<u8> {
    let middle = end(&bytes) / 2;
    bytes[middle] ^= 0x10;
    bytes
}

fn zero(mut bytes: Vec<u8>) -> Vec<u8> {
    let middle = end(&bytes) / 2;
    bytes[middle..middle + 12_000].fill(0);
    bytes
}

fn zero_the_end(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = end(&bytes);
    bytes[end - 12_000..].fill(0);
    bytes
}

fn zero_all_records(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[4096..].fill(0);
    bytes
}

fn cut(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(end(&bytes) - 12_000);
    bytes
}

fn empty(_: Vec<u8>) -> Vec<u8> {
    Vec::new()
}

fn strike(path: &Path, blow: Blow) {
    let bytes = std::fs::read(path).unwrap();
    std::fs::write(path, blow(bytes)).unwrap();
}

fn audit(site: &Site) -> (bool, Value) {
    let output = site.gatepost(&["--json", "audit"]);
    (output.status.success(), serde_json::from_slice(&output.stdout).expect("the report is JSON"))
}

async fn told(site: &Site, events: u64) {
    site.until("the counter shows the lost events", async || site.metric(COUNTER).await == events as f64).await;
    assert_eq!(site.status().await["account"]["damaged"], events);
    assert_eq!(audit(site).1["damaged"], events);
}

/// What the collector does not have.
fn missing(agent: &Agent, collector: &Collector) -> HashSet<Identity> {
    let held = collector.held();
    agent.identities().into_iter().filter(|identity| !held.events.contains_key(identity)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_told_and_can_be_repaired() {
    let blows: [(&str, bool, Blow); 7] = [
        ("a bit in the middle", false, flip),
        ("zeros in the middle", false, zero),
        ("a cut in the middle", false, cut),
        ("an empty file in the middle", false, empty),
        ("a bit at the end", true, flip),
        ("zeros at the end", true, zero_the_end),
        ("a cut at the end", true, cut),
    ];
    for (what, at_the_end, blow) in blows {
        let collector = Collector::start(Memory::Identities).await.unwrap();
        collector.set(down());
        let site = Site::new(&workspace("workspace", &[&collector]), SPOOL);
        let running = site.start().await;
        let agent = Agent::new("DAMAGE", 15);
        assert_eq!(agent.send(&site).await, 600);
        assert_eq!(site.metric(COUNTER).await, 0.0, "the series is there before anything is lost");
        assert!(running.stop().success());

        let segments = segments(&site);
        assert!(segments.len() > 3, "{segments:?}");
        let path = &segments[if at_the_end { segments.len() - 1 } else { 1 }];
        strike(path, blow);

        let running = site.start().await;
        // What the end lost is known at once, although the output stands far before it.
        let at_once = site.metric(COUNTER).await;
        assert!(!at_the_end || at_once > 0.0, "{what}: {}", site.log());
        collector.set(well());
        site.until_drained().await;
        let lost = missing(&agent, &collector).len() as u64;
        assert!((1..600).contains(&lost), "{what}: {lost}");
        assert!(!at_the_end || at_once == lost as f64, "{what}: {at_once} of {lost} at once");
        told(&site, lost).await;
        // A file of which nothing is left is named when it is put aside.
        let named = site.log().contains("is unusable and was set aside");
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let log = site.log();
        let line = log.lines().find(|line| line.contains("the spool is damaged; these events are lost"));
        let line = line.unwrap_or_else(|| panic!("{what}: it is not logged:\n{log}"));
        assert!(
            line.contains("first") && line.contains("until") && (at_the_end || named || line.contains(&name)),
            "{line}"
        );
        assert_eq!(site.status().await["outputs"][0]["damaged"], lost);

        // The agent repeats everything: what was lost is taken, the rest is known.
        assert_eq!(agent.send(&site).await, lost, "{what}");
        site.until_drained().await;
        assert_eq!(missing(&agent, &collector), HashSet::new(), "{what}");
        assert_eq!(collector.held().repeated(), 0, "{what}");
        assert!(running.stop().success());

        // A restart neither tells it again nor forgets what came again.
        let running = site.start().await;
        assert_eq!(site.metric(COUNTER).await, 0.0, "{what}");
        assert_eq!(agent.send(&site).await, 0, "{what}");
        assert_eq!(audit(&site).1["damaged"], lost, "{what}");
        running.kill();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_between_the_loss_and_the_repair_still_takes_what_was_lost() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    collector.set(down());
    let site = Site::new(&workspace("workspace", &[&collector]), SPOOL);
    let running = site.start().await;
    let agent = Agent::new("LATER", 15);
    agent.send(&site).await;
    assert!(running.stop().success());
    for (at, blow) in [(1, flip as Blow), (2, zero)] {
        strike(&segments(&site)[at], blow);
    }
    collector.set(well());
    let running = site.start().await;
    site.until_drained().await;
    let lost = missing(&agent, &collector).len() as u64;
    told(&site, lost).await;
    running.kill();
    // Also when the ledger goes: then the books are read from the oldest record on.
    std::fs::remove_file(site.state().join("ledger.json")).unwrap();
    let running = site.start().await;
    assert_eq!(agent.send(&site).await, lost);
    site.until_drained().await;
    assert_eq!(missing(&agent, &collector), HashSet::new());
    assert_eq!(collector.held().repeated(), 0);
    running.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_that_goes_under_a_running_gateway_is_told_and_can_be_repaired() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    collector.set(down());
    // Small batches: the output has read only a little of what waits.
    let output = workspace("workspace", &[&collector]).replace("timeout", "max_batch_events = 40\ntimeout");
    let site = Site::new(&output, SPOOL);
    let running = site.start().await;
    let agent = Agent::new("RUNNING", 40);
    agent.send(&site).await;
    // Within a second the books have the keys: before that nobody but the records has them.
    site.until("the books are kept", async || site.status().await["account"]["total"]["spooled"] == 1_600).await;
    let segments = segments(&site);
    let (gone, bad) = (&segments[segments.len() - 4], &segments[segments.len() - 3]);
    std::fs::remove_file(gone).unwrap();
    strike(bad, flip);
    collector.set(well());
    site.until_drained().await;
    let lost = missing(&agent, &collector).len() as u64;
    assert!((40..500).contains(&lost), "{lost}");
    told(&site, lost).await;
    assert_eq!(agent.send(&site).await, lost);
    site.until_drained().await;
    assert_eq!(missing(&agent, &collector), HashSet::new());
    assert_eq!(collector.held().repeated(), 0);
    assert!(running.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_every_output_has_is_not_lost_and_stays_remembered() {
    let (one, other) =
        (Collector::start(Memory::Identities).await.unwrap(), Collector::start(Memory::Identities).await.unwrap());
    one.set(well());
    other.set(well());
    let outputs = format!("{}{}", workspace("one", &[&one]), workspace("other", &[&other]));
    let site = Site::new(&outputs, &SPOOL.replace("64 KiB", "1 MiB"));
    let running = site.start().await;
    let (before, agent) = (Agent::new("BEFORE", 1), Agent::new("SEVERAL", 1));
    before.send(&site).await;
    site.until_drained().await;
    other.set(down());
    agent.send(&site).await;
    site.until("one output has it", async || missing(&agent, &one).is_empty()).await;
    assert!(running.stop().success());

    // One segment, with what both have and what one of them has.
    strike(&segments(&site)[0], zero_all_records);
    other.set(well());
    let running = site.start().await;
    site.until_drained().await;
    told(&site, 40).await;
    assert_eq!((before.send(&site).await, agent.send(&site).await), (0, 40));
    site.until_drained().await;
    assert_eq!(missing(&agent, &other), HashSet::new());
    assert_eq!((one.held().repeated(), other.held().repeated()), (40, 0), "a duplicate is better than a loss");
    assert!(running.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_ledger_is_no_damage_and_the_account_says_where_it_begins() {
    let losses: [fn(&Path); 3] = [
        |path| std::fs::remove_file(path).unwrap(),
        |path| std::fs::write(path, b"{\"position\":").unwrap(),
        |path| std::fs::write(path, b"").unwrap(),
    ];
    for lose in losses {
        let collector = Collector::start(Memory::Identities).await.unwrap();
        collector.set(well());
        let site = Site::new(&workspace("workspace", &[&collector]), SPOOL);
        let running = site.start().await;
        let agent = Agent::new("LEDGER", 15);
        agent.send(&site).await;
        site.until_drained().await;
        site.until("segments have gone", async || site.status().await["spool"]["first"] != 0).await;
        assert!(running.stop().success());
        lose(&site.state().join("ledger.json"));

        let running = site.start().await;
        let status = site.status().await;
        let first = &status["spool"]["first"];
        assert_eq!((&status["account"]["damaged"], &status["account"]["began"]), (&0.into(), first), "{status:#}");
        assert!(site.log().contains("the account starts afresh"), "{}", site.log());
        assert_eq!(agent.send(&site).await, 0, "what was seen stays seen");
        site.until("the account goes on", async || site.status().await["account"]["total"]["duplicate"] == 600).await;
        assert_eq!(site.metric(COUNTER).await, 0.0);
        assert!(running.stop().success());
        site.assert_audit_balances();
        assert_eq!(audit(&site).1["damaged"], 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_output_that_comes_back_has_lost_nothing() {
    let (gone, stays) =
        (Collector::start(Memory::Identities).await.unwrap(), Collector::start(Memory::Identities).await.unwrap());
    gone.set(down());
    stays.set(well());
    let outputs = format!("{}{}", workspace("gone", &[&gone]), workspace("stays", &[&stays]));
    let site = Site::new(&outputs, SPOOL);
    let running = site.start().await;
    Agent::new("AWAY", 15).send(&site).await;
    assert!(running.stop().success());
    let both = site.config().to_owned();
    site.configure(&both.replace(&workspace("gone", &[&gone]), ""));
    let running = site.start().await;
    site.until("segments have gone", async || site.status().await["spool"]["first"] != 0).await;
    assert!(running.stop().success());

    gone.set(well());
    site.configure(&both);
    let running = site.start().await;
    site.until_drained().await;
    let status = site.status().await;
    let of_outputs: Vec<&Value> = status["outputs"].as_array().unwrap().iter().map(|of| &of["damaged"]).collect();
    assert_eq!(of_outputs, [0, 0], "what it gave up when it went is not damage: {status:#}");
    assert_eq!(site.metric(COUNTER).await, 0.0);
    assert!(running.stop().success());
    site.assert_audit_balances();
}
