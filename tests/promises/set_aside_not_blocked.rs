//! Promise 6: one bad event is found, set aside with a usable reason, and blocks nobody. A person can send it again.

use std::collections::HashSet;
use std::process::{Command, Stdio};
use std::sync::Arc;

use gatepost::lab::collector::{Behaviour, Collector, Memory};
use gatepost::lab::events::{Host, Identity, Shape, SimulatedEvent};

use gatepost::event::Format;
use gatepost::fs::RealFs;
use gatepost::spool::dead_letter::{DeadLetters, Letter, Source};
use tokio::time::Instant;

use crate::load::{SMALL_SPOOL, assert_each_once, json_lines};
use crate::support::{PATIENCE, Site, workspace};

/// What the collector refuses to read.
const POISON: &str = "unreadable-for-the-collector";

/// A JSON array of these events, where one carries the poison.
fn with_poison(events: &[SimulatedEvent], at: usize) -> Vec<u8> {
    let mut rows: Vec<Vec<u8>> = events.iter().map(|event| event.render(Shape::Row)).collect();
    assert_eq!(rows[at].pop(), Some(b'}'));
    rows[at].extend_from_slice(format!(",\"Note\":\"{POISON}\"}}").as_bytes());
    [b"[".as_slice(), &rows.join(&b','), b"]"].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_event_that_a_collector_refuses_is_set_aside_and_the_rest_of_its_batch_arrives() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let refusing =
        Behaviour { refuse_marker: Some(POISON.to_owned()), recognise_repeats: true, ..Behaviour::default() };
    collector.set(refusing.clone());
    let site = Site::new(&workspace("workspace", &[&collector]), SMALL_SPOOL);
    let running = site.start().await;

    let events: Vec<_> = Host::new("BAD.plant.example", 3).take(64).collect();
    let poisoned = events[41].identity();
    let answer = site.upload(&site.client(), with_poison(&events, 41)).await.unwrap();
    assert_eq!(answer.status, 204);
    site.until_drained().await;
    let mut owed: HashSet<Identity> = events.iter().map(SimulatedEvent::identity).collect();
    owed.remove(&poisoned);
    assert_each_once(&owed, &[&collector]);

    // The letter says who refused what, and why.
    let letters = json_lines(&site.gatepost(&["--json", "dead-letter", "list"]));
    assert_eq!(letters.len(), 1, "{letters:?}");
    let letter = &letters[0];
    assert_eq!((&letter["reason"], &letter["status"]), (&"rejected".into(), &400.into()), "{letter:#}");
    assert_eq!(letter["source"]["output"]["name"], "workspace", "{letter:#}");
    assert!(letter["detail"].as_str().unwrap().contains("what this collector refuses"), "{letter:#}");
    let id = letter["id"].to_string();
    let shown = site.gatepost(&["dead-letter", "show", &id]);
    assert!(shown.status.success());
    assert!(String::from_utf8_lossy(&shown.stdout).contains(POISON), "the event itself is shown");
    assert_eq!(site.metric("gatepost_events_dead_lettered_total{output=\"workspace\"").await, 1.0);

    // Sent again too early it comes back; once the collector takes it, it arrives once and the letter is gone.
    assert!(site.gatepost(&["dead-letter", "replay", &id]).status.success());
    site.until_drained().await;
    let again = json_lines(&site.gatepost(&["--json", "dead-letter", "list"]));
    assert_eq!(again.len(), 1, "refused again, kept again: {again:?}");
    assert_eq!(again[0]["first_seen_ms"], letter["first_seen_ms"], "the first time stays");
    assert!(again[0]["last_seen_ms"].as_u64() > letter["last_seen_ms"].as_u64(), "{again:?}");
    assert_eq!((&letter["tries"], &again[0]["tries"]), (&1.into(), &2.into()));
    assert!(again[0]["answer"].as_str().unwrap().contains("what this collector refuses"), "{again:?}");
    let waiting = "gatepost_dead_letters_by_reason{source=\"workspace\",reason=\"rejected\"";
    site.until("the gauge is set", async || site.metric(waiting).await >= 1.0).await;

    // Filters go together, in the listing, in the export and in what is asked of the gateway.
    let count = |args: &[&str]| json_lines(&site.gatepost(&[&["--json", "dead-letter"], args].concat())).len();
    assert_eq!(count(&["list", "--source", "workspace", "--reason", "rejected", "--newer-than", "1h"]), 1);
    assert_eq!(count(&["list", "--reason", "expired"]) + count(&["list", "--older-than", "1h"]), 0);
    let exported = json_lines(&site.gatepost(&["dead-letter", "export", "--source", "workspace"]));
    assert_eq!((&exported[0]["event"]["Note"], &exported[0]["status"]), (&POISON.into(), &400.into()), "{exported:?}");
    assert!(site.gatepost(&["dead-letter", "purge", "--older-than", "1h"]).status.success());
    assert!(site.gatepost(&["dead-letter", "replay", "--reason", "expired"]).status.success());
    assert_eq!(count(&["list"]), 1, "neither was meant for it");
    assert!(!site.gatepost(&["dead-letter", "purge"]).status.success(), "nothing named must not mean everything");
    assert_each_once(&owed, &[&collector]);
    collector.set(Behaviour { refuse_marker: None, ..refusing.clone() });
    let replayed = site.gatepost(&["dead-letter", "replay", "--all"]);
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stderr));
    site.until_drained().await;
    owed.insert(poisoned);
    assert_each_once(&owed, &[&collector]);
    assert!(json_lines(&site.gatepost(&["--json", "dead-letter", "list"])).is_empty());

    assert!(running.stop().success());
    site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purged_dead_letter_is_gone_with_and_without_a_running_gateway() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    collector.set(Behaviour { refuse_marker: Some(POISON.to_owned()), ..Behaviour::default() });
    let site = Site::new(&workspace("workspace", &[&collector]), SMALL_SPOOL);
    let running = site.start().await;
    let mut host = Host::new("BAD.plant.example", 4);
    for _ in 0..2 {
        let events: Vec<_> = host.by_ref().take(8).collect();
        assert_eq!(site.upload(&site.client(), with_poison(&events, 0)).await.unwrap().status, 204);
    }
    site.until_drained().await;
    let letters = json_lines(&site.gatepost(&["--json", "dead-letter", "list"]));
    assert_eq!(letters.len(), 2);
    let id = letters[0]["id"].to_string();
    assert!(site.gatepost(&["dead-letter", "purge", &id]).status.success());
    let left = json_lines(&site.gatepost(&["--json", "dead-letter", "list"]));
    assert_eq!(left, letters[1..]);
    assert!(running.stop().success());

    assert!(site.gatepost(&["dead-letter", "purge", "--older-than", "1h"]).status.success());
    assert_eq!(json_lines(&site.gatepost(&["--json", "dead-letter", "list"])).len(), 1, "it is younger");
    assert!(site.gatepost(&["dead-letter", "purge", "--newer-than", "1h"]).status.success());
    assert!(json_lines(&site.gatepost(&["--json", "dead-letter", "list"])).is_empty());
    assert!(!site.gatepost(&["dead-letter", "show", &id]).status.success());
    site.assert_audit_balances();
}

/// Many letters of the output `workspace`.
fn letters(site: &Site, events: &[SimulatedEvent]) {
    let dir = site.state().join("dead-letters");
    std::fs::create_dir_all(site.state()).unwrap();
    let letter = |event: &SimulatedEvent| Letter {
        id: 0,
        first_seen_ms: 1_000,
        last_seen_ms: 1_000,
        tries: 1,
        source: Source::Output { name: "workspace".to_owned() },
        reason: "rejected".to_owned(),
        status: Some(400),
        detail: "400".to_owned(),
        answer: None,
        client: None,
        format: Format::Json as u8,
        stream: "Custom-SecurityEvent".to_owned(),
        raw: event.render(Shape::Row),
    };
    let mut kept = DeadLetters::open(Arc::new(RealFs), &dir, u64::MAX).unwrap();
    kept.put(events.iter().map(letter).collect()).unwrap();
}

/// How many letters were ever put into the spool again.
fn replayed_by(site: &Site) -> u64 {
    let account = &json_lines(&site.gatepost(&["--json", "audit"]))[0];
    let inputs = account["inputs"].as_array().expect("inputs have accounts");
    let replay = inputs.iter().find(|input| input["name"] == "replay");
    replay.and_then(|input| input["received"].as_u64()).expect("replay has one")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_that_is_killed_is_begun_again_and_nothing_is_lost() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let site = Site::new(&workspace("workspace", &[&collector]), SMALL_SPOOL);
    let events: Vec<_> = Host::new("BAD.plant.example", 5).take(4_000).collect();
    let owed: HashSet<Identity> = events.iter().map(SimulatedEvent::identity).collect();
    letters(&site, &events);
    let left = || {
        let letters = DeadLetters::open_read_only(Arc::new(RealFs), &site.state().join("dead-letters"));
        letters.map_or(0, |letters| letters.totals().count)
    };
    let mut before = left();
    assert_eq!(before, owed.len() as u64);
    for _ in 0..3 {
        let running = site.start().await;
        let mut replay = Command::new(env!("CARGO_BIN_EXE_gatepost"));
        replay.args(["dead-letter", "replay", "--source", "workspace", "--config"]).arg(site.config_path());
        let mut replay = replay.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let until = Instant::now() + PATIENCE;
        while left() == before {
            assert!(Instant::now() < until, "nothing is replayed:\n{}", site.log());
        }
        running.kill();
        replay.wait().unwrap();
        before = left();
        if before == 0 {
            break;
        }
    }
    let running = site.start().await;
    let replayed = site.gatepost(&["dead-letter", "replay", "--all"]);
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stderr));
    assert_eq!(left(), 0);
    site.until_drained().await;
    let held = collector.held();
    let lost = owed.iter().filter(|identity| !held.events.contains_key(*identity)).count();
    assert_eq!(lost, 0, "of {}", owed.len());
    assert!(running.stop().success());
    site.assert_audit_balances();
    // What was in the spool and still a letter when it was killed: a page at a time. The collector may have more: what was on its
    // way then is ambiguous.
    let again = replayed_by(&site) - owed.len() as u64;
    assert!(again <= 3 * 500, "{again} letters were replayed again");
}
