//! Promise 10: nobody keeps others out. What one client sends takes that client's share of the cores, of the memory and of the
//! room in ingest, and others pass.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::digest;
use bytes::Bytes;
use gatepost::lab::collector::{Collector, Memory};
use gatepost::lab::events::{Host, Shape};
use gatepost::net::upload_client::Client;
use tokio::time::Instant;

use crate::load::{SMALL_SPOOL, array};
use crate::support::{PATH, Site, workspace};

const BOMBERS: [&str; 4] = ["bomber-1", "bomber-2", "bomber-3", "bomber-4"];
const GOOD: &str = "good";

/// One event again and again, up to so many bytes: about 64 KB of gzip for 64 MiB.
fn bomb(bytes: usize) -> Bytes {
    let row = Host::new("BOMB.plant.example", 9).next_event().render(Shape::Row);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let rows = (bytes / (row.len() + 1)).min(90_000);
    for at in 0..rows {
        gzip.write_all(if at == 0 { b"[" } else { b"," }).unwrap();
        gzip.write_all(&row).unwrap();
    }
    gzip.write_all(b"]").unwrap();
    gzip.finish().unwrap().into()
}

fn site(limits: &str, ingest: &str, collector: &Collector) -> Site {
    let hash = |name: &str| {
        let hash = digest::digest(&digest::SHA256, name.as_bytes());
        hex::encode(hash)
    };
    let token = |name: &str| format!("{{ name = \"{name}\", sha256 = \"{}\" }}", hash(name));
    let tokens: Vec<String> = BOMBERS.iter().chain([&GOOD]).map(|name| token(name)).collect();
    let listener = format!("auth.tokens = [{}]\n{limits}", tokens.join(", "));
    Site::new(&(listener + &workspace("workspace", &[collector])), &format!("{SMALL_SPOOL}{ingest}"))
}

/// Uploads; the status, and how long it took.
async fn upload(site: &Site, client: &Client, name: &str, body: Bytes, encoding: &str) -> (u16, Duration) {
    let bearer = format!("Bearer {name}");
    let headers =
        [("authorization", bearer.as_str()), ("content-type", "application/json"), ("content-encoding", encoding)];
    let began = Instant::now();
    let answer = client.post(&site.url(PATH), &headers, body, Duration::from_secs(120)).await.unwrap();
    (answer.status, began.elapsed())
}

/// Sends bombs until told to stop, on two connections for each sender.
async fn attack(site: &Site, bomb: &Bytes, over: &AtomicBool, answered: &AtomicU64) {
    let senders = BOMBERS.iter().chain(&BOMBERS).map(|name| async {
        let client = site.client();
        while !over.load(Ordering::Relaxed) {
            let (status, _) = upload(site, &client, name, bomb.clone(), "gzip").await;
            assert!([204, 429, 503].contains(&status), "{status}");
            answered.fetch_add(1, Ordering::Relaxed);
            if status != 204 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    });
    futures_util::future::join_all(senders).await;
}

/// A good client's uploads of ten events, one after the other; how long each took.
async fn good_uploads(site: &Site, count: usize, pause: Duration) -> Vec<Duration> {
    let client = site.client();
    let mut host = Host::new("GOOD.plant.example", 7);
    let mut took = Vec::new();
    for _ in 0..count {
        let events: Vec<_> = host.by_ref().take(10).collect();
        let body = Bytes::from(array(&events, Shape::Row));
        let (status, time) = upload(site, &client, GOOD, body, "identity").await;
        assert_eq!(status, 204, "{}", site.log());
        took.push(time);
        tokio::time::sleep(pause).await;
    }
    took.sort_unstable();
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_uploads_pass_at_once_whatever_bombs_others_send() {
    let collector = Collector::start(Memory::Count).await.unwrap();
    let limits = "limits = { wire_max = \"1 MiB\", body_max = \"8 MiB\", memory_max = \"24 MiB\" }\n";
    let site = site(limits, "[ingest]\nin_flight_max = \"4 MiB\"\n", &collector);
    let running = site.start().await;
    let (bomb, over, answered) = (bomb(7 << 20), AtomicBool::new(false), AtomicU64::new(0));
    let good = async {
        while answered.load(Ordering::Relaxed) < 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let took = good_uploads(&site, 40, Duration::from_millis(20)).await;
        over.store(true, Ordering::Relaxed);
        took
    };
    let (_, took) = tokio::join!(attack(&site, &bomb, &over, &answered), good);
    println!("median {:?}, longest {:?}; {} bombs", took[20], took[39], answered.load(Ordering::Relaxed));
    assert!(running.stop().success());
    site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement for docs/performance.md: needs an optimised build and a quiet machine"]
async fn how_long_a_small_upload_takes_beside_four_senders_of_bombs() {
    let collector = Collector::start(Memory::Count).await.unwrap();
    let site = site("", "", &collector);
    let running = site.start().await;
    let tell = |what: &str, took: &[Duration]| {
        let (median, p99, most) = (took[took.len() / 2], took[took.len() * 99 / 100], took[took.len() - 1]);
        println!("{what}: median {median:?}, p99 {p99:?}, longest {most:?} of {}", took.len());
    };
    tell("alone", &good_uploads(&site, 200, Duration::from_millis(5)).await);
    let (bomb, over, answered) = (bomb(60 << 20), AtomicBool::new(false), AtomicU64::new(0));
    println!("a bomb of {} bytes", bomb.len());
    let good = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let took = good_uploads(&site, 200, Duration::from_millis(50)).await;
        over.store(true, Ordering::Relaxed);
        took
    };
    let (_, took) = tokio::join!(attack(&site, &bomb, &over, &answered), good);
    tell("beside bombs", &took);
    println!("{} bombs were answered", answered.load(Ordering::Relaxed));
    assert!(running.stop().success());
}
