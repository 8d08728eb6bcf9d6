//! Every threat that the threat model names for tunnels, with its bytes. The verdict comes from canaries that note what was
//! dialled, and from the name server that notes what it was asked, not from the status line alone.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use crate::gate::{Canary, Gate, PATIENCE, SHORT_LIMITS, read_head};
use gatepost::lab::dns_server::{A, Answer};

/// Allows names below `allowed.test` on the canary's port, at loopback addresses.
pub(crate) fn rules(canary: &Canary, rest: &str) -> String {
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

/// A canary and a gateway that allows `a.allowed.test` on its port.
pub(crate) async fn allowed() -> (Canary, Gate) {
    let canary = Canary::start().await;
    let gate = Gate::start(&rules(&canary, "")).await;
    gate.dns.addresses("a.allowed.test", 60, &["127.0.0.1"]);
    (canary, gate)
}

pub(crate) fn status(answer: &str) -> u16 {
    answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0)
}

pub(crate) fn connect(target: &str) -> Vec<u8> {
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
    let (canary, gate) = allowed().await;
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
    let (canary, gate) = allowed().await;
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
    let (canary, gate) = allowed().await;
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
    let (canary, gate) = allowed().await;
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
    let (canary, gate) = allowed().await;
    let allowed = connect(&format!("a.allowed.test:{}", canary.port));
    for second in [allowed.as_slice(), b"GET http://a.allowed.test/ HTTP/1.1\r\nHost: a.allowed.test\r\n\r\n"] {
        let answer = gate.ask(&[&connect("evil.test:443"), second].concat()).await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        assert_eq!(status(&answer), 403);
    }
    assert_eq!(canary.connections(), 0);
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

#[tokio::test]
async fn upgrades_and_expectations_switch_nothing() {
    let (canary, gate) = allowed().await;
    let target = format!("a.allowed.test:{}", canary.port);
    for field in [
        "Upgrade: websocket\r\nConnection: Upgrade\r\n",
        "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\nConnection: Upgrade, HTTP2-Settings\r\n",
        "Expect: 100-continue\r\n",
    ] {
        let mut stream = gate.connect().await;
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{field}\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let answer = read_head(&mut stream).await;
        assert_eq!(answer, "HTTP/1.1 200 Connection established\r\n\r\n", "{field:?}");
    }
}

#[tokio::test]
async fn a_client_at_its_limit_keeps_nobody_else_out_and_descriptors_return() {
    let canary = Canary::start().await;
    let gate = Gate::start(&rules(&canary, "max_tunnels_per_client = 50")).await;
    gate.dns.addresses("a.allowed.test", 600, &["127.0.0.1"]);
    let target = format!("a.allowed.test:{}", canary.port);
    let open = || std::fs::read_dir(format!("/proc/{}/fd", gate.running.id())).expect("it runs").count();
    drop(gate.tunnel_to(&target).await);
    let before = open();
    let mut held = Vec::new();
    loop {
        let (answer, stream) = gate.tunnel_to(&target).await;
        if status(&answer) == 429 {
            break;
        }
        held.push(stream);
        assert!(held.len() <= 51, "the limit is not felt");
    }
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.9:0".parse().expect("an address")).expect("bound");
    let mut other = socket.connect(([127, 0, 0, 1], gate.port).into()).await.expect("the gateway listens");
    other.write_all(&connect(&target)).await.expect("sent");
    assert_eq!(status(&read_head(&mut other).await), 200, "another client");
    drop((held, other));
    let began = Instant::now();
    while open() > before + 10 {
        assert!(began.elapsed() < PATIENCE, "{} descriptors of {before} before", open());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
