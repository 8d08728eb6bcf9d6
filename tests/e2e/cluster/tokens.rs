//! A token of one gateway is good at all, and whoever runs the engine cannot make one.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use gatepost::net::upload_client::Answer;
use serde_json::Value;

use super::engine::Engine;
use super::scene::{Gateway, body, collector, events, gateway_with, until};
use crate::support::PATH;

const WAIT: Duration = Duration::from_secs(30);

pub(crate) async fn keys(gateway: &Gateway) -> Value {
    let url = gateway.site.url("/common/discovery/v2.0/keys");
    let answer = gateway.site.client().get(&url, WAIT).await.unwrap();
    serde_json::from_slice(&answer.body).unwrap()
}

pub(crate) async fn token(gateway: &Gateway) -> String {
    let form =
        "client_id=plant&client_secret=sesame&grant_type=client_credentials&scope=https://monitor.azure.com//.default";
    let url = gateway.site.url("/plant.example/oauth2/v2.0/token");
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let answer = gateway.site.client().post(&url, &headers, form.into(), WAIT).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

pub(crate) async fn upload(gateway: &Gateway, token: &str, host: u64) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [("content-type", "application/json"), ("authorization", &*bearer)];
    let body = body(&events(host, 5)).into();
    gateway.site.client().post(&gateway.site.url(PATH), &headers, body, WAIT).await.unwrap()
}

/// A listener that gives tokens.
pub(crate) fn entra() -> String {
    let hash: String = hex::encode(digest(&SHA256, b"sesame"));
    format!("entra = {{ enabled = true, clients = [{{ id = \"plant\", secrets = [{{ sha256 = \"{hash}\" }}] }}] }}\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_token_is_worthless_at_once_after_what_the_page_says() {
    let engine = Engine::start(&[]).await;
    let collector = collector().await;
    let mut gateways = Vec::new();
    for name in ["one", "two"] {
        gateways.push(gateway_with(name, &entra(), &collector, engine.port).await);
    }
    let stolen = token(&gateways[0]).await;
    let is_good = async || upload(&gateways[1], &stolen, 1).await.status == 204;
    until(&gateways[1].site, "it is good at the other gateway", is_good).await;
    for gateway in &mut gateways {
        assert!(gateway.running.take().unwrap().stop().success());
        std::fs::remove_dir_all(gateway.site.state().join("entra")).unwrap();
    }
    for key in ["gatepost:1:revisions", "gatepost:1:documents"] {
        assert_eq!(engine.cli(&["HDEL", key, "token-keys"]).trim(), "1", "{key}");
    }
    for gateway in &mut gateways {
        gateway.start().await;
    }
    for gateway in &gateways {
        assert_eq!(upload(gateway, &stolen, 2).await.status, 401);
        let fresh = token(gateway).await;
        assert_eq!(upload(gateway, &fresh, 3).await.status, 204, "{}", gateway.site.log());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_one_gateway_is_good_at_all_and_the_keys_are_sealed_in_the_engine() {
    let mut engine = Engine::start(&[]).await;
    let collector = collector().await;
    let listener = entra();
    let one = gateway_with("one", &listener, &collector, engine.port).await;
    let mut two = gateway_with("two", &listener, &collector, engine.port).await;
    until(&one.site, "both have the keys of both", async || {
        let keys = keys(&one).await;
        keys["keys"].as_array().unwrap().len() == 2 && keys == self::keys(&two).await
    })
    .await;
    let (of_one, of_two) = (token(&one).await, token(&two).await);
    assert_eq!(upload(&two, &of_one, 1).await.status, 204, "{}", two.site.log());
    assert_eq!(upload(&one, &of_two, 2).await.status, 204, "{}", one.site.log());
    assert_eq!(upload(&one, &of_two.replace('e', "f"), 3).await.status, 401);

    // They are on the disk of each, and come back to an engine that forgot. It holds nothing that anybody can read.
    engine.empty();
    let there = async || engine.cli(&["HEXISTS", "gatepost:1:documents", "token-keys"]).trim() == "1";
    until(&one.site, "the engine has them again", there).await;
    let sealed = engine.cli(&["HGET", "gatepost:1:documents", "token-keys"]);
    assert!(!sealed.contains("made") && !sealed.contains("MII"), "{sealed}");
    engine.kill();
    two.kill();
    two.start().await;
    assert_eq!(upload(&two, &of_one, 4).await.status, 204, "{}", two.site.log());
}
