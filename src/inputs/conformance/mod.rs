//! The suite that every protocol of the registry passes: over a real connection, through the real front door, into a real
//! ingest on a disk that fails on command.
//!
//! A protocol brings a [`Specimen`]: how a client of it writes an upload, and how that client reads an answer. Kill -9 in
//! between is the business of `tests/faults/crash`.

mod bench;
mod client;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::http::auth::Gate;
use super::protocol::{Head, Place, Shared};
use super::reason::{Failure, Reason};
use super::registry::{Protocols, specimens};
use super::{Config, Peer};
use crate::filter::{EventSet, Rules};
use crate::ingest::Receipt;
use crate::lab::events::Host;
use crate::values::{ByteSize, Span};
use bench::{Bench, config_of};
pub(super) use client::{Answer, Sent, Shown, Specimen};

/// How long an answer that must not come is waited for. It can only make a wrong protocol pass, never a right one fail.
const NO_ANSWER: Duration = Duration::from_millis(300);

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
            assert_eq!(
                bench.receipts(),
                [Receipt { received, filtered, duplicate, set_aside, spooled, ..Receipt::default() }]
            );
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
        let peer = Peer { address: [127, 0, 0, 1].into(), certificate: Arc::default(), leaf: None };
        let head = Head { listener: &listener, parts: &parts, peer: &peer, gate: &gate };
        let shared = Shared::over(Path::new("/nonexistent"));
        let state_dir = &shared.state_dir;
        let place = Place { listener: "agents", state_dir, config: &config, shared: &shared, running: &[] };
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
