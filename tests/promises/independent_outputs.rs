//! Promise 6: independent outputs. A dead workspace delays nobody else, and catches up when it is back.

use gatepost::lab::collector::{Behaviour, Collector, Fault, Memory};
use serde_json::Value;

use crate::load::{Agent, SMALL_SPOOL, assert_each_once};
use crate::support::{Site, workspace};

/// An output's part of the status page.
async fn output(site: &Site, name: &str) -> Value {
    let status = site.status().await;
    let outputs = status["outputs"].as_array().expect("a list");
    outputs.iter().find(|output| output["name"] == name).expect("it is configured").clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_dead_output_delays_no_other_and_catches_up_when_it_is_back() {
    let (alive, dead) =
        (Collector::start(Memory::Identities).await.unwrap(), Collector::start(Memory::Identities).await.unwrap());
    alive.set(Behaviour { recognise_repeats: true, ..Behaviour::default() });
    dead.set(Behaviour { recognise_repeats: true, fault: Some(Fault::Down), ..Behaviour::default() });
    let outputs = workspace("alive", &[&alive]) + &workspace("dead", &[&dead]);
    let site = Site::new(&outputs, SMALL_SPOOL);
    let running = site.start().await;
    let mut agent = Agent::new(&site, "TWO.plant.example", 5);
    for _ in 0..40 {
        agent.upload(&site, 50).await;
    }
    site.until("the live output has everything", async || output(&site, "alive").await["pending"] == 0).await;
    assert_each_once(&agent.owed, &[&alive]);
    let waiting = output(&site, "dead").await;
    assert_eq!((&waiting["forwarded"], &waiting["pending"]), (&0.into(), &agent.owed.len().into()), "{waiting:#}");
    assert!(waiting["last_error"]["detail"].is_string(), "the status tells what is wrong: {waiting:#}");

    // A restart in between: the dead one keeps its position, the live one is not sent anything again.
    assert!(running.stop().success());
    site.assert_audit_balances();
    let running = site.start().await;
    for _ in 0..10 {
        agent.upload(&site, 50).await;
    }
    site.until("the live output has everything", async || output(&site, "alive").await["pending"] == 0).await;
    assert_each_once(&agent.owed, &[&alive]);
    assert_eq!(output(&site, "dead").await["pending"], agent.owed.len());

    // And a crash, before it is back.
    running.kill();
    let running = site.start().await;
    dead.set(Behaviour { recognise_repeats: true, ..Behaviour::default() });
    site.until_drained().await;
    assert_each_once(&agent.owed, &[&dead]);
    assert_each_once(&agent.owed, &[&alive]);
    for name in ["alive", "dead"] {
        let account = output(&site, name).await;
        assert_eq!(account["forwarded"], agent.owed.len(), "{account:#}");
        assert_eq!(account["dead_lettered"], 0);
    }
    assert!(running.stop().success());
    site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_one_output_refuses_is_a_dead_letter_of_that_output_only() {
    const POISON: &str = "one-of-them-does-not-like-this";
    let (liberal, strict) =
        (Collector::start(Memory::Identities).await.unwrap(), Collector::start(Memory::Identities).await.unwrap());
    strict.set(Behaviour { refuse_marker: Some(POISON.to_owned()), ..Behaviour::default() });
    let site = Site::new(&(workspace("liberal", &[&liberal]) + &workspace("strict", &[&strict])), SMALL_SPOOL);
    let running = site.start().await;
    let row = format!(
        r#"[{{"TimeGenerated":"2026-03-01T10:00:00Z","Computer":"A.example","Channel":"Security","EventID":4624,"EventRecordId":"7","Note":"{POISON}"}}]"#
    );
    assert_eq!(site.upload(&site.client(), row).await.unwrap().status, 204);
    site.until_drained().await;
    assert_eq!((liberal.tally().events, strict.tally().events), (1, 0));
    // It is sent again to the one that refused it, and not to the other one.
    strict.set(Behaviour::default());
    assert!(site.gatepost(&["dead-letter", "replay", "--all"]).status.success());
    site.until_drained().await;
    assert_eq!((liberal.tally().events, strict.tally().events), (1, 1));
    assert_eq!(output(&site, "liberal").await["skipped"], 1);
    assert!(running.stop().success());
    site.assert_audit_balances();
}
