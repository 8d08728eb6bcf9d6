//! Whoever works on the letters for long keeps neither those who set events aside nor those who do not from going on.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::share_tests::{ALL, ROOM, buried, of_client, place, unread};
use super::*;
use crate::fs::RealFs;
use crate::fs::faulty::{Faults, FaultyFs};

const PATIENCE: Duration = Duration::from_secs(20);

/// As few threads for blocking work as a gateway has on a small machine.
fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).max_blocking_threads(2).enable_all().build().unwrap()
}

fn shared(dir: &Path) -> (SharedLetters, Arc<Faults>) {
    let (fs, faults) = FaultyFs::new(Arc::new(RealFs));
    (DeadLetters::open_with(fs, dir, ROOM).unwrap().into(), faults)
}

#[test]
fn those_who_wait_for_the_dead_letters_hold_no_thread_that_good_uploads_need() {
    let (_own, dir) = place();
    let (letters, faults) = shared(&dir);
    runtime().block_on(async {
        faults.hold_syncs();
        let put = |client| {
            let letters = letters.clone();
            tokio::spawn(async move { letters.work(move |letters| letters.put(vec![unread(client)])).await })
        };
        let waiting: Vec<_> = ["a", "b", "c", "d", "e"].into_iter().map(put).collect();
        faults.wait_for_held_sync();
        let other = timeout(PATIENCE, tokio::task::spawn_blocking(|| ())).await;
        faults.let_syncs_go();
        other.expect("a thread is free").unwrap();
        for put in waiting {
            put.await.unwrap().unwrap().unwrap();
        }
    });
    assert_eq!(letters.look().totals().count, 5);
}

#[test]
fn a_purge_of_many_senders_lets_others_set_events_aside_meanwhile() {
    let (_own, dir) = place();
    let (letters, faults) = shared(&dir);
    for n in 0..20 {
        let of_one =
            vec![unread(&format!("10.0.0.{n}")), Letter { first_seen_ms: 1, ..unread(&format!("10.0.0.{n}")) }];
        letters.look().put([of_one.clone(), vec![unread(&format!("10.0.0.{n}"))]].concat()).unwrap();
    }
    // Those in the middle go, so that each file is written anew.
    let old = Chosen::Matching(Filter { before_ms: Some(2), ..Filter::default() });
    faults.slow_syncs(Duration::from_millis(40));
    runtime().block_on(async {
        let purge = tokio::spawn({
            let letters = letters.clone();
            async move { letters.remove(old).await }
        });
        while letters.look().totals().count == 60 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        letters.work(|letters| letters.put(vec![unread("good")])).await.unwrap().unwrap();
        assert!(!purge.is_finished(), "the purge was over first");
        assert_eq!(purge.await.unwrap().unwrap(), 20);
    });
    let letters = letters.look();
    assert_eq!((letters.totals().count, of_client(&letters, "good").len()), (41, 1));
    let again = DeadLetters::open_with(Arc::new(RealFs), &dir, ROOM).unwrap();
    assert_eq!((again.totals().count, again.damage()), (41, &Damage::default()));
}

#[test]
fn a_purge_of_everything_writes_no_file_anew_and_needs_no_room() {
    let (_own, dir) = place();
    let (letters, faults) = shared(&dir);
    let mut letters = letters.look();
    for n in 0..20 {
        letters.put(vec![unread(&format!("10.0.0.{n}"))]).unwrap();
    }
    letters.note().unwrap();
    let before = faults.syncs();
    faults.disk_full(true);
    assert_eq!(letters.purge(&Filter::default()).unwrap(), 20);
    assert!(faults.syncs() - before < 5, "{}", faults.syncs() - before);
    faults.disk_full(false);
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1, "one keeps the numbering going");
    let next = letters.put(vec![unread("good")]).unwrap();
    letters.note().unwrap();
    let again = DeadLetters::open_with(Arc::new(RealFs), &dir, ROOM).unwrap();
    assert_eq!((next[0], again.totals().count, again.damage()), (21, 1, &Damage::default()));
}

#[test]
fn letters_are_read_beside_whoever_writes_and_none_that_was_not_acknowledged() {
    let (_own, dir) = place();
    let (letters, _) = shared(&dir);
    let mut letters = letters.look();
    let first = letters.put(vec![unread("a"), unread("b"), unread("b")]).unwrap();
    let listing = letters.listing(Chosen::Matching(Filter::default()));
    letters.put(vec![unread("b")]).unwrap();
    letters.remove(&first[..1]).unwrap();
    let read: Vec<u64> = listing.read(ALL).unwrap().iter().map(|letter| letter.id).collect();
    assert_eq!(read, first[1..]);
}

#[test]
fn what_can_never_be_sent_again_is_counted_and_not_read() {
    let (_own, dir) = place();
    let (letters, _) = shared(&dir);
    let mut letters = letters.look();
    letters.put(vec![unread("a"), unread("a")]).unwrap();
    let sendable = letters.put(vec![buried("siem")]).unwrap();
    // Whoever reads it fails.
    std::fs::File::create(path_of(&dir, 1)).unwrap().set_len(1 << 40).unwrap();
    let all = Filter { until: Some(letters.last_id()), ..Filter::default() };
    let listing = |filter: &Filter| letters.listing(Chosen::Matching(filter.clone()));
    let read = listing(&all).without_inputs().read(ALL).unwrap();
    assert_eq!(read.iter().map(|letter| letter.id).collect::<Vec<_>>(), sendable);
    assert_eq!(listing(&all).of_inputs().count().unwrap(), 2);
    let rejected = Filter { reason: Some("rejected".to_owned()), ..all };
    assert_eq!(listing(&rejected).of_inputs().count().unwrap(), 0);
    assert!(listing(&Filter::default()).read(ALL).is_err());
}
