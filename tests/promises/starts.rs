//! A start that reads what it remembers for a while serves at once what does not need it, and fails no upload by it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gatepost::lab::collector::{Collector, Memory};
use gatepost::net::upload_client::Client;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{LOOK, PATH, PATIENCE, Site, free_port, workspace};

const BODY: &str = "[{\"TimeGenerated\":\"2026-01-02T03:04:05Z\",\"EventID\":4624}]";

/// Bytes of a file that nobody reads to its end.
const HOLES: u64 = 1 << 40;

/// What `GET` says there, if anybody answers.
async fn asked(url: &str) -> Option<(u16, String)> {
    let answer = Client::new(None).unwrap().get(url, Duration::from_secs(2)).await.ok()?;
    Some((answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
}

async fn until_it_says(url: &str, status: u16, text: &str) {
    let is_said = async || asked(url).await.is_some_and(|(is, said)| is == status && said.contains(text));
    let waiting = async {
        while !is_said().await {
            tokio::time::sleep(LOOK).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "{url} never says {status} {text}: {:?}", asked(url).await);
}

#[tokio::test]
async fn a_start_that_reads_for_long_is_alive_serves_tunnels_and_tells_uploads_to_come_back() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let tunnels = free_port();
    let rest = format!(
        "[tunnel]\n[[tunnel.listeners]]\nlisten = \"127.0.0.1:{tunnels}\"\n[[tunnel.allow]]\nname = \"a\"\nhosts = [\"a.test\"]\n"
    );
    let site = Site::new(&format!("tls.mode = \"off\"\n{}", workspace("siem", &[&collector])), &rest);
    assert!(site.start().await.stop().success());
    // A file of remembered events that takes minutes to read: holes without end, which take no room.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let slow = site.state().join(format!("dedup/{}.keys", (now - 7_200) / 1_800 * 1_800));
    std::fs::File::create(&slow).unwrap().set_len(HOLES).unwrap();

    let running = site.launch();
    let (ready, client) = (format!("http://127.0.0.1:{}/readyz", site.admin), Client::new(None).unwrap());
    until_it_says(&ready, 503, "0 of 1 files of remembered events are read").await;
    assert!(asked(&ready).await.unwrap().1.contains("\"loading\""), "the code says why");
    until_it_says(&format!("http://127.0.0.1:{}/livez", site.admin), 200, "true").await;
    assert_eq!(site.admin_get("/status").await.status, 200);

    let url = format!("http://127.0.0.1:{}{PATH}", site.uploads);
    let headers = [("content-type", "application/json")];
    let refused = client.post(&url, &headers, BODY.into(), PATIENCE).await.unwrap();
    assert_eq!((refused.status, refused.retry_after), (503, Some(Duration::from_secs(2))), "{:?}", refused.body);
    let mut tunnel = TcpStream::connect(("127.0.0.1", tunnels)).await.unwrap();
    tunnel.write_all(b"CONNECT b.test:443 HTTP/1.1\r\nHost: b.test:443\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    tunnel.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 403", "b.test is not on the list");

    // The end of it.
    std::fs::OpenOptions::new().write(true).open(&slow).unwrap().set_len(0).unwrap();
    site.until_ready().await;
    let taken = client.post(&url, &headers, BODY.into(), PATIENCE).await.unwrap();
    assert_eq!(taken.status, 204, "{:?}", taken.body);
    assert!(!asked(&ready).await.unwrap().1.contains("progress"));
    site.until_drained().await;
    assert!(running.stop().success());
    site.assert_audit_balances();
}
