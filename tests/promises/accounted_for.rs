//! Promise 4: every event is accounted for. Metrics, status page and `gatepost audit` say the same numbers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gatepost::lab::collector::{Behaviour, Collector, Fault, Memory};
use gatepost::lab::events::{Host, Shape};
use serde_json::Value;

use crate::load::{SMALL_SPOOL, array, lines, receipt};
use crate::support::{LOOK, Site, workspace};

/// The left side of the account, in the words of design.md.
const LEFT: [&str; 5] = ["received", "filtered", "duplicate", "set_aside", "spooled"];

type Account = BTreeMap<&'static str, u64>;

fn account(of: &Value) -> Account {
    LEFT.into_iter().map(|key| (key, of[key].as_u64().expect("a number"))).collect()
}

fn sum(one: &Account, other: &Account) -> Account {
    LEFT.into_iter().map(|key| (key, one[key] + other[key])).collect()
}

/// What the counters of this process say; a series for each reason is summed.
async fn by_metrics(site: &Site) -> Account {
    let page = site.admin_get("/metrics").await.body;
    let page = String::from_utf8_lossy(&page).into_owned();
    let total = |key: &str| {
        let series = format!("gatepost_events_{key}_total{{");
        let values = page.lines().filter(|line| line.starts_with(&series));
        values.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64).sum()
    };
    LEFT.into_iter().map(|key| (key, total(key))).collect()
}

async fn by_status(site: &Site) -> Account {
    account(&site.status().await["account"]["total"])
}

fn audit(site: &Site) -> (bool, Value) {
    let output = site.gatepost(&["--json", "audit"]);
    (output.status.success(), serde_json::from_slice(&output.stdout).expect("the report is JSON"))
}

fn by_audit(site: &Site) -> Account {
    let (balances, report) = audit(site);
    assert!(balances, "{report:#}");
    let inputs = report["inputs"].as_array().unwrap().iter().map(account);
    inputs.fold(LEFT.into_iter().map(|key| (key, 0)).collect(), |total, input| sum(&total, &input))
}

/// Uploads a bit of everything and returns what the receipts said.
async fn mixed_run(site: &Site, seed: u64) -> Account {
    let client = site.client();
    let mut total: Account = LEFT.into_iter().map(|key| (key, 0)).collect();
    let mut host = Host::new(format!("MIXED-{seed}.plant.example"), seed).with_system_share(0.3);
    for round in 0..10 {
        let events: Vec<_> = host.by_ref().take(60).collect();
        let broken = format!("\n<Event><System><EventID>{seed}{round}</EventID>\nthis is no event either\n");
        let bodies = [
            array(&events, Shape::Row),
            lines(&events[..30], Shape::Xml),
            [lines(&events[10..], Shape::EvtxJson), broken.into_bytes()].concat(),
        ];
        for body in bodies {
            total = sum(&total, &account(&receipt(site, &client, &[], body).await));
        }
    }
    assert!(total.values().all(|number| *number > 0), "the run is not mixed: {total:?}");
    assert_eq!(total["received"], total["filtered"] + total["duplicate"] + total["set_aside"] + total["spooled"]);
    total
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_status_and_audit_agree_with_the_receipts_also_after_a_crash() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    collector.set(Behaviour { recognise_repeats: true, ..Behaviour::default() });
    let rest = format!("{SMALL_SPOOL}[filter]\nevent_set = \"All\"\n");
    let site = Site::new(&workspace("workspace", &[&collector]), &rest);
    let mut expected: Account = LEFT.into_iter().map(|key| (key, 0)).collect();
    for (seed, crash) in [(1, false), (2, true), (3, true), (4, false)] {
        let running = site.start().await;
        assert_eq!(by_status(&site).await, expected, "the account was not kept over the restart");
        let now = mixed_run(&site, seed).await;
        expected = sum(&expected, &now);
        site.until_drained().await;
        assert_eq!(by_metrics(&site).await, now, "counters begin with the process");
        site.until("the status page shows the account", async || by_status(&site).await == expected).await;
        assert_eq!(by_audit(&site), expected);
        let output = site.status().await["outputs"][0].take();
        assert_eq!(output["forwarded"], expected["spooled"]);
        assert_eq!(collector.tally().events, expected["spooled"]);
        assert_eq!(site.status().await["dead_letters"]["count"], expected["set_aside"]);
        if crash {
            running.kill();
        } else {
            assert!(running.stop().success());
        }
        assert_eq!(by_audit(&site), expected, "crash: {crash}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_under_load_leaves_an_account_that_balances_and_counts_every_acknowledged_event() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    collector.set(Behaviour { recognise_repeats: true, ..Behaviour::default() });
    let rest = format!("{SMALL_SPOOL}[filter]\nevent_set = \"All\"\n");
    let site = Site::new(&workspace("workspace", &[&collector]), &rest);
    for seed in 0..4 {
        let running = site.start().await;
        let before = by_status(&site).await;
        let acknowledged = mixed_run(&site, 100 + seed).await;
        // At once: some of the account still waits for a checkpoint.
        running.kill();
        let after = by_audit(&site);
        assert_eq!(after["spooled"], before["spooled"] + acknowledged["spooled"]);
    }
    let running = site.start().await;
    site.until_drained().await;
    assert_eq!(collector.tally().events, by_audit(&site)["spooled"]);
    assert!(running.stop().success());
    site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_beside_a_gateway_that_writes_into_old_files_sees_no_damage() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let rest = format!("{SMALL_SPOOL}[filter]\nevent_set = \"All\"\n");
    let site = Arc::new(Site::new(&workspace("workspace", &[&collector]), &rest));
    let running = site.start().await;
    let over = Arc::new(AtomicBool::new(false));
    let audits = tokio::task::spawn_blocking({
        let (site, over) = (Arc::clone(&site), Arc::clone(&over));
        move || {
            while !over.load(Ordering::Relaxed) {
                by_audit(&site);
            }
        }
    });
    for seed in 200..206 {
        mixed_run(&site, seed).await;
    }
    over.store(true, Ordering::Relaxed);
    audits.await.expect("each balances");
    assert!(running.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_is_refused_half_way_is_counted_alike_by_metrics_status_and_audit() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let sound = Behaviour { recognise_repeats: true, ..Behaviour::default() };
    collector.set(Behaviour { fault: Some(Fault::Down), ..sound.clone() });
    // Records so small that each upload is several; the last one that fits the spool is cut off in its middle.
    let rest = "[spool]\nsegment_size = \"64 KiB\"\nmax_size = \"512 KiB\"\nhigh_watermark = 1.0\n\
                compression_level = 0\n[ingest]\nrecord_max = \"4 KiB\"\n[filter]\nevent_set = \"All\"\n";
    let site = Site::new(&workspace("workspace", &[&collector]), rest);
    let running = site.start().await;
    let client = site.client();
    let mut host = Host::new("HALF.plant.example", 40).with_system_share(0.2);
    let mut owed = 0;
    let refused = loop {
        let body = array(&host.by_ref().take(50).collect::<Vec<_>>(), Shape::Row);
        let answer = site.upload(&client, body.clone()).await.unwrap();
        if answer.status == 503 {
            break body;
        }
        owed += 50;
    };
    let agree = async || {
        let counted = by_metrics(&site).await;
        site.until("the status page shows what is counted", async || by_status(&site).await == counted).await;
        counted
    };
    let half_way = agree().await;
    assert!(half_way["received"] > owed, "nothing of the refused upload was kept: the test shows nothing");
    collector.set(sound);
    while site.upload(&client, refused.clone()).await.unwrap().status != 204 {
        tokio::time::sleep(LOOK).await;
    }
    site.until_drained().await;
    let counted = agree().await;
    assert_eq!(collector.tally().events, counted["spooled"]);
    assert_eq!(by_audit(&site), counted);
    assert!(running.stop().success());
    assert_eq!(by_audit(&site), counted);
    assert_eq!(collector.held().repeated(), 0);
}

/// The segment that holds the oldest records.
fn oldest_segment(site: &Site) -> PathBuf {
    let files = std::fs::read_dir(site.state().join("spool")).unwrap().map(|entry| entry.unwrap().path());
    let segments = files.filter(|path| path.extension().is_none_or(|extension| extension != "spare"));
    segments.min().expect("there is one")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_flipped_byte_in_the_spool_makes_the_audit_fail_and_name_the_lost_events() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    collector.set(Behaviour { fault: Some(Fault::Down), ..Behaviour::default() });
    let site = Site::new(&workspace("workspace", &[&collector]), SMALL_SPOOL);
    let running = site.start().await;
    let client = site.client();
    let mut host = Host::new("DAMAGE.plant.example", 50);
    for _ in 0..3 {
        let events: Vec<_> = host.by_ref().take(70).collect();
        assert_eq!(site.upload(&client, array(&events, Shape::Row)).await.unwrap().status, 204);
    }
    assert!(running.stop().success());
    site.assert_audit_balances();

    // In the body of the first record: a segment's header takes 4 KiB.
    let path = oldest_segment(&site);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4096 + 1000] ^= 0x10;
    std::fs::write(&path, bytes).unwrap();
    let (balances, report) = audit(&site);
    assert!(!balances, "{report:#}");
    let differences: Vec<&str> = report["differences"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(differences.iter().any(|said| said.contains("events 0 to 70 are lost")), "{differences:?}");

    // What is not damaged still arrives, and the output's account says what is missing.
    collector.set(Behaviour::default());
    let running = site.start().await;
    site.until_drained().await;
    assert_eq!(collector.tally().events, 140);
    let output = site.status().await["outputs"][0].take();
    assert_eq!((&output["forwarded"], &output["damaged"]), (&140.into(), &70.into()), "{output:#}");
    assert!(running.stop().success());
    assert!(!audit(&site).0, "lost events are not forgotten by a restart");
}
