//! Promises 2 and 5 on a full disk: uploads are shed with an answer that makes agents come back, nothing that was
//! acknowledged is lost, and it is over by itself when there is room again.

use std::time::Duration;

use gatepost::lab::collector::{Behaviour, Collector, Fault, Memory};
use gatepost::lab::events::{Shape, SimulatedEvent};
use gatepost::net::upload_client::{Answer, Client};
use serde_json::Value;

use crate::disk::SmallDisk;
use crate::load::{Agent, array, assert_each_once};
use crate::support::{LOOK, PATIENCE, Site, workspace};

/// The same upload again and again, as an agent does, until the answer is the wanted one; the others must be the
/// other of the two that may come.
async fn upload_until(site: &Site, client: &Client, body: &[u8], wanted: u16) -> Answer {
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        let answer = site.upload(client, body.to_vec()).await.expect("the gateway answers");
        if answer.status == wanted {
            return answer;
        }
        assert!([204, 503].contains(&answer.status), "{}", answer.status);
        assert!(tokio::time::Instant::now() < until, "no {wanted}:\n{}", site.log());
        tokio::time::sleep(LOOK).await;
    }
}

/// Uploads new events until one upload is shed; returns that one, which is owed only once it is taken.
async fn upload_until_shed(site: &Site, agent: &mut Agent) -> Vec<SimulatedEvent> {
    let client = site.client();
    loop {
        let events = agent.events(50);
        let answer = site.upload(&client, array(&events, Shape::Row)).await.expect("the gateway answers");
        if answer.status != 204 {
            assert_eq!(answer.status, 503, "{}", String::from_utf8_lossy(&answer.body));
            assert!(answer.retry_after.is_some_and(|after| after > Duration::ZERO), "agents must be told to come back");
            return events;
        }
        agent.owed.extend(events.iter().map(SimulatedEvent::identity));
        assert!(agent.owed.len() < 200_000, "the disk is never full: {:#}", site.status().await);
    }
}

async fn assert_unready_because(site: &Site, reason: &str) {
    site.until(reason, async || {
        let answer = site.admin_get("/readyz").await;
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        let reasons = body["reasons"].as_array().cloned().unwrap_or_default();
        answer.status == 503 && reasons.iter().any(|said| said.as_str().is_some_and(|said| said.contains(reason)))
    })
    .await;
}

/// Until an upload was shed; then room; then everything must arrive, the shed upload too, since its agent comes back.
async fn shed_then_recover(site: &Site, agent: &mut Agent, reason: &str, make_room: impl FnOnce()) {
    let refused = upload_until_shed(site, agent).await;
    assert_unready_because(site, reason).await;
    assert_eq!(site.admin_get("/livez").await.status, 200, "it must not be restarted for that");
    site.until("the metric shows it", async || site.metric("gatepost_ready").await == 0.0).await;
    make_room();
    upload_until(site, &site.client(), &array(&refused, Shape::Row), 204).await;
    agent.owed.extend(refused.iter().map(SimulatedEvent::identity));
    site.until_ready().await;
    for _ in 0..10 {
        let events = agent.events(50);
        upload_until(site, &site.client(), &array(&events, Shape::Row), 204).await;
        agent.owed.extend(events.iter().map(SimulatedEvent::identity));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_sheds_loses_nothing_and_recovers_without_a_restart() {
    let own = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&own.path().join("state"), "24m") else { return };
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let sound = Behaviour { recognise_repeats: true, ..Behaviour::default() };
    collector.set(Behaviour { fault: Some(Fault::Down), ..sound.clone() });
    let spool = "[spool]\nsegment_size = \"1 MiB\"\nmax_size = \"16 MiB\"\ncompression_level = 0\n";
    let site = Site::at(own.path(), &workspace("workspace", &[&collector]), spool);
    let mut running = site.start().await;
    let mut agent = Agent::new(&site, "FULL.plant.example", 11);
    for _ in 0..20 {
        agent.upload(&site, 50).await;
    }

    let foreign = disk.fill();
    shed_then_recover(&site, &mut agent, "disk", || std::fs::remove_file(&foreign).unwrap()).await;
    assert!(!running.has_ended());

    // Once more while the output works: positions, dedup journal and ledger are on the full disk too.
    collector.set(sound);
    let foreign = disk.fill();
    for _ in 0..20 {
        let events = agent.events(50);
        let body = array(&events, Shape::Row);
        let answer = site.upload(&site.client(), body.clone()).await.expect("the gateway answers");
        if answer.status == 503 {
            assert!(answer.retry_after.is_some());
        }
        // What is shed now is brought again below.
        agent.owed.extend(events.iter().map(SimulatedEvent::identity));
        if answer.status != 204 {
            std::fs::remove_file(&foreign).ok();
            upload_until(&site, &site.client(), &body, 204).await;
        }
    }
    std::fs::remove_file(&foreign).ok();
    site.until_drained().await;
    assert_each_once(&agent.owed, &[&collector]);

    assert!(running.stop().success(), "{}", site.log());
    site.assert_audit_balances();
    let running = site.start().await;
    site.until_drained().await;
    assert!(running.stop().success());
    assert_each_once(&agent.owed, &[&collector]);
    site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_spools_own_quota_uploads_are_shed_until_it_drains() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let sound = Behaviour { recognise_repeats: true, ..Behaviour::default() };
    collector.set(Behaviour { fault: Some(Fault::Down), ..sound.clone() });
    let spool = "[spool]\nsegment_size = \"256 KiB\"\nmax_size = \"2 MiB\"\ncompression_level = 0\n";
    let site = Site::new(&workspace("workspace", &[&collector]), spool);
    let running = site.start().await;
    let mut agent = Agent::new(&site, "QUOTA.plant.example", 12);
    shed_then_recover(&site, &mut agent, "watermark", || collector.set(sound)).await;
    let taken = site.status().await["spool"]["bytes"].as_u64().unwrap();
    assert!(taken <= 2 << 20, "the quota is kept: {taken}");
    assert!(site.metric("gatepost_uploads_shed_total{reason=\"spool_full\"}").await > 0.0);
    site.until_drained().await;
    assert!(running.stop().success());
    assert_each_once(&agent.owed, &[&collector]);
    site.assert_audit_balances();
}
