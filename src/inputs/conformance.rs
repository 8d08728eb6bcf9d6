//! The suite that every protocol of the registry passes: over a real connection, through the real front door, into a real
//! ingest on a disk that fails on command.
//!
//! A protocol brings a [`Specimen`]: how a client of it writes an upload, and how that client reads an answer. Kill -9 in
//! between is the business of `tests/crash`.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::access_log::Requests;
use super::http::auth::{Gate, Token};
use super::protocol::{Head, Place};
use super::reason::{Failure, Reason};
use super::registry::{Protocols, specimens};
use super::{Config, Peer, Uploads};
use crate::access_log::{self, AccessLog};
use crate::cli::simulate::events::{Host, SimulatedEvent};
use crate::dedup::memory::MemoryStore;
use crate::event::{KeyMaker, Upload};
use crate::filter::{EventSet, Rules};
use crate::ingest::ledger::Waiting;
use crate::ingest::{self, Accept, Ingest, Receipt, Refusal};
use crate::net::tls_server::Mode;
use crate::spool::dead_letter::DeadLetters;
use crate::spool::fs::RealFs;
use crate::spool::fs::faulty::{Faults, FaultyFs};
use crate::spool::{self, Spool};
use crate::values::{ByteSize, Span};

/// How long an answer that must not come is waited for. It can only make a wrong protocol pass, never a right one fail.
const NO_ANSWER: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(30);
/// The token that is let in, and its SHA-256.
const RIGHT: (&str, &str) = ("right", "27042f4e6eca7d0b2a7ee4026df2ecfa51d3339e6d122aa099118ecd8563bad9");

/// What a request shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    Nothing,
    Wrong,
    Right,
}

/// A protocol as its clients know it.
pub(super) trait Specimen {
    /// Enables the protocol on a listener, which speaks no other.
    fn enable(&self, protocols: &mut Protocols);

    /// Lets the client in that shows [`Shown::Right`]. The default is a bearer token.
    fn let_in(&self, config: &mut Config) {
        let (name, sha256) = ("plant".to_owned(), RIGHT.1.to_owned());
        config.auth.tokens = vec![Token { name, sha256, group: None, hosts: Vec::new(), resource_ids: Vec::new() }];
    }

    /// Puts on a request what it shows. The default is a bearer token.
    fn show(&self, request: &mut Sent, shown: Shown) {
        let token = match shown {
            Shown::Nothing => return,
            Shown::Wrong => "wrong",
            Shown::Right => RIGHT.0,
        };
        request.headers.push(("authorization", format!("Bearer {token}")));
    }

    /// One upload of these events, and behind them so many records that nobody can understand.
    fn upload(&self, events: &[SimulatedEvent], unreadable: usize) -> Sent;

    /// Whether a client of it forgets its copy upon this answer.
    fn is_success(&self, answer: &Answer) -> bool;

    /// Whether a client of it keeps its copy and sends it again, unchanged, upon this answer.
    fn is_sent_again(&self, answer: &Answer) -> bool;

    /// Received, filtered, duplicate, set aside, spooled; where the answer tells.
    fn counts(&self, answer: &Answer) -> Option<[u64; 5]>;
}

/// A request as a client writes it.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) method: &'static str,
    pub(super) target: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

impl Sent {
    pub(super) fn post(target: &str, content_type: &str, body: Vec<u8>) -> Self {
        let headers = vec![("content-type", content_type.to_owned())];
        Self { method: "POST", target: target.to_owned(), headers, body }
    }

    fn head(&self) -> Vec<u8> {
        let (Self { method, target, .. }, length) = (self, self.body.len());
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: gate\r\nContent-Length: {length}\r\n");
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    fn bytes(&self) -> Vec<u8> {
        [self.head(), self.body.clone()].concat()
    }
}

/// An answer as a client reads it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// Whether it says when to come back.
    pub(super) fn says_when(&self) -> bool {
        self.headers.contains_key("retry-after")
    }

    /// The answers that stand in these bytes, one after the other.
    fn all(mut bytes: &[u8]) -> Vec<Self> {
        let mut answers = Vec::new();
        while let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = std::str::from_utf8(&bytes[..end]).expect("a head is text");
            let mut lines = head.split("\r\n");
            let status = lines.next().and_then(|line| line.get(9..12)).and_then(|code| code.parse().ok());
            let fields = lines.filter_map(|line| line.split_once(": "));
            let headers: HeaderMap = fields
                .map(|(name, value)| {
                    let name = HeaderName::try_from(name).expect("a name");
                    (name, HeaderValue::try_from(value).expect("a value"))
                })
                .collect();
            let length = headers.get("content-length").and_then(|length| length.to_str().ok()?.parse().ok());
            let (start, length) = (end + 4, length.unwrap_or(0usize));
            let body = bytes[start..start + length].to_vec();
            let status = StatusCode::from_u16(status.expect("a status")).expect("a status");
            answers.push(Self { status, headers, body });
            bytes = &bytes[start + length..];
        }
        answers
    }
}

/// An ingest that shows its receipts.
struct Noted {
    ingest: Ingest,
    receipts: Arc<Mutex<Vec<Receipt>>>,
}

impl Accept for Noted {
    fn accept(&self, upload: Upload) -> BoxFuture<'static, Result<Receipt, Refusal>> {
        let (accepting, receipts) = (self.ingest.accept(upload), Arc::clone(&self.receipts));
        Box::pin(async move {
            let receipt = accepting.await?;
            receipts.lock().unwrap_or_else(PoisonError::into_inner).push(receipt);
            Ok(receipt)
        })
    }
}

/// One listener that speaks one protocol.
struct Bench<'s> {
    specimen: &'s dyn Specimen,
    address: SocketAddr,
    ingest: Ingest,
    spool: Spool,
    disk: Arc<Faults>,
    rules: Arc<ArcSwap<Rules>>,
    receipts: Arc<Mutex<Vec<Receipt>>>,
    hosts: Mutex<Host>,
    _plane: Uploads,
    _dir: tempfile::TempDir,
}

/// A listener's configuration with this protocol and no other.
fn config_of(specimen: &dyn Specimen) -> Config {
    let mut config = Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..Config::default() };
    config.tls.mode = Mode::Off;
    // All but these are off unless they are asked for.
    config.protocols.logs_ingestion.enabled = false;
    config.protocols.events.enabled = false;
    specimen.enable(&mut config.protocols);
    config
}

impl<'s> Bench<'s> {
    /// With the protocol alone, and what is changed about its listener.
    async fn new(specimen: &'s dyn Specimen, change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let small =
            spool::Config { segment_size: ByteSize::mib(1), max_size: ByteSize::mib(16), ..spool::Config::default() };
        let (fs, disk) = FaultyFs::new(Arc::new(RealFs));
        let (spool, _) = Spool::open(&small, &dir.path().join("spool"), fs).expect("a spool");
        let letters = DeadLetters::open(Arc::new(RealFs), &dir.path().join("dead-letters"), 1 << 20);
        let rules = Arc::new(ArcSwap::from_pointee(Rules::of_event_set(EventSet::Everything)));
        let parts = ingest::Parts {
            rules: Arc::clone(&rules),
            keys: Arc::new(KeyMaker::new(&[7; 32])),
            dedup: Arc::new(MemoryStore::new(&crate::dedup::Config::default())),
            spool: spool.clone(),
            dead_letters: Arc::new(Mutex::new(letters.expect("dead letters"))),
            waiting: Arc::new(Waiting::default()),
        };
        let (ingest, receipts) = (Ingest::new(ingest::Config::default(), parts), Arc::default());
        let accept = Noted { ingest: ingest.clone(), receipts: Arc::clone(&receipts) };
        let mut config = config_of(specimen);
        change(&mut config);
        let log = access_log::Config { file: Some(dir.path().join("access.log")), ..access_log::Config::default() };
        let log = AccessLog::open(&log).expect("an access log");
        let plane = Uploads::new(dir.path().join("state"), Arc::new(accept), Requests::new(log));
        let prepared = plane.prepare(&[config]).unwrap_or_else(|error| panic!("{error}"));
        plane.apply(prepared, Duration::ZERO);
        let address = plane.addresses()[0].1;
        let hosts = Mutex::new(Host::new("CONFORM.plant.example", 3));
        Self { specimen, address, ingest, spool, disk, rules, receipts, hosts, _plane: plane, _dir: dir }
    }

    /// An upload of so many events that nobody has sent before.
    fn fresh(&self, events: usize) -> Sent {
        self.fresh_with(events, 0)
    }

    fn fresh_with(&self, events: usize, unreadable: usize) -> Sent {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        self.specimen.upload(&hosts.by_ref().take(events).collect::<Vec<_>>(), unreadable)
    }

    /// Everything that is answered to these bytes, until the connection closes or our half is closed and all is said.
    async fn raw(&self, bytes: &[u8]) -> Vec<Answer> {
        let mut stream = TcpStream::connect(self.address).await.expect("the listener takes connections");
        stream.write_all(bytes).await.ok();
        stream.shutdown().await.ok();
        Self::rest(stream).await
    }

    async fn rest(mut stream: TcpStream) -> Vec<Answer> {
        let mut answer = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an answer in time").ok();
        Answer::all(&answer)
    }

    async fn send(&self, request: &Sent) -> Answer {
        let mut answers = self.raw(&request.bytes()).await;
        assert_eq!(answers.len(), 1, "one request has one answer");
        answers.remove(0)
    }

    fn receipts(&self) -> Vec<Receipt> {
        std::mem::take(&mut self.receipts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn kept(&self) -> u64 {
        self.spool.status().end
    }

    fn assert_nothing_kept(&self, answer: &Answer) {
        assert!(!self.specimen.is_success(answer), "{answer:?}");
        assert_eq!((self.kept(), self.receipts()), (0, Vec::new()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn success_leaves_after_the_events_are_durable_and_a_failing_disk_makes_the_client_send_again() {
    for specimen in specimens() {
        let bench = Bench::new(&*specimen, |_| ()).await;
        let upload = bench.fresh(5);
        bench.disk.hold_syncs();
        let mut stream = TcpStream::connect(bench.address).await.expect("the listener takes connections");
        stream.write_all(&upload.bytes()).await.expect("sent");
        let disk = Arc::clone(&bench.disk);
        tokio::task::spawn_blocking(move || disk.wait_for_held_sync()).await.expect("an append");
        let early = tokio::time::timeout(NO_ANSWER, stream.read_u8()).await;
        assert!(early.is_err(), "answered before it was durable");
        bench.disk.fail_all_syncs();
        bench.disk.let_syncs_go();
        stream.shutdown().await.expect("our half is closed");
        let refused = Bench::rest(stream).await.remove(0);
        assert!(!specimen.is_success(&refused) && specimen.is_sent_again(&refused), "{refused:?}");
        bench.disk.mend_syncs();
        while !specimen.is_success(&bench.send(&upload).await) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let receipt = bench.receipts().pop().expect("a receipt");
        assert_eq!((receipt.spooled, receipt.duplicate), (5, 0), "nothing was remembered of what failed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_became_of_each_event_is_counted_and_told_where_the_protocol_tells() {
    for specimen in specimens() {
        let bench = Bench::new(&*specimen, |_| ()).await;
        let (sound, half) = (bench.fresh(5), bench.fresh_with(2, 1));
        for (upload, filtered, duplicate, set_aside, spooled) in
            [(&sound, 0, 0, 0, 5), (&sound, 0, 5, 0, 0), (&half, 0, 0, 1, 2)]
        {
            let answer = bench.send(upload).await;
            assert!(specimen.is_success(&answer), "{answer:?}");
            let received = filtered + duplicate + set_aside + spooled;
            assert_eq!(bench.receipts(), [Receipt { received, filtered, duplicate, set_aside, spooled }]);
            let counts = [received, filtered, duplicate, set_aside, spooled];
            assert_eq!(specimen.counts(&answer).unwrap_or(counts), counts);
        }
        bench.rules.store(Arc::new(Rules::of_event_set(EventSet::None)));
        let answer = bench.send(&bench.fresh(3)).await;
        assert!(specimen.is_success(&answer), "what nobody wants is taken: {answer:?}");
        assert_eq!(bench.receipts(), [Receipt { received: 3, filtered: 3, ..Receipt::default() }]);
        assert_eq!(specimen.counts(&answer).unwrap_or([3, 3, 0, 0, 0]), [3, 3, 0, 0, 0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_known_keeps_nothing_here_and_who_is_gets_in_where_the_address_is_right() {
    for specimen in specimens() {
        let bench = Bench::new(&*specimen, |config| specimen.let_in(config)).await;
        for shown in [Shown::Nothing, Shown::Wrong] {
            let mut upload = bench.fresh(1);
            specimen.show(&mut upload, shown);
            bench.assert_nothing_kept(&bench.send(&upload).await);
        }
        let mut upload = bench.fresh(1);
        specimen.show(&mut upload, Shown::Right);
        let answer = bench.send(&upload).await;
        assert!(specimen.is_success(&answer), "{answer:?}");

        let elsewhere = |config: &mut Config| {
            specimen.let_in(config);
            config.auth.networks = vec!["10.0.0.0/8".parse().expect("a network")];
        };
        let bench = Bench::new(&*specimen, elsewhere).await;
        bench.assert_nothing_kept(&bench.send(&upload).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_body_that_is_too_large_cut_or_slow_nothing_is_kept() {
    for specimen in specimens() {
        let bench = Bench::new(&*specimen, |config| {
            config.limits.wire_max = ByteSize::bytes(64 << 10);
            config.limits.body_timeout = Span::millis(300);
        });
        let bench = bench.await;
        let large = bench.fresh(200);
        assert!(large.body.len() > 64 << 10);
        bench.assert_nothing_kept(&bench.send(&large).await);

        let upload = bench.fresh(5);
        let half = [upload.head(), upload.body[..upload.body.len() / 2].to_vec()].concat();
        for answer in bench.raw(&half).await {
            bench.assert_nothing_kept(&answer);
        }
        let mut slow = TcpStream::connect(bench.address).await.expect("the listener takes connections");
        slow.write_all(&half).await.expect("sent");
        bench.assert_nothing_kept(&Bench::rest(slow).await.remove(0));
        let answer = bench.send(&upload).await;
        assert!(specimen.is_success(&answer), "the same whole and in time: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_uploads_are_answered_each_and_in_order() {
    for specimen in specimens() {
        let bench = Bench::new(&*specimen, |_| ()).await;
        let sound: Vec<Sent> = (1..=3).map(|events| bench.fresh(events)).collect();
        let nowhere = Sent { target: "/nothing/is/here".to_owned(), ..bench.fresh(1) };
        let all: Vec<u8> = sound.iter().chain([&nowhere]).flat_map(Sent::bytes).collect();
        let answers = bench.raw(&all).await;
        assert_eq!(answers.len(), 4);
        assert!(answers[..3].iter().all(|answer| specimen.is_success(answer)), "{answers:?}");
        assert_eq!(answers[3].status, StatusCode::NOT_FOUND, "what is nobody's is answered all the same");
        let spooled: Vec<u64> = bench.receipts().iter().map(|receipt| receipt.spooled).collect();
        assert_eq!(spooled, [1, 2, 3]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_sheds_makes_the_client_keep_its_copy_and_come_back() {
    for specimen in specimens() {
        let bench = Bench::new(&*specimen, |_| ()).await;
        let upload = bench.fresh(5);
        bench.ingest.hold(Some("a rule cannot be read"));
        let held = bench.send(&upload).await;
        bench.ingest.hold(None);
        assert!(specimen.is_sent_again(&held), "{held:?}");
        bench.assert_nothing_kept(&held);
        let answer = bench.send(&upload).await;
        assert!(specimen.is_success(&answer), "{answer:?}");
        bench.ingest.stop();
        let stopping = bench.send(&bench.fresh(1)).await;
        assert!(!specimen.is_success(&stopping) && specimen.is_sent_again(&stopping), "{stopping:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_target_may_be_absolute_or_have_doubled_slashes_and_only_its_method_is_taken() {
    for specimen in specimens() {
        let bench = Bench::new(&*specimen, |_| ()).await;
        let upload = bench.fresh(1);
        for target in [format!("http://elsewhere:8443{}", upload.target), upload.target.replacen('/', "//", 2)] {
            let answer = bench.send(&Sent { target, ..upload.clone() }).await;
            assert!(specimen.is_success(&answer), "{answer:?}");
        }
        bench.receipts();
        let answer = bench.send(&Sent { method: "PATCH", ..bench.fresh(1) }).await;
        assert!(!specimen.is_success(&answer) && bench.receipts().is_empty(), "{answer:?}");
    }
}

#[tokio::test]
async fn every_reason_has_an_answer_and_one_that_passes_makes_the_client_send_again() {
    for specimen in specimens() {
        let config = config_of(&*specimen);
        let upload = specimen.upload(&Host::new("CONFORM.plant.example", 3).take(1).collect::<Vec<_>>(), 0);
        let mut request = http::Request::builder().method(upload.method).uri(&upload.target);
        for (name, value) in &upload.headers {
            request = request.header(*name, value);
        }
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let (listener, gate) = ("agents".into(), Gate::new(&config.auth, true, false, None));
        let peer = Peer { address: [127, 0, 0, 1].into(), certificate: Arc::default() };
        let head = Head { listener: &listener, parts: &parts, peer: &peer, gate: &gate };
        let place = Place { listener: "agents", state_dir: Path::new("/nonexistent"), running: &[] };
        let protocols = config.protocols.open(&place).unwrap_or_else(|error| panic!("{error}"));
        let ask = protocols.iter().find_map(|protocol| protocol.ask(&head)).expect("it knows its own requests");
        for reason in Reason::ALL {
            let failure = Failure::new(reason, reason.text);
            let (parts, body) = ask.refused(&failure).into_parts();
            let body = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
            let answer = Answer { status: parts.status, headers: parts.headers, body: body.to_vec() };
            assert!(!specimen.is_success(&answer), "{}: {answer:?}", reason.code);
            assert!(!reason.passes() || specimen.is_sent_again(&answer), "{}: {answer:?}", reason.code);
            assert!(!ask.code(&failure).is_empty());
        }
    }
}

#[test]
fn every_protocol_has_a_page() {
    for name in Protocols::NAMES.iter().filter(|name| **name != "lines") {
        let page = format!("docs/protocols/{}.md", name.replace('_', "-"));
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(&page).is_file(), "{page} is missing");
    }
}
