//! Rules that are set over REST at one gateway are in force at all.

use gatepost::lab::collector::Collector;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::engine::Engine;
use super::scene::{Gateway, IN_FORCE_WITHIN, collector, events, gateway, until};

const RULES: &str = "/subscriptions/s/resourceGroups/plant/providers/Microsoft.Insights/dataCollectionRules";
const ASSOCIATION: &str = "/subscriptions/s/resourceGroups/plant/providers/Microsoft.HybridCompute/machines/%2A/providers/Microsoft.Insights/dataCollectionRuleAssociations/all";

/// Sends one request to the admin plane; the status and the body.
pub(crate) async fn call(gateway: &Gateway, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let mut stream = TcpStream::connect(("127.0.0.1", gateway.site.admin)).await.unwrap();
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let request = format!(
        "{method} {path}?api-version=2022-06-01 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_default())
}

pub(crate) fn rule(version: u64) -> Value {
    json!({
        "location": "eastus",
        "tags": { "version": version.to_string() },
        "properties": {
            "dataSources": { "windowsEventLogs": [
                { "name": "all", "streams": ["Microsoft-Event"], "xPathQueries": ["Security!*", "System!*", "Application!*"] } ] },
            "destinations": { "logAnalytics": [
                { "name": "soc", "workspaceResourceId": "/subscriptions/s/resourceGroups/g/providers/Microsoft.OperationalInsights/workspaces/workspace" } ] },
            "dataFlows": [{ "streams": ["Microsoft-Event"], "destinations": ["soc"] }]
        }
    })
}

pub(crate) fn path(name: &str) -> String {
    format!("{RULES}/{name}")
}

pub(crate) async fn version(gateway: &Gateway, name: &str) -> Option<String> {
    let (status, body) = call(gateway, "GET", &path(name), &Value::Null).await;
    (status == 200).then(|| body["tags"]["version"].as_str().unwrap().to_owned())
}

pub(crate) async fn until_version(gateway: &Gateway, name: &str, wanted: Option<&str>) {
    let has = async || version(gateway, name).await.as_deref() == wanted;
    until(&gateway.site, "the others' rule is there", has).await;
}

async fn pair(engine: &Engine) -> (Collector, Gateway, Gateway) {
    let collector = collector().await;
    let one = gateway("one", &collector, engine.port, "").await;
    let two = gateway("two", &collector, engine.port, "").await;
    (collector, one, two)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_is_put_at_one_gateway_is_in_force_at_all_within_two_seconds() {
    let engine = Engine::start(&[]).await;
    let (collector, one, two) = pair(&engine).await;
    assert_eq!(call(&one, "PUT", &path("a"), &rule(1)).await.0, 201);
    let put = Instant::now();
    until_version(&two, "a", Some("1")).await;
    assert!(put.elapsed() < IN_FORCE_WITHIN, "{:?}", put.elapsed());
    // And changed from there, with an association that takes a rule to be there.
    assert_eq!(call(&two, "PUT", &path("a"), &rule(2)).await.0, 200);
    let body = json!({ "properties": { "dataCollectionRuleId": path("a") } });
    assert_eq!(call(&two, "PUT", ASSOCIATION, &body).await.0, 201);
    until_version(&one, "a", Some("2")).await;
    until(&one.site, "the association is there", async || call(&one, "GET", ASSOCIATION, &Value::Null).await.0 == 200)
        .await;
    assert!(one.upload(&one.site.client(), &events(1, 5)).await);
    one.until_settled().await;
    assert_eq!(collector.held().records(), 5);
    assert_eq!(call(&one, "DELETE", ASSOCIATION, &Value::Null).await.0, 200);
    assert_eq!(call(&one, "DELETE", &path("a"), &Value::Null).await.0, 200);
    until_version(&two, "a", None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_changes_at_several_gateways_at_once_none_is_lost() {
    let engine = Engine::start(&[]).await;
    let (_collector, one, two) = pair(&engine).await;
    let put = async |gateway: &Gateway, name: String| {
        // 503: another gateway was first; whoever asks asks again.
        until(&gateway.site, "it is taken", async || {
            matches!(call(gateway, "PUT", &path(&name), &rule(1)).await.0, 201)
        })
        .await;
    };
    for round in 0..6 {
        tokio::join!(put(&one, format!("of-one-{round}")), put(&two, format!("of-two-{round}")));
    }
    for gateway in [&one, &two] {
        for round in 0..6 {
            until_version(gateway, &format!("of-one-{round}"), Some("1")).await;
            until_version(gateway, &format!("of-two-{round}"), Some("1")).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_are_there_without_the_engine_and_come_back_to_one_that_forgot() {
    let mut engine = Engine::start(&[]).await;
    let (collector, one, mut two) = pair(&engine).await;
    assert_eq!(call(&one, "PUT", &path("a"), &rule(1)).await.0, 201);
    until_version(&two, "a", Some("1")).await;
    engine.kill();
    let refused = async || call(&one, "PUT", &path("b"), &rule(1)).await.0 == 503;
    until(&one.site, "no rule is changed while nobody can be asked", refused).await;
    two.kill();
    two.start().await;
    assert_eq!(version(&two, "a").await.as_deref(), Some("1"), "its own disk has it");
    engine.begin().await;
    two.until_connected().await;
    // What is deleted while a gateway is away is deleted there too.
    two.kill();
    until(&one.site, "it is deleted", async || call(&one, "DELETE", &path("a"), &Value::Null).await.0 == 200).await;
    assert_eq!(call(&one, "PUT", &path("c"), &rule(3)).await.0, 201);
    two.start().await;
    until_version(&two, "c", Some("3")).await;
    assert_eq!(version(&two, "a").await, None);
    // An engine that forgot gets the rules again, and a gateway that is new gets them from there.
    engine.empty();
    let three = gateway("three", &collector, engine.port, "").await;
    until_version(&three, "c", Some("3")).await;
}
