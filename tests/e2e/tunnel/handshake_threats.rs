//! Threats inside the tunnel: the handshake, and bytes that come before their time.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::threats::{allowed, connect, rules, status};
use crate::gate::{Canary, Gate, PATIENCE, SHORT_LIMITS, client_hello, read_head, read_to_end};

#[tokio::test]
async fn bytes_that_come_with_the_request_reach_the_destination_after_the_answer() {
    let (canary, gate) = allowed().await;
    let hello = client_hello("a.allowed.test");
    let request = [connect(&format!("a.allowed.test:{}", canary.port)), hello.clone()].concat();
    let mut stream = gate.connect().await;
    stream.write_all(&request).await.expect("sent");
    assert_eq!(read_head(&mut stream).await, "HTTP/1.1 200 Connection established\r\n\r\n");
    let mut echo = vec![0; hello.len()];
    timeout(PATIENCE, stream.read_exact(&mut echo)).await.expect("in time").expect("the tunnel stands");
    assert_eq!(echo, hello);

    // On a refusal they are dropped.
    let before = canary.bytes().len();
    let answer = gate.ask(&[connect("evil.test:443"), hello].concat()).await;
    assert_eq!((status(&answer), canary.bytes().len()), (403, before));
}

#[tokio::test]
async fn fronting_the_hello_must_name_the_host_that_was_asked_for() {
    let canary = Canary::start().await;
    let gate = Gate::start(&rules(&canary, "")).await;
    let target = format!("a.allowed.test:{}", canary.port);
    gate.dns.addresses("a.allowed.test", 60, &["127.0.0.1"]);
    let without_name = {
        let hello = client_hello("127.0.0.1");
        assert!(!hello.windows(9).any(|bytes| bytes == b"127.0.0.1"));
        hello
    };
    for (hello, reason) in [
        (client_hello("b.allowed.test"), "sni_differs"),
        (without_name, "sni_absent"),
        (b"GET / HTTP/1.1\r\nHost: a.allowed.test\r\n\r\n".to_vec(), "not_tls"),
        (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), "not_tls"),
        (vec![0x80, 0x2e, 0x01, 0x03, 0x01, 0x00, 0x15, 0x00, 0x00], "not_tls"),
        (vec![0x16, 0x03, 0x01, 0x00, 0x05, 0x02, 0, 0, 1, 0], "hello_malformed"),
    ] {
        let (answer, mut stream) = gate.tunnel_to(&target).await;
        assert_eq!(status(&answer), 200);
        stream.write_all(&hello).await.expect("sent");
        let alert = read_to_end(&mut stream).await;
        assert!(alert.len() <= 16, "{reason}: {alert:?}");
        let began = Instant::now();
        loop {
            let line = gate.logged(&target).await;
            if line["reason"] == reason {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "{reason}: {line}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    assert_eq!(canary.bytes(), b"", "bytes reached the destination before the handshake was looked at");
    // Silence is no handshake either.
    let (_, mut stream) = gate.tunnel_to(&target).await;
    let began = Instant::now();
    read_to_end(&mut stream).await;
    assert!(began.elapsed() >= Duration::from_secs(1), "closed before its time");
}

#[tokio::test]
async fn a_hello_in_one_byte_segments_and_records_passes_whole() {
    let (canary, gate) = allowed().await;
    let whole = client_hello("a.allowed.test");
    let in_records: Vec<u8> = whole[5..].iter().flat_map(|byte| [0x16, 3, 1, 0, 1, *byte]).collect();
    for (hello, piece) in [(whole, 1), (in_records, 97)] {
        let (_, mut stream) = gate.tunnel_to(&format!("a.allowed.test:{}", canary.port)).await;
        stream.set_nodelay(true).expect("a socket");
        for bytes in hello.chunks(piece) {
            stream.write_all(bytes).await.expect("sent");
        }
        let mut echo = vec![0; hello.len()];
        timeout(PATIENCE, stream.read_exact(&mut echo)).await.expect("in time").expect("the tunnel stands");
        assert_eq!(echo, hello);
    }
}

#[tokio::test]
async fn early_bytes_never_reach_an_upstream_proxy_that_refuses() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let seen = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
    let inside = std::sync::Arc::clone(&seen);
    tokio::spawn(async move {
        let mut said = [&b"HTTP/1.1 407 No\r\n\r\n"[..], b"HTTP/1.1 403 No\r\n\r\n", b""].into_iter().cycle();
        while let Ok((mut stream, _)) = listener.accept().await {
            let head = read_head(&mut stream).await;
            if head.is_empty() {
                // A probe.
                continue;
            }
            stream.write_all(said.next().expect("it goes round")).await.ok();
            let mut rest = Vec::new();
            timeout(Duration::from_secs(2), stream.read_to_end(&mut rest)).await.ok();
            inside.lock().extend(rest);
        }
    });
    let gate = Gate::start(&format!(
        r#"
via = "next"
[[tunnel.upstream_proxies]]
name = "next"
proxies = [{{ url = "http://127.0.0.1:{port}" }}]
[[tunnel.listeners]]
listen = "{{listen}}"
[[tunnel.allow]]
name = "allowed"
hosts = ["*.allowed.test"]
{SHORT_LIMITS}"#
    ))
    .await;
    for _ in 0..3 {
        let request = [connect("a.allowed.test:443"), client_hello("a.allowed.test")].concat();
        let answer = gate.ask(&request).await;
        assert!(matches!(status(&answer), 502 | 504), "{answer}");
    }
    assert_eq!(seen.lock().len(), 0, "early bytes went on before the tunnel stood");
}
