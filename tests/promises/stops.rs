//! A stop comes when it is asked for, and leaves what has begun the time that is promised for it.

use std::process::Command;
use std::time::Duration;

use gatepost::lab::collector::{Collector, Memory};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{PATH, PATIENCE, Running, Site, workspace};

fn site(collector: &Collector) -> Site {
    Site::new(&format!("tls.mode = \"off\"\n{}", workspace("siem", &[collector])), "")
}

async fn until_logged(site: &Site, text: &str) {
    site.until(text, async || site.log().contains(text)).await;
}

async fn until_ended(site: &Site, running: Running) {
    let running = std::cell::RefCell::new(running);
    site.until("it has ended", async || running.borrow_mut().has_ended()).await;
}

#[tokio::test]
async fn an_upload_that_has_begun_has_the_whole_drain_timeout_at_a_stop() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let site = site(&collector);
    let running = site.start().await;
    let mut stream = TcpStream::connect(("127.0.0.1", site.uploads)).await.unwrap();
    // Not so slow that it is refused for that.
    let space = " ".repeat(32 << 10);
    let body = format!("[{space}{{\"TimeGenerated\":\"2026-01-02T03:04:05Z\",\"EventID\":4624}}]");
    let head = format!("POST {PATH} HTTP/1.1\r\nHost: gate\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    running.signal("INT");
    // Longer than any other step of a stop may take.
    for part in body.as_bytes().chunks(body.len().div_ceil(12)) {
        stream.write_all(part).await.expect("it is not cut");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let mut answer = vec![0; 12];
    timeout(PATIENCE, stream.read_exact(&mut answer)).await.unwrap().expect("it is answered");
    assert_eq!(answer, b"HTTP/1.1 204");
    drop(stream);
    until_ended(&site, running).await;
    site.assert_audit_balances();
}

#[tokio::test]
async fn a_signal_is_heard_while_a_reload_takes_its_time() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let site = site(&collector);
    let before = site.config().to_owned();
    // An output that is taken away may go on sending for ten seconds, and nobody is there.
    let port = crate::support::free_port();
    let leaving = format!(
        "[[outputs]]\nkind = \"http\"\nname = \"gone\"\nendpoints = [{{ url = \"http://127.0.0.1:{port}/\" }}]\n"
    );
    site.configure(&format!("{before}\n{leaving}"));
    let running = site.start().await;
    let client = gatepost::net::upload_client::Client::new(None).unwrap();
    let url = format!("http://127.0.0.1:{}{PATH}", site.uploads);
    let headers = [("content-type", "application/json")];
    let body = "[{\"TimeGenerated\":\"2026-01-02T03:04:05Z\",\"EventID\":4624}]";
    let answer = client.post(&url, &headers, body.into(), PATIENCE).await.unwrap();
    assert_eq!(answer.status, 204);
    site.configure(&before);
    running.signal("HUP");
    until_logged(&site, "reloading the configuration").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    running.signal("INT");
    until_logged(&site, "another signal stops at once").await;
    assert!(!site.log().contains("configuration reloaded"), "it was heard only after the reload");
    running.signal("INT");
    until_ended(&site, running).await;
}

#[tokio::test]
async fn a_signal_ends_a_start_that_takes_its_time() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let site = site(&collector);
    assert!(site.start().await.stop().success());
    // It is read at the start, and nobody writes to it.
    let pipe = site.state().join("hosts.json");
    std::fs::remove_file(&pipe).ok();
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let before = site.log().matches("spool opened").count();
    let mut running = site.launch();
    site.until("the spool is opened", async || site.log().matches("spool opened").count() > before).await;
    assert!(!running.has_ended());
    running.signal("TERM");
    until_ended(&site, running).await;
    assert!(site.log().contains("stopped while it was starting"), "{}", site.log());
}
