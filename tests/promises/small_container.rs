//! Promise 5 where memory is scarce: with its default settings a gateway lives in a container of 256 MiB, whatever is uploaded
//! at once. What it cannot take now it sheds, and every upload gets through in the end.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use gatepost::lab::collector::{Collector, Memory};
use gatepost::net::upload_client::Client;
use tokio::time::Instant;

use crate::support::{LOOK, Site, workspace};

const LIMIT: u64 = 256 << 20;
const UPLOADS: usize = 32;
const BODY: usize = 4_500_000;
/// A debug build on a busy machine takes its time.
const LONG: Duration = Duration::from_secs(240);

/// A control group of its own, with a limit of memory: the kernel ends whoever takes more. Removed at the end.
struct Group(PathBuf);

impl Group {
    /// `None` when the person who runs the test says that no group can be made here.
    fn with_limit(bytes: u64) -> Option<Self> {
        if std::env::var_os("GATEPOST_SKIP_CGROUP").is_some_and(|value| value == "1") {
            println!("skipped: GATEPOST_SKIP_CGROUP=1, so there is no container to be small");
            return None;
        }
        let name = format!("gatepost-test-{}", std::process::id());
        let made = Self::v1(&name, bytes).or_else(|_| Self::v2(&name, bytes));
        Some(made.expect(
            "this test needs the right to make a control group (root); set GATEPOST_SKIP_CGROUP=1 to leave it out",
        ))
    }

    fn v1(name: &str, bytes: u64) -> std::io::Result<Self> {
        let root = Path::new("/sys/fs/cgroup/memory");
        std::fs::metadata(root.join("memory.limit_in_bytes"))?;
        Self::make(&root.join(name), "memory.limit_in_bytes", bytes)
    }

    fn v2(name: &str, bytes: u64) -> std::io::Result<Self> {
        let root = Path::new("/sys/fs/cgroup");
        std::fs::write(root.join("cgroup.subtree_control"), "+memory")?;
        Self::make(&root.join(name), "memory.max", bytes)
    }

    fn make(path: &Path, file: &str, bytes: u64) -> std::io::Result<Self> {
        std::fs::create_dir(path)?;
        let group = Self(path.to_owned());
        std::fs::write(group.0.join(file), bytes.to_string())?;
        Ok(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        drop(std::fs::remove_dir(&self.0));
    }
}

/// The shapes that uploads come in.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Rows,
    Xml,
    GzippedRows,
    GzippedXml,
}

impl Shape {
    const ALL: [Self; 4] = [Self::Rows, Self::Xml, Self::GzippedRows, Self::GzippedXml];

    /// One upload of a host: its events, and how many.
    fn upload(self, host: usize) -> (Bytes, u64) {
        let mut events = Vec::new();
        let mut size = 0;
        while size < BODY {
            let event = self.event(host, events.len());
            size += event.len() + 1;
            events.push(event);
        }
        let body = match self {
            Self::Rows | Self::GzippedRows => format!("[{}]", events.join(",")),
            Self::Xml | Self::GzippedXml => events.join("\n"),
        };
        let body = if self.is_gzipped() { gzip(body.as_bytes()) } else { body.into() };
        (body, events.len() as u64)
    }

    fn event(self, host: usize, record: usize) -> String {
        let text = format!("{host} {record} something that happened; ").repeat(60);
        match self {
            Self::Rows | Self::GzippedRows => format!(
                r#"{{"TimeGenerated":"2026-01-02T03:04:05.6Z","Computer":"H{host}.example","Channel":"Security","EventID":4624,"EventRecordID":{record},"EventData":"{text}"}}"#
            ),
            Self::Xml | Self::GzippedXml => format!(
                "<Event><System><Provider Name='P'/><EventID>4624</EventID><TimeCreated SystemTime='2026-01-02T03:04:05.6Z'/>\
                 <EventRecordID>{record}</EventRecordID><Channel>Security</Channel><Computer>H{host}.example</Computer></System>\
                 <EventData><Data Name='a'>{text}</Data></EventData></Event>"
            ),
        }
    }

    fn is_gzipped(self) -> bool {
        matches!(self, Self::GzippedRows | Self::GzippedXml)
    }
}

fn gzip(body: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap().into()
}

/// Uploads until it is taken, as agents do; how often it was shed.
async fn upload(site: &Site, client: &Client, shape: Shape, body: Bytes) -> usize {
    let encoding = if shape.is_gzipped() { "gzip" } else { "identity" };
    let headers = [("content-type", "application/json"), ("content-encoding", encoding)];
    let until = Instant::now() + LONG;
    let mut shed = 0;
    loop {
        match client.post(&site.url("/v1/events"), &headers, body.clone(), LONG).await {
            Ok(answer) if answer.status == 200 => return shed,
            Ok(answer) => assert!([429, 503].contains(&answer.status), "{}", String::from_utf8_lossy(&answer.body)),
            // A request that is refused before its body was read may see only that the connection ends.
            Err(error) => println!("{error}"),
        }
        shed += 1;
        assert!(Instant::now() < until, "it is never taken:\n{}", site.log());
        tokio::time::sleep(LOOK).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_defaults_hold_in_a_container_of_256_mib_under_32_large_uploads_at_once() {
    let Some(group) = Group::with_limit(LIMIT) else { return };
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let site = Site::new(&workspace("workspace", &[&collector]), "");
    let mut running = site.launch_in(&group.0);
    site.until_ready().await;
    assert_eq!(site.status().await["memory_limit_bytes"], LIMIT, "it knows its container");
    let environment = std::fs::read_to_string(format!("/proc/{}/environ", running.id())).unwrap();
    assert!(environment.contains("MIMALLOC_PURGE_DELAY=0"), "its allocator gives memory back");

    let client = site.client();
    let (bodies, counts): (Vec<_>, Vec<_>) = (0..UPLOADS)
        .map(|host| {
            let shape = Shape::ALL[host % Shape::ALL.len()];
            let (body, events) = shape.upload(host);
            ((shape, body), events)
        })
        .unzip();
    let uploads = bodies.into_iter().map(|(shape, body)| upload(&site, &client, shape, body));
    let shed: usize = futures_util::future::join_all(uploads).await.into_iter().sum();

    let events: u64 = counts.iter().sum();
    println!("{shed} times shed, {} MiB at most of {} events", running.highest_memory() >> 20, events);
    assert!(!running.has_ended(), "{}", site.log());
    let spooled = async || site.status().await["account"]["total"]["spooled"] == events;
    site.until("each was taken once", spooled).await;
    site.until_drained().await;
    assert_eq!(collector.tally().events, events);
    assert!(running.stop().success(), "{}", site.log());
    site.assert_audit_balances();
}
