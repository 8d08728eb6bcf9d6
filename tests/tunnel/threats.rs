//! Every threat that the threat model names for tunnels, with its bytes. The verdict comes from canaries that note what was
//! dialled, and from the name server that notes what it was asked, not from the status line alone.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use crate::dns::{A, Answer};
use crate::gate::{Canary, Gate, PATIENCE, SHORT_LIMITS, client_hello, read_head, read_to_end};

/// Allows names below `allowed.test` on the canary's port, at loopback addresses.
fn rules(canary: &Canary, rest: &str) -> String {
    format!(
        r#"
[[tunnel.listeners]]
listen = "{{listen}}"
[[tunnel.allow]]
name = "allowed"
hosts = ["*.allowed.test"]
ports = [{}]
addresses = ["127.0.0.1/32"]
{SHORT_LIMITS}
{rest}"#,
        canary.port
    )
}

/// Only the public internet: no address of this machine is allowed.
const NO_ADDRESSES: &str = r#"
[[tunnel.listeners]]
listen = "{listen}"
[[tunnel.allow]]
name = "allowed"
hosts = ["*.allowed.test"]
"#;

fn status(answer: &str) -> u16 {
    answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0)
}

fn connect(target: &str) -> Vec<u8> {
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn open_relay_a_name_that_is_not_listed_is_refused_without_dns() {
    let canary = Canary::start().await;
    let gate = Gate::start(&rules(&canary, "")).await;
    let port = canary.port;
    for name in
        ["evil.test", "allowed.test.evil.test", "xallowed.test", "allowed.test", "a.allowed.test.", "A.ALLOWED.TEST"]
    {
        gate.dns.addresses(name.trim_end_matches('.').to_lowercase().as_str(), 60, &["127.0.0.1"]);
    }
    for name in ["evil.test", "allowed.test.evil.test", "xallowed.test", "allowed.test"] {
        let answer = gate.ask(&connect(&format!("{name}:{port}"))).await;
        assert_eq!(status(&answer), 403, "{name}: {answer}");
        assert!(answer.contains("X-Gatepost-Reason: host_not_allowed"), "{answer}");
    }
    assert_eq!((gate.dns.queries(), canary.connections()), (0, 0), "a refused name reached the name server");
    for name in ["a.allowed.test.", "A.ALLOWED.TEST"] {
        let (answer, _) = gate.tunnel_to(&format!("{name}:{port}")).await;
        assert_eq!(answer, "HTTP/1.1 200 Connection established\r\n\r\n", "{name}");
    }
}

#[tokio::test]
async fn ssrf_by_literal_is_refused_in_every_spelling() {
    let canary = Canary::start().await;
    let gate = Gate::start(&rules(&canary, "")).await;
    let port = canary.port;
    for host in [
        "169.254.169.254",
        "127.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "localhost",
        "localhost.",
    ] {
        assert_eq!(status(&gate.ask(&connect(&format!("{host}:{port}"))).await), 403, "{host}");
    }
    for host in [
        "2130706433",
        "0x7f.0.0.1",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "127.0.1",
        "0",
        "[fe80::1%25lo]",
        "[fe80::1%lo]",
    ] {
        assert_eq!(status(&gate.ask(&connect(&format!("{host}:{port}"))).await), 400, "{host}");
    }
    assert_eq!((gate.dns.queries(), canary.connections()), (0, 0));
}

#[tokio::test]
async fn ssrf_by_dns_an_allowed_name_with_a_forbidden_address_is_refused() {
    let gate = Gate::start(NO_ADDRESSES).await;
    for (name, addresses) in [
        ("metadata", &["169.254.169.254"] as &[&str]),
        ("loopback", &["127.0.0.1"]),
        ("private", &["10.99.0.1"]),
        ("shared", &["100.64.0.1"]),
        ("unspecified", &["0.0.0.0"]),
        ("loopback6", &["::1"]),
        ("mapped", &["::ffff:169.254.169.254"]),
        ("nat64", &["64:ff9b::a9fe:a9fe"]),
        ("local6", &["fd00::1"]),
        ("mixed", &["93.184.215.14", "127.0.0.1"]),
    ] {
        let host = format!("{name}.allowed.test");
        gate.dns.addresses(&host, 60, addresses);
        let answer = gate.ask(&connect(&format!("{host}:443"))).await;
        assert_eq!(status(&answer), 403, "{name}: {answer}");
        assert!(answer.contains("address_forbidden") || answer.contains("own_address"), "{name}: {answer}");
    }
}

#[tokio::test]
async fn dns_rebinding_reaches_only_the_address_that_was_checked() {
    let canary = Canary::start().await;
    // The name server says a good address and a forbidden one in turn, each to be forgotten at once.
    let gate = Gate::start(&rules(&canary, "")).await;
    let good = vec!["127.0.0.1".parse().expect("an address")];
    let bad = vec!["127.0.0.2".parse().expect("an address")];
    let turns: Vec<Answer> =
        (0..60).map(|turn| Answer::Addresses(if turn % 2 == 0 { good.clone() } else { bad.clone() }, 0)).collect();
    gate.dns.script("rebind.allowed.test", turns);
    let elsewhere = Canary::on(&format!("127.0.0.2:{}", canary.port)).await;
    let mut statuses = Vec::new();
    for n in 1..=30 {
        let (answer, _) = gate.tunnel_to(&format!("rebind.allowed.test:{}", canary.port)).await;
        statuses.push(status(&answer));
        assert_eq!(gate.dns.asked("rebind.allowed.test", A), n, "one question for each tunnel");
    }
    assert!(statuses.iter().all(|status| matches!(status, 200 | 403)), "{statuses:?}");
    assert!(statuses.contains(&200) && statuses.contains(&403), "{statuses:?}");
    assert_eq!(elsewhere.connections(), 0, "a forbidden address was dialled");
}

#[tokio::test]
async fn ports_are_part_of_the_rule_and_never_wrap() {
    let canary = Canary::start().await;
    let gate = Gate::start(&rules(&canary, "")).await;
    gate.dns.addresses("a.allowed.test", 60, &["127.0.0.1"]);
    for port in ["22", "25", "443"] {
        let answer = gate.ask(&connect(&format!("a.allowed.test:{port}"))).await;
        assert!(status(&answer) == 403 && answer.contains("port_not_allowed"), "{port}: {answer}");
    }
    let wrapped = (u32::from(canary.port) + 65_536).to_string();
    let port = canary.port;
    let (signed, padded, tailed, twice) =
        (format!("+{port}"), format!("0{port}"), format!("{port}x"), format!("443:{port}"));
    for wrong in ["0", &wrapped, "-1", &signed, &padded, &tailed, "", &twice, "65536"] {
        let answer = gate.ask(&connect(&format!("a.allowed.test:{wrong}"))).await;
        assert_eq!(status(&answer), 400, "{wrong}: {answer}");
    }
    assert_eq!(status(&gate.ask(&connect("a.allowed.test")).await), 400);
    assert_eq!(canary.connections(), 0);
}

#[tokio::test]
async fn target_grammar_is_exact() {
    let canary = Canary::start().await;
    let gate = Gate::start(&rules(&canary, "")).await;
    gate.dns.addresses("a.allowed.test", 60, &["127.0.0.1"]);
    let port = canary.port;
    let long_label = format!("{}.allowed.test:{port}", "x".repeat(64));
    let long_name = format!("{}allowed.test:{port}", "x.".repeat(130));
    for target in [
        format!("user@a.allowed.test:{port}"),
        format!("user:password@a.allowed.test:{port}"),
        format!("a.allowed.test:{port}/path"),
        format!("a.allowed.test:{port}#f"),
        format!("a.allowed.test:{port}?q"),
        format!("http://a.allowed.test:{port}"),
        format!("a.allowed.test\0.evil.test:{port}"),
        format!("a%2eallowed.test:{port}"),
        format!("a\\.allowed.test:{port}"),
        format!("a. allowed.test:{port}"),
        format!("a.\tallowed.test:{port}"),
        format!("a..allowed.test:{port}"),
        format!(".allowed.test:{port}"),
        format!("a。allowed.test:{port}"),
        format!("a.allowed.test,b.allowed.test:{port}"),
        format!("[a.allowed.test]:{port}"),
        format!("\u{1b}[31mevil.test:{port}"),
        long_label,
        long_name,
    ] {
        let began = Instant::now();
        let answer = gate.ask(&connect(&target)).await;
        assert_eq!(status(&answer), 400, "{target:?}: {answer}");
        assert!(!answer.contains("evil") && !answer.contains('\u{1b}'), "the answer repeats the client: {answer}");
        assert!(began.elapsed() < Duration::from_secs(5), "{target:?}");
    }
    assert_eq!((gate.dns.queries(), canary.connections()), (0, 0));
}

#[tokio::test]
async fn host_confusion_methods_and_versions() {
    let canary = Canary::start().await;
    let gate = Gate::start(&rules(&canary, "")).await;
    gate.dns.addresses("a.allowed.test", 60, &["127.0.0.1"]);
    let target = format!("a.allowed.test:{}", canary.port);
    for (request, expected) in [
        (format!("CONNECT {target} HTTP/1.1\r\nHost: evil.test:443\r\n\r\n"), 400),
        (format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nHost: {target}\r\n\r\n"), 400),
        (format!("CONNECT {target} HTTP/1.1\r\n\r\n"), 400),
        (format!("CONNECT {target}\r\n\r\n"), 400),
        (format!("CONNECT {target} HTTP/2.0\r\nHost: {target}\r\n\r\n"), 505),
        (format!("CONNECT {target} HTTP/0.9\r\nHost: {target}\r\n\r\n"), 505),
        (format!("connect {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"), 405),
        ("GET / HTTP/1.1\r\nHost: a.allowed.test\r\n\r\n".to_owned(), 405),
        ("GET http://a.allowed.test/ HTTP/1.1\r\nHost: a.allowed.test\r\n\r\n".to_owned(), 405),
        ("OPTIONS * HTTP/1.1\r\nHost: a.allowed.test\r\n\r\n".to_owned(), 405),
        ("POST http://a.allowed.test/ HTTP/1.1\r\nHost: a.allowed.test\r\nContent-Length: 0\r\n\r\n".to_owned(), 405),
    ] {
        let answer = gate.ask(request.as_bytes()).await;
        assert_eq!(status(&answer), expected, "{request:?}: {answer}");
        if expected == 405 {
            assert!(answer.contains("\r\nAllow: CONNECT\r\n"), "{answer}");
        }
    }
    let preface = gate.ask(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(matches!(status(&preface), 400 | 405 | 505), "{preface}");
    assert_eq!(canary.connections(), 0);
}

#[tokio::test]
async fn smuggling_before_the_switch_is_refused() {
    let canary = Canary::start().await;
    let gate = Gate::start(&rules(&canary, "")).await;
    gate.dns.addresses("a.allowed.test", 60, &["127.0.0.1"]);
    let target = format!("a.allowed.test:{}", canary.port);
    let head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    for rest in [
        "Content-Length: 5\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "X: 1\n\r\n",
        "X: 1\r\n folded\r\n\r\n",
        "X : 1\r\n\r\n",
        "X: a\0b\r\n\r\n",
        "X: a\rb\r\n\r\n",
        ": nameless\r\n\r\n",
    ] {
        let answer = gate.ask(format!("{head}{rest}").as_bytes()).await;
        assert_eq!(status(&answer), 400, "{rest:?}: {answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    }
    assert_eq!(canary.connections(), 0);
}

#[tokio::test]
async fn what_is_pipelined_after_a_refusal_is_not_served() {
    let canary = Canary::start().await;
    let gate = Gate::start(&rules(&canary, "")).await;
    gate.dns.addresses("a.allowed.test", 60, &["127.0.0.1"]);
    let allowed = connect(&format!("a.allowed.test:{}", canary.port));
    for second in [allowed.as_slice(), b"GET http://a.allowed.test/ HTTP/1.1\r\nHost: a.allowed.test\r\n\r\n"] {
        let answer = gate.ask(&[&connect("evil.test:443"), second].concat()).await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        assert_eq!(status(&answer), 403);
    }
    assert_eq!(canary.connections(), 0);
}

#[tokio::test]
async fn bytes_that_come_with_the_request_reach_the_destination_after_the_answer() {
    let canary = Canary::start().await;
    let gate = Gate::start(&rules(&canary, "")).await;
    gate.dns.addresses("a.allowed.test", 60, &["127.0.0.1"]);
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
    let canary = Canary::start().await;
    let gate = Gate::start(&rules(&canary, "")).await;
    gate.dns.addresses("a.allowed.test", 60, &["127.0.0.1"]);
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
async fn no_tunnel_leads_to_the_gateway_itself() {
    let canary = Canary::start().await;
    let gate = Gate::start(
        &format!(
            r#"
[[tunnel.listeners]]
listen = "{{listen}}"
[[tunnel.allow]]
name = "everything-here"
hosts = ["*.allowed.test", "127.0.0.1"]
ports = [{}, {{admin}}, {{uploads}}, {{tunnel}}]
addresses = ["127.0.0.0/8"]
"#,
            canary.port
        )
        .replace("{admin}, {uploads}, {tunnel}", "1"),
    )
    .await;
    gate.dns.addresses("self.allowed.test", 60, &["127.0.0.1"]);
    let tunnel = format!(
        r#"
[[tunnel.listeners]]
listen = "{{listen}}"
[[tunnel.allow]]
name = "everything-here"
hosts = ["*.allowed.test", "127.0.0.1"]
ports = [{}, {}, {}, {}]
addresses = ["127.0.0.0/8"]
"#,
        canary.port, gate.site.admin, gate.site.uploads, gate.port
    );
    gate.reconfigure(&tunnel).await;
    for port in [gate.site.admin, gate.site.uploads, gate.port] {
        for host in ["self.allowed.test", "127.0.0.1"] {
            let answer = gate.ask(&connect(&format!("{host}:{port}"))).await;
            assert!(status(&answer) == 403 && answer.contains("own_address"), "{host}:{port}: {answer}");
        }
    }
    let (answer, _) = gate.tunnel_to(&format!("127.0.0.1:{}", canary.port)).await;
    assert_eq!(status(&answer), 200, "the rule itself works: {answer}");
}

#[tokio::test]
async fn log_injection_a_line_stays_a_line() {
    let canary = Canary::start().await;
    let gate = Gate::start(&rules(&canary, "")).await;
    let agent = format!("x\u{1b}[31m\u{202e}\"\\{}", "y".repeat(10_000));
    let request = format!("CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\nUser-Agent: {agent}\r\n\r\n");
    let answer = gate.ask(request.as_bytes()).await;
    assert!(matches!(status(&answer), 400 | 403), "{answer}");
    let request = format!(
        "CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\nUser-Agent: \"\\{}\r\n\r\n",
        "\u{202e}".repeat(500)
    );
    assert_eq!(status(&gate.ask(request.as_bytes()).await), 403);
    let line = gate.logged("evil.test:443").await;
    assert!(line["user_agent"].as_str().is_some_and(|agent| agent.len() <= 256 && agent.is_ascii()), "{line}");
    let raw = std::fs::read_to_string(gate.site.dir.join("access.log")).expect("the log");
    assert!(raw.bytes().all(|byte| byte == b'\n' || (0x20..0x7f).contains(&byte)), "{raw}");
}
