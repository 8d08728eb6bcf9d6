use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::Instant;

use super::{Dialer, Failure, Guard};
use crate::net::dns;
use crate::tunnel::Reason;
use crate::tunnel::allow_list::{HelloPolicy, Rule};
use crate::tunnel::config::{Config, EncryptedHello, Limits, MissingName, TlsVersion};
use crate::tunnel::request::Authority;
use crate::values::Span;
use gatepost_lab::dns_server::{A, AAAA, Answer, DnsServer};

/// Lets everything pass but what it is told.
#[derive(Default)]
pub(super) struct Doorman {
    pub(super) forbidden: Vec<IpAddr>,
    pub(super) ours: Vec<SocketAddr>,
}

impl Guard for Doorman {
    fn check(&self, address: SocketAddr, _rule: &Rule) -> Result<SocketAddr, (Reason, &'static str)> {
        if self.forbidden.contains(&address.ip()) { Err((Reason::ADDRESS, "forbidden")) } else { Ok(address) }
    }

    fn is_ours(&self, address: SocketAddr) -> bool {
        self.ours.contains(&address)
    }
}

pub(super) fn rule(via: Option<&str>) -> Rule {
    Rule {
        name: "rule".into(),
        index: 0,
        addresses: Vec::new(),
        via: via.map(Into::into),
        plain_http: false,
        hello: HelloPolicy {
            require_tls: true,
            version_min: TlsVersion::V12,
            missing_name: MissingName::Refuse,
            encrypted: EncryptedHello::Refuse,
            client_subjects: Vec::new(),
            refuse_hidden_subjects: false,
        },
    }
}

pub(super) fn authority(text: &str) -> Authority {
    Authority::parse(text.as_bytes()).unwrap()
}

/// A configuration with this DNS server and a second for everything.
pub(super) fn config(server: &DnsServer) -> Config {
    Config {
        dns: dns::Config { servers: vec![server.address], ..dns::Config::default() },
        limits: Limits { connect_timeout: Span::millis(1_000), ..Limits::default() },
        ..Config::default()
    }
}

fn dialer(server: &DnsServer, doorman: Doorman) -> Dialer {
    Dialer::new(&config(server), Arc::new(doorman), "test").unwrap()
}

/// A destination on this address that counts who comes.
async fn destination(address: SocketAddr) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    (address, count)
}

async fn failure(dialer: &Dialer, target: &str) -> Failure {
    dialer.dial(&authority(target), &rule(None), "").await.unwrap_err()
}

#[tokio::test]
async fn a_name_is_resolved_once_for_each_tunnel() {
    let server = DnsServer::start().await;
    server.addresses("once.test", 0, &["127.0.0.1"]);
    let dialer = dialer(&server, Doorman::default());
    let (address, _) = destination(([127, 0, 0, 1], 0).into()).await;
    for dials in 1..=5 {
        let target = authority(&format!("once.test:{}", address.port()));
        let connected = dialer.dial(&target, &rule(None), "").await.unwrap();
        assert_eq!((connected.address, connected.via), (Some(address), None));
        assert!(connected.early.is_empty());
        assert_eq!((server.asked("once.test", A), server.asked("once.test", AAAA)), (dials, dials));
    }
}

#[tokio::test]
async fn a_name_that_changes_between_calls_never_reaches_what_is_forbidden() {
    let server = DnsServer::start().await;
    let (good, _) = destination(([127, 0, 0, 1], 0).into()).await;
    let (bad, reached) = destination(([127, 0, 0, 66], good.port()).into()).await;
    let answer = |address: SocketAddr| Answer::Addresses(vec![address.ip()], 0);
    let script: Vec<Answer> = (0..30).map(|n| answer(if n % 2 == 0 { good } else { bad })).collect();
    server.script("rebind.test", script);
    let dialer = dialer(&server, Doorman { forbidden: vec![bad.ip()], ..Doorman::default() });
    for n in 0..30 {
        let target = authority(&format!("rebind.test:{}", good.port()));
        let result = dialer.dial(&target, &rule(None), "").await;
        match result {
            Ok(connected) => assert_eq!((connected.address, n % 2), (Some(good), 0)),
            Err(failure) => assert_eq!((failure.reason, failure.address, n % 2), (Reason::ADDRESS, Some(bad), 1)),
        }
    }
    assert_eq!(server.asked("rebind.test", A), 30);
    assert_eq!(reached.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn one_forbidden_address_condemns_the_name() {
    let server = DnsServer::start().await;
    let (good, reached) = destination(([127, 0, 0, 1], 0).into()).await;
    server.addresses("mixed.test", 60, &["127.0.0.1", "127.0.0.66"]);
    server.addresses("mixed6.test", 60, &["127.0.0.1", "fd00::1"]);
    let forbidden = vec![[127, 0, 0, 66].into(), "fd00::1".parse().unwrap()];
    let dialer = dialer(&server, Doorman { forbidden, ..Doorman::default() });
    for name in ["mixed.test", "mixed6.test", "127.0.0.66"] {
        assert_eq!(failure(&dialer, &format!("{name}:{}", good.port())).await.reason, Reason::ADDRESS, "{name}");
    }
    assert_eq!(reached.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn dns_that_fails_or_is_silent_ends_in_time_with_its_reason() {
    let server = DnsServer::start().await;
    server.script("broken.test", [Answer::Code(2)]);
    server.script("refused.test", [Answer::Code(5)]);
    server.script("none.test", [Answer::Addresses(Vec::new(), 60)]);
    server.script("silent.test", [Answer::Silence]);
    let dialer = dialer(&server, Doorman::default());
    for (name, reason) in [
        ("absent.test", Reason::DNS),
        ("broken.test", Reason::DNS),
        ("refused.test", Reason::DNS),
        ("none.test", Reason::DNS),
        ("silent.test", Reason::DNS_TIMEOUT),
    ] {
        let began = Instant::now();
        assert_eq!(failure(&dialer, &format!("{name}:443")).await.reason, reason, "{name}");
        assert!(began.elapsed() < Duration::from_millis(1_500), "{name}");
    }
}

#[tokio::test]
async fn a_live_address_behind_dead_ones_is_found() {
    let server = DnsServer::start().await;
    let (live, _) = destination(([127, 0, 0, 1], 0).into()).await;
    server.addresses("some.test", 60, &["::1", "127.0.0.9", "127.0.0.1"]);
    server.addresses("dead.test", 60, &["127.0.0.8", "127.0.0.9"]);
    let dialer = dialer(&server, Doorman::default());
    let target = authority(&format!("some.test:{}", live.port()));
    assert_eq!(dialer.dial(&target, &rule(None), "").await.unwrap().address, Some(live));
    let refused = failure(&dialer, &format!("dead.test:{}", live.port())).await;
    assert_eq!(refused.reason, Reason::REFUSED);
}

#[tokio::test]
async fn a_destination_that_does_not_answer_is_given_up_in_time() {
    let server = DnsServer::start().await;
    let dialer = dialer(&server, Doorman::default());
    // Nobody accepts, and the queue is full: what comes now is neither taken nor refused.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(200), tokio::net::TcpStream::connect(address)).await
    {
        queue.push(stream);
    }
    let began = Instant::now();
    let late = failure(&dialer, &address.to_string()).await;
    assert_eq!((late.reason, late.address), (Reason::CONNECT_TIMEOUT, Some(address)));
    assert!((900..1_500).contains(&began.elapsed().as_millis()));
}

#[tokio::test]
async fn a_dial_is_a_small_future() {
    let server = DnsServer::start().await;
    let dialer = dialer(&server, Doorman::default());
    let (target, rule) = (authority("any.test:443"), rule(None));
    let size = size_of_val(&dialer.dial(&target, &rule, ""));
    assert!(size < 2_048, "{size}");
}
