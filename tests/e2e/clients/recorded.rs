//! Forwarders that are not here to run: their requests, said over raw TLS. They are written by hand from notes about each
//! forwarder, not captured; `tests/data/clients/README.md` says what the notes rest on.

use std::io::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::front::connector;
use super::world::{CLIENT, COMPUTER, SECRET, TENANT, World};
use crate::support::PATIENCE;
use crate::tools::of_checkout;

/// A token of the configuration.
const OPEN: &str = "an-open-token";

/// What came back.
#[derive(Debug)]
struct Said {
    status: u16,
    head: String,
    body: String,
}

/// Fills a written request in.
fn request(world: &World, name: &str, token: &str) -> Vec<u8> {
    let text = std::fs::read_to_string(of_checkout("tests/data/clients").join(name)).expect("it is there");
    let (head, body) = text.split_once("\n\n").expect("a head and a body");
    let body = body.replace("{{CLIENT}}", CLIENT).replace("{{SECRET}}", &SECRET.replace('+', "%2B"));
    let body = match &*body {
        "{{MSGPACK}}" => vec![0x91, 0x92, 0xcb, 0x41, 0xda, 0xce, 0x80, 0x81, 0xa1, b'a', 0x01],
        "{{TEN_MEGABYTES}}" => ten_megabytes(),
        _ => body.into_bytes(),
    };
    let body = if head.to_ascii_lowercase().contains("content-encoding: gzip") {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(&body).expect("memory takes it");
        gzip.finish().expect("memory takes it")
    } else {
        body
    };
    let head = head
        .replace("{{LENGTH}}", &body.len().to_string())
        .replace("{{PORT}}", &world.site.uploads.to_string())
        .replace("{{TENANT}}", TENANT)
        .replace("{{TOKEN}}", token)
        .replace("{{OPEN}}", OPEN)
        .replace('\n', "\r\n");
    assert!(!head.contains("{{"), "{head}");
    [head.as_bytes(), b"\r\n\r\n", &body].concat()
}

/// Vector's largest batch, uncompressed.
fn ten_megabytes() -> Vec<u8> {
    let filling = "x".repeat(1000);
    let row = |n: u32| {
        format!(
            r#"{{"timestamp":"2026-11-22T20:00:00.000Z","message":"{filling}","computer":"{COMPUTER}","channel":"Security","record_id":{n},"event_id":4624}}"#
        )
    };
    let rows: Vec<String> = (0..8800).map(|n| row(100_000 + n)).collect();
    format!("[{}]", rows.join(",")).into_bytes()
}

async fn say(world: &World, bytes: &[u8]) -> Said {
    let ca = std::fs::read(world.path("ca.pem")).expect("the authority");
    let tcp = TcpStream::connect(("127.0.0.1", world.site.uploads)).await.expect("the gateway listens");
    let name = ServerName::try_from("localhost").expect("a name");
    let mut stream = connector(&ca).connect(name, tcp).await.expect("the handshake succeeds");
    stream.write_all(bytes).await.expect("the gateway reads it all");
    stream.flush().await.expect("the gateway reads it all");
    let mut heard = Vec::new();
    let whole = async {
        let mut buffer = [0; 4096];
        while !is_whole(&heard) {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(read) => heard.extend_from_slice(&buffer[..read]),
            }
        }
    };
    tokio::time::timeout(PATIENCE, whole).await.expect("the gateway answers");
    let text = String::from_utf8_lossy(&heard).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
    Said { status, head: head.to_owned(), body: body.to_owned() }
}

/// Whether an answer has come to its end.
fn is_whole(heard: &[u8]) -> bool {
    let text = String::from_utf8_lossy(heard);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0usize)
}

async fn spooled(world: &World) -> u64 {
    world.site.metric("gatepost_events_spooled_total{input=\"uploads\"}").await as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn forwarders_are_understood_or_refused_in_words_and_nothing_is_kept_of_what_is_refused() {
    let hash: String = hex::encode(digest(&SHA256, OPEN.as_bytes()));
    let world = World::new(&format!("auth = {{ tokens = [{{ name = \"open\", sha256 = \"{hash}\" }}] }}")).await;
    let answer = say(&world, &request(&world, "fluent-bit-token.http", "")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
    let token = answer["access_token"].as_str().expect("a token").to_owned();

    for (name, status, events, told) in [
        ("fluent-bit-azure-logs-ingestion.http", 204, 2, ""),
        ("fluent-bit-azure-logs-ingestion-gzip.http", 204, 2, ""),
        ("fluent-bit-http-json.http", 200, 2, "\"spooled\":2"),
        ("fluent-bit-http-json-lines.http", 200, 2, "\"spooled\":2"),
        ("fluent-bit-http-json-stream.http", 200, 2, "\"spooled\":2"),
        ("fluent-bit-http-msgpack.http", 415, 0, "msgpack is not understood here"),
        ("fluent-bit-http-gelf.http", 415, 0, "gelf is not understood here"),
        ("fluent-bit-azure-shared-key.http", 404, 0, "there is nothing at this path"),
        ("fluent-bit-splunk.http", 404, 0, "there is nothing at this path"),
        ("fluent-bit-es.http", 404, 0, "there is nothing at this path"),
        ("fluent-bit-opentelemetry.http", 404, 0, "there is nothing at this path"),
        ("vector-health.http", 204, 0, ""),
        ("vector.http", 204, 8800, ""),
        ("javascript.http", 204, 1, ""),
    ] {
        let before = spooled(&world).await;
        let answer = say(&world, &request(&world, name, &token)).await;
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        assert!(answer.body.contains(told), "{name}: {answer:?}");
        assert_eq!(spooled(&world).await - before, events, "{name}");
        if status >= 400 {
            let error: serde_json::Value = serde_json::from_str(&answer.body).expect("an error is JSON");
            assert!(error["error"]["code"].is_string(), "{name}: {error}");
        }
        if status == 204 {
            assert!(answer.body.is_empty() && !answer.head.contains("chunked"), "{name}: {answer:?}");
        }
    }
    let set_aside = world.site.metric("gatepost_events_set_aside_total{").await;
    assert!(set_aside.abs() < f64::EPSILON, "{set_aside} records were set aside");
}
