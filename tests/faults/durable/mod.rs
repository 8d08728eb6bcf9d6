//! What stands in the spool for an output stays there until that output has it: across a stop, a reload, and the
//! removal of its neighbour; and a file output holds each event once after any number of kills.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::{Site, workspace};
use gatepost::lab::collector::{Behaviour, Collector, Fault, Memory};
use gatepost::lab::events::{Host, Identity, Shape};
use gatepost::net::upload_client::Client;

/// Small segments, so that a backlog of a few hundred events takes many of them.
const SPOOL: &str = "[spool]\nsegment_size = \"64 KiB\"\nmax_size = \"64 MiB\"\ncompression_level = 0\n";

/// Uploads events until this many are acknowledged.
async fn upload(site: &Site, client: &Client, host: &mut Host, uploads: usize) -> Vec<Identity> {
    let mut owed = Vec::new();
    for _ in 0..uploads {
        let events: Vec<_> = (0..40).map(|_| host.next_event()).collect();
        let rows: Vec<Vec<u8>> = events.iter().map(|event| event.render(Shape::Row)).collect();
        let body = [b"[".as_slice(), &rows.join(&b','), b"]"].concat();
        let answer = site.upload(client, body).await.expect("an answer");
        assert_eq!(answer.status, 204, "{}", site.log());
        owed.extend(events.iter().map(|event| event.identity()));
    }
    owed
}

fn assert_held_once(collector: &Collector, owed: &[Identity], log: &str) {
    let held = collector.held();
    let lost = owed.iter().filter(|identity| !held.events.contains_key(*identity)).count();
    assert_eq!(lost, 0, "of {} acknowledged events so many are lost\n{log}", owed.len());
    assert_eq!(held.repeated(), 0, "delivered more than once");
}

fn down() -> Behaviour {
    Behaviour { fault: Some(Fault::Answer { status: 503, retry_after: None }), ..healthy() }
}

fn healthy() -> Behaviour {
    Behaviour { recognise_repeats: true, ..Behaviour::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_stop_keeps_what_a_dead_collector_could_not_take() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    collector.set(down());
    let site = Site::new(&workspace("workspace", &[&collector]), SPOOL);
    let running = site.start().await;
    let owed = upload(&site, &site.client(), &mut Host::new("STOP", 1).with_system_share(0.0), 30).await;
    assert!(running.stop().success());
    collector.set(healthy());
    let running = site.start().await;
    site.until_drained().await;
    assert_held_once(&collector, &owed, &site.log());
    assert!(running.stop().success());
    site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_of_a_hanging_output_keeps_its_backlog() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    collector.set(Behaviour { fault: Some(Fault::Hang), ..healthy() });
    let site = Site::new(&workspace("workspace", &[&collector]), SPOOL);
    let running = site.start().await;
    let owed = upload(&site, &site.client(), &mut Host::new("RELOAD", 2).with_system_share(0.0), 30).await;
    site.configure(&site.config().replace("linger = \"20 ms\"", "linger = \"30 ms\""));
    running.signal("HUP");
    // The old output ends only when its requests have timed out; the housekeeping goes on meanwhile.
    site.until("the reload is applied", async || {
        site.metric("gatepost_config_reloads_total{result=\"applied\"}").await >= 1.0
    })
    .await;
    collector.set(healthy());
    site.until_drained().await;
    assert_held_once(&collector, &owed, &site.log());
    assert!(running.stop().success());
    site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_output_holds_nothing_back_and_the_account_still_balances() {
    let (dead, well) =
        (Collector::start(Memory::Identities).await.unwrap(), Collector::start(Memory::Identities).await.unwrap());
    dead.set(down());
    well.set(healthy());
    let (first, second) = (workspace("dead", &[&dead]), workspace("well", &[&well]));
    let site = Site::new(&format!("{first}{second}"), SPOOL);
    let running = site.start().await;
    let mut host = Host::new("REMOVED", 3).with_system_share(0.0);
    let mut owed = upload(&site, &site.client(), &mut host, 30).await;
    assert!(running.stop().success());
    site.assert_audit_balances();

    site.configure(&site.config().replace(&first, ""));
    let running = site.start().await;
    assert!(
        site.log().contains("was removed from the configuration"),
        "it is said how much is given up:\n{}",
        site.log()
    );
    owed.extend(upload(&site, &site.client(), &mut host, 5).await);
    site.until_drained().await;
    site.until("the spool gives back what nobody wants", async || site.status().await["spool"]["first"] != 0).await;
    assert_held_once(&well, &owed, &site.log());
    assert!(running.stop().success());
    site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_counts_as_ambiguous_what_was_in_flight_and_not_what_waited() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    collector.set(Behaviour { fault: Some(Fault::Down), ..healthy() });
    let site = Site::new(&workspace("workspace", &[&collector]), SPOOL);
    let running = site.start().await;
    let owed = upload(&site, &site.client(), &mut Host::new("WAITS", 9).with_system_share(0.0), 30).await;
    site.until("something is tried", async || site.metric("gatepost_endpoint_failures_total").await >= 3.0).await;
    running.kill();
    collector.set(healthy());
    let running = site.start().await;
    site.until_drained().await;
    assert_held_once(&collector, &owed, &site.log());
    let ambiguous = site.metric("gatepost_events_ambiguous_total").await;
    assert!(ambiguous * 4.0 < owed.len() as f64, "{ambiguous} of {} that nobody can have", owed.len());
    assert!(running.stop().success());
    site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_position_sends_again_and_loses_nothing() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    collector.set(down());
    let site = Site::new(&workspace("workspace", &[&collector]), SPOOL);
    let running = site.start().await;
    let owed = upload(&site, &site.client(), &mut Host::new("POSITION", 4).with_system_share(0.0), 10).await;
    running.kill();
    std::fs::write(site.state().join("outputs/workspace.cursor"), b"").unwrap();
    collector.set(healthy());
    let running = site.start().await;
    site.until_drained().await;
    assert_held_once(&collector, &owed, &site.log());
    assert!(running.stop().success());
    site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_output_holds_each_event_once_after_many_kills() {
    let output = "[[outputs]]\nkind = \"file\"\nname = \"files\"\ndirectory = \"state/out\"\nrotate_at = \"64 KiB\"\nforward = { linger = \"5 ms\" }\n";
    let site = Site::new(output, SPOOL);
    let mut rng = fastrand::Rng::with_seed(7);
    let mut running = site.start().await;
    let client = site.client();
    let mut host = Host::new("FILES", 5).with_system_share(0.0);
    let mut owed = Vec::new();
    for _ in 0..25 {
        owed.extend(upload(&site, &client, &mut host, rng.usize(1..6)).await);
        tokio::time::sleep(Duration::from_millis(rng.u64(0..40))).await;
        running.kill();
        running = site.start().await;
    }
    site.until_drained().await;
    assert!(running.stop().success());
    site.assert_audit_balances();

    let mut lines: BTreeMap<u64, usize> = BTreeMap::new();
    for entry in std::fs::read_dir(site.state().join("out")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "ndjson") {
            for line in std::fs::read_to_string(&path).unwrap().lines() {
                let event: serde_json::Value = serde_json::from_str(line).expect("a whole event a line");
                let id = event["EventRecordId"].as_u64().or_else(|| event["EventRecordID"].as_u64());
                let id = id.or_else(|| event["EventRecordId"].as_str()?.parse().ok());
                *lines.entry(id.unwrap_or_else(|| panic!("no record id in {line}"))).or_default() += 1;
            }
        }
    }
    assert_eq!(lines.len(), owed.len(), "an event is missing");
    assert!(lines.values().all(|times| *times == 1), "an event is there twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_are_too_old_are_kept_as_dead_letters_however_many() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    collector.set(down());
    let patient = workspace("workspace", &[&collector]);
    let site = Site::new(&patient, SPOOL);
    let running = site.start().await;
    let owed = upload(&site, &site.client(), &mut Host::new("OLD", 6).with_system_share(0.0), 60).await;
    assert!(running.stop().success());
    let hasty = site.config().replace("linger = \"20 ms\"", "linger = \"20 ms\", max_age = \"1 ms\"");
    site.configure(&hasty);
    let running = site.start().await;
    site.until_drained().await;
    let output = site.status().await["outputs"][0].clone();
    assert_eq!(output["dead_lettered"].as_u64(), Some(owed.len() as u64), "{output:#}");
    assert_eq!(output["stalled_seconds"], 0.0);
    assert!(running.stop().success());
    site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_rejects_everything_does_not_turn_the_spool_into_dead_letters() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    collector.set(Behaviour { fault: Some(Fault::Answer { status: 400, retry_after: None }), ..healthy() });
    let site = Site::new(&workspace("workspace", &[&collector]), SPOOL);
    let running = site.start().await;
    let owed = upload(&site, &site.client(), &mut Host::new("RULE", 7).with_system_share(0.0), 20).await;
    site.until("the rejection is logged", async || site.log().contains("every event is rejected")).await;
    // The person who reads that corrects the rule.
    collector.set(healthy());
    site.until_drained().await;
    let output = site.status().await["outputs"][0].clone();
    let dead = output["dead_lettered"].as_u64().unwrap();
    assert!((1..100).contains(&dead), "{dead} of {}", owed.len());
    assert_eq!(output["forwarded"].as_u64(), Some(owed.len() as u64 - dead));

    let replayed = site.gatepost(&["dead-letter", "replay", "--all"]);
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stderr));
    site.until_drained().await;
    assert_held_once(&collector, &owed, &site.log());
    assert!(running.stop().success());
    site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_ledger_keeps_nobody_from_starting() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    collector.set(healthy());
    let site = Site::new(&workspace("workspace", &[&collector]), SPOOL);
    let running = site.start().await;
    let mut host = Host::new("LEDGER", 8).with_system_share(0.0);
    let mut owed = upload(&site, &site.client(), &mut host, 2).await;
    running.kill();
    std::fs::write(site.state().join("ledger.json"), b"{\"position\":").unwrap();
    let running = site.start().await;
    owed.extend(upload(&site, &site.client(), &mut host, 2).await);
    site.until_drained().await;
    assert_held_once(&collector, &owed, &site.log());
    assert!(running.stop().success());
    site.assert_audit_balances();
}
