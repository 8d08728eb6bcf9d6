//! The position survives what it must, and never runs ahead of the truth.

use std::sync::Arc;

use super::super::fs::faulty::FaultyFs;
use super::super::fs::{Fs, RealFs};
use super::*;

fn path(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("siem.cursor")
}

fn open(dir: &tempfile::TempDir) -> Cursor {
    Cursor::open(Arc::new(RealFs), &path(dir), 10).unwrap()
}

#[test]
fn ranges_settle_out_of_order_and_the_low_mark_follows_without_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let mut cursor = open(&dir);
    cursor.settle(20..30, Settlement::Forwarded).unwrap();
    assert_eq!((cursor.low(), cursor.pending(40)), (10, 20));
    assert_eq!(cursor.unsettled(0, 40).collect::<Vec<_>>(), [10..20, 30..40]);
    cursor.settle(10..20, Settlement::Skipped).unwrap();
    cursor.settle(15..31, Settlement::DeadLettered).unwrap();
    assert_eq!(cursor.low(), 31);
    assert!(cursor.is_settled(0..31) && !cursor.is_settled(30..32));
    assert_eq!(cursor.totals(), Totals { forwarded: 10, dead_lettered: 1, damaged: 0, skipped: 10 });
}

#[test]
fn a_kill_keeps_what_was_begun_and_what_was_settled() {
    let dir = tempfile::tempdir().unwrap();
    let mut cursor = open(&dir);
    cursor.begin(10..20).unwrap();
    cursor.begin(20..30).unwrap();
    cursor.begin(30..40).unwrap();
    cursor.settle(20..30, Settlement::Forwarded).unwrap();
    cursor.abandon(30..40).unwrap();
    assert_eq!(cursor.durable_low(), 10);
    drop(cursor);
    let cursor = open(&dir);
    assert_eq!(cursor.open_batches(), std::slice::from_ref(&(10..20)));
    assert_eq!((cursor.low(), cursor.high(), cursor.totals().forwarded), (10, 40, 10));
}

#[test]
fn a_batch_around_settled_items_is_settled_by_one_entry() {
    let dir = tempfile::tempdir().unwrap();
    let mut cursor = open(&dir);
    cursor.settle(11..13, Settlement::Skipped).unwrap();
    cursor.begin(10..15).unwrap();
    let before = cursor.end;
    cursor.settle_batch(&[10..11, 13..15], Settlement::Forwarded).unwrap();
    assert_eq!(cursor.end, before + ENTRY_LEN as u64);
    assert_eq!((cursor.low(), cursor.totals().forwarded, cursor.totals().skipped), (15, 3, 2));
    assert_eq!(cursor.open_batches(), []);
}

#[test]
fn what_lies_open_inside_a_batch_is_not_settled_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut cursor = open(&dir);
    cursor.begin(10..15).unwrap();
    cursor.settle_batch(&[10..11, 13..15], Settlement::Forwarded).unwrap();
    assert_eq!(cursor.unsettled(0, 20).collect::<Vec<_>>(), [11..13, 15..20]);
    assert_eq!((cursor.low(), cursor.totals().forwarded), (11, 3));
}

#[test]
fn damage_means_an_older_position_never_a_newer_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut cursor = open(&dir);
    for i in 1..10 {
        cursor.settle(i * 10..i * 10 + 10, Settlement::Forwarded).unwrap();
    }
    let used = cursor.end as usize;
    drop(cursor);
    let whole = std::fs::read(path(&dir)).unwrap();
    for at in (0..used).step_by(7) {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        std::fs::write(path(&dir), &bytes).unwrap();
        let mut cursor = open(&dir);
        let low = cursor.low();
        assert!(low <= 100 && low.is_multiple_of(10), "byte {at}: {low}");
        cursor.settle(low..low + 1, Settlement::Forwarded).unwrap();
        drop(cursor);
        assert_eq!(open(&dir).low(), low + 1, "byte {at}: leftovers must not continue the journal");
    }
    for len in [0, 5, 40, used - 7] {
        std::fs::write(path(&dir), &whole[..len]).unwrap();
        assert!(open(&dir).low() <= 90);
    }
}

#[test]
fn a_long_journal_is_written_anew_and_says_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let mut cursor = open(&dir);
    cursor.begin(5_000_000..5_000_010).unwrap();
    for i in 5..30_000 {
        cursor.settle(i * 2..i * 2 + 1, Settlement::Forwarded).unwrap();
        cursor.settle(i * 2 + 1..i * 2 + 2, Settlement::Skipped).unwrap();
    }
    assert!(cursor.end < COMPACT_AT);
    let state = cursor.state.clone();
    drop(cursor);
    assert_eq!(open(&dir).state, state);
}

#[test]
fn a_full_disk_stops_new_batches_and_what_was_settled_is_written_later() {
    let dir = tempfile::tempdir().unwrap();
    let (fs, faults) = FaultyFs::new(Arc::new(RealFs));
    let mut cursor = Cursor::open(fs, &path(&dir), 0).unwrap();
    cursor.begin(0..10).unwrap();
    faults.disk_full(true);
    assert!(cursor.settle(0..10, Settlement::Forwarded).is_err());
    assert!(cursor.begin(10..20).is_err());
    assert!(cursor.sync().is_err());
    assert_eq!(cursor.durable_low(), 0);
    faults.disk_full(false);
    cursor.sync().unwrap();
    assert_eq!(cursor.durable_low(), 10);
    drop(cursor);
    assert_eq!(Cursor::open(Arc::new(RealFs), &path(&dir), 0).unwrap().low(), 10);
}

#[test]
fn another_format_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(&dir));
    let mut bytes = std::fs::read(path(&dir)).unwrap();
    bytes[24] = 9;
    let crc = crc32fast::hash(&bytes[4..ENTRY_LEN]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    let file = RealFs.open(&path(&dir), Access::ReadWrite).unwrap();
    file.write_all_at(&bytes, 0).unwrap();
    assert!(matches!(Cursor::open(Arc::new(RealFs), &path(&dir), 0), Err(CursorError::Version { found: 9, .. })));
}

#[test]
fn while_a_sync_runs_others_settle_and_only_what_came_before_it_counts_as_durable() {
    let dir = tempfile::tempdir().unwrap();
    let mut cursor = Cursor::open(Arc::new(RealFs), &path(&dir), 0).unwrap();
    cursor.settle(0..5, Settlement::Forwarded).unwrap();
    let sync = cursor.begin_sync().unwrap();
    cursor.settle(5..9, Settlement::Forwarded).unwrap();
    let result = sync.run();
    cursor.end_sync(&sync, result).unwrap();
    assert_eq!((cursor.low(), cursor.durable_low()), (9, 5));

    let failed = cursor.begin_sync().unwrap();
    assert!(cursor.end_sync(&failed, Err(io::ErrorKind::Other.into())).is_err());
    assert_eq!(cursor.durable_low(), 5, "nothing is durable by a sync that failed");
    cursor.sync().unwrap();
    assert_eq!(cursor.durable_low(), 9);
    // The journal was written anew meanwhile: the old file's failure says nothing.
    cursor.end_sync(&failed, Err(io::ErrorKind::Other.into())).unwrap();
    assert_eq!(cursor.durable_low(), 9);
}
