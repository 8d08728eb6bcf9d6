//! Agents of OMS that are registered, or revoked, at one gateway are so at all.

use gatepost::lab::agents::{Kind, OwnCertificate};
use gatepost::net::upload_client::Client;
use tokio::time::Instant;

use super::engine::Engine;
use super::scene::{Gateway, IN_FORCE_WITHIN, collector, gateway_with, until};
use crate::ods::{AGENT, JSON, WORKSPACE, json, key, post, registration, signed};
use crate::tools::both;

const ITEMS: &str = r#"[{"ident":"sshd","Timestamp":"2026-01-02T03:04:05Z","Host":"web01","Message":"one","Facility":"auth","Severity":"info"}]"#;

fn client(gateway: &Gateway, own: &OwnCertificate) -> Client {
    let pem = std::fs::read(gateway.site.state().join("tls/cert.pem")).unwrap();
    Client::showing(Some(&pem), own.shown()).unwrap()
}

pub(crate) async fn uploads(gateway: &Gateway, own: &OwnCertificate) -> u16 {
    let shown = [("Content-Type", "application/json".to_owned())];
    post(&client(gateway, own), &gateway.site.url(JSON), &shown, json("LINUX_SYSLOGS_BLOB", ITEMS)).await.status
}

pub(crate) async fn register(gateway: &Gateway, own: &OwnCertificate) -> u16 {
    let body = registration(own.der());
    let url = gateway.site.url("/AgentService.svc/AgentTopologyRequest");
    post(&client(gateway, own), &url, &signed(&body, 0), body).await.status
}

pub(crate) async fn within_two_seconds(gateway: &Gateway, own: &OwnCertificate, wanted: u16) {
    let began = Instant::now();
    until(&gateway.site, "the other gateway knows", async || uploads(gateway, own).await == wanted).await;
    assert!(began.elapsed() < IN_FORCE_WITHIN, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_registers_renews_or_is_revoked_at_one_gateway_does_so_at_all_within_two_seconds() {
    let mut engine = Engine::start(&[]).await;
    let collector = collector().await;
    let listener =
        format!("ods = {{ enabled = true, workspaces = [{{ id = \"{WORKSPACE}\", keys = [\"{}\"] }}] }}\n", key());
    let one = gateway_with("one", &listener, &collector, engine.port).await;
    let mut two = gateway_with("two", &listener, &collector, engine.port).await;
    let own = OwnCertificate::new(Kind::Linux, WORKSPACE, AGENT).unwrap();
    assert_eq!(uploads(&two, &own).await, 403, "nobody knows it yet");
    assert_eq!(register(&one, &own).await, 200, "{}", one.site.log());
    within_two_seconds(&two, &own, 200).await;
    let renewed = OwnCertificate::new(Kind::Linux, WORKSPACE, AGENT).unwrap();
    assert_eq!(register(&two, &renewed).await, 200, "{}", two.site.log());
    within_two_seconds(&one, &renewed, 200).await;
    // The old one goes when the new one is seen, at both.
    until(&two.site, "the old one is forgotten", async || uploads(&two, &own).await == 403).await;

    // What is registered is on the disk of each, and nothing is registered while the engine is away.
    engine.kill();
    two.kill();
    two.start().await;
    assert_eq!(uploads(&two, &renewed).await, 200, "{}", two.site.log());
    let stranger = OwnCertificate::new(Kind::Linux, WORKSPACE, AGENT).unwrap();
    assert_eq!(register(&two, &stranger).await, 503);
    engine.begin().await;
    two.until_connected().await;
    until(&two.site, "it is taken again", async || register(&two, &renewed).await == 200).await;

    let revoked = two.site.gatepost(&["agents", "revoke", AGENT]);
    assert!(revoked.status.success(), "{}", both(&revoked));
    within_two_seconds(&one, &renewed, 403).await;
    assert_eq!(register(&one, &renewed).await, 403, "it may not come back");
    let seen = engine.cli(&["--raw", "HGET", "gatepost:1:documents", "agents"]);
    assert!(!seen.contains(WORKSPACE), "whoever runs the engine reads nothing of it");
}
