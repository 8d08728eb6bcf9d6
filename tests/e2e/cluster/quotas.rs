//! What gateways send through one data collection rule of Azure.

use serde_json::Value;

use super::engine::Engine;
use super::scene::{collector, events, gateway_with, until};

/// An output to Azure by a proxy that is not there: its requests are counted, and none leaves.
const AZURE: &str = r#"
[[outputs]]
kind = "workspace"
name = "azure"
dcr = "dcr-0123456789abcdef0123456789abcdef"
stream = "Custom-SecurityEvent"
endpoints = [{ name = "dce", url = "https://dce.westeurope-1.ingest.monitor.azure.com" }]
identity = { kind = "client_secret", tenant = "t", client_id = "c", client_secret = "s" }
proxy = { url = "http://127.0.0.1:1" }
"#;

/// Requests a minute that the gateway allows itself through the rule.
fn part(status: &Value) -> Option<u64> {
    let outputs = status["outputs"].as_array()?;
    let azure = outputs.iter().find(|output| output["name"] == "azure")?;
    azure["details"]["quota"]["part"]["requests"].as_u64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_tell_each_other_what_they_send_through_a_rule_and_share_its_limit() {
    let engine = Engine::start(&[]).await;
    let collector = collector().await;
    let one = gateway_with("one", AZURE, &collector, engine.port).await;
    let mut two = gateway_with("two", AZURE, &collector, engine.port).await;
    assert_eq!(part(&one.site.status().await), Some(12_000), "alone it has all");
    for (host, gateway) in [(1, &one), (2, &two)] {
        assert!(gateway.upload(&gateway.site.client(), &events(host, 5)).await);
    }
    for gateway in [&one, &two] {
        let shares = async || part(&gateway.site.status().await).is_some_and(|part| (6_000..12_000).contains(&part));
        until(&gateway.site, "it leaves to the other one what that one sends", shares).await;
    }
    let told = &one.site.status().await["sharing"]["gateways"][0];
    assert!(told["quotas"]["dcr-0123456789abcdef0123456789abcdef"]["requests"].as_u64() > Some(0), "{told}");
    two.kill();
    let has_all = async || part(&one.site.status().await) == Some(12_000);
    until(&one.site, "it has what a gateway that is gone left", has_all).await;
}
