//! What old agents cost beside the Logs Ingestion API, in one run: a real `gatepost run`, real HTTPS, real disk, the same events
//! by each way. Prints events a second of the gateway's processor time, and the ratio to the Logs Ingestion API; then what agents cost
//! that are only registered. Nobody is there to forward to, so that no way pays for what came by another.
//!
//! ```sh
//! cargo bench --bench old_agents -- --events 500 --uploads 400
//! ```

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

#[path = "old_agents/registered.rs"]
mod registered;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use clap::Parser;
use gatepost::lab::agents::{Kind, OwnCertificate, uploads};
use gatepost::lab::events::{Host, Shape, SimulatedEvent};
use gatepost::net::upload_client::Client;
use time::OffsetDateTime;
use time::macros::format_description;

const WORKSPACE: &str = "01234567-89ab-cdef-0123-456789abcdef";
const AGENT: &str = "0f0e0d0c-0b0a-4908-8706-050403020100";
const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Parser)]
struct Args {
    /// Events in an upload.
    #[arg(long, default_value_t = 500)]
    events: usize,
    /// Uploads by each way.
    #[arg(long, default_value_t = 200)]
    uploads: usize,
    /// Given by `cargo bench`; means nothing here.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A way in, and what of the Logs Ingestion API's speed it should reach.
#[derive(Clone, Copy)]
enum Way {
    LogsIngestion,
    DataCollector,
    Json,
    Xml,
}

const WAYS: [(Way, &str, f64); 4] = [
    (Way::LogsIngestion, "logs ingestion", 1.0),
    (Way::DataCollector, "data collector", 0.85),
    (Way::Json, "ods json", 0.8),
    (Way::Xml, "ods xml", 0.7),
];

fn main() -> Result<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let gateway = Gateway::start().await?;
        let client = gateway.registered().await?;
        // Once for nothing, so that the first way does not pay for the start.
        measure(&gateway, &client, Way::LogsIngestion, 0, &args).await?;
        let mut first = None;
        for (at, (way, name, wanted)) in WAYS.into_iter().enumerate() {
            let speed = measure(&gateway, &client, way, at + 1, &args).await?;
            let ratio = speed / *first.get_or_insert(speed);
            println!("{name:<16} {speed:>9.0} events per CPU-second  {ratio:.2} x (wanted: {wanted:.2})");
        }
        registered::measure(&gateway).await
    })
}

/// Uploads new events by one way; how many of them one second of the gateway's processor takes.
async fn measure(gateway: &Gateway, client: &Client, way: Way, round: usize, args: &Args) -> Result<f64> {
    let requests: Vec<_> = (0..args.uploads)
        .map(|at| {
            let name = format!("SRV-{round}-{at:04}.plant.example");
            let seed = (round * args.uploads + at) as u64;
            let events: Vec<_> = Host::new(name, seed).take(args.events).collect();
            request(way, &events)
        })
        .collect();
    let before = gateway.cpu()?;
    for (path, headers, body) in requests {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
        let answer = client.post(&format!("{}{path}", gateway.url()), &headers, body, TIMEOUT).await?;
        let said = String::from_utf8_lossy(&answer.body).into_owned();
        ensure!((200..300).contains(&answer.status), "{path}: {} {said}", answer.status);
    }
    Ok((args.uploads * args.events) as f64 / (gateway.cpu()? - before))
}

type Request = (&'static str, Vec<(&'static str, String)>, Bytes);

fn request(way: Way, events: &[SimulatedEvent]) -> Request {
    let rows = || {
        let rows: Vec<Vec<u8>> = events.iter().map(|event| event.render(Shape::Row)).collect();
        [b"[".as_slice(), &rows.join(&b','), b"]"].concat()
    };
    match way {
        Way::LogsIngestion => (
            "/dataCollectionRules/dcr-00000000000000000000000000000000/streams/Custom-SecurityEvent?api-version=2023-01-01",
            vec![("content-type", "application/json".to_owned()), ("content-encoding", "deflate".to_owned()), bearer()],
            deflated(&rows()),
        ),
        Way::DataCollector => {
            let text = String::from_utf8(rows()).expect("JSON is text").replace("\"TimeGenerated\"", "\"TimeCreated\"");
            let body = deflated(text.as_bytes());
            let mut headers = signed_post(body.len());
            headers.push(("content-encoding", "deflate".to_owned()));
            ("/api/logs?api-version=2016-04-01", headers, body)
        }
        Way::Json => {
            let items = String::from_utf8(rows()).expect("JSON is text");
            let body =
                format!("{{\"DataType\":\"SECURITY_EVENT_BLOB\",\"IPName\":\"Security\",\"DataItems\":{items}}}");
            ("/OperationalData.svc/PostJsonDataItems", packed("application/json"), deflated(body.as_bytes()))
        }
        Way::Xml => {
            let body = uploads::xml("SECURITY_EVENT_BLOB", events, true);
            ("/EventDataService.svc/PostDataItems", packed("application/xml"), deflated(&body))
        }
    }
}

fn bearer() -> (&'static str, String) {
    ("authorization", "Bearer bench".to_owned())
}

fn packed(content_type: &str) -> Vec<(&'static str, String)> {
    vec![("content-type", content_type.to_owned()), ("content-encoding", "deflate".to_owned())]
}

fn deflated(body: &[u8]) -> Bytes {
    use std::io::Write as _;
    let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(body).expect("memory takes what is written to it");
    packer.finish().expect("memory takes what is written to it").into()
}

fn key() -> Vec<u8> {
    (0..64).collect()
}

/// The head of a post to the Data Collector API.
fn signed_post(length: usize) -> Vec<(&'static str, String)> {
    let rfc_1123 =
        format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
    let date = OffsetDateTime::now_utc().format(&rfc_1123).expect("a date can be written");
    let text = format!("POST\n{length}\napplication/json\nx-ms-date:{date}\n/api/logs");
    let signature = BASE64_STANDARD.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key()), text.as_bytes()));
    vec![
        ("authorization", format!("SharedKey {WORKSPACE}:{signature}")),
        ("log-type", "Bench".to_owned()),
        ("x-ms-date", date),
        ("content-type", "application/json".to_owned()),
    ]
}

/// A gateway process with its own state directory.
struct Gateway {
    child: Child,
    dir: tempfile::TempDir,
    port: u16,
    admin: u16,
}

impl Gateway {
    async fn start() -> Result<Self> {
        let target = std::env::current_dir()?.join("target");
        let dir = tempfile::Builder::new().prefix("gatepost-bench").tempdir_in(target)?;
        let (port, admin) = (free_port()?, free_port()?);
        let config = dir.path().join("gatepost.toml");
        std::fs::write(&config, configuration(dir.path(), port, admin, free_port()?))?;
        let log = std::fs::File::create(dir.path().join("log"))?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost"));
        command.args(["run", "--config"]).arg(&config).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().context("the gateway cannot be started")?;
        let gateway = Self { child, dir, port, admin };
        let client = Client::new(None)?;
        for _ in 0..600 {
            let url = format!("http://127.0.0.1:{}/readyz", gateway.admin);
            if client.get(&url, Duration::from_secs(1)).await.is_ok_and(|answer| answer.status == 200) {
                return Ok(gateway);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("the gateway does not get ready: {}", std::fs::read_to_string(gateway.dir.path().join("log"))?)
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// CPU seconds used so far, user and system.
    fn cpu(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<&str> = stat.rsplit(')').next().context("no fields")?.split_whitespace().collect();
        Ok((fields[11].parse::<u64>()? + fields[12].parse::<u64>()?) as f64 / 100.0)
    }

    /// The memory that it has, in bytes.
    fn memory(&self) -> Result<i64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<i64>()? << 10)
    }

    /// Its own certificate.
    fn authority(&self) -> Result<Vec<u8>> {
        Ok(std::fs::read(self.dir.path().join("state/tls/cert.pem"))?)
    }

    /// A client with a registered certificate, over one connection for all ways.
    async fn registered(&self) -> Result<Client> {
        let own = OwnCertificate::new(Kind::Windows, WORKSPACE, AGENT)?;
        let ca = self.authority()?;
        let client = Client::showing(Some(&ca), own.shown())?;
        let body = uploads::topology(Kind::Windows, "bench.plant.example", AGENT, own.der());
        let headers = uploads::signed(WORKSPACE, &key(), &body);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
        let url = format!("{}/AgentService.svc/AgentTopologyRequest", self.url());
        let answer = client.post(&url, &headers, body.into(), TIMEOUT).await?;
        ensure!(answer.status == 200, "the agent is not registered: {}", answer.status);
        Ok(client)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn configuration(dir: &Path, port: u16, admin: u16, nobody: u16) -> String {
    let (state, key) = (dir.join("state"), BASE64_STANDARD.encode(key()));
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"bench");
    let hash: String = hex::encode(hash);
    format!(
        r#"state_dir = "{}"
[admin]
listen = "127.0.0.1:{admin}"
[[listeners]]
name = "uploads"
listen = "127.0.0.1:{port}"
auth.tokens = [{{ name = "bench", sha256 = "{hash}" }}]
data_collector = {{ enabled = true, workspaces = [{{ id = "{WORKSPACE}", keys = ["{key}"] }}] }}
ods.enabled = true
[[outputs]]
kind = "workspace"
name = "workspace"
dcr = "dcr-00000000000000000000000000000000"
stream = "Custom-SecurityEvent"
endpoints = [{{ name = "nobody", url = "http://127.0.0.1:{nobody}" }}]
"#,
        state.display(),
    )
}
