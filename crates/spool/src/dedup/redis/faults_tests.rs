//! What an engine may answer, and what must not come of it: an event that is taken for a duplicate or for won without cause.

use parking_lot::Mutex;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Config;
use super::scripted::{Answer, Engine};
use crate::dedup;
use crate::dedup::memory::MemoryStore;
use crate::dedup::several::WhenUnavailable;
use crate::dedup::several::{Decisions, Gateway, Outcome, SharedStore, Standing, Watcher};
use crate::dedup::store::{Store, Verdict};
use crate::event::EventKey;
use crate::values::Span;

const ME: Gateway = Gateway([7; 6]);

/// More outcomes than any of these tests waits for.
const OUTCOMES: usize = 1 << 16;

struct Told(mpsc::Sender<Outcome>);

impl Decisions for Told {
    fn decide(&self, _: Range<u64>, outcome: Outcome) {
        self.0.try_send(outcome).unwrap_or_default();
    }
}

struct Nobody;

impl Watcher for Nobody {
    fn connected(&self, _: u64) {}
}

/// A store that asks the engine at this port, and what becomes of its records.
fn store(port: u16, when_unavailable: WhenUnavailable) -> (SharedStore, mpsc::Receiver<Outcome>) {
    let redis = Config {
        addresses: vec![format!("127.0.0.1:{port}")],
        timeout: Span::millis(200),
        when_unavailable,
        ..Config::default()
    };
    let config = dedup::Config { redis, ..dedup::Config::default() };
    let (told, outcomes) = mpsc::channel(OUTCOMES);
    let (store, _, work) = super::open(&config, Arc::new(MemoryStore::new(&config)), ME, Arc::new(Told(told)));
    tokio::spawn(work.run(Arc::new(Nobody)));
    (store, outcomes)
}

async fn connected(store: &SharedStore) {
    let mut standing = store.standing();
    let there = standing.wait_for(|standing| matches!(standing, Standing::Connected { .. }));
    tokio::time::timeout(Duration::from_secs(5), there).await.expect("it connects").expect("it runs");
}

/// Waits for something that must happen.
async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("it happens");
}

fn record(record_id: u64) -> EventKey {
    EventKey::Record { stream: 5, record_id, second: 100, event_id: Some(4624) }
}

/// Everything that is not an answer, for any operation of the script.
const NO_ANSWERS: &[Answer] = &[
    Answer::Bytes("-READONLY You can't write against a read only replica.\r\n"),
    Answer::Bytes("-LOADING Redis is loading the dataset in memory\r\n"),
    Answer::Bytes("-BUSY Redis is busy running a script.\r\n"),
    Answer::Bytes("-OOM command not allowed when used memory > 'maxmemory'.\r\n"),
    Answer::Bytes("-MASTERDOWN Link with MASTER is down\r\n"),
    Answer::Bytes("-CLUSTERDOWN The cluster is down\r\n"),
    Answer::Bytes("-NOPERM this user has no permissions\r\n"),
    Answer::Bytes("-ERR something else\r\n"),
    Answer::Bytes("+OK\r\n"),
    Answer::Bytes("$-1\r\n"),
    Answer::Bytes("*0\r\n"),
    Answer::Bytes("*1\r\n:7\r\n"),
    Answer::Bytes("*1\r\n:1\r\n"),
    Answer::Bytes("*2\r\n:1\r\n$2\r\nno\r\n"),
    Answer::Bytes("*2\r\n:1\r\n+5\r\n"),
    Answer::Bytes("*2\r\n:1\r\n*1\r\n:-1\r\n"),
    Answer::Bytes("*2\r\n:1\r\n*3\r\n:-1\r\n"),
    Answer::Bytes("!garbage\r\n"),
    Answer::Never,
    Answer::Close,
];

/// An engine whose first call of this operation is answered so, and all others soundly.
async fn faulty_once(operation: &'static [u8], answer: Answer) -> Engine {
    let left = Mutex::new(Some(answer));
    Engine::start(move |words| {
        let is_it = words[0] == b"EVALSHA" && words.iter().any(|word| word == operation);
        let answer = is_it.then(|| left.lock().take()).flatten();
        answer.unwrap_or(Answer::Sound)
    })
    .await
}

#[tokio::test]
async fn a_claim_that_is_not_answered_calls_nothing_a_duplicate_and_wins_nothing() {
    join_all(NO_ANSWERS.iter().map(async |answer| {
        let engine = faulty_once(b"C", answer.clone()).await;
        let (store, mut outcomes) = store(engine.port, WhenUnavailable::Available);
        connected(&store).await;
        let claim = store.claim(&[record(1)]).await.expect("it goes on alone");
        assert!(matches!(claim.verdicts(), [Verdict::New]), "{answer:?}: {:?}", claim.verdicts());
        claim.confirm(0..1);
        assert_eq!(outcomes.recv().await, Some(Outcome::Alone), "{answer:?}");
        let claim = store.claim(&[record(2)]).await.expect("it is there again");
        claim.confirm(1..2);
        assert_eq!(outcomes.recv().await, Some(Outcome::Won), "{answer:?}: what comes later is asked again");
    }))
    .await;
}

#[tokio::test]
async fn a_strict_gateway_takes_nothing_that_nobody_answered() {
    join_all(NO_ANSWERS.iter().map(async |answer| {
        let engine = faulty_once(b"C", answer.clone()).await;
        let (store, _outcomes) = store(engine.port, WhenUnavailable::Strict);
        connected(&store).await;
        assert!(store.claim(&[record(1)]).await.is_err(), "{answer:?}");
        let claim = store.claim(&[record(1)]).await.expect("it is there again");
        assert!(matches!(claim.verdicts(), [Verdict::New]), "{answer:?}: what was refused is not remembered");
    }))
    .await;
}

#[tokio::test]
async fn a_confirmation_that_is_not_answered_is_not_won() {
    join_all(NO_ANSWERS.iter().map(async |answer| {
        let engine = faulty_once(b"K", answer.clone()).await;
        let (store, mut outcomes) = store(engine.port, WhenUnavailable::Available);
        connected(&store).await;
        store.claim(&[record(1)]).await.expect("it is there").confirm(0..1);
        assert_eq!(outcomes.recv().await, Some(Outcome::Unsure { old: false }), "{answer:?}");
        assert_eq!(store.contest(&[record(1)]).await, Ok(Vec::new()), "{answer:?}: it is asked again");
    }))
    .await;
}

#[tokio::test]
async fn a_script_that_was_forgotten_is_loaded_again_within_the_call() {
    for operation in [b"C", b"K"] {
        let engine = faulty_once(operation, Answer::Bytes("-NOSCRIPT No matching script.\r\n")).await;
        let (store, mut outcomes) = store(engine.port, WhenUnavailable::Strict);
        connected(&store).await;
        store.claim(&[record(1)]).await.expect("it is loaded").confirm(0..1);
        assert_eq!(outcomes.recv().await, Some(Outcome::Won));
    }
}

#[tokio::test]
async fn an_engine_that_takes_connections_and_nothing_else_is_not_asked_without_end() {
    for refused in [&b"TIME"[..], b"HGETALL", b"HSET"] {
        let engine = Engine::start(move |words| {
            if words[0] == refused { Answer::Bytes("-NOPERM no permissions\r\n") } else { Answer::Sound }
        })
        .await;
        let (store, _outcomes) = store(engine.port, WhenUnavailable::Available);
        let began = Instant::now();
        until(|| engine.connections.load(Ordering::SeqCst) >= 5).await;
        // At the least half of 50, 100, 200 and 400 ms lie between five of them.
        assert!(began.elapsed() >= Duration::from_millis(375), "five connections in {:?}", began.elapsed());
        let is_told =
            |standing: &Standing| matches!(standing, Standing::Away { reason, .. } if reason.contains("NoPerm"));
        let mut standing = store.standing();
        let told = tokio::time::timeout(Duration::from_secs(5), standing.wait_for(is_told)).await;
        assert!(told.is_ok(), "{:?}", store.standing().borrow());
    }
}

#[tokio::test]
async fn a_gateway_that_is_never_idle_still_looks_whether_the_engine_is_the_same() {
    let engine = Engine::start(|_| Answer::Sound).await;
    let (store, _outcomes) = store(engine.port, WhenUnavailable::Available);
    connected(&store).await;
    let (before, next) = (engine.count("INFO"), AtomicU64::new(1));
    let uploads = (0..16).map(async |_| {
        loop {
            let key = record(next.fetch_add(1, Ordering::Relaxed));
            store.claim(&[key]).await.expect("it is there").confirm(0..1);
        }
    });
    drop(tokio::time::timeout(Duration::from_millis(3_500), join_all(uploads)).await);
    assert!(engine.count("INFO") >= before + 2, "{} looks", engine.count("INFO") - before);
}

#[tokio::test]
async fn each_part_of_an_upload_is_a_claim_of_its_own() {
    let engine = Engine::start(|_| Answer::Sound).await;
    let (store, mut outcomes) = store(engine.port, WhenUnavailable::Strict);
    connected(&store).await;
    // More pages than one operation reads, all of one stream: a second claim of the same name would take the first one's place.
    let keys: Vec<EventKey> = (0..70).map(|page| record(page << 12)).collect();
    store.claim(&keys).await.expect("it is there").confirm(0..70);
    assert_eq!(outcomes.recv().await, Some(Outcome::Won));
    let calls = engine.calls();
    let names = |operation: &[u8]| {
        let words = calls.iter().flat_map(|words| words.windows(2)).filter(|pair| pair[0] == operation);
        words.map(|pair| String::from_utf8_lossy(&pair[1]).into_owned()).collect::<Vec<_>>()
    };
    let claimed = names(b"C");
    assert_eq!(claimed.len(), 2);
    assert_ne!(claimed[0], claimed[1]);
    assert_eq!(names(b"K"), claimed);
}

#[tokio::test]
async fn what_has_no_record_id_is_remembered_by_the_clock_of_the_engine() {
    let engine = Engine::start(|_| Answer::Sound).await;
    let (store, mut outcomes) = store(engine.port, WhenUnavailable::Strict);
    connected(&store).await;
    store.claim(&[EventKey::Content(77)]).await.expect("it is there").confirm(0..1);
    assert_eq!(outcomes.recv().await, Some(Outcome::Won));
    // A quarter of a day, and 10,000 days: the wall clock of a gateway may show what it likes.
    let slice = b"gatepost:1:{hashes}:21600.40000".to_vec();
    assert!(engine.calls().iter().all(|words| words.contains(&slice)), "{:?}", engine.calls());
}

/// An engine where somebody who runs since then speaks under this gateway's number, again and again.
async fn with_a_twin(since: u64) -> Engine {
    let said = format!(
        "{{\"name\":\"twin\",\"version\":\"1\",\"at\":864000000,\"pending\":0,\"run\":\"x\",\"since\":{since}}}"
    );
    let id = ME.name();
    let answer: &'static str = format!("*2\r\n${}\r\n{id}\r\n${}\r\n{said}\r\n", id.len(), said.len()).leak();
    Engine::start(move |words| if words[0] == b"HGETALL" { Answer::Bytes(answer) } else { Answer::Sound }).await
}

#[tokio::test]
async fn of_two_gateways_on_copies_of_one_state_the_younger_takes_nothing() {
    let engine = with_a_twin(863_000_000).await;
    let (store, _outcomes) = store(engine.port, WhenUnavailable::Available);
    let mut standing = store.standing();
    let refused = standing.wait_for(|standing| matches!(standing, Standing::Away { refused: true, .. }));
    tokio::time::timeout(Duration::from_secs(5), refused).await.expect("it is found").expect("it runs");
    assert!(store.claim(&[record(1)]).await.is_err_and(|error| error.reason.contains("copy of this state")));
    let (told, looked) = (engine.count("HSET"), engine.count("HGETALL"));
    until(|| engine.count("HGETALL") >= looked + 2).await;
    assert_eq!(engine.count("HSET"), told, "it says nothing more under the other one's number");
    assert!(store.claim(&[record(1)]).await.is_err(), "it stays so while the other one lives");
}

#[tokio::test]
async fn of_two_gateways_on_copies_of_one_state_the_elder_goes_on() {
    let engine = with_a_twin(999_000_000_000).await;
    let (store, _outcomes) = store(engine.port, WhenUnavailable::Available);
    connected(&store).await;
    let looked = engine.count("HGETALL");
    until(|| engine.count("HGETALL") >= looked + 2).await;
    assert!(matches!(*store.standing().borrow(), Standing::Connected { .. }));
    assert_eq!(engine.connections.load(Ordering::SeqCst), 1);
}
