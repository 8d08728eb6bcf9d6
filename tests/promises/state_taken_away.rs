//! Promise 1 when the state is removed or replaced under the running gateway: nothing is acknowledged into files that
//! nobody will ever find again, and the gateway says so.

use std::path::Path;

use gatepost::lab::collector::{Behaviour, Collector, Fault, Memory};
use gatepost::lab::events::Shape;
use serde_json::Value;

use crate::load::{Agent, SMALL_SPOOL, array};
use crate::support::{Site, workspace};

const REASON: &str = "the state was removed or replaced under the gateway";

async fn says_why(site: &Site) {
    site.until(REASON, async || {
        let said: Value = serde_json::from_slice(&site.admin_get("/readyz").await.body).unwrap();
        said["reasons"].as_array().is_some_and(|reasons| reasons.iter().any(|reason| reason == REASON))
    })
    .await;
    // `/readyz` is worked out when it is asked, metrics are shown once a second.
    site.until("the metric shows it", async || site.metric("gatepost_state_removed").await == 1.0).await;
    assert!(site.log().contains("was removed or replaced under the running gateway"), "{}", site.log());
}

/// A gateway with events that wait, one of its uploads, and a way to take something away from it.
async fn nothing_is_acknowledged_after(take: impl FnOnce(&Path)) -> (Site, crate::support::Running) {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    collector.set(Behaviour { fault: Some(Fault::Down), ..Behaviour::default() });
    let site = Site::new(&workspace("workspace", &[&collector]), SMALL_SPOOL);
    let running = site.start().await;
    let client = site.client();
    let mut agent = Agent::new(&site, "TAKEN.plant.example", 70);
    let known = array(&agent.events(20), Shape::Row);
    assert_eq!(site.upload(&client, known.clone()).await.unwrap().status, 204);
    take(&site.state());
    for _ in 0..30 {
        let fresh = array(&agent.events(20), Shape::Row);
        let answer = site.upload(&client, fresh).await.unwrap();
        assert_eq!(answer.status, 503, "acknowledged into files that were taken away\n{}", site.log());
        assert!(answer.retry_after.is_some(), "agents must be told to come back");
        let answer = site.upload(&client, known.clone()).await.unwrap();
        assert_eq!(answer.status, 503, "a duplicate of an event that is gone was acknowledged\n{}", site.log());
    }
    says_why(&site).await;
    assert_eq!(site.admin_get("/livez").await.status, 200);
    (site, running)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_state_was_deleted_no_upload_is_acknowledged_and_a_restart_mends_it() {
    let (site, running) = nothing_is_acknowledged_after(|state| std::fs::remove_dir_all(state).unwrap()).await;
    assert!(!site.state().join("spool").exists(), "what is no longer ours is not filled");
    assert!(running.stop().success());
    let running = site.start().await;
    Agent::new(&site, "AGAIN.plant.example", 71).upload(&site, 20).await;
    assert!(running.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_state_was_replaced_by_another_no_upload_is_acknowledged() {
    nothing_is_acknowledged_after(|state| {
        std::fs::rename(state, state.with_extension("aside")).unwrap();
        std::fs::create_dir_all(state.join("spool")).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_spool_was_deleted_no_upload_is_acknowledged() {
    nothing_is_acknowledged_after(|state| std::fs::remove_dir_all(state.join("spool")).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_lock_lets_no_second_gateway_in_and_is_told() {
    let (site, _running) =
        nothing_is_acknowledged_after(|state| std::fs::remove_file(state.join("lock")).unwrap()).await;
    // On ports of its own, so that nothing but the state is in its way.
    let other = Site::at(&site.dir, "", "");
    let mut second = other.launch();
    site.until("the second one ends", async || other.log().contains("another gateway uses the state directory")).await;
    other.until("the second gateway ends", async || second.has_ended()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_or_a_journal_that_was_deleted_is_written_anew() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    collector.set(Behaviour { recognise_repeats: true, ..Behaviour::default() });
    let site = Site::new(&workspace("workspace", &[&collector]), SMALL_SPOOL);
    let running = site.start().await;
    let mut agent = Agent::new(&site, "POSITION.plant.example", 72);
    agent.upload(&site, 50).await;
    site.until_drained().await;
    let cursor = site.state().join("outputs/workspace.cursor");
    std::fs::remove_file(&cursor).unwrap();
    site.until("the position is there again", async || cursor.exists()).await;
    let keys = || std::fs::read_dir(site.state().join("dedup")).unwrap().map(|entry| entry.unwrap().path());
    site.until("there are keys", async || keys().next().is_some()).await;
    keys().for_each(|path| std::fs::remove_file(path).unwrap());
    agent.upload(&site, 50).await;
    site.until("the keys are there again", async || keys().next().is_some()).await;
    site.until_drained().await;
    assert!(running.stop().success());
    let running = site.start().await;
    site.until_drained().await;
    assert!(running.stop().success());
    crate::load::assert_each_once(&agent.owed, &[&collector]);
    site.assert_audit_balances();
}
