//! What two gateways that share a stream make of an event, whatever happens to the stream.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::engine::Seen;
use super::in_memory::InMemory;
use crate::dedup::Config;
use crate::dedup::memory::MemoryStore;
use crate::dedup::several::WhenUnavailable;
use crate::dedup::several::engine::Board;
use crate::dedup::several::{Decisions, Gateway, Outcome, SharedStore, Standing, Watcher};
use crate::dedup::store::{Claim, Store as _, Verdict};
use crate::event::EventKey;
use crate::values::{Secret, Span};

/// More outcomes than any of these tests waits for.
const OUTCOMES: usize = 1 << 12;
const PATIENCE: Duration = Duration::from_secs(10);

struct Told(mpsc::Sender<Outcome>);

impl Decisions for Told {
    fn decide(&self, _: Range<u64>, outcome: Outcome) {
        self.0.try_send(outcome).unwrap();
    }
}

/// The identities under which the stream was there.
#[derive(Clone, Default)]
struct Identities(Arc<Mutex<Vec<u64>>>);

impl Watcher for Identities {
    fn connected(&self, identity: u64) {
        self.0.lock().push(identity);
    }
}

struct Site {
    store: SharedStore,
    outcomes: mpsc::Receiver<Outcome>,
    identities: Identities,
    running: tokio::task::JoinHandle<()>,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.running.abort();
    }
}

fn config(window_s: u64) -> Config {
    Config { window: Span::secs(window_s), secret: Some(Secret::new("x".repeat(32))), ..Config::default() }
}

fn start_as(log: &InMemory, number: u64, config: &Config) -> Site {
    let board = Arc::new(Board::new(Gateway::of(number)));
    let (seen, run) = Seen::new(Arc::new(log.clone()), Arc::clone(&board), config, Duration::from_millis(300));
    let (told, outcomes) = mpsc::channel(OUTCOMES);
    let (local, identities) = (Arc::new(MemoryStore::new(config)), Identities::default());
    let engine = (Arc::new(seen) as Arc<_>, board);
    let store = SharedStore::new(config, WhenUnavailable::Strict, local, engine, Arc::new(Told(told)));
    let running = tokio::spawn(run.run(Arc::new(identities.clone())));
    Site { store, outcomes, identities, running }
}

async fn start(log: &InMemory, number: u64) -> Site {
    let site = start_as(log, number, &config(3_600));
    site.connected().await;
    site
}

impl Site {
    async fn connected(&self) {
        let mut standing = self.store.standing();
        let there = standing.wait_for(|standing| matches!(standing, Standing::Connected { .. }));
        tokio::time::timeout(PATIENCE, there).await.expect("it connects").unwrap();
    }

    /// A claim, once the stream was read.
    async fn claim(&self, keys: &[EventKey]) -> Box<dyn Claim> {
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            match self.store.claim(keys).await {
                Ok(claim) => return claim,
                Err(away) => assert!(tokio::time::Instant::now() < until, "{away}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn lost(&self, keys: &[EventKey]) -> Vec<usize> {
        let mut lost = self.store.contest(keys).await.unwrap();
        lost.sort_unstable();
        lost
    }

    async fn confirm(&mut self, claim: Box<dyn Claim>) -> Outcome {
        claim.confirm(0..1);
        self.outcome().await
    }

    async fn outcome(&mut self) -> Outcome {
        tokio::time::timeout(PATIENCE, self.outcomes.recv()).await.expect("something is decided").unwrap()
    }

    /// An upload from its claim to its outcome.
    async fn upload(&mut self, keys: &[EventKey]) -> Outcome {
        let claim = self.claim(keys).await;
        self.confirm(claim).await
    }

    fn identity(&self) -> Option<u64> {
        self.identities.0.lock().last().copied()
    }

    async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !condition(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what}"));
    }

    /// Until it has taken the stream for another one. What nobody has read yet is lost unseen, and nothing was decided with it: a
    /// sign that the other gateway was just putting.
    async fn until_told_of(&self, log: &InMemory, (what, damage): Damage) {
        let before = self.identity();
        for _ in 0..5 {
            damage(log);
            let noticed = async {
                while self.identity() == before {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            if tokio::time::timeout(Duration::from_secs(8), noticed).await.is_ok() {
                return;
            }
        }
        panic!("{what}");
    }
}

fn record(record_id: u64) -> EventKey {
    EventKey::Record { stream: 5, record_id, second: 100, event_id: Some(4624) }
}

fn records(ids: Range<u64>) -> Vec<EventKey> {
    ids.map(record).collect()
}

fn are(claim: &dyn Claim, wanted: impl Fn(&Verdict) -> bool) -> usize {
    claim.verdicts().iter().filter(|verdict| wanted(verdict)).count()
}

fn is_new(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::New)
}

/// What happens to the stream, and what that is called.
type Damage = (&'static str, fn(&InMemory));

const UNSURE: Outcome = Outcome::Unsure { old: false };

#[tokio::test]
async fn an_event_that_two_gateways_store_at_the_same_time_is_forwarded_by_the_first_one_who_said_so() {
    let log = InMemory::new();
    let (mut one, mut two) = (start(&log, 1).await, start(&log, 2).await);
    let keys: Vec<EventKey> = records(4_000..4_200).into_iter().chain((0..50).map(EventKey::Content)).collect();
    let (of_one, of_two) = (one.claim(&keys).await, two.claim(&keys).await);
    assert_eq!((are(&*of_one, is_new), are(&*of_two, is_new)), (250, 250), "a claim holds nobody up");
    assert_eq!(two.confirm(of_two).await, Outcome::Won);
    assert_eq!(one.confirm(of_one).await, UNSURE);
    assert_eq!(two.store.contest(&keys).await.unwrap(), Vec::<usize>::new());
    assert_eq!(one.lost(&keys).await, (0..250).collect::<Vec<_>>());
}

#[tokio::test]
async fn of_an_upload_that_another_gateway_has_in_part_the_rest_is_won() {
    let log = InMemory::new();
    let (mut one, mut two) = (start(&log, 1).await, start(&log, 2).await);
    let of_two = two.claim(&records(0..100)).await;
    assert_eq!(one.upload(&records(50..60)).await, Outcome::Won);
    assert_eq!(two.confirm(of_two).await, UNSURE);
    assert_eq!(two.lost(&records(0..100)).await, (50..60).collect::<Vec<_>>());
    one.until("it is read", |one| {
        let claim = one.store.claim(&records(0..100)).now_or_never().unwrap();
        claim.is_ok_and(|claim| are(&*claim, is_new) == 0)
    })
    .await;
    assert_eq!(one.lost(&records(0..100)).await.len(), 90);
}

#[tokio::test]
async fn what_another_gateway_has_is_a_duplicate_and_asks_nobody() {
    let log = InMemory::new();
    let (mut one, two) = (start(&log, 1).await, start(&log, 2).await);
    assert_eq!(one.upload(&records(0..300)).await, Outcome::Won);
    let before = log.entries().len();
    let claim = two.claim(&records(0..301)).await;
    assert_eq!(are(&*claim, |verdict| matches!(verdict, Verdict::Duplicate)), 300);
    drop(claim);
    assert_eq!(log.entries().len(), before);
}

#[tokio::test]
async fn a_gateway_that_lost_the_answer_or_died_finds_its_own_word() {
    let log = InMemory::new();
    let mut one = start(&log, 1).await;
    log.leave_unanswered(1);
    assert_eq!(one.upload(&records(0..10)).await, UNSURE);
    assert_eq!(one.store.contest(&records(0..10)).await.unwrap(), Vec::<usize>::new());
    let identity = one.identity();
    drop(one);
    let again = start(&log, 1).await;
    assert_eq!(again.identity(), identity, "it is the stream that it was");
    assert_eq!(again.store.contest(&records(0..10)).await.unwrap(), Vec::<usize>::new());
    let two = start(&log, 2).await;
    assert_eq!(two.store.contest(&records(0..10)).await.unwrap().len(), 10);
    assert_eq!(
        two.store.contest_as(Gateway::of(1), &records(0..10)).await.unwrap().len(),
        0,
        "in the name of the first"
    );
}

#[tokio::test]
async fn a_stream_that_was_removed_emptied_or_cut_is_another_one_and_what_was_taken_before_is_old() {
    let damages: [Damage; 3] =
        [("removed", InMemory::remake), ("emptied", InMemory::empty), ("cut", |log| log.lose(1))];
    for (what, damage) in damages {
        let log = InMemory::new();
        let (mut one, mut two) = (start(&log, 1).await, start(&log, 2).await);
        let held = two.claim(&records(0..10)).await;
        assert_eq!(one.upload(&records(0..5)).await, Outcome::Won);
        let before = [one.identity(), two.identity()];
        damage(&log);
        one.until(what, |one| one.identity() != before[0]).await;
        two.until(what, |two| two.identity() != before[1]).await;
        assert_eq!(two.confirm(held).await, Outcome::Won, "{what}: nobody knows better");
        let held = two.claim(&records(10..20)).await;
        two.until_told_of(&log, (what, damage)).await;
        assert_eq!(one.upload(&records(10..20)).await, Outcome::Won, "{what}");
        assert_eq!(
            two.confirm(held).await,
            Outcome::Unsure { old: true },
            "{what}: it is not dropped for what is new there"
        );
    }
}

#[tokio::test]
async fn a_gateway_that_finds_the_stream_emptied_at_its_start_knows_that_its_word_may_be_gone() {
    let log = InMemory::new();
    let mut one = start(&log, 1).await;
    assert_eq!(one.upload(&records(0..5)).await, Outcome::Won);
    let before = one.identity();
    drop(one);
    log.empty();
    let two = start(&log, 2).await;
    let again = start(&log, 1).await;
    assert_ne!(again.identity(), before);
    assert_ne!(two.identity(), again.identity(), "it is a matter of each gateway");
}

#[tokio::test]
async fn a_gateway_that_was_away_for_long_does_not_trust_what_is_left() {
    let log = InMemory::new();
    let identity = start(&log, 1).await.identity();
    for (hours, is_same) in [(1, true), (11, true), (13, false)] {
        log.pass(hours * 3_600);
        let again = start_as(&log, 1, &config(24 * 3_600));
        again.connected().await;
        assert_eq!(again.identity() == identity, is_same, "{hours} h");
    }
}

#[tokio::test]
async fn while_the_servers_are_away_what_was_read_is_good_and_nothing_is_won() {
    let log = InMemory::new();
    let (mut one, two) = (start(&log, 1).await, start(&log, 2).await);
    assert_eq!(one.upload(&records(0..5)).await, Outcome::Won);
    two.until("it is read", |two| {
        let claim = two.store.claim(&[record(0)]).now_or_never();
        claim.is_some_and(|claim| claim.is_ok_and(|claim| are(&*claim, is_new) == 0))
    })
    .await;
    log.set_away(true);
    let claim = one.claim(&records(0..6)).await;
    assert_eq!(are(&*claim, is_new), 1);
    assert_eq!(one.confirm(claim).await, UNSURE);
    assert!(one.store.contest(&[record(5)]).await.is_err(), "nobody can say");
    assert_eq!(one.store.contest(&[record(0)]).await.unwrap(), Vec::<usize>::new(), "known for good");
    let new = start_as(&log, 3, &config(3_600));
    assert!(new.store.claim(&[record(9)]).await.is_err(), "one that has read nothing takes nothing");
    log.set_away(false);
    new.connected().await;
    assert_eq!(new.store.contest(&[record(0)]).await.unwrap(), [0]);
    one.until("it goes on", |_| true).await;
    let won = async {
        while one.store.contest(&[record(5)]).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, won).await.unwrap();
    assert_eq!(new.store.contest(&[record(5)]).await.unwrap(), [0]);
}

#[tokio::test]
async fn what_was_said_and_cannot_be_read_is_not_won() {
    let log = InMemory::new();
    let mut one = start(&log, 1).await;
    log.set_silent(true);
    assert_eq!(one.upload(&records(0..5)).await, UNSURE);
    log.set_silent(false);
    let contested = one.store.contest(&records(0..5)).await;
    assert_eq!(contested.unwrap_or_default(), Vec::<usize>::new());
}

#[tokio::test]
async fn gateways_with_another_secret_are_refused() {
    let log = InMemory::new();
    let _one = start(&log, 1).await;
    let other = Config { secret: Some(Secret::new("y".repeat(32))), ..config(3_600) };
    let two = start_as(&log, 2, &other);
    let mut standing = two.store.standing();
    let refused = standing.wait_for(|standing| matches!(standing, Standing::Away { refused: true, .. }));
    tokio::time::timeout(PATIENCE, refused).await.unwrap().unwrap();
    let claim = two.store.claim(&[record(1)]).await;
    assert!(claim.is_err_and(|error| error.reason.contains("dedup.secret")));
}

#[tokio::test]
async fn an_upload_that_is_larger_than_a_message_is_won_as_a_whole_or_not() {
    let log = InMemory::new();
    let (mut one, mut two) = (start(&log, 1).await, start(&log, 2).await);
    // Ids and times that jump take the most bytes.
    let key = |n: u64| EventKey::Record {
        stream: 5,
        record_id: n * 37,
        second: (n * 7_919 % 10_007) as i64,
        event_id: Some(n as u16),
    };
    let keys: Vec<EventKey> = (0..60_000).map(key).collect();
    let held = two.claim(&keys).await;
    assert_eq!(one.upload(&keys[59_999..]).await, Outcome::Won);
    assert_eq!(two.confirm(held).await, UNSURE);
    assert_eq!(two.store.contest(&keys).await.unwrap(), [59_999]);
    let words = log.entries().into_iter().filter(|entry| entry.place == super::WORDS);
    let sizes: Vec<usize> = words.map(|entry| entry.bytes.len()).collect();
    assert!(sizes.len() > 3 && sizes.iter().all(|size| *size <= 128 << 10), "{sizes:?}");
}

#[tokio::test]
async fn signs_are_renewed_before_the_servers_let_them_go() {
    let log = InMemory::new();
    let mut one = start(&log, 1).await;
    let identity = one.identity();
    for n in 0..3_u64 {
        for id in 0..40 {
            assert_eq!(one.upload(&records(n * 100 + id..n * 100 + id + 1)).await, Outcome::Won);
        }
        log.evict(0);
        let signs = || log.entries().iter().rev().take(5).filter(|entry| entry.place != super::WORDS).count();
        one.until("the signs lie behind the words", |_| signs() == 2).await;
        log.evict(30);
    }
    assert_eq!(one.identity(), identity);
    let standing = one.store.standing().borrow().clone();
    let evicts = matches!(standing, Standing::Connected { about, .. } if about.evicts);
    assert!(evicts, "it is told that events are forgotten before their time");
}
