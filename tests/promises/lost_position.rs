//! Promise 2 where a read position is lost: its file, its folder, or some of its bytes. The output begins with what the
//! spool still has; nothing is lost, what may go twice is counted, and it is said.

use std::path::Path;

use gatepost::lab::collector::{Behaviour, Collector, Fault, Memory};
use serde_json::Value;

use crate::load::{Agent, SMALL_SPOOL};
use crate::support::{Site, workspace};

fn down() -> Behaviour {
    Behaviour { fault: Some(Fault::Answer { status: 503, retry_after: None }), ..Behaviour::default() }
}

fn cursor(state: &Path) -> std::path::PathBuf {
    state.join("outputs/workspace.cursor")
}

/// Flips a bit in each of the first entries of the journal, or of its header.
fn flip(state: &Path, from: usize, entries: usize) {
    let mut bytes = std::fs::read(cursor(state)).unwrap();
    (from..from + entries).for_each(|entry| bytes[entry * 32 + 20] ^= 8);
    std::fs::write(cursor(state), bytes).unwrap();
}

fn output(status: &Value) -> &Value {
    &status["outputs"][0]
}

/// Some events arrive, the collector goes down, more are uploaded, the gateway ends, the position is lost.
async fn lose(stops: bool, loss: impl Fn(&Path), cause: &str) {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let site = Site::new(&workspace("workspace", &[&collector]), SMALL_SPOOL);
    let mut running = site.start().await;
    let mut agent = Agent::new(&site, "POSITION", 11);
    agent.upload(&site, 60).await;
    site.until_drained().await;
    collector.set(down());
    for _ in 0..10 {
        agent.upload(&site, 50).await;
    }
    if stops {
        assert!(running.stop().success());
    } else {
        running.kill();
    }
    loss(&site.state());
    let audit = site.gatepost(&["audit"]);
    assert!(!audit.status.success(), "{cause}: the audit does not see it: {}", String::from_utf8_lossy(&audit.stdout));

    running = site.start().await;
    let status = site.status().await;
    assert_eq!(output(&status)["position_lost"]["cause"], cause, "{status:#}");
    let may_go_twice = output(&status)["position_lost"]["events"].as_u64().unwrap();
    // What is on its way already has been counted, and is in doubt no more.
    let in_doubt = output(&status)["in_doubt"].as_u64().unwrap();
    assert!(may_go_twice >= 500 && in_doubt <= may_go_twice, "{status:#}");
    assert!(site.log().contains("the read position of an output was lost"), "{}", site.log());
    let lost = format!("gatepost_output_positions_lost_total{{output=\"workspace\",cause=\"{cause}\"}}");
    assert!(site.metric(&lost).await == 1.0);
    collector.set(Behaviour::default());
    site.until_drained().await;

    let held = collector.held();
    let missing = agent.owed.iter().filter(|identity| !held.events.contains_key(*identity)).count();
    assert_eq!(missing, 0, "{cause}: of {} acknowledged events so many are lost", agent.owed.len());
    let ambiguous = site.metric("gatepost_events_ambiguous_total{output=\"workspace\"}").await;
    assert!(held.repeated() as f64 <= ambiguous, "{cause}: {} repeated, {ambiguous} counted", held.repeated());
    // Beside it, what a collector that was still down had answered with 503 counts for its own sake.
    let restart = "gatepost_events_ambiguous_by_reason_total{output=\"workspace\",reason=\"restart\"}";
    let restart = site.metric(restart).await;
    assert!(restart <= may_go_twice as f64, "{cause}: {restart} counted");
    let status = site.status().await;
    assert_eq!((&output(&status)["damaged"], &output(&status)["in_doubt"]), (&0.into(), &0.into()), "{status:#}");
    assert!(running.stop().success());
    site.assert_audit_balances();
    let audit = String::from_utf8(site.gatepost(&["audit"]).stdout).unwrap();
    assert!(audit.contains("output workspace: its position was lost"), "{audit}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_position_loses_nothing() {
    lose(true, |state| std::fs::remove_file(cursor(state)).unwrap(), "missing").await;
    lose(false, |state| std::fs::remove_dir_all(state.join("outputs")).unwrap(), "missing").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_position_loses_nothing_and_shows_no_damage_of_the_spool() {
    lose(true, |state| flip(state, 1, 3), "damaged").await;
    lose(false, |state| flip(state, 12, 2), "damaged").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_output_that_is_new_is_told_apart_from_one_whose_position_is_lost() {
    let (one, two) =
        (Collector::start(Memory::Identities).await.unwrap(), Collector::start(Memory::Identities).await.unwrap());
    one.set(down());
    let site = Site::new(&workspace("workspace", &[&one]), SMALL_SPOOL);
    let running = site.start().await;
    let mut agent = Agent::new(&site, "NEW", 12);
    agent.upload(&site, 50).await;
    assert!(running.stop().success());
    site.configure(&format!("{}{}", site.config(), workspace("second", &[&two])));
    let running = site.start().await;
    agent.upload(&site, 50).await;
    one.set(Behaviour::default());
    site.until_drained().await;
    assert_eq!((one.held().events.len(), two.held().events.len()), (100, 50));
    let status = site.status().await;
    assert!(status["outputs"].as_array().unwrap().iter().all(|output| output["position_lost"].is_null()), "{status:#}");
    assert!(running.stop().success());
    site.assert_audit_balances();
}

/// The backup that a runbook names: everything of the state is new but the secret. Ordinals begin anew, and must not
/// make ids that the collector knows of other events.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_restored_alone_gives_no_batch_an_id_that_another_had() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    collector.set(Behaviour { recognise_repeats: true, ..Behaviour::default() });
    let site = Site::new(&workspace("workspace", &[&collector]), SMALL_SPOOL);
    let running = site.start().await;
    let mut agent = Agent::new(&site, "SECRET", 13);
    for _ in 0..5 {
        agent.upload(&site, 40).await;
        site.until_drained().await;
    }
    assert!(running.stop().success());
    let backup = site.dir.join("secret.key");
    std::fs::copy(site.state().join("secret.key"), &backup).unwrap();
    std::fs::remove_dir_all(site.state()).unwrap();
    std::fs::create_dir(site.state()).unwrap();
    std::fs::copy(&backup, site.state().join("secret.key")).unwrap();
    let running = site.start().await;
    let mut after = Agent::new(&site, "SECRET-2", 14);
    for _ in 0..5 {
        after.upload(&site, 40).await;
        site.until_drained().await;
    }
    let held = collector.held();
    let missing = after.owed.iter().filter(|identity| !held.events.contains_key(*identity)).count();
    assert_eq!(missing, 0, "acknowledged events were taken for repeats");
    assert!(running.stop().success());
    site.assert_audit_balances();
}
