use super::*;
use crate::fs::RealFs;
use crate::fs::trial::{self, Durable};
use Decision::{Alone, Dropped, Won};

fn open(dir: &Path, log: u64, kept: Range<Ordinal>) -> (Decided, Opened) {
    Decided::open(Arc::new(RealFs), &dir.join("decided"), LogId::of(log), kept).unwrap()
}

#[test]
fn nothing_undecided_may_be_read_and_what_is_dropped_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let (decided, opened) = open(dir.path(), 1, 0..0);
    assert_eq!((opened, decided.dropped_of(0..10)), (Opened::New, None));
    decided.decide(Won, 0..6);
    assert_eq!(decided.dropped_of(0..10), None);
    decided.decide(Dropped, 6..8);
    decided.decide(Won, 8..10);
    assert_eq!(decided.dropped_of(0..10), Some(vec![6..8]));
    assert_eq!((decided.dropped_of(0..6), decided.undecided(12)), (Some(vec![]), vec![10..12]));
}

#[test]
fn what_was_won_is_never_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let (decided, _) = open(dir.path(), 1, 0..0);
    decided.decide(Won, 2..4);
    decided.decide(Dropped, 0..6);
    assert_eq!(decided.dropped_of(0..6), Some(vec![0..2, 4..6]));
    decided.decide(Alone, 6..8);
    decided.decide(Dropped, 6..8);
    assert_eq!((decided.dropped_of(6..8), decided.alone()), (Some(vec![]), vec![6..8]));
    decided.decide(Won, 6..8);
    assert_eq!(decided.alone(), []);
}

#[test]
fn a_restart_remembers_what_was_decided_and_who_this_is() {
    let dir = tempfile::tempdir().unwrap();
    let (decided, _) = open(dir.path(), 1, 0..0);
    let me = decided.gateway();
    for first in (0..3_000).step_by(3) {
        decided.decide(Won, first..first + 1);
        decided.decide(Dropped, first + 1..first + 2);
    }
    decided.decide(Alone, 3_000..3_010);
    decided.engine_changed(77, 12);
    for _ in 0..2 {
        let (again, opened) = open(dir.path(), 1, 0..3_020);
        assert_eq!((opened, again.gateway(), again.engine()), (Opened::Found, me, (77, 12)));
        assert_eq!(again.dropped_of(0..2), Some(vec![1..2]));
        assert_eq!((again.undecided(3_020).len(), again.alone()), (1_001, vec![3_000..3_010]));
    }
}

#[test]
fn without_its_journal_a_gateway_is_another_one_and_drops_nothing_that_it_keeps() {
    let dir = tempfile::tempdir().unwrap();
    let (decided, _) = open(dir.path(), 1, 0..0);
    decided.decide(Dropped, 0..5);
    let me = decided.gateway();
    let (other_log, opened) = open(dir.path(), 2, 0..9);
    assert_eq!((opened, other_log.dropped_of(0..9)), (Opened::Lost, Some(vec![])));
    assert_eq!(other_log.alone(), vec![0..9]);
    assert_ne!(other_log.gateway(), me);
    assert_eq!(other_log.engine().1, 9);
}

#[test]
fn a_damaged_entry_leaves_its_items_undecided() {
    let dir = tempfile::tempdir().unwrap();
    let (decided, _) = open(dir.path(), 1, 0..0);
    decided.decide(Won, 0..5);
    decided.decide(Won, 5..9);
    let path = dir.path().join("decided");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[2 * ENTRY_LEN + 6] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(open(dir.path(), 1, 0..9).0.undecided(9), vec![0..5]);
}

#[test]
fn a_damaged_drop_is_asked_again_and_not_taken_for_won() {
    let dir = tempfile::tempdir().unwrap();
    let (decided, _) = open(dir.path(), 1, 0..0);
    decided.settle(0..10, &[3..4, 4..5, 8..12]);
    assert_eq!((decided.dropped_of(0..10), decided.undecided(12)), (Some(vec![3..5, 8..10]), vec![10..12]));
    let path = dir.path().join("decided");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[2 * ENTRY_LEN + 6] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(open(dir.path(), 1, 0..10).0.undecided(10), vec![3..5]);
}

#[test]
fn what_was_taken_alone_is_remembered_until_others_know_it_also_when_the_log_has_it_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let (decided, _) = open(dir.path(), 1, 0..0);
    decided.decide(Alone, 0..5);
    for first in (10..120_000).step_by(2) {
        decided.decide(Dropped, first..first + 1);
    }
    decided.keep(119_990).unwrap();
    let (again, _) = open(dir.path(), 1, 119_990..120_000);
    assert_eq!(again.alone(), vec![0..5]);
    again.decide(Won, 0..5);
    assert_eq!(again.alone(), vec![]);
}

#[test]
fn a_journal_of_much_that_still_matters_is_not_written_anew_each_second() {
    let dir = tempfile::tempdir().unwrap();
    let (decided, _) = open(dir.path(), 1, 0..0);
    for first in (0..120_000).step_by(2) {
        decided.decide(Dropped, first..first + 1);
    }
    decided.keep(0).unwrap();
    let file = || std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(dir.path().join("decided")).unwrap());
    let before = file();
    decided.decide(Won, 120_000..120_001);
    decided.keep(0).unwrap();
    assert_eq!(file(), before);
}

/// The journal, as far as it tells what was dropped.
struct LastDrop;

impl Durable for LastDrop {
    fn write(&self, fs: &Arc<dyn Fs>, version: u8) -> io::Result<()> {
        let (decided, _) = Decided::open(Arc::clone(fs), &trial::path("decided"), LogId::of(1), 0..0)?;
        let first = Ordinal::from(version);
        decided.decide(Dropped, first..first + 1);
        decided.keep(0)?;
        // What could not be noted is written anew with the next.
        decided.keep(0)
    }

    fn read(&self, fs: &Arc<dyn Fs>) -> Result<Option<u8>, String> {
        let opened = Decided::open(Arc::clone(fs), &trial::path("decided"), LogId::of(1), 0..0);
        let (decided, opened) = opened.map_err(|error| error.to_string())?;
        if opened == Opened::Lost {
            return Err("lost".to_owned());
        }
        let is_dropped = |version: &u8| decided.dropped_of((*version).into()..Ordinal::from(*version) + 1).is_some();
        Ok((1..=3).rev().find(is_dropped))
    }
}

#[test]
fn decisions_survive_a_power_cut() {
    trial::loses_power_at_every_change(&LastDrop);
}

#[test]
fn what_the_log_no_longer_has_is_let_go() {
    let dir = tempfile::tempdir().unwrap();
    let (decided, _) = open(dir.path(), 1, 0..0);
    for first in (0..120_000).step_by(2) {
        decided.decide(Dropped, first..first + 1);
    }
    decided.keep(119_990).unwrap();
    assert!(std::fs::metadata(dir.path().join("decided")).unwrap().len() < 1_000);
    assert_eq!(decided.dropped_of(100..110), Some(vec![]), "what is below was decided once");
    assert_eq!(decided.undecided(120_000).len(), 5);
}
