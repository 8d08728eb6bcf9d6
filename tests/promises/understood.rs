//! Promise 9: nothing understood is never a success. What is understood in part names what was set aside.

use std::process::Command;
use std::time::Duration;

use gatepost::lab::events::{Host, Shape, SimulatedEvent};
use gatepost::lab::evtx;
use serde_json::Value;

use crate::load::{json_lines, receipt};
use crate::support::{PATH, Site};

fn events(count: usize) -> Vec<SimulatedEvent> {
    Host::new("UNDERSTOOD.plant.example", 9).take(count).collect()
}

fn utf16(text: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(text).encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// A log of 90 events that was cut inside its last chunk.
fn cut_log() -> Vec<u8> {
    let mut log = evtx::log(&events(90));
    log.truncate(log.len() - evtx::CHUNK + 9_000);
    log
}

/// A megabyte in which nobody finds an event, in lines.
fn noise() -> Vec<u8> {
    let mut noise = vec![0; 1 << 20];
    fastrand::Rng::with_seed(7).fill(&mut noise);
    noise.retain(|byte| !b"{<".contains(byte));
    noise
}

/// What nobody understands, and a word of the reason.
fn nonsense() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let bulk = [b"{\"index\":{\"_index\":\"winlogbeat\"}}\n".to_vec(), events(1)[0].render(Shape::Row), b"\n".to_vec()];
    vec![
        ("text", b"no event\nanother line\n".to_vec(), "was understood"),
        ("noise", noise(), "was understood"),
        ("numbers", b"[1, 2, 3]".to_vec(), "no object"),
        ("an archive", b"PK\x03\x04 and more".to_vec(), "unpack it"),
        ("a web page", b"<html><body>502</body></html>".to_vec(), "web page"),
        ("a bulk body", bulk.concat(), "Elasticsearch"),
        ("OTLP", b"{\"resourceLogs\":[{\"scopeLogs\":[]}]}".to_vec(), "OTLP"),
        ("a log that is none", b"ElfFile\0".to_vec(), "event log"),
        ("text in UTF-16", utf16(b"no event"), "not understood"),
    ]
}

/// How this command ended: whether with success, and what it printed.
fn sent(site: &Site, file: &std::path::Path) -> (bool, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost"));
    command.args(["send", "--json", "--to", &site.url("")]).arg("--ca").arg(site.state().join("tls/cert.pem"));
    let output = command.arg(file).current_dir(&site.dir).output().unwrap();
    (output.status.success(), serde_json::from_slice(&output.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_understood_is_never_a_success() {
    let site = Site::new("", "");
    let running = site.start().await;
    let client = site.client();
    for (name, body, reason) in nonsense() {
        for path in ["/v1/events", PATH] {
            let answer = client.post(&site.url(path), &[], body.clone().into(), Duration::from_secs(30)).await.unwrap();
            assert!(matches!(answer.status, 400 | 415), "{name} at {path}: {answer:?}");
            let told: Value = serde_json::from_slice(&answer.body).unwrap();
            let message = told["error"]["message"].as_str().unwrap();
            assert!(path == PATH || message.contains(reason), "{name}: {message}");
        }
        let file = site.dir.join("nonsense");
        std::fs::write(&file, &body).unwrap();
        let (success, summary) = sent(&site, &file);
        assert!(!success && summary["damaged"] != 0, "{name}: {summary:#}");
        assert_eq!(summary["uploads"]["requests"], 0, "{name}: {summary:#}");
    }
    assert!(site.metric("gatepost_events_received_total").await < 1.0, "nothing of it was kept");
    assert!(json_lines(&site.gatepost(&["--json", "dead-letter", "list"])).is_empty());
    assert!(running.stop().success());
    site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_tools_of_windows_write_is_understood_at_the_door_and_by_send() {
    let site = Site::new("", "");
    let running = site.start().await;
    let client = site.client();
    let events = events(90);
    let xml: Vec<u8> =
        events[..30].iter().flat_map(|event| [event.render(Shape::Xml), b"\r\n".to_vec()].concat()).collect();
    let object: Value = serde_json::from_slice(&events[40].render(Shape::Row)).unwrap();
    let pretty = serde_json::to_vec_pretty(&object).unwrap();
    let headed = [b"2026 Nov 29 08:00:00 (srv) any->WinEvtLog ".to_vec(), events[41].render(Shape::Xml)].concat();
    for (name, body, spooled, set_aside) in [
        ("UTF-16 with its mark", [vec![0xFF, 0xFE], utf16(&xml)].concat(), 30, 0),
        ("UTF-16 without it", utf16(&xml), 0, 0),
        ("one object over lines", pretty, 1, 0),
        ("an event behind a heading", headed, 1, 0),
        ("a log that is cut", cut_log(), 0, 1),
        ("a log", evtx::log(&events), 0, 0),
    ] {
        let file = site.dir.join("file");
        std::fs::write(&file, &body).unwrap();
        let told = receipt(&site, &client, &[], body).await;
        if spooled > 0 {
            assert_eq!(told["spooled"], spooled, "{name}: {told}");
        }
        assert_eq!(told["set_aside"], set_aside, "{name}: {told}");
        let (success, summary) = sent(&site, &file);
        assert_eq!(success, set_aside == 0, "{name}: {summary:#}");
        assert_eq!(summary["uploads"]["receipts"]["spooled"], 0, "{name}: the same events: {summary:#}");
        assert_eq!(summary["records"].as_u64(), told["received"].as_u64().map(|all| all - set_aside), "{name}");
    }
    assert!((site.metric("gatepost_events_spooled_total").await - 90.0).abs() < 0.5, "each event once");
    assert!(running.stop().success());
    site.assert_audit_balances();
}
