//! What hosts send again, and what they lost: nothing arrives twice, and nobody loses an event without a word.

use gatepost::lab::events::Shape;
use gatepost::lab::evtx;
use gatepost::lab::wef::Faults;
use std::time::Duration;

use super::scene::{Scene, deliver_all, events, identities};
use crate::support::PATH;

const BOTH: &str =
    "[[filter.rules]]\nname = \"all\"\nqueries = [\"Security!*\", \"System!*\"]\noutputs = [\"workspace\"]\n";
const SECURITY: &str = "[[filter.rules]]\nname = \"all\"\nqueries = [\"Security!*\"]\noutputs = [\"workspace\"]\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_events_by_wef_by_json_and_from_an_evtx_file_arrive_once() {
    let scene = Scene::new("wef.read_existing_events = true", "").await;
    let running = scene.site.start().await;
    let name = "pc1.plant.test";
    let all = events(name, 7, 90, 0.0);
    let mut host = scene.host(name, Faults::default(), 1);
    let client = scene.client(name);
    let rows: Vec<Vec<u8>> = all[..60].iter().map(|event| event.render(Shape::Row)).collect();
    let rows = [b"[".as_slice(), &rows.join(&b','), b"]"].concat();
    let json = [("content-type", "application/json")];
    // One third came by JSON before, all come by WEF, and all come again out of a file.
    let first = client.post(&scene.site.url(PATH), &json, rows.clone().into(), Duration::from_secs(30)).await.unwrap();
    assert_eq!(first.status, 204);
    all.iter().for_each(|event| host.log(event));
    host.enumerate().await.unwrap();
    assert_eq!(host.deliver(25).await.unwrap(), 90);
    let url = scene.site.url("/v1/events");
    let file = client.post(&url, &[], evtx::log(&all).into(), Duration::from_secs(30)).await.unwrap();
    let receipt: serde_json::Value = serde_json::from_slice(&file.body).unwrap();
    assert_eq!((receipt["received"].as_u64(), receipt["duplicate"].as_u64()), (Some(90), Some(90)), "{receipt}");
    assert_eq!(
        client.post(&scene.site.url(PATH), &json, rows.into(), Duration::from_secs(30)).await.unwrap().status,
        204
    );
    scene.assert_arrived_once(&identities(&all)).await;
    assert!(running.stop().success());
    scene.site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_a_rule_adds_is_replayed_and_nothing_arrives_twice() {
    let scene = Scene::new("wef.read_existing_events = true", SECURITY).await;
    let running = scene.site.start().await;
    let name = "pc1.plant.test";
    let all = events(name, 3, 100, 0.5);
    let mut host = scene.host(name, Faults::default(), 1);
    all.iter().for_each(|event| host.log(event));
    host.enumerate().await.unwrap();
    let security = all.iter().filter(|event| event.channel() == "Security").count();
    assert_eq!(host.deliver(1000).await.unwrap(), security, "only what the rules want leaves the host");
    host.enumerate().await.unwrap();
    assert_eq!(host.deliver(1000).await.unwrap(), 0, "the same version: the subscription lives on");

    scene.site.configure(&scene.site.config().replace(SECURITY, BOTH));
    running.signal("HUP");
    super::scene::until(async || {
        host.enumerate().await.unwrap();
        host.deliver(1000).await.unwrap() > 0
    })
    .await;
    scene.assert_arrived_once(&identities(&all)).await;
    assert!(running.stop().success());
    scene.site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_bookmarks_lose_no_event_and_bring_none_twice() {
    let scene = Scene::new("wef.read_existing_events = false", "").await;
    let running = scene.site.start().await;
    let name = "pc1.plant.test";
    let all = events(name, 5, 60, 0.0);
    let mut host = scene.host(name, Faults::default(), 1);
    host.enumerate().await.unwrap();
    all[..30].iter().for_each(|event| host.log(event));
    host.deliver(10).await.unwrap();
    assert!(running.stop().success());
    std::fs::remove_dir_all(scene.site.state().join("wef")).unwrap();
    // Logged while nobody listens; then the host is restarted and knows nothing of itself.
    let mut again = scene.host(name, Faults::default(), 2);
    all.iter().for_each(|event| again.log(event));
    let running = scene.site.start().await;
    again.enumerate().await.unwrap();
    deliver_all(&mut again, 10).await;
    scene.assert_arrived_once(&identities(&all)).await;
    assert!(scene.site.log().contains("bookmarks of forwarding hosts were lost"));
    assert!(running.stop().success());
    scene.site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_wrapped_is_counted_and_shown() {
    let scene = Scene::new("wef.read_existing_events = true", SECURITY).await;
    let running = scene.site.start().await;
    let name = "pc1.plant.test";
    let all = events(name, 9, 60, 0.0);
    let mut host = scene.host(name, Faults::default(), 1);
    all[..20].iter().for_each(|event| host.log(event));
    host.enumerate().await.unwrap();
    host.deliver(100).await.unwrap();
    // The gateway is away, and the log goes around.
    running.kill();
    let running = scene.site.start().await;
    all[33..].iter().for_each(|event| host.log(event));
    deliver_all(&mut host, 100).await;
    let shown = scene.shown().await;
    assert_eq!(shown["hosts"][0]["subscriptions"][0]["lost_by_host"], 13, "{shown:#}");
    let printed = scene.site.gatepost(&["wef", "hosts", "pc1"]);
    let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
    assert!(printed.contains("the host's log wrapped once: 13 events are gone"), "{printed}");
    assert_eq!(scene.site.metric("gatepost_wef_events_lost_by_hosts_total").await, 13.0);
    assert!(running.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_bookmark_costs_a_repetition_and_no_event() {
    let scene = Scene::new("wef.read_existing_events = true", "").await;
    let running = scene.site.start().await;
    let name = "pc1.plant.test";
    let all = events(name, 11, 90, 0.0);
    let mut host = scene.host(name, Faults::default(), 1);
    all[..30].iter().for_each(|event| host.log(event));
    host.enumerate().await.unwrap();
    assert_eq!(host.deliver(10).await.unwrap(), 30);
    let file = scene.site.state().join("wef/bookmarks.jsonl");
    let old = std::fs::read(&file).unwrap();
    all[30..60].iter().for_each(|event| host.log(event));
    assert_eq!(host.deliver(10).await.unwrap(), 30);
    assert!(running.stop().success());
    // As from a backup; the host was restarted too, and knows its place by the bookmark alone.
    std::fs::write(&file, old).unwrap();
    let running = scene.site.start().await;
    let mut again = scene.host(name, Faults::default(), 2);
    all.iter().for_each(|event| again.log(event));
    again.enumerate().await.unwrap();
    assert_eq!(again.deliver(10).await.unwrap(), 60, "from the old bookmark on");
    scene.assert_arrived_once(&identities(&all)).await;
    assert!(running.stop().success());
    scene.site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bookmark_without_the_newest_channel_loses_nothing_of_it_when_the_host_restarts() {
    let scene = Scene::new("wef.read_existing_events = false", SECURITY).await;
    let running = scene.site.start().await;
    let name = "pc1.plant.test";
    let all = events(name, 13, 120, 0.5);
    let mut host = scene.host(name, Faults::default(), 1);
    host.enumerate().await.unwrap();
    all[..80].iter().for_each(|event| host.log(event));
    host.deliver(20).await.unwrap();
    assert!(running.stop().success());
    scene.site.configure(&scene.site.config().replace(SECURITY, BOTH));
    let running = scene.site.start().await;
    let mut again = scene.host(name, Faults::default(), 2);
    all.iter().for_each(|event| again.log(event));
    again.enumerate().await.unwrap();
    deliver_all(&mut again, 20).await;
    scene.assert_arrived_once(&identities(&all)).await;
    // Once more with what it has given now: nothing is left to send.
    let mut once_more = scene.host(name, Faults::default(), 3);
    all.iter().for_each(|event| once_more.log(event));
    once_more.enumerate().await.unwrap();
    assert_eq!(once_more.deliver(20).await.unwrap(), 0);
    assert!(running.stop().success());
    scene.site.assert_audit_balances();
}
