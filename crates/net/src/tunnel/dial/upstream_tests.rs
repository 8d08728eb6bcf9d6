use parking_lot::Mutex;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::tests::{Doorman, authority, config, rule};
use super::{Connected, Dialer, DialerError, Failure};
use crate::balancer::{self, EndpointStatus};
use crate::tunnel::Reason;
use crate::tunnel::config::{Config, Limits, Proxy, UpstreamProxies};
use crate::values::{Secret, Span};
use gatepost_lab::dns_server::DnsServer;

const TARGET: &str = "destination.test:443";
const OPEN: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// How a proxy behaves once it has read the request.
#[derive(Clone)]
enum Manner {
    /// Sends this and keeps the connection.
    Says(Vec<u8>),
    /// Sends this and closes.
    SaysAndCloses(Vec<u8>),
    /// Sends this slowly, a byte each time.
    Drips(Vec<u8>, Duration),
}

/// A proxy that remembers what it was asked.
struct FakeProxy {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl FakeProxy {
    async fn start(manner: Manner) -> Self {
        Self::at(([127, 0, 0, 1], 0).into(), manner, None).await
    }

    async fn at(address: SocketAddr, manner: Manner, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (manner, tls, noted) = (manner.clone(), tls.clone(), Arc::clone(&noted));
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, manner, &noted).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, manner, &noted).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, requests, task }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().clone()
    }

    fn configured(&self) -> Proxy {
        proxy(&format!("http://{}", self.address))
    }
}

impl Drop for FakeProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, manner: Manner, requests: &Mutex<Vec<String>>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    requests.lock().push(String::from_utf8(request).unwrap());
    match manner {
        Manner::Says(bytes) => {
            stream.write_all(&bytes).await.ok();
            stream.flush().await.ok();
            stream.read_to_end(&mut Vec::new()).await.ok();
        }
        Manner::SaysAndCloses(bytes) => {
            stream.write_all(&bytes).await.ok();
            stream.shutdown().await.ok();
        }
        Manner::Drips(bytes, pause) => {
            for byte in bytes {
                stream.write_all(&[byte]).await.ok();
                stream.flush().await.ok();
                tokio::time::sleep(pause).await;
            }
        }
    }
}

fn proxy(url: &str) -> Proxy {
    Proxy { url: url.to_owned(), user: None, password: None, weight: 1.0, priority: 0 }
}

fn table(proxies: Vec<Proxy>) -> UpstreamProxies {
    UpstreamProxies {
        name: "next".to_owned(),
        proxies,
        ca_file: None,
        balancer: balancer::Config { ejection_base: Span::secs(60), ..balancer::Config::default() },
    }
}

fn through(server: &DnsServer, proxies: Vec<Proxy>) -> Config {
    Config { upstream_proxies: vec![table(proxies)], ..config(server) }
}

fn dialer(config: &Config) -> Dialer {
    Dialer::new(config, Arc::new(Doorman::default()), "me").unwrap()
}

async fn dial(dialer: &Dialer) -> Result<Connected, Failure> {
    dialer.dial(&authority(TARGET), &rule(Some("next")), "").await
}

fn status(dialer: &Dialer, index: usize) -> EndpointStatus {
    dialer.snapshot()[0].1[index].state
}

#[tokio::test]
async fn the_request_holds_the_destination_and_nothing_of_the_client() {
    let server = DnsServer::start().await;
    let fake = FakeProxy::start(Manner::Says(OPEN.to_vec())).await;
    let dialer = dialer(&through(&server, vec![fake.configured()]));
    let via = "1.1 squid, 1.1 gatepost-other";
    let connected = dialer.dial(&authority(TARGET), &rule(Some("next")), via).await.unwrap();
    assert_eq!(connected.address, Some(fake.address));
    assert_eq!(connected.via.as_deref(), Some("next"));
    let request = "CONNECT destination.test:443 HTTP/1.1\r\nHost: destination.test:443\r\n\
        Via: 1.1 gatepost-other, 1.1 gatepost-me\r\n\r\n";
    assert_eq!(fake.requests(), [request]);
    assert_eq!(server.queries(), 0, "the destination is resolved by the proxy");
}

#[tokio::test]
async fn credentials_go_to_their_own_proxy_only() {
    let server = DnsServer::start().await;
    let first = FakeProxy::start(Manner::Says(b"HTTP/1.1 407 No\r\n\r\n".to_vec())).await;
    let second = FakeProxy::start(Manner::Says(OPEN.to_vec())).await;
    let (user, password) = (Some("gate".to_owned()), Some(Secret::new("canary")));
    let with = Proxy { user, password, ..first.configured() };
    let without = Proxy { priority: 1, ..second.configured() };
    let dialer = dialer(&through(&server, vec![with, without]));
    dial(&dialer).await.unwrap();
    let (first, second) = (first.requests().concat(), second.requests().concat());
    assert!(first.contains("\r\nProxy-Authorization: Basic Z2F0ZTpjYW5hcnk=\r\n"), "{first}");
    assert!(!second.to_lowercase().contains("authorization"), "{second}");
}

#[tokio::test]
async fn every_answer_has_its_reason() {
    let server = DnsServer::start().await;
    let long = [b"HTTP/1.1 200 OK\r\nA: ".to_vec(), vec![b'a'; 64 << 10]].concat();
    let long = String::from_utf8(long).unwrap();
    for (answer, reason) in [
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno\n", Reason::UPSTREAM_REFUSED),
        ("HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\n\r\n", Reason::UPSTREAM_REFUSED),
        ("HTTP/1.1 502 Bad Gateway\r\n\r\n", Reason::UPSTREAM_REFUSED),
        ("HTTP/1.1 503 Service Unavailable\r\n\r\n", Reason::UPSTREAM_REFUSED),
        ("HTTP/1.1 504 Gateway Timeout\r\n\r\n", Reason::UPSTREAM_REFUSED),
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", Reason::UPSTREAM_CREDENTIALS),
        ("HTTP/1.1 508 Loop Detected\r\n\r\n", Reason::LOOP),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", Reason::UPSTREAM_GARBAGE),
        ("SSH-2.0-OpenSSH_9.2\r\n", Reason::UPSTREAM_GARBAGE),
        ("HTTP/1.1 200 OK\n\n", Reason::UPSTREAM_GARBAGE),
        (&long, Reason::UPSTREAM_GARBAGE),
    ] {
        let fake = FakeProxy::start(Manner::Says(answer.as_bytes().to_vec())).await;
        let began = Instant::now();
        let failure = dial(&dialer(&through(&server, vec![fake.configured()]))).await.unwrap_err();
        assert_eq!((failure.reason, failure.address), (reason, Some(fake.address)), "{failure}");
        assert!(began.elapsed() < Duration::from_millis(900), "{failure}");
        assert!(!failure.detail.contains("Location") && !failure.detail.contains("SSH"), "{failure}");
    }
    for half in ["", "HTTP/1.1 200 OK\r\nServer"] {
        let fake = FakeProxy::start(Manner::SaysAndCloses(half.as_bytes().to_vec())).await;
        let failure = dial(&dialer(&through(&server, vec![fake.configured()]))).await.unwrap_err();
        assert_eq!(failure.reason, Reason::UPSTREAM_GARBAGE, "{failure}");
    }
}

#[tokio::test]
async fn a_proxy_that_hangs_or_drips_ends_in_time() {
    let server = DnsServer::start().await;
    for manner in [Manner::Says(Vec::new()), Manner::Drips(OPEN.to_vec(), Duration::from_secs(1))] {
        let fake = FakeProxy::start(manner).await;
        let dialer = dialer(&through(&server, vec![fake.configured()]));
        let began = Instant::now();
        let failure = dial(&dialer).await.unwrap_err();
        assert_eq!(failure.reason, Reason::UPSTREAM_TIMEOUT, "{failure}");
        assert!((900..1_500).contains(&began.elapsed().as_millis()));
        assert_eq!(status(&dialer, 0), EndpointStatus::Closed);
    }
}

#[tokio::test]
async fn what_follows_the_answer_belongs_to_the_tunnel() {
    let server = DnsServer::start().await;
    for (answer, early) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "0\r\n\r\n"),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nX", "X"),
        ("HTTP/1.1 200 OK\r\n\r\n", ""),
    ] {
        let fake = FakeProxy::start(Manner::SaysAndCloses(answer.as_bytes().to_vec())).await;
        let mut connected = dial(&dialer(&through(&server, vec![fake.configured()]))).await.unwrap();
        assert_eq!(connected.early, early);
        let mut rest = Vec::new();
        connected.stream.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"", "the end of the connection arrives too");
    }
}

#[tokio::test]
async fn the_next_proxy_is_taken_when_the_first_is_dead_and_all_dead_is_told() {
    let server = DnsServer::start().await;
    server.addresses("proxy.test", 60, &["127.0.0.1"]);
    let fake = FakeProxy::start(Manner::Says(OPEN.to_vec())).await;
    let dead = proxy(&format!("http://127.0.0.9:{}", fake.address.port()));
    let unknown = proxy("http://absent.test:3128");
    let named = proxy(&format!("http://proxy.test:{}", fake.address.port()));
    let last = Proxy { priority: 1, ..named };
    let dialer = dialer(&through(&server, vec![dead.clone(), unknown.clone(), last]));
    for _ in 0..10 {
        assert_eq!(dial(&dialer).await.unwrap().address, Some(fake.address));
    }
    assert!((0..2).all(|index| status(&dialer, index) == EndpointStatus::Open), "{:?}", dialer.snapshot());
    let dialer = self::dialer(&through(&server, vec![dead, unknown]));
    for _ in 0..8 {
        let failure = dial(&dialer).await.unwrap_err();
        assert_eq!(failure.reason, Reason::UPSTREAM_UNREACHABLE, "{failure}");
    }
}

#[tokio::test]
async fn a_proxy_that_swallows_everything_leaves_time_for_the_next() {
    let server = DnsServer::start().await;
    // TLS to a port that says nothing: reached, and then silent.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let fake = FakeProxy::start(Manner::Says(OPEN.to_vec())).await;
    let dir = tempfile::tempdir().unwrap();
    let hole = proxy(&format!("https://{}", silent.local_addr().unwrap()));
    let mut config = through(&server, vec![hole, Proxy { priority: 1, ..fake.configured() }]);
    config.upstream_proxies[0].ca_file = Some(certificate(dir.path(), "localhost").0);
    let began = Instant::now();
    assert_eq!(dial(&dialer(&config)).await.unwrap().address, Some(fake.address));
    assert!((400..900).contains(&began.elapsed().as_millis()));
}

#[tokio::test]
async fn what_a_proxy_says_of_destinations_does_not_take_it_out_of_use() {
    let server = DnsServer::start().await;
    for answer in ["502 Bad Gateway", "503 Busy", "504 Late", "403 No"] {
        let fake = FakeProxy::start(Manner::Says(format!("HTTP/1.1 {answer}\r\n\r\n").into_bytes())).await;
        let dialer = dialer(&through(&server, vec![fake.configured()]));
        for _ in 0..30 {
            assert_eq!(dial(&dialer).await.unwrap_err().reason, Reason::UPSTREAM_REFUSED);
        }
        assert_eq!(status(&dialer, 0), EndpointStatus::Closed, "{answer}");
    }
}

#[tokio::test]
async fn a_probe_brings_a_proxy_back() {
    let server = DnsServer::start().await;
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut config = through(&server, vec![proxy(&format!("http://{address}"))]);
    config.upstream_proxies[0].balancer.probe_interval = Span::millis(100);
    let dialer = Arc::new(dialer(&config));
    for _ in 0..5 {
        assert_eq!(dial(&dialer).await.unwrap_err().reason, Reason::UPSTREAM_UNREACHABLE);
    }
    assert_eq!(status(&dialer, 0), EndpointStatus::Open);
    let failure = dial(&dialer).await.unwrap_err();
    assert_eq!(failure.reason, Reason::UPSTREAM_UNREACHABLE);
    assert!(failure.detail.contains("left alone"), "{failure}");
    let _back = FakeProxy::at(address, Manner::Says(OPEN.to_vec()), None).await;
    let stop = CancellationToken::new();
    let probes = tokio::spawn({
        let (dialer, stop) = (Arc::clone(&dialer), stop.clone());
        async move { dialer.probes(stop).await }
    });
    while status(&dialer, 0) == EndpointStatus::Open {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    dial(&dialer).await.unwrap();
    stop.cancel();
    probes.await.unwrap();
}

#[tokio::test]
async fn a_proxy_that_is_this_gateway_is_a_loop_and_so_is_a_chain_without_end() {
    let server = DnsServer::start().await;
    let fake = FakeProxy::start(Manner::Says(OPEN.to_vec())).await;
    let doorman = Doorman { ours: vec![fake.address], ..Doorman::default() };
    let config = through(&server, vec![fake.configured()]);
    let ours = Dialer::new(&config, Arc::new(doorman), "me").unwrap();
    assert_eq!(dial(&ours).await.unwrap_err().reason, Reason::LOOP);
    assert!(fake.requests().is_empty());
    let dialer = dialer(&config);
    let many = vec!["1.1 gatepost-x"; 16].join(", ");
    let result = dialer.dial(&authority(TARGET), &rule(Some("next")), &many).await;
    assert_eq!(result.unwrap_err().reason, Reason::LOOP);
    assert!(dialer.is_loop("1.0 squid, 1.1 gatepost-me") && !dialer.is_loop("1.1 gatepost-you"));
}

#[tokio::test]
async fn tls_to_a_proxy_believes_its_own_authority_only() {
    let server = DnsServer::start().await;
    server.addresses("proxy.test", 60, &["127.0.0.1"]);
    let dir = tempfile::tempdir().unwrap();
    let (ca_file, tls) = certificate(dir.path(), "proxy.test");
    let fake = FakeProxy::at(([127, 0, 0, 1], 0).into(), Manner::Says([OPEN, b"early"].concat()), Some(tls)).await;
    let named = |name: &str| proxy(&format!("https://{name}:{}", fake.address.port()));
    let mut config = through(&server, vec![named("proxy.test")]);
    config.upstream_proxies[0].ca_file = Some(ca_file.clone());
    let connected = dial(&dialer(&config)).await.unwrap();
    assert_eq!(connected.early, "early");
    assert!(matches!(connected.stream, crate::net::stream::Stream::Tls(_)));
    let other = dir.path().join("other");
    std::fs::create_dir(&other).unwrap();
    for (name, trusted) in [("proxy.test", certificate(&other, "proxy.test").0), ("127.0.0.1", ca_file)] {
        let mut config = through(&server, vec![named(name)]);
        config.upstream_proxies[0].ca_file = Some(trusted);
        let failure = dial(&dialer(&config)).await.unwrap_err();
        assert_eq!(failure.reason, Reason::UPSTREAM_TLS, "{failure}");
    }
    let plain = FakeProxy::start(Manner::Says(OPEN.to_vec())).await;
    let mut config = through(&server, vec![proxy(&format!("https://{}", plain.address))]);
    config.upstream_proxies[0].ca_file = Some(dir.path().join("ca.pem"));
    config.limits = Limits { connect_timeout: Span::millis(300), ..config.limits };
    let failure = dial(&dialer(&config)).await.unwrap_err();
    assert!([Reason::UPSTREAM_TLS, Reason::UPSTREAM_TIMEOUT].contains(&failure.reason), "{failure}");
}

#[tokio::test]
async fn a_url_that_is_none_is_told_without_repeating_it() {
    let server = DnsServer::start().await;
    let config = through(&server, vec![proxy("http://good.test:1"), proxy("http://user:canary@proxy.test:1")]);
    let error = Dialer::new(&config, Arc::new(Doorman::default()), "me").unwrap_err();
    assert!(matches!(&error, DialerError::Url { number: 2, .. }));
    assert!(!error.to_string().contains("canary"), "{error}");
}

/// A self-signed certificate for this name: its file, and a server that shows it.
fn certificate(dir: &Path, name: &str) -> (std::path::PathBuf, TlsAcceptor) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let path = dir.join("ca.pem");
    std::fs::write(&path, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (path, TlsAcceptor::from(Arc::new(config)))
}
