//! Destinations, name servers and upstream proxies that fail in every way: each ends in bounded time, with its reason.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::gate::{Canary, Gate, PATIENCE, SHORT_LIMITS, client_hello, read_head};
use crate::support::free_port;
use gatepost::lab::dns_server::Answer;

/// The longest that any of them may take: the deadlines of [`SHORT_LIMITS`], and slack for a busy machine.
const BOUND: Duration = Duration::from_secs(12);

fn rules(ports: &[u16], rest: &str) -> String {
    format!(
        r#"
{rest}
[[tunnel.listeners]]
listen = "{{listen}}"
[[tunnel.allow]]
name = "a"
hosts = ["*.a.test"]
ports = {ports:?}
addresses = ["127.0.0.1/32"]
{SHORT_LIMITS}"#
    )
}

async fn refused(gate: &Gate, target: &str, status: u16, reason: &str) {
    let began = Instant::now();
    let (answer, _) = gate.tunnel_to(target).await;
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{target}: {answer}");
    assert!(answer.contains(&format!("X-Gatepost-Reason: {reason}\r\n")), "{target}: {answer}");
    assert!(began.elapsed() < BOUND, "{target} took {:?}", began.elapsed());
}

#[tokio::test]
async fn destinations_and_name_servers_that_fail_each_have_their_reason() {
    let closed = free_port();
    let canary = Canary::start().await;
    let gate = Gate::start(&rules(&[closed, canary.port], "")).await;
    gate.dns.addresses("closed.a.test", 60, &["127.0.0.1"]);
    refused(&gate, &format!("closed.a.test:{closed}"), 502, "connection_refused").await;
    refused(&gate, &format!("nowhere.a.test:{closed}"), 502, "dns_failed").await;
    gate.dns.script("broken.a.test", [Answer::Code(2)]);
    refused(&gate, &format!("broken.a.test:{closed}"), 502, "dns_failed").await;
    gate.dns.script("silent.a.test", [Answer::Silence]);
    refused(&gate, &format!("silent.a.test:{closed}"), 504, "dns_timeout").await;
    // And the errors are counted.
    assert!(gate.site.metric("gatepost_tunnel_errors_total{reason=\"connection_refused\"}").await >= 1.0);
    assert!(gate.site.metric("gatepost_tunnel_errors_total{reason=\"dns_timeout\"}").await >= 1.0);
    gate.dns.addresses("well.a.test", 60, &["127.0.0.1"]);
    let (answer, _) = gate.tunnel_to(&format!("well.a.test:{}", canary.port)).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn a_destination_that_dies_in_the_middle_cuts_the_tunnel() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let gate = Gate::start(&rules(&[port], "")).await;
    gate.dns.addresses("dies.a.test", 60, &["127.0.0.1"]);
    let dying = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        stream.read_u8().await.expect("the hello arrives");
        stream.write_all(&[7; 100_000]).await.expect("sent");
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a socket");
    });
    let target = format!("dies.a.test:{port}");
    let (_, mut stream) = gate.tunnel_to(&target).await;
    stream.write_all(&client_hello("dies.a.test")).await.expect("sent");
    let mut all = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("in bounded time");
    assert!(ended.is_err(), "a cut transfer must not look whole");
    dying.await.expect("it died as told");
    let line = gate.logged(&target).await;
    assert_eq!((&line["reason"], &line["oms_event_id"]), (&"destination_reset".into(), &403.into()), "{line}");
}

#[tokio::test]
async fn upstream_proxies_that_fail_each_have_their_reason() {
    for (behaviour, status, reason) in [
        (Upstream::Hangs, 504, "upstream_timeout"),
        (Upstream::Says("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"), 502, "upstream_refused"),
        (Upstream::Says("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"), 502, "upstream_credentials"),
        (Upstream::Says("HTTP/1.1 101 Switching Protocols\r\n\r\n"), 502, "upstream_malformed"),
        (Upstream::Says("SSH-2.0-OpenSSH_9.2\r\n\r\n"), 502, "upstream_malformed"),
        (Upstream::Says(""), 502, "upstream_malformed"),
        (Upstream::Absent, 502, "upstream_unreachable"),
    ] {
        let port = behaviour.start().await;
        let via = format!(
            "via = \"next\"\n[[tunnel.upstream_proxies]]\nname = \"next\"\nproxies = [{{ url = \"http://127.0.0.1:{port}\" }}]"
        );
        let gate = Gate::start(&rules(&[443], &via)).await;
        refused(&gate, "x.a.test:443", status, reason).await;
        assert_eq!(gate.dns.queries(), 0, "the upstream proxy resolves names");
    }
}

enum Upstream {
    Absent,
    Hangs,
    Says(&'static str),
}

impl Upstream {
    async fn start(&self) -> u16 {
        let said = match self {
            Self::Absent => return free_port(),
            Self::Hangs => None,
            Self::Says(text) => Some(*text),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                read_head(&mut stream).await;
                match said {
                    // A probe says nothing and is gone by now.
                    Some(text) => drop(stream.write_all(text.as_bytes()).await),
                    None => held.push(stream),
                }
            }
        });
        port
    }
}
