//! TLS with and without client certificates, HTTP/2 as clients speak it, and HTTP/2 as attackers do.

use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::TlsConnector;

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
/// POST / over http, as HPACK writes it.
const HEADER_BLOCK: &[u8] = &[0x83, 0x86, 0x84, 0x41, 0x01, b'a'];
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;

fn connector(state_dir: &Path, alpn: &[u8], identity: Option<&Identity>) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(state_dir.join("tls/cert.pem")).expect("it was made");
    roots.add(certificate).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("known versions")
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
            let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).expect("a certificate");
            builder.with_client_auth_cert(vec![certificate], key).expect("they belong together")
        }
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    TlsConnector::from(Arc::new(config))
}

struct Identity {
    certificate: String,
    key: String,
}

/// A certificate authority, and what it signed for `name`.
fn authority_and_client(name: &str) -> (String, Identity) {
    let ca_key = rcgen::KeyPair::generate().expect("entropy");
    let mut ca = rcgen::CertificateParams::new(Vec::new()).expect("no names");
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = rcgen::CertifiedIssuer::self_signed(ca, ca_key).expect("signed");
    let key = rcgen::KeyPair::generate().expect("entropy");
    let mut client = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("a name");
    client.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let signed = client.signed_by(&key, &ca).expect("signed");
    (ca.pem(), Identity { certificate: signed.pem(), key: key.serialize_pem() })
}

async fn connect(gate: &Running, connector: &TlsConnector) -> tokio_rustls::client::TlsStream<TcpStream> {
    let stream = TcpStream::connect(gate.address).await.expect("the listener takes connections");
    let name = ServerName::try_from("localhost").expect("a name");
    connector.connect(name, stream).await.expect("the handshake succeeds")
}

async fn h2_post(gate: &Running, connector: &TlsConnector, body: &'static [u8]) -> Response<Incoming> {
    let io = TokioIo::new(connect(gate, connector).await);
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await;
    let (mut sender, connection) = handshake.expect("HTTP/2 is spoken");
    tokio::spawn(connection);
    let request = Request::post(format!("https://localhost{PATH}")).body(Full::new(Bytes::from_static(body)));
    sender.send_request(request.expect("a request")).await.expect("an answer")
}

#[tokio::test]
async fn tls_serves_both_versions_of_http_with_a_certificate_of_its_own() {
    let state = tempfile::tempdir().expect("a directory");
    let config = inputs::Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..inputs::Config::default() };
    let gate = start_in(&config, state.path());
    let answer = h2_post(&gate, &connector(state.path(), b"h2", None), b"[]").await;
    assert_eq!((answer.status().as_u16(), answer.version()), (204, http::Version::HTTP_2));
    assert!(answer.headers().contains_key("x-ms-request-id"));

    let mut stream = connect(&gate, &connector(state.path(), b"http/1.1", None)).await;
    let request = format!("POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n[]");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.expect("answered");
    assert_eq!(&start, b"HTTP/1.1 204");
    assert_eq!(gate.taken().len(), 2);

    // Another start uses the same certificate.
    start_in(&config, state.path());
    let key = std::fs::metadata(state.path().join("tls/key.pem")).expect("it was made");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777, 0o600);
    h2_post(&gate, &connector(state.path(), b"h2", None), b"[]").await;
}

#[tokio::test]
async fn a_client_certificate_names_its_client_and_a_missing_one_is_a_readable_403() {
    let state = tempfile::tempdir().expect("a directory");
    let (authority, identity) = authority_and_client("host-a.plant");
    let path = state.path().join("ca.pem");
    std::fs::write(&path, authority).expect("written");
    let mut config = inputs::Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..inputs::Config::default() };
    config.tls.client_ca = Some(path);
    config.auth.client_certificates = vec![auth::Certificate {
        name: "host-a.plant".to_owned(),
        group: None,
        hosts: Vec::new(),
        resource_ids: Vec::new(),
    }];
    let gate = start_in(&config, state.path());
    let known = connector(state.path(), b"h2", Some(&identity));
    assert_eq!(h2_post(&gate, &known, b"[]").await.status(), 204);
    assert_eq!(&*gate.taken()[0].client.scope, "certificate:host-a.plant");
    let nobody = connector(state.path(), b"h2", None);
    let answer = h2_post(&gate, &nobody, b"[]").await;
    assert_eq!(answer.status(), 403);
    assert_eq!(answer.headers()["x-ms-error-code"], "CertificateNotAllowed");
    assert!(gate.taken().is_empty());
}

#[tokio::test]
async fn a_reload_that_believes_others_ends_connections_that_showed_a_certificate() {
    let state = tempfile::tempdir().expect("a directory");
    let (authority, identity) = authority_and_client("host-a.plant");
    let path = state.path().join("ca.pem");
    std::fs::write(&path, authority).expect("written");
    let mut config = inputs::Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..inputs::Config::default() };
    config.tls.client_ca = Some(path.clone());
    let listener = Listener::bind(&config, state.path()).expect("the listener starts");
    let tls = listener.tls().expect("TLS is on");
    let gate = start_with(&config, listener);
    let mut known = connect(&gate, &connector(state.path(), b"http/1.1", Some(&identity))).await;
    let mut nobody = connect(&gate, &connector(state.path(), b"http/1.1", None)).await;
    let mut answer = [0; 2048];
    for stream in [&mut known, &mut nobody] {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
        assert!(stream.read(&mut answer).await.expect("answered") > 0);
    }
    std::fs::write(&path, authority_and_client("x").0).expect("written");
    tls.replace_with(&ServerTls::load(&config.tls, state.path(), tls_server::HTTP).expect("it loads"));
    let ended = timeout(Duration::from_secs(10), known.read(&mut answer)).await.expect("it is told to go");
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    nobody.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    assert!(nobody.read(&mut answer).await.expect("answered") > 0, "who showed nothing stays");
}

#[tokio::test]
async fn certificates_reload_while_the_listener_runs() {
    let state = tempfile::tempdir().expect("a directory");
    let config = inputs::Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..inputs::Config::default() };
    let listener = Listener::bind(&config, state.path()).expect("the listener starts");
    let tls = listener.tls().expect("TLS is on");
    let before = tls.current();
    let named =
        tls_server::Config { certificate: Some("none.pem".into()), key: Some("none.pem".into()), ..config.tls.clone() };
    let error = ServerTls::load(&named, state.path(), tls_server::HTTP).expect_err("no certificate");
    assert!(error.to_string().contains("none.pem"), "{error}");
    std::fs::write(state.path().join("tls/cert.pem"), "nonsense").expect("written");
    tls.replace_with(&ServerTls::load(&config.tls, state.path(), tls_server::HTTP).expect("a new one is made"));
    assert!(!Arc::ptr_eq(&before, &tls.current()));
}

#[tokio::test]
async fn a_listener_that_cannot_start_says_why() {
    let mut config = plain();
    config.listen = SocketAddr::from(([0, 0, 0, 0], 0));
    let error = Listener::bind(&config, Path::new("/nonexistent")).expect_err("plain HTTP");
    assert!(error.to_string().contains("allow_plain_http"), "{error}");
    let taken = start(&plain());
    config.listen = taken.address;
    let error = Listener::bind(&config, Path::new("/nonexistent")).expect_err("taken");
    assert!(error.to_string().contains(&taken.address.to_string()), "{error}");
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("small").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Sends the preface and these bytes while reading; whether the gateway ended the connection with GOAWAY.
async fn is_sent_away(gate: &Running, bytes: Vec<u8>) -> bool {
    let stream = TcpStream::connect(gate.address).await.expect("the listener takes connections");
    let (mut reader, mut writer) = stream.into_split();
    let sending = tokio::spawn(async move {
        writer.write_all(PREFACE).await.ok();
        writer.write_all(&bytes).await.ok();
        writer
    });
    let mut answer = Vec::new();
    let ended = timeout(Duration::from_secs(20), reader.read_to_end(&mut answer)).await;
    drop(sending.await);
    ended.is_ok() && frames(&answer).any(|kind| kind == 7)
}

fn frames(mut bytes: &[u8]) -> impl Iterator<Item = u8> {
    let mut kinds = Vec::new();
    while let [a, b, c, kind, rest @ ..] = bytes {
        kinds.push(*kind);
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        bytes = rest.get(5 + length..).unwrap_or_default();
    }
    kinds.into_iter()
}

#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let gate = start(&plain());
    let burst = (0..2000u32).flat_map(|index| {
        let stream = index * 2 + 1;
        [frame(HEADERS, 0x4, stream, HEADER_BLOCK), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
    });
    assert!(is_sent_away(&gate, burst.collect()).await);
    assert_eq!(status(&gate.post(PATH, "", b"[]").await), "204", "others are served");
}

#[tokio::test]
async fn a_flood_of_continuations_ends_the_connection() {
    let gate = start(&plain());
    let mut flood = frame(HEADERS, 0, 1, HEADER_BLOCK);
    // A literal header without indexing, again and again: "x: y".
    let field = [0x00, 0x01, b'x', 0x01, b'y'].repeat(200);
    for _ in 0..2000 {
        flood.extend(frame(CONTINUATION, 0, 1, &field));
    }
    assert!(is_sent_away(&gate, flood).await);
    assert_eq!(status(&gate.post(PATH, "", b"[]").await), "204", "others are served");
}

#[tokio::test]
async fn a_flood_of_pings_that_reads_no_answer_is_held_back() {
    let gate = start(&plain());
    let mut stream = TcpStream::connect(gate.address).await.expect("the listener takes connections");
    stream.write_all(PREFACE).await.expect("sent");
    let pings = frame(PING, 0, 0, b"01234567").repeat(10_000);
    let mut sent = 0usize;
    // The sockets' own buffers take some megabytes; behind them the gateway keeps nothing.
    while sent < 64 << 20 {
        match timeout(Duration::from_secs(1), stream.write(&pings)).await {
            Ok(Ok(bytes)) => sent += bytes,
            Ok(Err(_)) | Err(_) => break,
        }
    }
    assert!(sent < 64 << 20, "it took {sent} bytes of pings without an answer being read");
    assert_eq!(status(&gate.post(PATH, "", b"[]").await), "204", "others are served");
}
