//! Balancers that say with the PROXY protocol whom they speak for, and others that would like to.

use super::*;
use crate::values::Network;

fn from(network: &str) -> Vec<Network> {
    vec![network.parse().expect("a network")]
}

/// A listener behind a balancer on this machine, which lets in who comes from 192.0.2.0/24 and 2001:db8::/32.
fn behind_a_balancer() -> inputs::Config {
    let mut config = plain();
    config.proxy_protocol_from = from("127.0.0.1/32");
    config.auth.networks = [from("192.0.2.0/24"), from("2001:db8::/32")].concat();
    config
}

const V2_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
const V2_IPV4: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\x7f\x00\x00\x01\x30\x39\x01\xbb";

async fn upload(gate: &Running, header: &[u8]) -> String {
    let request = format!("POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]");
    gate.raw(&[header, request.as_bytes()].concat()).await
}

/// A connection that sends this and then nothing.
async fn idle(gate: &Running, header: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(gate.address).await.expect("the listener takes connections");
    stream.write_all(header).await.expect("sent");
    stream
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    let closed = timeout(Duration::from_millis(500), stream.read(&mut [0; 1])).await;
    matches!(closed, Ok(Ok(0) | Err(_)))
}

#[tokio::test]
async fn who_is_behind_a_balancer_is_who_uploads() {
    let gate = start(&behind_a_balancer());
    for (header, client) in [
        (&b"PROXY TCP4 192.0.2.7 127.0.0.1 12345 443\r\n"[..], "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 12345 443\r\n", "2001:db8::7"),
        (V2_IPV4, "192.0.2.7"),
    ] {
        assert_eq!(status(&upload(&gate, header).await), "204", "{client}");
        assert_eq!(*gate.taken()[0].client.scope, format!("address:{client}"));
    }
    // Of other networks nobody, and the balancer itself is of none that may upload.
    assert_eq!(status(&upload(&gate, b"PROXY TCP4 198.51.100.7 127.0.0.1 12345 443\r\n").await), "403");
    for own in [V2_LOCAL, b"PROXY UNKNOWN\r\n"] {
        assert_eq!(status(&upload(&gate, own).await), "403");
    }
}

#[tokio::test]
async fn a_balancer_must_say_whom_it_speaks_for_and_is_told_of_in_the_access_log() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("access.log");
    let to = access_log::Config { file: Some(path.clone()), ..access_log::Config::default() };
    let log = AccessLog::open(&to).expect("it opens");
    let mut config = behind_a_balancer();
    config.limits.head_timeout = Span::millis(200);
    let listener = Listener::bind(&config, folder.path()).expect("the listener starts");
    let gate = start_with(&config, listener.telling(Requests::new(log.clone())));
    for header in [&b""[..], b"PROXY TCP4 192.0.2.7 127.0.0.1 +1 443\r\n"] {
        assert_eq!(upload(&gate, header).await, "", "nothing is said to who did not say its name");
    }
    assert!(is_closed(&mut idle(&gate, b"PROXY TCP4 192.0.2.7").await).await, "a header has a deadline");
    assert!(gate.taken().is_empty());
    upload(&gate, b"PROXY TCP4 192.0.2.9 127.0.0.1 12345 443\r\n").await;
    let lines = told(&log, &path);
    let of = |key: &str| lines.iter().map(|line| line[key].clone()).collect::<Vec<_>>();
    assert_eq!(
        (of("reason"), of("client")),
        (vec!["proxy_header".into(), "accepted".into()], vec!["127.0.0.1".into(), "192.0.2.9".into()])
    );
}

#[tokio::test]
async fn only_a_named_balancer_may_say_whom_it_speaks_for() {
    let mut config = behind_a_balancer();
    config.proxy_protocol_from = from("127.0.0.2/32");
    let gate = start(&config);
    for header in [V2_IPV4, b"PROXY TCP4 192.0.2.7 127.0.0.1 12345 443\r\n"] {
        assert_ne!(status(&upload(&gate, header).await), "204");
    }
    assert_eq!(status(&upload(&gate, b"").await), "403", "it is judged by its own address");
    assert!(gate.taken().is_empty());
}

#[tokio::test]
async fn limits_count_the_clients_behind_a_balancer_and_never_its_health_checks() {
    let mut config = behind_a_balancer();
    config.limits.max_connections_per_address = Some(2);
    let gate = start(&config);
    let greedy = b"PROXY TCP4 192.0.2.66 127.0.0.1 12345 443\r\n";
    let mut places = [idle(&gate, greedy).await, idle(&gate, greedy).await];
    assert!(is_closed(&mut idle(&gate, greedy).await).await, "one too many");
    for place in &mut places {
        assert!(!is_closed(place).await, "it was there before");
    }
    assert_eq!(status(&upload(&gate, V2_IPV4).await), "204", "another client is not kept out");
    let mut checks = Vec::new();
    for _ in 0..5 {
        checks.push(idle(&gate, V2_LOCAL).await);
        checks.push(idle(&gate, b"PROXY UNKNOWN\r\n").await);
    }
    for check in &mut checks {
        assert!(!is_closed(check).await, "the balancer would call the gateway dead");
    }
}

/// Asks for a token; the status of the answer.
async fn ask(gate: &Running, host: &str, secret: &str) -> String {
    let form = format!(
        "grant_type=client_credentials&client_id=plant&client_secret={secret}&scope=https%3A%2F%2Fmonitor.azure.com%2F.default"
    );
    let target = "/11111111-2222-3333-4444-555555555555/oauth2/v2.0/token";
    let head = format!(
        "PROXY TCP4 {host} 127.0.0.1 12345 443\r\nPOST {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
        form.len()
    );
    status(&gate.raw((head + &form).as_bytes()).await).to_owned()
}

#[tokio::test]
async fn wrong_secrets_lock_out_their_own_host_and_not_the_balancer() {
    let state = tempfile::tempdir().expect("a directory");
    let mut config = behind_a_balancer();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"sesame");
    let sha256 = hex::encode(hash);
    config.entra.enabled = true;
    config.entra.clients = vec![entra::ClientEntry {
        id: "plant".to_owned(),
        secrets: vec![entra::SecretHash { sha256 }],
        ..entra::ClientEntry::default()
    }];
    let issuer = entra::Issuer::open(&config.entra, "agents", state.path(), None).expect("it opens");
    let listener = Listener::bind(&config, state.path()).expect("the listener starts");
    let gate = start_issuing(&config, listener, Some(Arc::new(issuer)));
    let mut asked = 0;
    while ask(&gate, "192.0.2.66", "wrong").await != "429" {
        asked += 1;
        assert!(asked < 100, "it may guess for ever");
    }
    assert_eq!(ask(&gate, "192.0.2.7", "sesame").await, "200");
}

#[tokio::test]
async fn a_reload_changes_who_is_a_balancer() {
    let mut config = behind_a_balancer();
    config.proxy_protocol_from = Vec::new();
    let listener = Listener::bind(&config, Path::new("/nonexistent")).expect("the listener starts");
    let balancers = listener.balancers();
    let gate = start_with(&config, listener);
    assert_ne!(status(&upload(&gate, V2_IPV4).await), "204");
    balancers.store(Arc::new(from("127.0.0.1/32")));
    assert_eq!(status(&upload(&gate, V2_IPV4).await), "204");
}
