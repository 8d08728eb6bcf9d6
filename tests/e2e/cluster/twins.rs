//! Two gateways on copies of one state directory, and a claim that the clock of another server made.

use std::process::Command;

use super::engine::Engine;
use super::scene::{SECRET, body, collector, events, gateway, site, until};
use crate::tools::{run_well, tool};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_on_a_copy_of_a_state_directory_takes_no_uploads_while_the_other_one_runs() {
    let engine = Engine::start(&[]).await;
    let collector = collector().await;
    let mut one = gateway("one", &collector, engine.port, "").await;
    assert!(one.upload(&one.site.client(), &events(1, 5)).await);
    one.until_settled().await;
    one.kill();
    let other = site("other", &collector, engine.port, SECRET, "");
    run_well(Command::new(tool("cp", "coreutils")).arg("-a").arg(one.site.state()).arg(other.state()));
    // The predecessor of a gateway that starts again is no other one.
    one.start().await;
    one.site.until_ready().await;
    let _running = other.launch();
    until(&other, "the copy is found", async || other.log().contains("runs with a copy of this state directory")).await;
    until(&other, "it is not ready", async || other.admin_get("/readyz").await.status == 503).await;
    assert_eq!(other.upload(&other.client(), body(&events(2, 3))).await.unwrap().status, 503);
    assert!(one.upload(&one.site.client(), &events(2, 3)).await, "the elder goes on");
    assert!(one.site.log().contains("was started with a copy of this state directory"));
    one.kill();
    other.until_ready().await;
    assert_eq!(other.upload(&other.client(), body(&events(3, 3))).await.unwrap().status, 204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_the_clock_of_another_server_made_long_keeps_nobody_waiting() {
    let engine = Engine::start(&[]).await;
    let collector = collector().await;
    let one = gateway("one", &collector, engine.port, "").await;
    let all = events(1, 20);
    assert!(one.upload(&one.site.client(), &all[..10]).await);
    one.until_settled().await;
    let keys = engine.cli(&["--raw", "KEYS", "gatepost:1:{*}:*"]);
    let open = keys.lines().map(|page| page.rsplit_once(':').unwrap().0).next().unwrap().to_owned() + ":o";
    let claim = format!("{:013}1{:016x}{:016x}", 9_999_999_999_999_u64, 0, u64::MAX);
    engine.cli(&["HSET", &open, "ffffffffffff.1", &claim]);
    assert!(one.upload(&one.site.client(), &all[10..]).await);
    one.until_settled().await;
    assert_eq!(collector.held().records(), 20);
}
