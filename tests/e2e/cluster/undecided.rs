//! Records that are durable, and of which a gateway cannot know whether it won them.

use std::time::Duration;

use super::engine::Engine;
use super::relay::{Fault, Relay};
use super::scene::{Gateway, assert_all_arrived, collector, events, gateway, identities, until};

/// One gateway behind a relay, one beside it. The first may not go alone, or the fault would be over too soon.
async fn pair(engine: &Engine) -> (gatepost::lab::collector::Collector, Relay, Gateway, Gateway) {
    let collector = collector().await;
    let relay = Relay::start(engine.port).await;
    let one = gateway("one", &collector, relay.port, "when_unavailable = \"strict\"").await;
    let two = gateway("two", &collector, engine.port, "").await;
    (collector, relay, one, two)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_gateway_took_over_from_a_dead_one_is_not_forwarded_when_that_comes_back() {
    let engine = Engine::start(&[]).await;
    let (collector, relay, mut one, two) = pair(&engine).await;
    let part = events(1, 50);
    relay.set(Fault::LoseConfirmations);
    assert!(one.upload(&one.site.client(), &part).await, "it is durable, and so acknowledged");
    until(&one.site, "the confirmation is lost", async || relay.lost() == 1).await;
    one.kill();
    // The agent's retry: another gateway waits for the lease, then takes it.
    assert!(two.upload(&two.site.client(), &part).await);
    two.until_settled().await;
    assert_eq!(collector.held().records(), 50);
    relay.set(Fault::None);
    one.start().await;
    one.until_settled().await;
    assert_eq!(one.site.metric("gatepost_dedup_dropped_total").await, 50.0);
    assert_eq!(one.site.metric("gatepost_events_skipped_total").await, 50.0);
    // Known for good: another restart has nothing to ask, and the engine may forget.
    one.kill();
    engine.empty();
    one.start().await;
    one.until_settled().await;
    assert_all_arrived(&collector, &identities(&part), &[&one, &two]);
    assert_eq!(collector.held().copies(), 0);
    one.site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_took_over_is_forwarded_when_its_gateway_comes_back() {
    let engine = Engine::start(&[]).await;
    let (collector, relay, mut one, two) = pair(&engine).await;
    let part = events(2, 50);
    relay.set(Fault::LoseConfirmations);
    assert!(one.upload(&one.site.client(), &part).await);
    until(&one.site, "the confirmation is lost", async || relay.lost() == 1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(collector.held().records(), 0, "nothing is forwarded before it was won");
    one.kill();
    relay.set(Fault::None);
    one.start().await;
    one.until_settled().await;
    assert!(two.upload(&two.site.client(), &part).await);
    two.until_settled().await;
    assert_all_arrived(&collector, &identities(&part), &[&one, &two]);
    assert_eq!(collector.held().copies(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_confirmation_whose_answer_was_lost_is_recognised_as_its_own() {
    let engine = Engine::start(&[]).await;
    let (collector, relay, mut one, two) = pair(&engine).await;
    let mut sent = events(3, 50);
    relay.set(Fault::LoseAnswers);
    assert!(one.upload(&one.site.client(), &sent).await);
    until(&one.site, "the answer is lost", async || relay.lost() >= 1).await;
    relay.set(Fault::None);
    one.until_settled().await;
    // And once more with a death before it can ask.
    let more = events(4, 50);
    relay.set(Fault::LoseAnswers);
    assert!(one.upload(&one.site.client(), &more).await);
    until(&one.site, "the answer is lost", async || relay.lost() >= 2).await;
    one.kill();
    relay.set(Fault::None);
    one.start().await;
    one.until_settled().await;
    sent.extend(more);
    assert!(two.upload(&two.site.client(), &sent).await);
    two.until_settled().await;
    assert_all_arrived(&collector, &identities(&sent), &[&one, &two]);
    assert_eq!(collector.held().copies(), 0);
    assert_eq!(one.site.metric("gatepost_dedup_dropped_total").await, 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_lives_on_without_its_lease_drops_what_another_one_won() {
    let engine = Engine::start(&[]).await;
    let (collector, relay, one, two) = pair(&engine).await;
    let part = events(5, 50);
    relay.set(Fault::LoseConfirmations);
    assert!(one.upload(&one.site.client(), &part).await);
    until(&one.site, "the confirmation is lost", async || relay.lost() == 1).await;
    assert!(two.upload(&two.site.client(), &part).await, "after the lease of the other one");
    two.until_settled().await;
    relay.set(Fault::None);
    one.until_settled().await;
    assert_eq!(one.site.metric("gatepost_dedup_dropped_total").await, 50.0);
    assert_all_arrived(&collector, &identities(&part), &[&one, &two]);
    assert_eq!(collector.held().copies(), 0);
    one.site.assert_audit_balances();
}
