//! Who may connect: networks, passwords, and whom a load balancer speaks for.

use std::process::{Command, Stdio};

use tokio::io::AsyncWriteExt;

use crate::gate::{Canary, Gate, SHORT_LIMITS, read_head, read_to_end};
use crate::tools::run;

const CREDENTIALS: &str = "plant:s3cret-canary";

fn hash(password: &str) -> String {
    let output = run(
        Command::new(env!("CARGO_BIN_EXE_gatepost")).args(["password", "--json"]).stderr(Stdio::null()),
        password.as_bytes(),
    );
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    value["password_hash"].as_str().expect("a hash").to_owned()
}

fn rules(canary: &Canary, listener: &str, groups: &str) -> String {
    format!(
        r#"
[[tunnel.listeners]]
listen = "{{listen}}"
{listener}
{groups}
[[tunnel.allow]]
name = "a"
hosts = ["a.test"]
ports = [{}]
addresses = ["127.0.0.1/32"]
{SHORT_LIMITS}"#,
        canary.port
    )
}

fn connect(port: u16, header: &str) -> Vec<u8> {
    format!("CONNECT a.test:{port} HTTP/1.1\r\nHost: a.test:{port}\r\n{header}\r\n").into_bytes()
}

fn basic(credentials: &str) -> String {
    use base64::Engine as _;
    format!("Proxy-Authorization: Basic {}\r\n", base64::engine::general_purpose::STANDARD.encode(credentials))
}

#[tokio::test]
async fn a_password_is_asked_for_once_on_the_same_connection_and_never_told() {
    let canary = Canary::start().await;
    let groups = format!(
        "[[tunnel.groups]]\nname = \"g\"\nusers = [\"plant\"]\n[[tunnel.users]]\nname = \"plant\"\npassword_hash = \"{}\"",
        hash("s3cret-canary")
    );
    let gate = Gate::start(&rules(&canary, "", &groups)).await;
    gate.dns.addresses("a.test", 600, &["127.0.0.1"]);
    let port = canary.port;

    // WinHTTP: no credentials first, then on the same connection with them.
    let mut stream = gate.connect().await;
    stream.write_all(&connect(port, "Proxy-Connection: Keep-Alive\r\n")).await.expect("sent");
    let challenge = read_head(&mut stream).await;
    assert!(
        challenge.starts_with("HTTP/1.1 407 ") && challenge.contains("Proxy-Authenticate: Basic realm="),
        "{challenge}"
    );
    assert!(!challenge.to_lowercase().contains("connection: close"), "{challenge}");
    let length: usize = challenge
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .expect("it")
        .parse()
        .expect("a number");
    let mut body = vec![0; length];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut body).await.expect("the body");
    stream.write_all(&connect(port, &basic(CREDENTIALS))).await.expect("sent");
    assert_eq!(read_head(&mut stream).await, "HTTP/1.1 200 Connection established\r\n\r\n");

    // Ruby and curl: with credentials at once.
    let mut stream = gate.connect().await;
    stream.write_all(&connect(port, &basic(CREDENTIALS))).await.expect("sent");
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 200 "));

    // Wrong in every way: the same answer, nothing dialled.
    gate.site.until("two tunnels stand", async || canary.connections() >= 2).await;
    let dialled = canary.connections();
    let mut answers = Vec::new();
    for header in [
        basic("plant:wrong"),
        basic("nobody:s3cret-canary"),
        basic("plant:"),
        "Proxy-Authorization: Basic\r\n".to_owned(),
        "Proxy-Authorization: Basic !!!\r\n".to_owned(),
        "Proxy-Authorization: Bearer abc\r\n".to_owned(),
        "Proxy-Authorization: BasicZ29vZA==\r\n".to_owned(),
        "Proxy-Authorization:\r\n".to_owned(),
        basic("Plant:s3cret-canary"),
    ] {
        let mut stream = gate.connect().await;
        stream.write_all(&connect(port, &header)).await.expect("sent");
        stream.shutdown().await.expect("nothing more is said");
        answers.push(read_to_end(&mut stream).await);
    }
    assert!(answers[0].starts_with("HTTP/1.1 407 "), "{}", answers[0]);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    let long = format!("Proxy-Authorization: Basic {}\r\n", "QUFB".repeat(262_144));
    assert!(gate.ask(&connect(port, &long)).await.starts_with("HTTP/1.1 431 "));
    let behind_a_nul = format!("X: a\0b\r\n{}", basic(CREDENTIALS));
    assert!(gate.ask(&connect(port, &behind_a_nul)).await.starts_with("HTTP/1.1 400 "));
    let twice = basic(CREDENTIALS) + &basic(CREDENTIALS);
    assert!(gate.ask(&connect(port, &twice)).await.starts_with("HTTP/1.1 400 "));
    assert_eq!(canary.connections(), dialled);

    // Each wrong try is counted and told as what it is.
    assert!(
        gate.site.metric("gatepost_tunnels_refused_total{listener=\"tunnel\",reason=\"credentials_wrong\"}").await
            >= 6.0
    );
    let line = gate.logged(&format!("a.test:{port}")).await;
    assert_eq!((&line["reason"], &line["oms_event_id"]), (&"credentials_wrong".into(), &105.into()), "{line}");

    // Nowhere is the password written.
    let places = [
        std::fs::read_to_string(gate.site.dir.join("access.log")).expect("the log"),
        gate.site.log(),
        gate.site.status().await.to_string(),
        String::from_utf8_lossy(&gate.site.admin_get("/metrics").await.body).into_owned(),
        line.to_string(),
    ];
    assert!(places.iter().all(|text| !text.contains("s3cret-canary") && !text.contains("cGxhbnQ6")), "{places:#?}");
}

#[tokio::test]
async fn an_anonymous_listener_tolerates_any_credentials_and_strangers_are_refused() {
    let canary = Canary::start().await;
    let gate =
        Gate::start(&rules(&canary, "", "[[tunnel.groups]]\nname = \"here\"\nnetworks = [\"127.0.0.1/32\"]")).await;
    gate.dns.addresses("a.test", 600, &["127.0.0.1"]);
    for header in ["", &basic("made:up"), "Proxy-Authorization: Negotiate abc\r\n", "Proxy-Authorization: \r\n"] {
        let mut stream = gate.connect().await;
        stream.write_all(&connect(canary.port, header)).await.expect("sent");
        let answer = read_head(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{header:?}: {answer}");
    }
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.9:0".parse().expect("an address")).expect("bound");
    let mut stream = socket.connect(([127, 0, 0, 1], gate.port).into()).await.expect("the gateway listens");
    stream.write_all(&connect(canary.port, "X-Forwarded-For: 127.0.0.1\r\n")).await.ok();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("client_not_allowed"), "{answer}");
}

#[tokio::test]
async fn only_a_named_balancer_may_say_whom_it_speaks_for() {
    let canary = Canary::start().await;
    let groups = "[[tunnel.groups]]\nname = \"plant\"\nnetworks = [\"10.7.0.0/16\"]";
    let gate = Gate::start(&rules(&canary, "proxy_protocol_from = [\"127.0.0.1/32\"]", groups)).await;
    gate.dns.addresses("a.test", 600, &["127.0.0.1"]);
    let request = connect(canary.port, "");
    let v2 = |source: [u8; 4]| {
        let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
        header.extend(source);
        header.extend([127, 0, 0, 1, 0x30, 0x39, 0x1f, 0x90]);
        header
    };
    for (header, expected) in [
        (b"PROXY TCP4 10.7.1.2 127.0.0.1 12345 8080\r\n".to_vec(), "HTTP/1.1 200 "),
        (v2([10, 7, 1, 2]), "HTTP/1.1 200 "),
        (b"PROXY TCP4 10.8.1.2 127.0.0.1 12345 8080\r\n".to_vec(), "HTTP/1.1 403 "),
        (v2([10, 8, 1, 2]), "HTTP/1.1 403 "),
        (b"".to_vec(), ""),
        (b"PROXY TCP4 10.7.1.2 127.0.0.1\r\n".to_vec(), ""),
    ] {
        let mut stream = gate.connect().await;
        stream.write_all(&[header.clone(), request.clone()].concat()).await.expect("sent");
        let answer = read_head(&mut stream).await;
        assert!(answer.starts_with(expected) && (!expected.is_empty() || answer.is_empty()), "{header:?}: {answer:?}");
    }
    // A header in pieces.
    let mut stream = gate.connect().await;
    for piece in [v2([10, 7, 1, 2]), request].concat().chunks(3) {
        stream.write_all(piece).await.expect("sent");
        tokio::task::yield_now().await;
    }
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 200 "));
    let of_stranger =
        |line: &serde_json::Value| line["client"].as_str().is_some_and(|client| client.starts_with("10.8.1.2"));
    gate.site.until("the access log has the stranger", async || gate.access_log().iter().any(of_stranger)).await;

    // Nobody else may.
    gate.reconfigure(&rules(&canary, "proxy_protocol_from = [\"192.0.2.1/32\"]", groups)).await;
    let answer = gate.ask(&[v2([10, 7, 1, 2]), connect(canary.port, "")].concat()).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
}

#[tokio::test]
async fn a_balancer_on_this_host_opens_nothing_without_a_group() {
    let canary = Canary::start().await;
    let problem = rules(&canary, "proxy_protocol_from = [\"127.0.0.1/32\"]", "");
    let site = crate::support::Site::new("", &format!("[tunnel]\n{}", problem.replace("{listen}", "127.0.0.1:0")));
    let checked = site.gatepost(&["check"]);
    let said = crate::tools::both(&checked);
    assert!(checked.status.code() == Some(78) && said.contains("proxy_protocol_from"), "{said}");
}

#[tokio::test]
async fn a_reload_renames_a_listener_and_is_refused_whole_when_the_log_cannot_be_opened() {
    let canary = Canary::start().await;
    let gate = Gate::start(&rules(&canary, "", "")).await;
    gate.dns.addresses("a.test", 600, &["127.0.0.1"]);
    gate.reconfigure(&rules(&canary, "name = \"renamed\"", "")).await;
    let target = format!("a.test:{}", canary.port);
    assert!(gate.tunnel_to(&target).await.0.starts_with("HTTP/1.1 200 "));
    assert_eq!(gate.site.status().await["tunnels"]["listeners"][0]["name"], "renamed");

    let text = std::fs::read_to_string(gate.site.config_path()).expect("the configuration");
    let wrong = text.replace("access.log", "nowhere/access.log").replace("a.test", "b.test");
    gate.site.configure(&wrong);
    gate.site
        .until("the reload is refused", async || {
            gate.site.metric("gatepost_config_reloads_total{result=\"refused\"}").await >= 1.0
        })
        .await;
    assert!(gate.tunnel_to(&target).await.0.starts_with("HTTP/1.1 200 "), "the old rules stay in force");
}

#[tokio::test]
async fn plain_http_serves_what_arc_needs_on_port_80_and_nothing_else() {
    let canary = Canary::start().await;
    let other = "[[tunnel.allow]]\nname = \"other\"\nhosts = [\"certs.test\"]\nplain_http = true";
    let gate = Gate::start(&rules(&canary, "plain_http = true", other)).await;
    let answer = gate.ask(b"GET http://a.test/pkiops/certs HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "the rule does not say plain_http: {answer}");
    for request in [
        "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n",
        "GET https://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET http://a.test:8081/ HTTP/1.1\r\nHost: a.test:8081\r\n\r\n",
        "GET /status HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ] {
        let answer = gate.ask(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 40"), "{request:?}: {answer}");
    }
    assert_eq!(canary.connections(), 0);
}

#[tokio::test]
async fn plain_http_passes_one_request_on_in_its_own_form() {
    let listener = tokio::net::TcpListener::bind("127.0.0.80:80").await.expect("port 80 can be bound (run as root)");
    let gate = Gate::start(
        r#"
[[tunnel.listeners]]
listen = "{listen}"
plain_http = true
[[tunnel.allow]]
name = "certificates"
hosts = ["www.certs.test"]
addresses = ["127.0.0.80/32"]
plain_http = true
"#,
    )
    .await;
    gate.dns.addresses("www.certs.test", 60, &["127.0.0.80"]);
    let destination = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("the gateway comes");
        let head = read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ncert").await.expect("sent");
        head
    });
    let first = "GET http://www.certs.test/pkiops/certs/a.crt?x=1 HTTP/1.1\r\nHost: www.certs.test\r\nProxy-Authorization: Basic YTpi\r\nAccept: */*\r\n\r\n";
    let second = "GET http://www.certs.test/second HTTP/1.1\r\nHost: www.certs.test\r\n\r\n";
    let answer = gate.ask(format!("{first}{second}").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\ncert"), "{answer}");
    let head = destination.await.expect("it answered");
    assert!(head.starts_with("GET /pkiops/certs/a.crt?x=1 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("Host: www.certs.test\r\n") && head.contains("Connection: close\r\n"), "{head}");
    assert!(!head.contains("Proxy-Authorization") && head.contains("Accept: */*"), "{head}");
    let line = gate.logged("www.certs.test:80").await;
    assert_eq!(line["reason"], "forwarded", "{line}");
}

#[tokio::test]
async fn each_listener_has_a_policy_of_its_own() {
    let canary = Canary::start().await;
    let other = crate::support::free_port();
    let gate = Gate::start(&format!(
        r#"
[[tunnel.listeners]]
name = "agents"
listen = "{{listen}}"
groups = ["agents"]
[[tunnel.listeners]]
name = "admins"
listen = "127.0.0.1:{other}"
groups = ["admins"]
[[tunnel.groups]]
name = "agents"
networks = ["127.0.0.1/32"]
allow = ["a"]
[[tunnel.groups]]
name = "admins"
networks = ["127.0.0.1/32"]
allow = ["b"]
[[tunnel.allow]]
name = "a"
hosts = ["a.test:{port}"]
addresses = ["127.0.0.1/32"]
[[tunnel.allow]]
name = "b"
hosts = ["b.test:{port}"]
addresses = ["127.0.0.1/32"]
"#,
        port = canary.port
    ))
    .await;
    for name in ["a", "b"] {
        gate.dns.addresses(&format!("{name}.test"), 60, &["127.0.0.1"]);
    }
    let ask = async |port: u16, name: &str| {
        let target = format!("{name}.test:{}", canary.port);
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        read_head(&mut stream).await[9..12].to_owned()
    };
    assert_eq!((ask(gate.port, "a").await.as_str(), ask(gate.port, "b").await.as_str()), ("200", "403"));
    assert_eq!((ask(other, "a").await.as_str(), ask(other, "b").await.as_str()), ("403", "200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_can_be_pasted_as_a_rule() {
    let canary = Canary::start().await;
    let gate = Gate::start(&rules(&canary, "", "")).await;
    for _ in 0..3 {
        gate.ask(b"CONNECT new.agent.test:443 HTTP/1.1\r\nHost: new.agent.test:443\r\n\r\n").await;
    }
    let observed = crate::tools::both(&gate.site.gatepost(&["hosts", "observed"]));
    assert!(observed.contains("new.agent.test") && observed.contains('3'), "{observed}");
    let rule = observed.find("[[tunnel.allow]]").map(|at| &observed[at..]).expect("a rule to paste");
    gate.reconfigure(&rules(&canary, "", rule)).await;
    gate.dns.addresses("new.agent.test", 60, &["127.0.0.1"]);
    let answer = gate.ask(b"CONNECT new.agent.test:443 HTTP/1.1\r\nHost: new.agent.test:443\r\n\r\n").await;
    assert!(answer.contains("address_forbidden"), "the name is allowed now, its address is not: {answer}");
}
