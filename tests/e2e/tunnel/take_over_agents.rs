//! Agents that know the names of their workspace and a proxy: registration, certificates of their own and uploads inside of a
//! tunnel that ends at the gateway.

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use gatepost::lab::dns_server::DnsServer;

use crate::gate::{Gate, SHORT_LIMITS, section};
use crate::support::{Site, free_port};
use crate::tools::{both, of_checkout, run, tool};

const WORKSPACE: &str = "01234567-89ab-cdef-0123-456789abcdef";

fn key() -> String {
    BASE64_STANDARD.encode((0..64).collect::<Vec<u8>>())
}

/// A gateway that takes both names of the workspace over, for everybody on this host.
async fn start() -> Gate {
    let (dns, port) = (DnsServer::start().await, free_port());
    let tunnel = format!(
        r#"
[[tunnel.listeners]]
listen = "{{listen}}"
[[tunnel.groups]]
name = "agents"
networks = ["127.0.0.0/8"]
[tunnel.ca]
certificate = "ca/ca.pem"
key = "ca/ca-key.pem"
[[tunnel.take_over]]
name = "agents"
hosts = ["{WORKSPACE}.oms.opinsights.azure.com", "{WORKSPACE}.ods.opinsights.azure.com"]
groups = ["agents"]
input = "uploads"
{SHORT_LIMITS}"#
    );
    let listener = format!(
        "ods = {{ enabled = true, workspaces = [{{ id = \"{WORKSPACE}\", keys = [\"{}\"] }}] }}\n\
         logs_ingestion = {{ enabled = false }}\nevents = {{ enabled = false }}\n\
         [[outputs]]\nkind = \"file\"\nname = \"kept\"\ndirectory = \"kept\"\nforward = {{ linger = \"20 ms\" }}\n",
        key()
    );
    let site = Site::new(&listener, &section(port, &dns, &tunnel));
    let made = site.gatepost(&["ca", "init", "ca"]);
    assert!(made.status.success(), "{}", both(&made));
    let running = site.start().await;
    Gate { site, running, dns, port }
}

/// A step of an agent's conversation with one of its names; the status.
fn step(gate: &Gate, folder: &Path, name: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(tool("sh", "dash"));
    command
        .arg(of_checkout("tests/data/clients/oms-agent.sh"))
        .args(arguments)
        .env("DIR", folder)
        .env("WORKSPACE_ID", WORKSPACE)
        .env("SHARED_KEY", key())
        .env("AGENT_ID", "0f0e0d0c-0b0a-4908-8706-050403020100")
        .env("COMPUTER", "web01.plant.example")
        .env("ADDRESS", format!("https://{WORKSPACE}.{name}.opinsights.azure.com"))
        .env("https_proxy", format!("http://127.0.0.1:{}", gate.port))
        .env("CA", gate.site.dir.join("ca/ca.pem"));
    both(&run(&mut command, b"")).trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_knows_only_a_proxy_registers_and_uploads_inside_the_tunnel() {
    let gate = start().await;
    let folder = tempfile::tempdir().expect("a temporary directory");
    let step = |name: &str, arguments: &[&str]| step(&gate, folder.path(), name, arguments);
    assert_eq!(step("oms", &["certificate"]), "");
    assert_eq!(step("oms", &["refresh"]), "403", "nobody knows its certificate yet: {}", gate.site.log());
    assert_eq!(step("oms", &["register"]), "200", "{}", gate.site.log());
    assert_eq!(step("oms", &["refresh"]), "200", "{}", gate.site.log());
    let lines = folder.path().join("lines.json");
    let item = r#"{"Timestamp":"2026-11-30T06:00:00.123Z","Host":"web01","Facility":"auth","Severity":"info","Message":"one"}"#;
    let chunk = format!(r#"{{"DataType":"LINUX_SYSLOGS_BLOB","IPName":"logmanagement","DataItems":[{item}]}}"#);
    std::fs::write(&lines, chunk).expect("a temporary file");
    let lines = lines.to_str().expect("a path");
    assert_eq!(step("ods", &["json", lines]), "200", "{}", gate.site.log());
    assert_eq!(step("ods", &["json", lines]), "200", "{}", gate.site.log());
    gate.site.until_drained().await;
    assert_eq!(gate.site.metric("gatepost_events_spooled_total{input=\"uploads\"}").await, 1.0, "the second is known");
    let agents = gate.site.status().await["agents"].clone();
    assert_eq!(agents["known"].as_u64(), Some(1), "{agents:#}");
}
