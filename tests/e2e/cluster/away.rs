//! The engine is away, or has forgotten.

use std::time::Duration;

use super::engine::Engine;
use super::scene::{assert_all_arrived, body, collector, events, gateway, identities, sum, three, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn available_takes_uploads_without_the_engine_and_counts_what_may_go_twice() {
    let mut engine = Engine::start(&[]).await;
    let (collector, gateways) = three(&engine, "").await;
    let (before, both, only) = (events(1, 40), events(2, 60), events(3, 30));
    let clients: Vec<_> = gateways.iter().map(|gateway| gateway.site.client()).collect();
    assert!(gateways[0].upload(&clients[0], &before).await);
    gateways[0].until_settled().await;
    engine.kill();
    for at in [0, 1] {
        assert!(gateways[at].upload(&clients[at], &both).await, "uploads go on");
    }
    assert!(gateways[2].upload(&clients[2], &only).await);
    assert!(gateways[2].upload(&clients[2], &only).await, "a gateway still knows what it took itself");
    for gateway in &gateways {
        gateway.until_settled().await;
        until(&gateway.site, "it shows", async || gateway.site.metric("gatepost_dedup_engine_up").await == 0.0).await;
    }
    assert_eq!((collector.held().records(), collector.held().copies()), (40 + 120 + 30, 60));
    engine.begin().await;
    for gateway in &gateways {
        gateway.until_connected().await;
        until(&gateway.site, "others know", async || gateway.sharing("alone").await == 0).await;
    }
    assert_eq!(
        sum(&gateways, "gatepost_dedup_possible_duplicates_total").await,
        60.0,
        "each that went twice is counted"
    );
    // What was taken alone is known to all now.
    for (at, part) in [(1, &only), (2, &both), (1, &before)] {
        assert!(gateways[at].upload(&clients[at], part).await);
    }
    for gateway in &gateways {
        gateway.until_settled().await;
        gateway.site.assert_audit_balances();
    }
    assert_eq!((collector.held().records(), collector.held().copies()), (190, 60));
    let sent = identities(before.iter().chain(&both).chain(&only));
    assert_all_arrived(&collector, &sent, &gateways.iter().collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strict_refuses_uploads_without_the_engine_and_loses_nothing() {
    let mut engine = Engine::start(&[]).await;
    let collector = collector().await;
    let one = gateway("one", &collector, engine.port, "when_unavailable = \"strict\"").await;
    let client = one.site.client();
    let (before, part) = (events(1, 20), events(2, 20));
    assert!(one.upload(&client, &before).await);
    engine.kill();
    until(&one.site, "uploads are refused", async || {
        let answer = one.site.upload(&client, body(&part)).await.unwrap();
        answer.status == 503 && answer.retry_after == Some(Duration::from_secs(2))
    })
    .await;
    until(&one.site, "it is not ready", async || one.site.admin_get("/readyz").await.status == 503).await;
    assert!(one.site.metric("gatepost_uploads_shed_total{reason=\"dedup_unavailable\"}").await >= 1.0);
    engine.begin().await;
    until(&one.site, "uploads are taken", async || one.upload(&client, &part).await).await;
    one.site.until_ready().await;
    one.until_settled().await;
    assert_all_arrived(&collector, &identities(before.iter().chain(&part)), &[&one]);
    assert_eq!(collector.held().copies(), 0);
}

/// More than a segment of the spool holds, whatever it is compressed to.
const MANY: usize = 6_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_alone_and_has_left_the_spool_is_told_and_counted_too() {
    let mut engine = Engine::start(&[]).await;
    let (collector, gateways) = three(&engine, "").await;
    let both = events(7, MANY);
    engine.kill();
    for gateway in &gateways[..2] {
        let client = gateway.site.client();
        for part in both.chunks(500) {
            assert!(gateway.upload(&client, part).await, "uploads go on");
        }
        gateway.until_settled().await;
        gateway.until_spool_begins_after(1_000).await;
    }
    engine.begin().await;
    for gateway in &gateways {
        gateway.until_connected().await;
        until(&gateway.site, "others know", async || gateway.sharing("alone").await == 0).await;
    }
    let counted = sum(&gateways, "gatepost_dedup_possible_duplicates_total").await;
    assert_eq!((collector.held().copies(), counted), (MANY as u64, MANY as f64), "each that went twice is counted");
    let client = gateways[2].site.client();
    for part in both.chunks(500) {
        assert!(gateways[2].upload(&client, part).await);
    }
    gateways[2].until_settled().await;
    assert_eq!(collector.held().copies(), MANY as u64, "the third gateway knows what the two took");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_was_emptied_is_told_again_what_has_left_the_spool_too() {
    let engine = Engine::start(&[]).await;
    let collector = super::scene::collector().await;
    let (one, two) =
        (gateway("one", &collector, engine.port, "").await, gateway("two", &collector, engine.port, "").await);
    let all = events(8, MANY);
    let (of_one, of_two) = (one.site.client(), two.site.client());
    for part in all.chunks(500) {
        assert!(one.upload(&of_one, part).await);
    }
    one.until_settled().await;
    one.until_spool_begins_after(1_000).await;
    engine.empty();
    until(&one.site, "it was told again", async || one.site.log().contains("knows again what this gateway remembers"))
        .await;
    for part in all.chunks(500) {
        assert!(two.upload(&of_two, part).await);
    }
    two.until_settled().await;
    assert_all_arrived(&collector, &identities(&all), &[&one, &two]);
    assert_eq!(collector.held().copies(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_was_emptied_is_told_again_what_is_kept() {
    let engine = Engine::start(&[]).await;
    let (collector, gateways) = three(&engine, "").await;
    let clients: Vec<_> = gateways.iter().map(|gateway| gateway.site.client()).collect();
    let parts: Vec<_> = (0..3).map(|host| events(host, 100)).collect();
    for at in 0..3 {
        assert!(gateways[at].upload(&clients[at], &parts[at]).await);
        gateways[at].until_settled().await;
    }
    engine.empty();
    for gateway in &gateways {
        // Whoever asks next notices; a look each second would too.
        until(&gateway.site, "it is noticed", async || {
            gateway.site.metric("gatepost_dedup_engine_changes_total").await >= 1.0
        })
        .await;
    }
    let pages =
        async || engine.cli(&["--raw", "KEYS", "gatepost:1:{*}:*"]).lines().filter(|key| !key.ends_with(":o")).count();
    until(&gateways[0].site, "the engine knows again", async || pages().await >= 3).await;
    for at in 0..3 {
        assert!(gateways[(at + 1) % 3].upload(&clients[(at + 1) % 3], &parts[at]).await);
    }
    for gateway in &gateways {
        gateway.until_settled().await;
    }
    assert_all_arrived(&collector, &identities(parts.iter().flatten()), &gateways.iter().collect::<Vec<_>>());
    assert_eq!(collector.held().copies(), 0);
    assert_eq!(sum(&gateways, "gatepost_dedup_possible_duplicates_total").await, 0.0);
}
