//! The uploader against a collector that misbehaves, and whole runs of `send`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser as _;

use super::uploader::{Patience, Tally, Target, UploadError, Uploader};
use super::{Args, Summary, describe, send};
use crate::cli::Global;
use crate::lab::collector::{Behaviour, Collector, Fault, Memory};
use crate::lab::events::{Host, Shape};
use crate::lab::evtx;
use crate::lab::lossy_relay::LossyRelay;
use crate::net::upload_client::{Client, SendError};

const RULE: &str = "/dataCollectionRules/dcr-0/streams/Custom-SecurityEvent";

fn rows(n: usize) -> Vec<Bytes> {
    Host::new("hmi.example", 5).take(n).map(|event| event.render(Shape::Row).into()).collect()
}

async fn collector() -> Collector {
    Collector::start(Memory::Identities).await.expect("a collector")
}

fn patience() -> Patience {
    Patience {
        first_wait: Duration::from_millis(2),
        longest_wait: Duration::from_millis(20),
        give_up_after: Duration::from_secs(30),
        timeout: Duration::from_millis(800),
    }
}

fn uploader(collector: &Collector, path: &str, patience: Patience) -> Uploader {
    let target = Target::parse(&format!("{}{path}", collector.url())).expect("a target");
    let client = Client::new(None).expect("a client");
    Uploader::new(client, target, None, patience, fastrand::Rng::with_seed(1), Arc::new(|_| {}))
}

async fn upload(collector: &Collector, path: &str, records: &[Bytes]) -> (Tally, Result<(), UploadError>) {
    let mut tally = Tally::default();
    let result = uploader(collector, path, patience()).upload(records, &mut tally).await;
    (tally, result)
}

#[test]
fn a_target_is_the_plain_door_or_a_stream() {
    let url = |text: &str| Target::parse(text).map(|t| (t.url().to_owned(), t.takes_only_json()));
    assert_eq!(url("https://gw:8443"), Ok(("https://gw:8443/v1/events".to_owned(), false)));
    assert_eq!(url("http://gw/other?x=1"), Ok(("http://gw/other?x=1".to_owned(), false)));
    assert_eq!(url(&format!("https://gw{RULE}")), Ok((format!("https://gw{RULE}?api-version=2023-01-01"), true)));
    for wrong in ["gw:8443", "ftp://gw", "", "https://"] {
        assert!(url(wrong).is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn trouble_that_lasts_is_not_tried_again_and_told_with_the_remedy() {
    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let plain_address = plain.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = plain.accept().await {
            let answer = b"HTTP/1.1 400 Bad Request\r\n\r\n";
            tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await.expect("sent");
        }
    });
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let folder = tempfile::tempdir().expect("a folder");
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, certificate.cert.pem()).expect("written");
    std::fs::write(&key, certificate.signing_key.serialize_pem()).expect("written");
    let tls = crate::net::tls_server::Config { certificate: Some(cert), key: Some(key), ..Default::default() };
    let tls =
        crate::net::tls_server::ServerTls::load(&tls, folder.path(), crate::net::tls_server::HTTP).expect("it loads");
    let secure = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = secure.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = secure.accept().await {
            let acceptor = tokio_rustls::TlsAcceptor::from(tls.current());
            tokio::spawn(async move { drop(acceptor.accept(stream).await) });
        }
    });
    for (url, told) in [
        (format!("https://{plain_address}"), "it speaks no TLS there; write http://127.0.0.1"),
        (format!("https://{address}"), "its certificate is not trusted: name it"),
        (format!("http://{address}"), "write https://127.0.0.1"),
    ] {
        let client =
            Client::new(Some(rcgen::generate_simple_self_signed(["x".to_owned()]).expect("one").cert.pem().as_bytes()));
        let target = Target::parse(&url).expect("a target");
        let uploader = Uploader::new(
            client.expect("a client"),
            target,
            None,
            patience(),
            fastrand::Rng::with_seed(1),
            Arc::new(|_| {}),
        );
        let mut tally = Tally::default();
        let Err(UploadError::Lasting(text)) = uploader.upload(&rows(1), &mut tally).await else {
            panic!("{url}: {tally:?}");
        };
        assert!(text.contains(told) && tally.requests == 1, "{url}: {text}");
    }
}

#[tokio::test]
async fn trouble_that_passes_is_waited_for() {
    let collector = collector().await;
    let records = rows(50);
    for fault in [
        Fault::Answer { status: 503, retry_after: None },
        Fault::Answer { status: 429, retry_after: Some(0) },
        Fault::Answer { status: 500, retry_after: None },
        Fault::Hang,
        Fault::Reset { keep: false },
    ] {
        collector.fail_next(fault, 2);
        let (tally, result) = upload(&collector, RULE, &records).await;
        assert_eq!((result, tally.acknowledged, tally.retries), (Ok(()), 50, 2), "{fault:?}");
    }
    collector.fail_for(Fault::Down, Duration::from_millis(200));
    assert_eq!(upload(&collector, RULE, &records).await.1, Ok(()));
}

#[tokio::test]
async fn every_try_of_a_batch_has_one_id() {
    let collector = collector().await;
    collector.set(Behaviour { recognise_repeats: true, ..Behaviour::default() });
    collector.fail_next(Fault::Reset { keep: true }, 1);
    let (tally, result) = upload(&collector, RULE, &rows(50)).await;
    assert_eq!((result, tally.requests, tally.acknowledged), (Ok(()), 2, 50));
    assert_eq!(collector.held().records(), 50);
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let collector = collector().await;
    collector.fail_next(Fault::Answer { status: 503, retry_after: Some(60) }, 1);
    let (_, result) = upload(&collector, RULE, &rows(1)).await;
    // A minute is beyond this uploader's patience: it gives up rather than come early.
    assert!(matches!(result, Err(UploadError::OutOfPatience { tries: 1, .. })), "{result:?}");
}

#[tokio::test]
async fn what_is_too_large_is_split_down_to_the_event() {
    let collector = collector().await;
    let records = rows(64);
    collector.set(Behaviour { refuse_above: Some(8_000), ..Behaviour::default() });
    let (tally, result) = upload(&collector, RULE, &records).await;
    assert_eq!((result, tally.acknowledged), (Ok(()), 64));
    assert!(tally.answers["413"] > 0);
    assert_eq!((collector.held().records(), collector.held().repeated()), (64, 0));
    collector.set(Behaviour { refuse_above: Some(10), ..Behaviour::default() });
    let (tally, result) = upload(&collector, RULE, &records).await;
    assert_eq!(result, Err(UploadError::TooLarge { bytes: records[0].len() }));
    assert_eq!(tally.acknowledged, 0);
}

#[tokio::test]
async fn a_refusal_ends_it_with_the_servers_words() {
    let collector = collector().await;
    for status in [400, 401, 403, 404] {
        collector.fail_next(Fault::Answer { status, retry_after: None }, 1);
        let (tally, result) = upload(&collector, RULE, &rows(3)).await;
        let message = "this collector misbehaves on request".to_owned();
        assert_eq!(result, Err(UploadError::Refused { status, message }));
        assert_eq!((tally.requests, tally.acknowledged), (1, 0));
    }
}

#[tokio::test]
async fn patience_ends() {
    let collector = collector().await;
    collector.set(Behaviour { fault: Some(Fault::Answer { status: 503, retry_after: None }), ..Behaviour::default() });
    let impatient = Patience { give_up_after: Duration::from_millis(200), ..patience() };
    let result = uploader(&collector, "", impatient).upload(&rows(3), &mut Tally::default()).await;
    assert!(matches!(result, Err(UploadError::OutOfPatience { .. })), "{result:?}");
}

/// A door with TLS before a collector, and its self-signed certificate in PEM.
async fn tls_door(collector: &Collector) -> (std::net::SocketAddr, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("made");
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|c| c.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key))
        .expect("a configuration");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (address, target) = (listener.local_addr().expect("bound"), collector.address());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await?;
                let mut inner = tokio::net::TcpStream::connect(target).await?;
                tokio::io::copy_bidirectional(&mut stream, &mut inner).await
            });
        }
    });
    (address, made.cert.pem())
}

#[tokio::test]
async fn tls_needs_the_right_authority_and_lost_replies_are_made_good() {
    let collector = collector().await;
    collector.set(Behaviour { recognise_repeats: true, ..Behaviour::default() });
    let (door, pem) = tls_door(&collector).await;
    let stranger = Client::new(None).expect("a client");
    let url = format!("https://{door}{RULE}");
    let answer = stranger.post(&url, &[], Bytes::from_static(b"[]"), Duration::from_secs(5)).await;
    assert!(matches!(answer, Err(SendError::Lasting(_))), "{answer:?}");

    let relay = LossyRelay::start(door, 0.3, 2).await.expect("a relay");
    let target = Target::parse(&format!("https://{}{RULE}", relay.address())).expect("a target");
    let client = Client::new(Some(pem.as_bytes())).expect("a client");
    let rng = fastrand::Rng::with_seed(1);
    let uploader = Uploader::new(client, target, None, patience(), rng, Arc::new(|_| {}));
    let mut tally = Tally::default();
    for batch in rows(1_000).chunks(50) {
        assert_eq!(uploader.upload(batch, &mut tally).await, Ok(()));
    }
    assert!(relay.lost() > 0 && tally.retries >= relay.lost(), "{} lost, {tally:?}", relay.lost());
    assert_eq!((collector.held().records(), collector.held().repeated()), (1_000, 0));
    assert!(Client::new(Some(b"nothing")).is_err());
}

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

async fn run(line: &[&str]) -> Summary {
    let line = Line::parse_from(["send"].iter().chain(line));
    send(&line.args, &Global::default()).await.expect("a run")
}

#[tokio::test]
async fn a_run_sends_everything_and_a_resumed_run_nothing() {
    let collector = collector().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    for (name, shape) in [("rows", Shape::Row), ("xml", Shape::Xml)] {
        let host = Host::new(name, 5).take(120);
        let text: Vec<_> = host.flat_map(|e| [e.render(shape), b"\n".to_vec()].concat()).collect();
        std::fs::write(path(name), text).expect("written");
    }
    let (rows, xml, list) = (path("rows"), path("xml"), path("list"));
    let line = [&rows, &xml, "--batch", "50", "--to", &collector.url(), "--resume", &list];
    let first = run(&line).await;
    assert!(first.complete(), "{first:?}");
    assert_eq!((first.files, first.skipped, first.records, first.damaged), (2, 0, 240, 0));
    assert_eq!(first.uploads.answers["200"], 6);
    assert_eq!(first.uploads.receipts.map(|r| (r.received, r.spooled)), Some((240, 240)));
    assert_eq!((collector.held().records(), collector.held().repeated()), (240, 0));

    let second = run(&line).await;
    assert!(second.complete(), "{second:?}");
    assert_eq!((second.files, second.skipped, second.records), (0, 2, 0));
    std::fs::write(&rows, "{\"new\":1}\n").expect("written");
    let third = run(&line).await;
    assert_eq!((third.files, third.skipped, third.records), (1, 1, 1));
}

#[tokio::test]
async fn a_refused_run_says_why_and_is_not_remembered() {
    let collector = collector().await;
    let folder = tempfile::tempdir().expect("a folder");
    let (rows, list) = (folder.path().join("rows"), folder.path().join("list"));
    std::fs::write(&rows, "{\"poison\":1}\n{\"a\":1}\n").expect("written");
    let line = [&rows.to_string_lossy(), "--to", &collector.url(), "--resume", &list.to_string_lossy()];
    collector.set(Behaviour { refuse_marker: Some("poison".into()), ..Behaviour::default() });
    let stopped = run(&line).await;
    assert!(!stopped.complete());
    assert!(stopped.stopped.as_deref().is_some_and(|text| text.contains("400")), "{stopped:?}");
    collector.set(Behaviour::default());
    assert_eq!(run(&line).await.uploads.acknowledged, 2);
}

#[tokio::test]
async fn a_cut_log_is_sent_as_far_as_it_goes_and_is_not_remembered_as_sent() {
    let collector = collector().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (log, list) = (path("Security.evtx"), path("list"));
    let whole = evtx::log(&Host::new("cut", 5).take(120).collect::<Vec<_>>());
    let line = [&log, "--to", &collector.url(), "--resume", &list];
    // Inside the last chunk, and before it: then only the header of the file tells that something is missing.
    for cut in [whole.len() - evtx::CHUNK + 9_000, whole.len() - evtx::CHUNK] {
        std::fs::write(&log, &whole[..cut]).expect("written");
        for _ in 0..2 {
            let run = run(&line).await;
            assert!(run.damaged > 0 && run.records > 0 && run.records < 120, "{run:?}");
            assert_eq!(run.uploads.acknowledged, run.records, "what is there is sent");
            assert_eq!(run.skipped, 0, "it may be a copy that is not finished");
            assert!(!run.complete() && describe(&run).contains("what is damaged was not sent"), "{run:?}");
        }
    }
    std::fs::write(&log, &whole).expect("written");
    let first = run(&line).await;
    assert!(first.complete() && first.records == 120, "{first:?}");
    let second = run(&line).await;
    assert!(second.complete() && second.skipped == 1, "{second:?}");
    assert_eq!(collector.held().events.len(), 120);
}

#[tokio::test]
async fn a_run_that_understood_nothing_is_no_success_and_says_so() {
    let collector = collector().await;
    let folder = tempfile::tempdir().expect("a folder");
    let bodies = [
        &b"no event at all\nanother line\n"[..],
        b"[1, 2]",
        b"[{\"a\":",
        b"PK\x03\x04 an archive",
        b"{\"index\":{}}\n{\"EventID\":1}\n",
        b"ElfFile\0 and no log",
        b"\xFF\xFEn\0o\0",
    ];
    for body in bodies {
        let file = folder.path().join("file");
        std::fs::write(&file, body).expect("written");
        let run = run(&[&file.to_string_lossy(), "--to", &collector.url()]).await;
        let name = String::from_utf8_lossy(body);
        assert!(!run.complete() && run.damaged > 0 && run.records == 0, "{name}: {run:?}");
        assert!(describe(&run).contains("nothing was understood"), "{name}: {}", describe(&run));
        assert_eq!(run.uploads.requests, 0, "{name}");
    }
}

/// The event logs of the shared data, if they are here.
fn shared_logs() -> Option<PathBuf> {
    let root = std::env::var_os("GATEPOST_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let logs = root.join("data/evtx");
    if !logs.is_dir() {
        println!("skipped: there is no {}; set GATEPOST_SHARED", logs.display());
    }
    logs.is_dir().then_some(logs)
}

#[tokio::test]
async fn the_shared_logs_are_sent_whole_in_every_form() {
    let Some(logs) = shared_logs() else { return };
    let mut held = Vec::new();
    for form in ["xml", "json", "row"] {
        let collector = collector().await;
        let summary = run(&[&logs.to_string_lossy(), "--to", &collector.url(), "--as", form]).await;
        println!("{form}: {} in {:.1} s, damage: {:?}", summary.records, summary.seconds, summary.damage);
        assert!(summary.complete(), "{summary:?}");
        assert_eq!((summary.files, summary.records), (281, 10_015));
        held.push(collector.held());
    }
    assert_eq!(held[0].records(), 10_015);
    assert_eq!(held[0], held[1]);
    assert_eq!(held[1], held[2]);
}
