//! Promise 5: bounded. At each limit an upload gets the answer that makes its agent come back, and memory stays.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use gatepost::lab::collector::{Behaviour, Collector, Fault, Memory};
use gatepost::lab::events::{Host, Shape};
use gatepost::net::upload_client::Client;

use crate::load::{Agent, SMALL_SPOOL, array, assert_each_once};
use crate::support::{LOOK, PATH, PATIENCE, Running, Site, workspace};

const MIB: u64 = 1 << 20;

fn gzip(plain: impl Iterator<Item = Vec<u8>>) -> Bytes {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    plain.for_each(|piece| encoder.write_all(&piece).unwrap());
    encoder.finish().unwrap().into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn above_the_bytes_in_flight_uploads_are_answered_429_and_taken_later() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    collector.set(Behaviour { recognise_repeats: true, ..Behaviour::default() });
    let rest = format!("{SMALL_SPOOL}[ingest]\nin_flight_max = \"1 KiB\"\nwait_max = \"1 ms\"\n");
    let site = Site::new(&workspace("workspace", &[&collector]), &rest);
    let running = site.start().await;
    let (client, shed) = (site.client(), AtomicU64::new(0));
    let agents = (0..8).map(|seed| {
        let (client, site, shed) = (client.clone(), &site, &shed);
        async move {
            let events: Vec<_> = Host::new(format!("BUSY-{seed}"), seed).take(1_000).collect();
            let body = Bytes::from(array(&events, Shape::Row));
            loop {
                let answer = site.upload(&client, body.clone()).await.unwrap();
                if answer.status == 204 {
                    return events.iter().map(|event| event.identity()).collect::<Vec<_>>();
                }
                assert_eq!(answer.status, 429, "{}", String::from_utf8_lossy(&answer.body));
                assert!(answer.retry_after.is_some_and(|after| after > Duration::ZERO));
                shed.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(LOOK).await;
            }
        }
    });
    let owed = futures_util::future::join_all(agents).await.concat().into_iter().collect();
    assert!(shed.load(Ordering::Relaxed) > 0, "nobody was shed: the test shows nothing");
    let counted = site.metric("gatepost_uploads_shed_total{reason=\"in_flight_bytes\"}").await;
    assert_eq!(counted, shed.load(Ordering::Relaxed) as f64, "every shed upload is counted");
    assert_eq!(site.metric("gatepost_ingest_in_flight_bytes").await, 0.0, "room is given back");
    site.until_drained().await;
    assert!(running.stop().success());
    assert_each_once(&owed, &[&collector]);
    site.assert_audit_balances();
}

/// Posts a body over and over on a connection of its own; counts the answers.
async fn hammer(site: &Site, encoding: Option<&str>, body: &Bytes, times: usize) -> Vec<u16> {
    let client = site.client();
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(encoding.map(|encoding| ("content-encoding", encoding)));
    let mut statuses = Vec::new();
    for _ in 0..times {
        // A refusal may cut a body that is still being sent: then there is no answer to be had.
        if let Ok(answer) = client.post(&site.url(PATH), &headers, body.clone(), PATIENCE).await {
            assert!(answer.status != 503 || answer.retry_after.is_some());
            statuses.push(answer.status);
        }
    }
    statuses
}

/// The highest resident memory until told to stop.
async fn highest_memory(running: &Running, stop: &AtomicBool) -> u64 {
    let mut highest = 0;
    while !stop.load(Ordering::Relaxed) {
        highest = highest.max(running.memory());
        tokio::time::sleep(LOOK).await;
    }
    highest
}

/// The highest memory of a small gateway while 64 connections at once send it these uploads, each so many times. It
/// must still take an honest upload afterwards.
async fn highest_memory_under(attack: &[(Option<&str>, Bytes)], times: usize) -> u64 {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let limits = "limits = { wire_max = \"8 MiB\", body_max = \"16 MiB\", memory_max = \"64 MiB\" }\n";
    let rest = format!("{SMALL_SPOOL}[ingest]\nin_flight_max = \"16 MiB\"\n");
    let site = Site::new(&(limits.to_owned() + &workspace("workspace", &[&collector])), &rest);
    let running = site.start().await;
    let mut agent = Agent::new(&site, "HONEST.plant.example", 60);

    let stop = AtomicBool::new(false);
    let attack = async {
        let attackers = attack.iter().cycle().take(64).map(|(encoding, body)| hammer(&site, *encoding, body, times));
        let statuses = futures_util::future::join_all(attackers).await.concat();
        stop.store(true, Ordering::Relaxed);
        statuses
    };
    let (statuses, highest) = tokio::join!(attack, highest_memory(&running, &stop));
    let mut tally = BTreeMap::new();
    statuses.iter().for_each(|status| *tally.entry(*status).or_insert(0) += 1);
    println!("{tally:?}, {} MiB at most", highest / MIB);
    assert!(tally.keys().all(|status| [204, 400, 413, 429, 503].contains(status)), "{tally:?}");
    agent.upload(&site, 50).await;
    highest
}

/// Bodies 64 MiB and uploads in flight 16 MiB, twice while buffers grow; code and threads; and as much again that the
/// allocator has not given back yet. Without limits the attacks below take several GiB.
const BOUND: u64 = 800 * MIB;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_stays_bounded_under_64_connections_of_bombs_and_huge_bodies() {
    let zeros = gzip((0..256).map(|_| vec![0; MIB as usize]));
    let deep = gzip((0..64).map(|_| vec![b'['; MIB as usize]));
    let huge = Bytes::from(vec![b'1'; 9 << 20]);
    let highest = highest_memory_under(&[(Some("gzip"), zeros), (Some("gzip"), deep), (None, huge)], 3).await;
    assert!(highest < BOUND, "{} MiB", highest / MIB);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_stays_bounded_under_64_connections_of_uploads_of_countless_tiny_records() {
    let many = |count: usize, record: &str| {
        let records = vec![record; count].join(",");
        (Some("gzip"), gzip(std::iter::once(format!("[{records}]").into_bytes())))
    };
    // Within the limit of records of one upload, and far above it.
    let attack = [many(90_000, "1"), many(90_000, "{}"), many(2_000_000, "1")];
    let highest = highest_memory_under(&attack, 1).await;
    assert!(highest < BOUND, "{} MiB", highest / MIB);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_growing_backlog_does_not_grow_memory() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    collector.set(Behaviour { fault: Some(Fault::Down), ..Behaviour::default() });
    let site = Site::new(&workspace("workspace", &[&collector]), SMALL_SPOOL);
    let running = site.start().await;
    let client: Client = site.client();
    let mut host = Host::new("BACKLOG.plant.example", 70);
    let mut load = async |uploads: usize| {
        for _ in 0..uploads {
            let events: Vec<_> = host.by_ref().take(500).collect();
            assert_eq!(site.upload(&client, array(&events, Shape::Row)).await.unwrap().status, 204);
        }
        running.memory()
    };
    // The output fills its requests in flight, the allocator its pools; from then on only the disk grows.
    let warm = load(60).await;
    let after = load(40).await;
    let pending = site.status().await["outputs"][0]["pending"].as_u64().unwrap();
    assert_eq!(pending, 50_000);
    println!("{} MiB with 30,000 events waiting, {} MiB with 50,000", warm / MIB, after / MIB);
    assert!(after < warm + 12 * MIB, "20,000 events of about 1 KB took {} KiB of memory", (after - warm) >> 10);
    drop(running);
}
