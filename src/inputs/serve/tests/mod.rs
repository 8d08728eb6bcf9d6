//! The front door over real connections, with a scripted [`Accept`] behind it.

use parking_lot::Mutex;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::*;
use crate::access_log::{self, AccessLog};
use crate::event::{DecodeError, Syntax, Upload};
use crate::ingest::accept::{Accept, Receipt, Refusal};
use crate::inputs::protocol::Shared;
use crate::inputs::{self, http::auth};
use crate::lab::http1_vectors as vectors;
use crate::values::{ByteSize, Span};

const PATH: &str = "/dataCollectionRules/dcr-0123/streams/Custom-SecurityEvent?api-version=2023-01-01";

/// Takes every upload and notes it, or refuses every upload.
#[derive(Default)]
struct Scripted {
    taken: Mutex<Vec<Upload>>,
    refusal: Mutex<Option<Refusal>>,
}

impl Accept for Scripted {
    fn accept(&self, upload: Upload) -> BoxFuture<'static, Result<Receipt, Refusal>> {
        let result = match self.refusal.lock().clone() {
            Some(refusal) => Err(refusal),
            None => Ok(Receipt { received: 2, duplicate: 1, spooled: 1, ..Receipt::default() }),
        };
        if result.is_ok() {
            self.taken.lock().push(upload);
        }
        std::future::ready(result).boxed()
    }
}

struct Running {
    address: SocketAddr,
    accept: Arc<Scripted>,
    stages: Stages,
    is_unready: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

fn plain() -> inputs::Config {
    let mut config = inputs::Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..inputs::Config::default() };
    config.tls.mode = Mode::Off;
    config
}

fn start(config: &inputs::Config) -> Running {
    start_in(config, Path::new("/nonexistent"))
}

fn start_in(config: &inputs::Config, state_dir: &Path) -> Running {
    start_with(config, Listener::bind(config, state_dir).expect("the listener starts"))
}

fn start_with(config: &inputs::Config, listener: Listener) -> Running {
    start_issuing(config, listener, None)
}

fn start_issuing(config: &inputs::Config, listener: Listener, issuer: Option<Arc<entra::Issuer>>) -> Running {
    let (address, stages, accept) = (listener.address(), Stages::default(), Arc::<Scripted>::default());
    let is_unready = Arc::<AtomicBool>::default();
    let bodies = inputs::http::body::Memory::new(64 << 20);
    let opened =
        inputs::Opened::new(config, issuer, &Shared::over(Path::new("/nonexistent")), &inputs::Opened::default())
            .expect("nothing is read");
    let router = inputs::router(config, Arc::clone(&accept) as Arc<dyn Accept>, opened, &bodies);
    let task = tokio::spawn(serve(listener, router, stages.clone(), Arc::clone(&is_unready)));
    Running { address, accept, stages, is_unready, task }
}

impl Running {
    /// Everything that the gateway answers to these bytes, until it closes or we have closed our half and it is done.
    async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("the listener takes connections");
        stream.write_all(bytes).await.ok();
        stream.shutdown().await.ok();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok();
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn post(&self, path: &str, headers: &str, body: &[u8]) -> String {
        let head = format!("POST {path} HTTP/1.1\r\nHost: gate\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
        self.raw(&[head.as_bytes(), body].concat()).await
    }

    fn taken(&self) -> Vec<Upload> {
        std::mem::take(&mut *self.accept.taken.lock())
    }
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or("none")
}

fn answers(text: &str) -> usize {
    text.lines().filter(|line| line.starts_with("HTTP/1.1 ")).count()
}

#[tokio::test]
async fn every_way_to_write_the_target_is_taken_with_exactly_204() {
    let gate = start(&plain());
    for path in [
        PATH.to_owned(),
        format!("http://elsewhere:8443{PATH}"),
        "/dataCollectionRules/dcr-0123/streams/Custom-SecurityEvent?api%2Dversion=2021-11-01-preview".to_owned(),
        "//datacollectionrules//dcr-0123/STREAMS/Custom%2dSecurityEvent/?x=1&api-version=2023-04-24".to_owned(),
    ] {
        let answer = gate.post(&path, "", b"[]").await;
        assert_eq!(status(&answer), "204", "{path}: {answer}");
        assert!(answer.ends_with("\r\n\r\n") && answer.contains("x-ms-request-id: "), "{answer}");
        assert!(!answer.contains("transfer-encoding"), "{answer}");
        let taken = gate.taken();
        assert_eq!(taken.len(), 1, "{path}");
        assert_eq!((&*taken[0].stream, taken[0].syntax), ("Custom-SecurityEvent", Syntax::JsonArray), "{path}");
        assert_eq!(&*taken[0].client.scope, "address:127.0.0.1");
    }
    let answer = gate.post("/v1/events", "x-ms-client-request-id: {ab-1}\r\n", b"{}").await;
    assert!(answer.ends_with(r#"{"received":2,"filtered":0,"duplicate":1,"set_aside":0,"spooled":1}"#), "{answer}");
    assert!(answer.contains("x-ms-client-request-id: {ab-1}"), "{answer}");
    assert_eq!(gate.taken()[0].syntax, Syntax::Sniff);
}

/// What the access log has, line by line.
fn told(log: &AccessLog, path: &Path) -> Vec<serde_json::Value> {
    log.close();
    let text = std::fs::read_to_string(path).expect("a file");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[tokio::test]
async fn every_request_leaves_a_line_with_its_id_and_reason_and_repeated_refusals_leave_one() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("access.log");
    let to = access_log::Config { file: Some(path.clone()), ..access_log::Config::default() };
    let log = AccessLog::open(&to).expect("it opens");
    let mut config = plain();
    config.auth.tokens = vec![auth::Token {
        name: "plant".to_owned(),
        // Of "right".
        sha256: "27042f4e6eca7d0b2a7ee4026df2ecfa51d3339e6d122aa099118ecd8563bad9".to_owned(),
        group: None,
        hosts: Vec::new(),
        resource_ids: Vec::new(),
    }];
    let listener = Listener::bind(&config, folder.path()).expect("the listener starts");
    let gate = start_with(&config, listener.telling(Requests::new(log.clone())));
    let right = "Authorization: Bearer right\r\n";
    let accepted = gate.post(PATH, &format!("{right}User-Agent: agent/1\r\n"), b"[]").await;
    for _ in 0..3 {
        assert_eq!(status(&gate.post(PATH, "", b"[]").await), "401");
    }
    assert_eq!(status(&gate.post(PATH, &format!("{right}Content-Encoding: x\r\n"), b"[]").await), "415");
    assert_eq!(status(&gate.post(PATH, &format!("{right}Content-Length: 3\r\n"), b"[]").await), "400");

    let lines = told(&log, &path);
    let of = |key: &str| lines.iter().map(|line| line[key].clone()).collect::<Vec<_>>();
    let reasons = ["accepted", "AuthenticationFailed", "UnsupportedContentEncoding", "BadRequest"];
    assert_eq!(of("reason"), reasons, "{lines:?}");
    assert_eq!(of("status"), [204, 401, 415, 400]);
    let first = &lines[0];
    assert!(accepted.contains(&format!("x-ms-request-id: {}", first["request_id"].as_str().expect("an id"))));
    assert_eq!((&first["identity"], &first["user_agent"]), (&"plant".into(), &"agent/1".into()));
    assert_eq!((&first["client"], &first["received"]), (&"127.0.0.1".into(), &2.into()));
    assert_eq!(first["target"], "/dataCollectionRules/dcr-0123/streams/Custom-SecurityEvent", "no query");
    assert!(lines[1]["detail"].as_str().is_some_and(|detail| detail.contains("bearer token")), "{}", lines[1]);
}

#[tokio::test]
async fn targets_that_name_nothing_here_get_their_own_codes() {
    let mut config = plain();
    config.protocols.logs_ingestion.streams = vec!["Custom-SecurityEvent".to_owned()];
    let gate = start(&config);
    let stream = "/dataCollectionRules/dcr-0123/streams";
    for (path, expected, code) in [
        ("/", "404", "NotFound"),
        ("/v2/events", "404", "NotFound"),
        (&format!("{stream}/Custom-SecurityEvent"), "400", "MissingApiVersionParameter"),
        (&format!("{stream}/Custom-SecurityEvent?api-version=latest"), "400", "InvalidApiVersion"),
        (&format!("{stream}/Custom-Other?api-version=2023-01-01"), "404", "StreamNotFound"),
        ("/dataCollectionRules/a%2Fb/streams/x?api-version=2023-01-01", "404", "DataCollectionRuleNotFound"),
    ] {
        let answer = gate.post(path, "", b"[]").await;
        assert_eq!(status(&answer), expected, "{path}: {answer}");
        assert!(answer.contains(&format!("x-ms-error-code: {code}\r\n")), "{answer}");
        assert!(answer.contains(&format!(r#"{{"error":{{"code":"{code}","message":""#)), "{answer}");
        assert!(answer.contains("connection: close"), "the body was not read: {answer}");
    }
    let wrong_method = gate.raw(format!("GET {PATH} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await;
    assert!(status(&wrong_method) == "405" && wrong_method.contains("allow: POST"), "{wrong_method}");
    // The spelling of the configuration is the one that identity sees.
    gate.post(&PATH.to_lowercase(), "", b"[]").await;
    assert_eq!(&*gate.taken()[0].stream, "Custom-SecurityEvent");
}

#[tokio::test]
async fn bodies_are_decompressed_once_and_within_limits() {
    let mut config = plain();
    config.limits.wire_max = ByteSize::bytes(10_000);
    config.limits.body_max = ByteSize::bytes(100_000);
    let gate = start(&config);
    let zipped = |data: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut encoder, data).and_then(|()| encoder.finish()).expect("memory")
    };
    let sound = zipped(b"[{}]");
    for headers in ["", "Content-Encoding: gzip\r\n"] {
        assert_eq!(status(&gate.post(PATH, headers, &sound).await), "204");
        assert_eq!(gate.taken()[0].body, Bytes::from_static(b"[{}]"));
    }
    let bomb = zipped(&vec![b' '; 1_000_000]);
    let gzip = "Content-Encoding: gzip\r\n";
    for (headers, body, expected, code) in [
        (gzip, &bomb[..], "413", "ContentLengthLimitExceeded"),
        ("", &[b' '; 10_001][..], "413", "ContentLengthLimitExceeded"),
        (gzip, &sound[..sound.len() - 4], "400", "InvalidPayload"),
        (gzip, b"[]", "400", "InvalidPayload"),
        ("Content-Encoding: br\r\n", b"[]", "415", "UnsupportedContentEncoding"),
        ("Content-Encoding: gzip, gzip\r\n", b"[]", "415", "UnsupportedContentEncoding"),
    ] {
        let answer = gate.post(PATH, headers, body).await;
        assert_eq!(status(&answer), expected, "{answer}");
        assert!(answer.contains(&format!("x-ms-error-code: {code}\r\n")), "{answer}");
    }
    assert!(gate.taken().is_empty());
}

#[tokio::test]
async fn a_refusal_makes_the_agent_keep_its_copy() {
    let gate = start(&plain());
    let malformed = DecodeError { offset: 7, message: "no value".to_owned() };
    let busy = Refusal::Busy { retry_after: Duration::from_millis(2500), reason: "bytes" };
    for (refusal, expected, text) in [
        (Refusal::Malformed(malformed), "400", "no value, at byte 7"),
        (busy, "429", "retry-after: 3\r\n"),
        (Refusal::Stopping, "503", "retry-after: "),
        (Refusal::SpoolFull, "503", "retry-after: "),
        (Refusal::SpoolFailed("EIO on /secret/path".to_owned()), "503", "retry-after: "),
    ] {
        *gate.accept.refusal.lock() = Some(refusal);
        let answer = gate.post(PATH, "", b"[]").await;
        assert!(status(&answer) == expected && answer.contains(text), "{answer}");
        assert!(!answer.contains("secret"), "{answer}");
    }
}

#[tokio::test]
async fn strangers_are_denied_before_their_body_is_read() {
    let mut config = plain();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"sesame");
    let sha256 = hex::encode(hash);
    config.auth.tokens = vec![auth::Token {
        name: "plant".to_owned(),
        sha256,
        group: None,
        hosts: Vec::new(),
        resource_ids: Vec::new(),
    }];
    let gate = start(&config);
    let denied = gate.post(PATH, "Authorization: Bearer wrong\r\n", b"[]").await;
    assert!(status(&denied) == "401" && denied.contains("www-authenticate: Bearer"), "{denied}");
    assert_eq!(status(&gate.post(PATH, "Authorization: bearer sesame\r\n", b"[]").await), "204");
    assert_eq!(&*gate.taken()[0].client.name, "plant");

    config.auth.networks = vec!["10.0.0.0/8".parse().expect("a network")];
    let elsewhere = start(&config);
    assert_eq!(status(&elsewhere.post(PATH, "Authorization: Bearer sesame\r\n", b"[]").await), "403");
    assert!(elsewhere.taken().is_empty());
}

#[tokio::test]
async fn malformed_requests_get_one_answer_and_never_a_success() {
    let gate = start(&plain());
    let mut requests: Vec<String> = vectors::MALFORMED.iter().map(|text| (*text).to_owned()).collect();
    requests.extend(vectors::BROKEN_CHUNKS.iter().map(|body| vectors::chunked(&format!("POST {PATH}"), body)));
    for request in requests {
        // A sound request behind it must not be answered either.
        let answer = gate.raw(format!("{request}GET / HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await;
        assert_eq!((status(&answer), answers(&answer)), ("400", 1), "{request:?}: {answer}");
        assert!(answer.contains("connection: close") && answer.contains(r#"{"error":"#), "{request:?}: {answer}");
    }
    // The bodies of sound heads, cut off or broken, reach nobody.
    assert!(gate.taken().is_empty());
    let before = format!("POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n[]");
    let answer = gate.raw(format!("{before}{}", vectors::MALFORMED[0]).as_bytes()).await;
    assert!(answers(&answer) == 2 && status(&answer) == "204" && answer.contains("HTTP/1.1 400"), "{answer}");
}

#[tokio::test]
async fn an_upload_that_is_cut_off_or_slow_is_not_taken() {
    let mut config = plain();
    config.limits.head_timeout = Span::millis(100);
    config.limits.body_timeout = Span::millis(100);
    let gate = start(&config);
    let head = format!("POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n[");
    let cut = gate.raw(head.as_bytes()).await;
    assert_eq!(status(&cut), "400", "{cut}");
    for slow in [&head[..], "POST / HTTP/1.1\r\nHost: a\r\nX: "] {
        let mut stream = TcpStream::connect(gate.address).await.expect("the listener takes connections");
        stream.write_all(slow.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered and closed");
        assert!(status(&answer) == "408" && answer.contains("connection: close"), "{answer}");
    }
    assert!(gate.taken().is_empty());
}

#[tokio::test]
async fn connections_are_limited_and_shutdown_lets_go_of_idle_ones() {
    let mut config = plain();
    config.limits.max_connections_per_address = Some(1);
    let gate = start(&config);
    let mut first = TcpStream::connect(gate.address).await.expect("the listener takes connections");
    first.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    let mut answer = [0; 512];
    assert!(first.read(&mut answer).await.is_ok_and(|bytes| bytes > 0));
    assert_eq!(gate.raw(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await, "");
    gate.stages.end();
    gate.task.await.expect("serve ends");
    assert!(matches!(first.read(&mut answer).await, Ok(0) | Err(_)));
}

mod balancers;
mod going;
mod http2;
mod leaving;
mod resting;
