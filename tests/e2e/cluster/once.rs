//! An event that reaches several gateways is forwarded by one of them.

use std::collections::HashSet;
use std::sync::Arc;

use gatepost::lab::collector::Collector;
use tokio::task::JoinSet;

use super::engine::Engine;
use super::scene::{
    Gateway, SECRET, assert_all_arrived, body, collector, events, gateway, identities, site, sum, three, until,
};
use crate::support::Site;

const UPLOADS: usize = 120;
const EVENTS: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_gateways_each_event_is_forwarded_by_one_though_every_upload_goes_to_two() {
    let engine = Engine::start(&[]).await;
    let (collector, gateways) = three(&engine, "").await;
    each_event_is_forwarded_once(&collector, gateways).await;
}

/// Every upload goes to two of these three gateways.
pub(crate) async fn each_event_is_forwarded_once(collector: &Collector, gateways: Vec<Gateway>) {
    let gateways = Arc::new(gateways);
    let mut sent = HashSet::new();
    let mut uploads = JoinSet::new();
    for upload in 0..UPLOADS {
        // A few hosts, so that uploads of one host meet; every third holds events of several.
        let mut part = events(upload as u64 % 7 + 1_000 * (upload as u64 / 7), EVENTS);
        if upload % 3 == 0 {
            part.extend(events(900_000 + upload as u64, 10));
        }
        sent.extend(identities(&part));
        for copy in 0..2 {
            let (gateways, part) = (Arc::clone(&gateways), part.clone());
            uploads.spawn(async move {
                let gateway = &gateways[(upload + copy) % 3];
                let client = gateway.site.client();
                for _ in 0..100 {
                    if gateway.upload(&client, &part).await {
                        return;
                    }
                }
                panic!("never taken:\n{}", gateway.site.log());
            });
            if uploads.len() >= 12 {
                uploads.join_next().await.unwrap().unwrap();
            }
        }
    }
    while let Some(ended) = uploads.join_next().await {
        ended.unwrap();
    }
    for gateway in gateways.iter() {
        gateway.until_settled().await;
        gateway.site.assert_audit_balances();
    }
    assert_all_arrived(collector, &sent, &gateways.iter().collect::<Vec<_>>());
    assert_eq!(collector.held().copies(), 0, "each event once");
    let duplicates = sum(&gateways, "gatepost_events_duplicate_total").await;
    let dropped = sum(&gateways, "gatepost_dedup_dropped_total").await;
    assert_eq!(duplicates + dropped, sent.len() as f64, "one copy of each was removed, before or after it was stored");
    let (calls, operations) = (
        sum(&gateways, "gatepost_dedup_engine_calls_total").await,
        sum(&gateways, "gatepost_dedup_engine_operations_total").await,
    );
    assert!(calls <= operations, "{operations} operations in {calls} calls");
    let seen = gateways[0].site.status().await["sharing"]["gateways"].clone();
    let names: Vec<&str> = seen.as_array().unwrap().iter().map(|other| other["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["three", "two"], "{seen:#}");
    assert_eq!(seen[0]["version"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_without_a_record_id_and_a_cleared_log_are_told_apart_across_gateways() {
    let engine = Engine::start(&[]).await;
    let collector = collector().await;
    let (one, two) =
        (gateway("one", &collector, engine.port, "").await, gateway("two", &collector, engine.port, "").await);
    let (of_one, of_two) = (one.site.client(), two.site.client());
    let row = |text: &str| format!("[{{\"Message\":\"{text}\"}}]").into_bytes();
    for text in ["a", "b", "a"] {
        assert_eq!(one.site.upload(&of_one, row(text)).await.unwrap().status, 204);
        one.until_settled().await;
        assert_eq!(two.site.upload(&of_two, row(text)).await.unwrap().status, 204);
    }
    let cleared = |second: u32| {
        format!(
            "[{{\"Computer\":\"dc.example\",\"Channel\":\"Security\",\"EventID\":1102,\"EventRecordID\":1,\"TimeGenerated\":\"2026-01-01T00:00:{second:02}Z\"}}]"
        )
        .into_bytes()
    };
    for second in [1, 2, 1] {
        assert_eq!(one.site.upload(&of_one, cleared(second)).await.unwrap().status, 204);
        one.until_settled().await;
        assert_eq!(two.site.upload(&of_two, cleared(second)).await.unwrap().status, 204);
    }
    for gateway in [&one, &two] {
        gateway.until_settled().await;
    }
    let held = collector.held();
    assert_eq!((held.strangers, held.records()), (2, 4), "{held:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_secret_and_an_engine_that_drops_keys_are_told() {
    let engine = Engine::start(&["--maxmemory", "64mb", "--maxmemory-policy", "volatile-lru"]).await;
    let collector = collector().await;
    let one = gateway("one", &collector, engine.port, "").await;
    until(&one.site, "the policy is known", async || one.site.metric("gatepost_dedup_engine_evicts ").await == 1.0)
        .await;
    let warnings = one.site.status().await["warnings"].to_string();
    assert!(warnings.contains("maxmemory-policy"), "{warnings}");

    let other = site("other", &collector, engine.port, &SECRET.replace('a', "b"), "");
    let _running = other.launch();
    until(&other, "the other secret is found", async || other.log().contains("dedup.secret is another one")).await;
    until(&other, "it serves", async || tokio::net::TcpStream::connect(("127.0.0.1", other.uploads)).await.is_ok())
        .await;
    let answer = other.upload(&other.client(), body(&events(1, 3))).await.unwrap();
    assert_eq!(
        (answer.status, answer.retry_after),
        (503, Some(std::time::Duration::from_secs(2))),
        "{:?}",
        answer.body
    );
    assert_eq!(other.admin_get("/readyz").await.status, 503);
    assert_eq!(collector.held().records(), 0);
}

#[tokio::test]
async fn what_is_wrong_with_the_configuration_is_told_with_its_key() {
    let site =
        Site::new("[[outputs]]\nkind = \"file\"\n", "[dedup]\nkind = \"redis\"\n[dedup.redis]\nlease = \"5 min\"\n");
    let check = site.gatepost(&["check"]);
    let told = crate::tools::both(&check);
    assert!(!check.status.success(), "{told}");
    for key in ["dedup.secret", "dedup.redis.addresses", "dedup.redis.lease"] {
        assert!(told.contains(key), "{key}: {told}");
    }
}
