//! Promise 6: one bad event is found, set aside with a usable reason, and blocks nobody. A person can send it again.

use std::collections::HashSet;

use gatepost::cli::simulate::collector::{Behaviour, Collector, Memory};
use gatepost::cli::simulate::events::{Host, Identity, Shape, SimulatedEvent};

use crate::load::{SMALL_SPOOL, assert_each_once, json_lines};
use crate::support::{Site, workspace};

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

    assert!(site.gatepost(&["dead-letter", "purge", "--all"]).status.success());
    assert!(json_lines(&site.gatepost(&["--json", "dead-letter", "list"])).is_empty());
    assert!(!site.gatepost(&["dead-letter", "show", &id]).status.success());
    site.assert_audit_balances();
}
