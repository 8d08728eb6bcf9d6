use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::FutureExt;
use proptest::prelude::*;

use super::*;
use crate::values::{ByteSize, Span};

mod sizes;

const WINDOW_S: i64 = 4_800;
const SLICE_S: i64 = 100;

#[derive(Clone)]
struct Clock(Arc<AtomicI64>);

impl Clock {
    fn pass(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }

    fn now(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn store_with(max_keys: u64, max_memory: ByteSize) -> (MemoryStore, Clock) {
    let clock = Clock(Arc::new(AtomicI64::new(1_700_000_000)));
    let config =
        Config { max_keys, max_memory: Some(max_memory), window: Span::secs(WINDOW_S as u64), ..Config::default() };
    let read = clock.clone();
    (MemoryStore::with_clock(&config, move || read.now()), clock)
}

fn store() -> (MemoryStore, Clock) {
    store_with(50_000_000, ByteSize::mib(128))
}

fn claim(store: &MemoryStore, keys: &[EventKey]) -> Box<dyn Claim> {
    store.claim(keys).now_or_never().expect("a claim answers at once").expect("memory is always there")
}

fn confirmed(store: &MemoryStore, keys: &[EventKey]) {
    claim(store, keys).confirm(0..0);
}

/// `N` new, `D` duplicate, `P` pending.
fn letters(claim: &dyn Claim) -> String {
    let letter = |verdict: &Verdict| match verdict {
        Verdict::New => 'N',
        Verdict::Duplicate => 'D',
        Verdict::Pending(_) => 'P',
    };
    claim.verdicts().iter().map(letter).collect()
}

fn seen(store: &MemoryStore, keys: &[EventKey]) -> String {
    letters(&*claim(store, keys))
}

fn record(record_id: u64, second: i64) -> EventKey {
    record_of(4_624, record_id, second)
}

fn record_of(event_id: u16, record_id: u64, second: i64) -> EventKey {
    EventKey::Record { stream: 77, record_id, second, event_id: Some(event_id) }
}

fn old_record(record_id: u64, second: i64) -> EventKey {
    EventKey::OldRecord { stream: 77, record_id, second }
}

fn run(stream: u128, ids: std::ops::Range<u64>, second: i64) -> Vec<EventKey> {
    let key = |record_id: u64| EventKey::Record {
        stream,
        record_id,
        second: second + record_id as i64,
        event_id: Some(4_624 + (record_id * 7 % 12) as u16),
    };
    ids.map(key).collect()
}

fn waiting(claim: &dyn Claim) -> Arc<dyn Settled> {
    let mut pending = claim.verdicts().iter().filter_map(|verdict| match verdict {
        Verdict::Pending(settled) => Some(Arc::clone(settled)),
        Verdict::New | Verdict::Duplicate => None,
    });
    pending.next().expect("a pending key")
}

#[derive(Debug, Clone)]
enum Step {
    Claim(Vec<EventKey>),
    Confirm(usize),
    Release(usize),
    Forget(Vec<EventKey>),
    Pass(i64),
}

fn key() -> impl Strategy<Value = EventKey> {
    let second = prop_oneof![4 => 0i64..2, 1 => Just(100_000i64), 1 => Just(i64::MIN)];
    let event_id = prop_oneof![4 => (1u16..4).prop_map(Some), 1 => Just(None), 1 => Just(Some(0))];
    prop_oneof![
        4 => (1u128..3, 0u64..20, second, event_id).prop_map(|(stream, record_id, second, event_id)| EventKey::Record {
            stream,
            record_id: record_id * 37,
            second,
            event_id,
        }),
        1 => (0u128..20).prop_map(EventKey::Content),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let keys = prop_oneof![
        prop::collection::vec(key(), 0..12),
        (1u128..3, 0u64..600, 1u64..300).prop_map(|(stream, first, n)| run(stream, first..first + n, 0)),
        sparse(),
    ]
    .boxed();
    prop_oneof![
        4 => keys.clone().prop_map(Step::Claim),
        1 => keys.prop_map(Step::Forget),
        3 => any::<usize>().prop_map(Step::Confirm),
        1 => any::<usize>().prop_map(Step::Release),
        1 => prop_oneof![1i64..200, Just(WINDOW_S), Just(3 * WINDOW_S)].prop_map(Step::Pass),
    ]
}

/// What an event set leaves of a log, from wherever it goes on or comes again, in the order of the log or against it.
fn sparse() -> impl Strategy<Value = Vec<EventKey>> {
    let gap = prop_oneof![1u64..4, 1u64..700, Just(1u64 << 33)];
    (1u128..3, 0u64..400, gap, 1u64..500, 0u64..3, any::<bool>()).prop_map(
        |(stream, first, gap, n, late, backwards)| {
            let ids = (first..first + n).map(|at| at * gap + late * (at % 5));
            let mut keys: Vec<_> = ids.flat_map(|id| run(stream, id..id + 1, 0)).collect();
            if backwards {
                keys.reverse();
            }
            keys
        },
    )
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Known {
    PendingIn(u64),
    DurableSince(i64),
}

#[derive(Default)]
struct Model {
    keys: HashMap<EventKey, Known>,
    claims: Vec<(Vec<EventKey>, Box<dyn Claim>)>,
    next: u64,
}

impl Model {
    fn check_claim(&mut self, store: &MemoryStore, now: i64, keys: Vec<EventKey>) {
        self.next += 1;
        let claim = claim(store, &keys);
        let mut held = Vec::new();
        for (key, verdict) in keys.iter().zip(letters(&*claim).chars()) {
            match self.keys.get(key) {
                None => assert_eq!(verdict, 'N', "{key:?}"),
                Some(Known::PendingIn(number)) if *number == self.next => assert_eq!(verdict, 'D', "{key:?}"),
                Some(Known::PendingIn(_)) => assert_eq!(verdict, 'P', "{key:?}"),
                Some(Known::DurableSince(since)) if now - since < WINDOW_S => assert_eq!(verdict, 'D', "{key:?}"),
                // A neighbour in the chunk may keep it longer; a hash stands alone.
                Some(Known::DurableSince(since)) => {
                    let late = now - since > WINDOW_S + 2 * SLICE_S;
                    assert!(verdict == 'N' || verdict == 'D', "{key:?}");
                    assert!(!(late && matches!(key, EventKey::Content(_)) && verdict == 'D'), "{key:?}");
                }
            }
            if verdict == 'N' {
                held.push(*key);
                self.keys.insert(*key, Known::PendingIn(self.next));
            }
        }
        self.claims.push((held, claim));
    }

    fn forget(&mut self, store: &MemoryStore, keys: &[EventKey]) {
        let before = store.remembered().keys;
        let forgotten = store.forget(keys);
        assert_eq!(store.remembered().keys, before - forgotten);
        self.keys.retain(|key, known| matches!(known, Known::PendingIn(_)) || !keys.contains(key));
    }

    fn end(&mut self, which: usize, now: i64, confirm: bool) {
        if self.claims.is_empty() {
            return;
        }
        let (held, claim) = self.claims.swap_remove(which % self.claims.len());
        if confirm {
            claim.confirm(0..0);
            self.keys.extend(held.into_iter().map(|key| (key, Known::DurableSince(now))));
        } else {
            claim.release();
            self.keys.retain(|key, _| !held.contains(key));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_store_is_exact(steps in prop::collection::vec(step(), 1..60)) {
        let (store, clock) = store();
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Claim(keys) => model.check_claim(&store, clock.now(), keys),
                Step::Confirm(which) => model.end(which, clock.now(), true),
                Step::Release(which) => model.end(which, clock.now(), false),
                Step::Forget(keys) => model.forget(&store, &keys),
                Step::Pass(seconds) => clock.pass(seconds),
            }
        }
        while !model.claims.is_empty() {
            model.end(0, clock.now(), false);
        }
        clock.pass(WINDOW_S + 2 * SLICE_S);
        prop_assert_eq!(store.remembered().keys, 0);
    }
}

#[test]
fn a_reused_record_id_with_another_second_is_another_event() {
    let (store, _) = store();
    confirmed(&store, &run(1, 0..300, 5_000));
    confirmed(&store, &run(1, 0..300, 9_000_000));
    assert_eq!(seen(&store, &run(1, 299..300, 5_000)), "D");
    assert_eq!(seen(&store, &run(1, 0..2, 9_000_000)), "DD");
    assert_eq!(seen(&store, &run(1, 0..2, 7)), "NN");
    assert_eq!(store.remembered().keys, 600);
}

#[test]
fn hosts_that_share_a_name_a_record_id_and_a_second_are_told_apart_by_their_event_ids() {
    let (store, _) = store();
    let (own, cloned) = (record_of(4_624, 5, 1), record_of(4_688, 5, 1));
    let without = EventKey::Record { stream: 77, record_id: 5, second: 1, event_id: None };
    let held = claim(&store, &[own, cloned]);
    assert_eq!(letters(&*held), "NN");
    assert_eq!(seen(&store, &[own, cloned, record_of(0, 5, 1), without]), "PPNN");
    held.confirm(0..0);
    assert_eq!(seen(&store, &[own, cloned, record_of(0, 5, 1), without]), "DDNN");
}

#[test]
fn every_event_id_of_one_record_is_remembered_as_itself() {
    let (store, _) = store();
    let all: Vec<_> = (0..=u16::MAX).map(|event_id| record_of(event_id, 5, 1)).collect();
    let (even, odd): (Vec<_>, Vec<_>) =
        all.iter().partition(|key| matches!(key, EventKey::Record { event_id: Some(id), .. } if id % 2 == 0));
    confirmed(&store, &even);
    assert_eq!(seen(&store, &odd), "N".repeat(odd.len()));
    assert_eq!(seen(&store, &even), "D".repeat(even.len()));
}

#[test]
fn an_event_that_an_older_version_acknowledged_is_a_duplicate_for_a_window() {
    let (store, clock) = store();
    let old: Vec<_> = (0..300).map(|id| old_record(id, id as i64)).chain([old_record(5, 77)]).collect();
    store.load(clock.now() - 10, &old);
    let again = [record_of(4_624, 5, 5), record_of(1, 5, 77), record_of(4_624, 299, 299), record_of(4_624, 300, 300)];
    assert_eq!(seen(&store, &again), "DDDN");
    assert_eq!(seen(&store, &[EventKey::Record { stream: 77, record_id: 5, second: 5, event_id: None }]), "D");
    assert_eq!(seen(&store, &[record_of(4_624, 5, 6)]), "N", "another second was never seen");
    clock.pass(WINDOW_S + 2 * SLICE_S);
    assert_eq!(seen(&store, &again), "NNNN");
    assert_eq!(store.remembered().keys, 0);
}

#[test]
fn what_is_forgotten_is_new_once_more_and_what_a_claim_holds_is_not_forgotten() {
    let (store, _) = store();
    let keys = [run(1, 0..3, 5), run(1, 1..2, 900), vec![EventKey::Content(4), EventKey::Content(5)]].concat();
    confirmed(&store, &keys);
    let held = claim(&store, &[record(9, 9), EventKey::Content(6)]);
    let lost = [keys[1], keys[3], keys[4], record(9, 9), EventKey::Content(6), EventKey::Content(7)];
    assert_eq!(store.forget(&lost), 3);
    assert_eq!(seen(&store, &keys), "DNDNND");
    assert_eq!(seen(&store, &[record(9, 9), EventKey::Content(6)]), "PP");
    held.confirm(0..0);
    assert_eq!(seen(&store, &[record(9, 9), EventKey::Content(6)]), "DD");
}

#[test]
fn a_spilled_key_outlives_the_key_that_displaced_it() {
    let (store, clock) = store();
    let first = claim(&store, &[record(5, 1)]);
    confirmed(&store, &[record(5, 2)]);
    first.release();
    clock.pass(WINDOW_S - 1);
    assert_eq!(seen(&store, &[record(5, 2), record(5, 1)]), "DN");
}

#[test]
fn a_spilled_pending_key_survives_the_window() {
    let (store, clock) = store();
    confirmed(&store, &[record(5, 1)]);
    let slow = claim(&store, &[record(5, 2)]);
    clock.pass(5 * WINDOW_S);
    assert_eq!(seen(&store, &[record(5, 2)]), "P");
    slow.confirm(0..0);
    assert_eq!(seen(&store, &[record(5, 2)]), "D");
}

#[tokio::test]
async fn who_waits_for_a_released_claim_gets_the_key() {
    let (store, _) = store();
    let first = claim(&store, &[record(1, 1), record(1, 1)]);
    assert_eq!(letters(&*first), "ND");
    let second = claim(&store, &[record(1, 1), record(2, 1)]);
    assert_eq!(letters(&*second), "PN");
    let settled = waiting(&*second);
    assert!(settled.wait().now_or_never().is_none());
    drop(first);
    settled.wait().await;
    assert_eq!(seen(&store, &[record(1, 1)]), "N");
}

#[tokio::test]
async fn who_waits_for_a_confirmed_claim_learns_a_duplicate() {
    let (store, _) = store();
    let first = claim(&store, &[EventKey::Content(9)]);
    let second = claim(&store, &[EventKey::Content(9)]);
    let settled = waiting(&*second);
    let waiter = tokio::spawn(async move { settled.wait().await });
    tokio::task::yield_now().await;
    first.confirm(0..0);
    waiter.await.expect("the waiter wakes");
    assert_eq!(seen(&store, &[EventKey::Content(9)]), "D");
}

#[tokio::test]
async fn two_claims_that_wait_for_each_other_both_go_on() {
    let (store, _) = store();
    let (x, y) = (record(1, 1), record(2, 1));
    let a = claim(&store, &[x]);
    let b = claim(&store, &[y]);
    let (a_waits, b_waits) = (claim(&store, &[y]), claim(&store, &[x]));
    let (for_b, for_a) = (waiting(&*a_waits), waiting(&*b_waits));
    let one = async {
        a.confirm(0..0);
        for_b.wait().await;
    };
    let other = async {
        b.release();
        for_a.wait().await;
    };
    futures_util::future::join(one, other).await;
    assert_eq!(seen(&store, &[x, y]), "DN");
}

#[test]
fn a_claim_whose_task_panics_is_released() {
    let (store, _) = store();
    let held = claim(&store, &[record(1, 1)]);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _held = held;
        panic!("the upload's task dies");
    }));
    assert!(panicked.is_err());
    assert_eq!(seen(&store, &[record(1, 1)]), "N");
}

#[test]
fn at_the_bound_of_keys_the_oldest_go_first_and_are_counted() {
    let (store, clock) = store_with(10_000, ByteSize::mib(128));
    for batch in 0..200u64 {
        confirmed(&store, &run(u128::from(batch), 0..100, 1_000));
        clock.pass(1);
        let remembered = store.remembered();
        assert!(remembered.keys <= 10_000, "{remembered:?}");
        assert_eq!(remembered.keys + remembered.evicted, (batch + 1) * 100);
    }
    assert!(store.remembered().keys > 9_000);
    assert_eq!(seen(&store, &run(199, 0..3, 1_000)), "DDD");
    assert_eq!(seen(&store, &run(0, 0..3, 1_000)), "NNN");
}

#[test]
fn at_the_bound_of_memory_a_burst_forgets_only_its_oldest_part() {
    let bound = ByteSize::bytes(1 << 20);
    let (store, _) = store_with(u64::MAX, bound);
    let mut rng = fastrand::Rng::with_seed(7);
    let batches: Vec<Vec<EventKey>> =
        (0..1_000).map(|_| (0..100).map(|_| EventKey::Content(rng.u128(..))).collect()).collect();
    for batch in &batches {
        confirmed(&store, batch);
        assert!(store.remembered().bytes <= bound.as_u64());
    }
    let remembered = store.remembered();
    assert!(remembered.keys > 40_000, "{remembered:?}");
    assert_eq!(seen(&store, &batches[800]), "D".repeat(100));
    assert_eq!(seen(&store, &batches[0]), "N".repeat(100));
}

#[test]
fn the_bound_of_memory_holds_whatever_the_mix_of_keys() {
    let bound = ByteSize::bytes(1 << 20);
    let (store, clock) = store_with(u64::MAX, bound);
    let mut rng = fastrand::Rng::with_seed(11);
    for step in 0..1_500u64 {
        let keys = match step / 300 % 3 {
            0 => run(1, step * 500..(step + 1) * 500, 0),
            1 => (0..200).map(|_| EventKey::Content(rng.u128(..))).collect(),
            _ => (0..100).map(|_| record(rng.u64(..), 1)).collect(),
        };
        confirmed(&store, &keys);
        clock.pass(1);
        assert!(store.remembered().bytes <= bound.as_u64(), "step {step}: {:?}", store.remembered());
        assert_eq!(seen(&store, &keys[..3]), "DDD");
    }
}

#[test]
fn pending_keys_survive_bounds_and_the_window() {
    let (store, clock) = store_with(100, ByteSize::bytes(20_000));
    let keys: Vec<_> = run(3, 0..500, 0).into_iter().chain((0..500).map(EventKey::Content)).collect();
    let held = claim(&store, &keys);
    assert_eq!(letters(&*held), "N".repeat(1_000));
    clock.pass(3 * WINDOW_S);
    assert_eq!(seen(&store, &keys), "P".repeat(1_000));
    held.confirm(0..0);
    assert_eq!(seen(&store, &keys[990..]), "D".repeat(10));
    confirmed(&store, &run(4, 0..10, 0));
    assert!(store.remembered().keys <= 100);
}

#[test]
fn under_constant_load_memory_is_constant() {
    let (store, clock) = store();
    let mut rng = fastrand::Rng::with_seed(1);
    let mut at_ends = Vec::new();
    for step in 0..48 * 12u64 {
        confirmed(&store, &run(1, step * 200..(step + 1) * 200, clock.now()));
        let sparse: Vec<_> = (0..50).map(|_| record(rng.u64(..), 5)).collect();
        confirmed(&store, &sparse);
        confirmed(&store, &(0..100).map(|_| EventKey::Content(rng.u128(..))).collect::<Vec<_>>());
        clock.pass(SLICE_S);
        if step % 48 == 47 {
            at_ends.push(store.remembered().bytes);
        }
    }
    let (low, high) = (at_ends[2..].iter().min(), at_ends[2..].iter().max());
    let (low, high) = (low.copied().unwrap_or(0), high.copied().unwrap_or(0));
    assert!(high < low + low / 50, "{at_ends:?}");
    assert_eq!(store.remembered().evicted, 0);
}

#[test]
fn loaded_keys_are_remembered_from_their_own_time_on() {
    let (store, clock) = store();
    let now = clock.now();
    store.load(now - WINDOW_S + 500, &run(1, 0..10, 0));
    store.load(now - 10, &run(1, 300..310, 0));
    store.load(now - 10, &run(1, 300..310, 0));
    assert_eq!(store.remembered().keys, 20);
    assert_eq!(seen(&store, &run(1, 9..10, 0)), "D");
    clock.pass(500 + 2 * SLICE_S);
    assert_eq!(seen(&store, &run(1, 0..1, 0)), "N");
    assert_eq!(seen(&store, &run(1, 300..301, 0)), "D");
}

#[test]
fn switched_off_everything_is_new_and_nothing_is_kept() {
    let store = MemoryStore::new(&Config { enabled: false, ..Config::default() });
    confirmed(&store, &[record(1, 1)]);
    assert_eq!(seen(&store, &[record(1, 1)]), "N");
    assert_eq!(store.remembered(), Remembered::default());
}
