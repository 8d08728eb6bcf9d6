//! The position survives what it must, and never runs ahead of the truth.

use std::sync::Arc;

use super::*;
use crate::fs::faulty::FaultyFs;
use crate::fs::trial::{self, Durable};
use crate::fs::volatile::VolatileFs;
use crate::fs::{Fs, RealFs};

fn path(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("siem.cursor")
}

/// The log keeps items 10 to 1,000, and the output is known to have a position.
fn around() -> Surroundings {
    Surroundings { log: LogId::UNKNOWN, kept: 10..1_000, boot: Boot::of(1), life: Some(0) }
}

/// For an output that is new to a log that is empty.
fn new_at(start: Ordinal) -> Surroundings {
    Surroundings { kept: start..start, life: None, ..around() }
}

fn open_in(dir: &tempfile::TempDir, around: &Surroundings) -> Cursor {
    Cursor::open(Arc::new(RealFs), &path(dir), around).unwrap()
}

/// Opens it in the same start of the machine.
fn open(dir: &tempfile::TempDir) -> Cursor {
    open_in(dir, &Surroundings { life: None, ..around() })
}

/// A new cursor that starts at 10.
fn begin(dir: &tempfile::TempDir) -> Cursor {
    open_in(dir, &new_at(10))
}

fn opened_after_a_power_cut(dir: &tempfile::TempDir) -> Cursor {
    open_in(dir, &Surroundings { boot: Boot::of(2), ..around() })
}

#[test]
fn ranges_settle_out_of_order_and_the_low_mark_follows_without_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let mut cursor = begin(&dir);
    cursor.settle(20..30, Settlement::Forwarded).unwrap();
    assert_eq!((cursor.low(), cursor.pending(40)), (10, 20));
    assert_eq!(cursor.unsettled(0, 40).collect::<Vec<_>>(), [10..20, 30..40]);
    cursor.settle(10..20, Settlement::Skipped).unwrap();
    cursor.settle(15..31, Settlement::DeadLettered).unwrap();
    assert_eq!(cursor.low(), 31);
    assert!(cursor.is_settled(0..31) && !cursor.is_settled(30..32));
    assert_eq!(
        cursor.totals(),
        Totals { forwarded: 10, dead_lettered: 1, damaged: 0, skipped: 10, ..Totals::default() }
    );
}

#[test]
fn a_kill_keeps_what_was_begun_and_what_was_settled() {
    let dir = tempfile::tempdir().unwrap();
    let mut cursor = begin(&dir);
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
    let mut cursor = begin(&dir);
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
    let mut cursor = begin(&dir);
    cursor.begin(10..15).unwrap();
    cursor.settle_batch(&[10..11, 13..15], Settlement::Forwarded).unwrap();
    assert_eq!(cursor.unsettled(0, 20).collect::<Vec<_>>(), [11..13, 15..20]);
    assert_eq!((cursor.low(), cursor.totals().forwarded), (11, 3));
}

#[test]
fn damage_means_an_older_position_never_a_newer_one_and_what_may_go_twice_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let mut cursor = begin(&dir);
    for i in 1..10 {
        cursor.begin(i * 10..i * 10 + 10).unwrap();
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
        assert_eq!(cursor.found().loss, Some(Cause::Damaged), "byte {at}");
        assert_eq!(cursor.in_doubt(), cursor.pending(1_000), "byte {at}: all of it may have been sent");
        assert_eq!(cursor.totals().sum() + cursor.pending(1_000), 1_000 - cursor.start(), "byte {at}");
        cursor.settle(low..low + 1, Settlement::Forwarded).unwrap();
        let after = cursor.low();
        drop(cursor);
        let cursor = open(&dir);
        assert_eq!(cursor.low(), after, "byte {at}: leftovers must not continue the journal");
        assert!(cursor.found().loss.is_none() && cursor.lost().is_some(), "it is said once, and remembered");
    }
    for len in [0, 5, 40, used - 7] {
        std::fs::write(path(&dir), &whole[..len]).unwrap();
        let cursor = open(&dir);
        assert!(cursor.low() <= 90);
        assert_eq!((cursor.found().loss, cursor.in_doubt()), (Some(Cause::Damaged), cursor.pending(1_000)));
    }
}

#[test]
fn damage_where_nothing_was_written_yet_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut cursor = begin(&dir);
    cursor.settle(10..20, Settlement::Forwarded).unwrap();
    let used = cursor.end as usize;
    drop(cursor);
    let whole = std::fs::read(path(&dir)).unwrap();
    let mut flipped = whole.clone();
    flipped[used + 3 * ENTRY_LEN] = 1;
    for bytes in [flipped, whole[..used + ENTRY_LEN].to_vec()] {
        std::fs::write(path(&dir), bytes).unwrap();
        let mut cursor = open(&dir);
        assert_eq!((cursor.low(), cursor.in_doubt(), cursor.found()), (20, 0, Found::default()));
        (20..40).for_each(|at| cursor.settle(at..at + 1, Settlement::Forwarded).unwrap());
        drop(cursor);
        assert_eq!((open(&dir).low(), open(&dir).found()), (40, Found::default()));
        assert_eq!(std::fs::metadata(path(&dir)).unwrap().len(), ALLOCATED, "there is room again");
    }
}

#[test]
fn what_an_older_position_lies_below_the_log_was_settled_once_and_is_not_damage() {
    let dir = tempfile::tempdir().unwrap();
    let mut cursor = begin(&dir);
    cursor.settle(10..20, Settlement::Forwarded).unwrap();
    cursor.close().unwrap();
    let backup = std::fs::read(path(&dir)).unwrap();
    drop(cursor);
    let mut cursor = open(&dir);
    cursor.settle(20..600, Settlement::Forwarded).unwrap();
    cursor.close().unwrap();
    let life = cursor.life();
    std::fs::write(path(&dir), backup).unwrap();

    let cursor = open_in(&dir, &Surroundings { kept: 500..1_000, life: Some(life), ..around() });
    assert_eq!((cursor.found().loss, cursor.low(), cursor.in_doubt()), (Some(Cause::Older), 500, 500));
    assert_eq!((cursor.totals().forgotten, cursor.totals().damaged), (480, 0));
    assert_eq!(cursor.totals().sum() + cursor.pending(1_000), 1_000 - cursor.start());
}

#[test]
fn a_missing_position_is_lost_where_there_was_one_and_new_where_there_was_none() {
    let dir = tempfile::tempdir().unwrap();
    let lost = open_in(&dir, &around());
    assert_eq!((lost.low(), lost.in_doubt(), lost.found().loss), (10, 990, Some(Cause::Missing)));
    std::fs::remove_file(path(&dir)).unwrap();
    let new = open(&dir);
    assert_eq!((new.low(), new.in_doubt(), new.found().loss), (1_000, 0, None));
}

#[test]
fn a_position_of_another_log_means_nothing_unless_its_ordinals_are_still_free() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (LogId::of(1), LogId::of(2));
    let mut cursor = open_in(&dir, &Surroundings { log: one, ..new_at(10) });
    cursor.settle(10..40, Settlement::Forwarded).unwrap();
    drop(cursor);
    let unknown = open(&dir);
    assert_eq!((unknown.low(), unknown.log()), (40, one), "who remembers an id keeps it");
    drop(unknown);
    let free = open_in(&dir, &Surroundings { log: other, ..new_at(40) });
    assert_eq!((free.low(), free.log(), free.found().loss), (40, other, None));
    drop(free);
    let taken = open_in(&dir, &Surroundings { log: one, ..around() });
    assert_eq!((taken.low(), taken.log(), taken.found().loss), (10, one, Some(Cause::OtherLog)));
    assert_eq!(taken.in_doubt(), 990);
}

#[test]
fn after_a_kill_only_what_was_begun_is_in_doubt_and_after_a_power_cut_all_below_the_ceiling() {
    let dir = tempfile::tempdir().unwrap();
    let mut cursor = begin(&dir);
    cursor.begin(10..20).unwrap();
    cursor.settle(10..20, Settlement::Forwarded).unwrap();
    cursor.begin(20..30).unwrap();
    let ceiling = cursor.durable_ceiling;
    assert!(cursor.has_room_for(ceiling) && !cursor.has_room_for(ceiling + 1));
    drop(cursor);
    let mut cursor = open(&dir);
    cursor.doubt_begun();
    assert_eq!((cursor.in_doubt(), cursor.doubtful(&[15..25, 28..40])), (10, 7));
    drop(cursor);
    let mut cursor = opened_after_a_power_cut(&dir);
    assert_eq!((cursor.in_doubt(), cursor.found().loss), (980, None));
    assert_eq!(cursor.open_batches(), std::slice::from_ref(&(20..30)), "they keep their borders");
    cursor.begin(20..30).unwrap();
    assert_eq!(cursor.in_doubt(), 970, "counted once");
    drop(cursor);
    // Killed: what the former life did not get to is still in doubt.
    let mut cursor = open_in(&dir, &Surroundings { boot: Boot::of(2), ..around() });
    cursor.doubt_begun();
    assert_eq!(cursor.in_doubt(), 980);
}

#[test]
fn a_stop_leaves_no_doubt_even_if_the_machine_goes_down_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut cursor = begin(&dir);
    cursor.begin(10..20).unwrap();
    cursor.settle(10..20, Settlement::Forwarded).unwrap();
    cursor.close().unwrap();
    let life = cursor.life();
    drop(cursor);
    let cursor = open_in(&dir, &Surroundings { boot: Boot::of(2), life: Some(life), ..around() });
    assert_eq!((cursor.low(), cursor.in_doubt(), cursor.found()), (20, 0, Found::default()));
}

#[test]
fn a_gap_is_what_a_power_cut_leaves_also_behind_a_stop_and_damage_where_there_was_none() {
    for stopped in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let mut cursor = begin(&dir);
        cursor.settle(10..20, Settlement::Forwarded).unwrap();
        if stopped {
            cursor.close().unwrap();
        }
        // The sector before it never reached the disk.
        let number = cursor.end / ENTRY_LEN as u64 + 2;
        let late = Entry::Ceiling(5_000).encode(number);
        cursor.file.write_all_at(&late, number * ENTRY_LEN as u64).unwrap();
        drop(cursor);
        let bytes = std::fs::read(path(&dir)).unwrap();
        let cut = opened_after_a_power_cut(&dir);
        assert_eq!((cut.low(), cut.found()), (20, Found { loss: None, power_cut: !stopped }));
        assert_eq!(cut.in_doubt() > 0, !stopped);
        std::fs::write(path(&dir), bytes).unwrap();
        assert_eq!(open(&dir).found().loss, Some(Cause::Damaged), "a kill leaves no gap");
    }
}

#[test]
fn what_a_killed_process_left_is_durable_before_anybody_builds_on_it() {
    let (dir, path) = (Path::new("/outputs"), Path::new("/outputs/siem.cursor"));
    for (changes, seed) in (0..10).flat_map(|changes| (0..8).map(move |seed| (changes, seed))) {
        let disk = VolatileFs::default();
        disk.create_dir(dir).unwrap();
        let open = |disk: &VolatileFs, around: &Surroundings| Cursor::open(Arc::new(disk.clone()), path, around);
        let mut cursor = open(&disk, &new_at(10)).unwrap();
        cursor.settle(10..20, Settlement::Forwarded).unwrap();
        cursor.sync().unwrap();
        // Killed in the middle of beginning anew in place of a damaged one.
        cursor.file.write_all_at(&[1; ENTRY_LEN], cursor.end).unwrap();
        drop(cursor);
        disk.cut_after(changes);
        drop(open(&disk, &around()));
        let disk = disk.kill();
        let mut cursor = open(&disk, &around()).unwrap();
        cursor.settle(20..900, Settlement::Forwarded).unwrap();
        cursor.sync().unwrap();
        assert_eq!(cursor.durable_low(), 900);
        let disk = disk.cut(&mut fastrand::Rng::with_seed(seed));
        let cursor = open(&disk, &Surroundings { boot: Boot::of(2), ..around() }).unwrap();
        assert_eq!(cursor.low(), 900, "{changes} changes, seed {seed}: the spool has given back what is below");
    }
}

#[test]
fn the_ceiling_is_ahead_of_steady_traffic_without_syncs_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut cursor = begin(&dir);
    let mut outrun = 0;
    for second in 0..60 {
        for batch in 0..20 {
            let first = 10 + (second * 20 + batch) * 1_000;
            if !cursor.has_room_for(first + 1_000) {
                outrun += 1;
                let sync = cursor.begin_sync(first + 1_000).unwrap();
                let result = sync.run();
                cursor.end_sync(&sync, result).unwrap();
            }
            cursor.begin(first..first + 1_000).unwrap();
            cursor.settle(first..first + 1_000, Settlement::Forwarded).unwrap();
        }
        cursor.sync().unwrap();
    }
    assert!((1..8).contains(&outrun), "{outrun} syncs on the way of a batch");
}

#[test]
fn a_position_of_the_version_before_is_read_and_its_batches_keep_their_borders() {
    let dir = tempfile::tempdir().unwrap();
    let entries = [
        Entry::Low { low: 20, start: 10 },
        Entry::High(40),
        Entry::Total(Settlement::Forwarded, 10),
        Entry::Total(Settlement::DeadLettered, 0),
        Entry::Total(Settlement::Damaged, 0),
        Entry::Total(Settlement::Skipped, 0),
        Entry::Begin(20..30),
    ];
    let mut bytes = journal::FileHeader::encode().to_vec();
    bytes[24] = 1;
    let crc = crc32fast::hash(&bytes[4..ENTRY_LEN]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    entries.iter().zip(1..).for_each(|(entry, number)| bytes.extend_from_slice(&entry.encode(number)));
    bytes.resize(ALLOCATED as usize, 0);
    std::fs::write(path(&dir), bytes).unwrap();
    let cursor = open_in(&dir, &around());
    assert_eq!((cursor.start(), cursor.low(), cursor.high(), cursor.totals().forwarded), (10, 20, 40, 10));
    assert_eq!(cursor.open_batches(), std::slice::from_ref(&(20..30)));
    assert_eq!(cursor.found(), Found::default());
    drop(cursor);
    assert_eq!(open(&dir).open_batches(), std::slice::from_ref(&(20..30)));
}

#[test]
fn a_long_journal_is_written_anew_and_says_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let mut cursor = begin(&dir);
    cursor.begin(5_000_000..5_000_010).unwrap();
    for i in 5..30_000 {
        cursor.settle(i * 2..i * 2 + 1, Settlement::Forwarded).unwrap();
        cursor.settle(i * 2 + 1..i * 2 + 2, Settlement::Skipped).unwrap();
    }
    assert!(cursor.end < COMPACT_AT);
    let State { low, settled, begun, totals, high, .. } = cursor.state.clone();
    drop(cursor);
    let again = open(&dir).state;
    assert_eq!((again.low, again.settled, again.begun, again.totals, again.high), (low, settled, begun, totals, high));
}

#[test]
fn a_full_disk_stops_new_batches_and_what_was_settled_is_written_later() {
    let dir = tempfile::tempdir().unwrap();
    let (fs, faults) = FaultyFs::new(Arc::new(RealFs));
    let mut cursor = Cursor::open(fs, &path(&dir), &new_at(0)).unwrap();
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
    assert_eq!(open(&dir).low(), 10);
}

/// A position that is written anew, as far as its low mark tells what it holds.
struct WrittenAnew;

impl Durable for WrittenAnew {
    fn write(&self, fs: &Arc<dyn Fs>, version: u8) -> io::Result<()> {
        let mut state = new_at(0).without_journal().state;
        state.apply(&Entry::Settle(0..version.into(), Settlement::Forwarded));
        write_anew(&**fs, &trial::path("siem.cursor"), &state).map(drop)
    }

    fn read(&self, fs: &Arc<dyn Fs>) -> Result<Option<u8>, String> {
        match Cursor::look(Arc::clone(fs), &trial::path("siem.cursor")) {
            Ok(cursor) if cursor.found().loss.is_some() => Err("damaged".to_owned()),
            Ok(cursor) => Ok(u8::try_from(cursor.low()).ok()),
            Err(error) => Err(error.to_string()),
        }
    }
}

#[test]
fn a_position_that_is_written_anew_survives_a_failing_disk_and_a_power_cut() {
    trial::pass(&WrittenAnew);
}

#[test]
fn another_format_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(begin(&dir));
    let mut bytes = std::fs::read(path(&dir)).unwrap();
    bytes[24] = 9;
    let crc = crc32fast::hash(&bytes[4..ENTRY_LEN]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    let file = RealFs.open(&path(&dir), Access::ReadWrite).unwrap();
    file.write_all_at(&bytes, 0).unwrap();
    let refused = Cursor::open(Arc::new(RealFs), &path(&dir), &around());
    assert!(matches!(refused, Err(CursorError::Version { found: 9, .. })));
}

#[test]
fn while_a_sync_runs_others_settle_and_only_what_came_before_it_counts_as_durable() {
    let dir = tempfile::tempdir().unwrap();
    let mut cursor = open_in(&dir, &new_at(0));
    cursor.settle(0..5, Settlement::Forwarded).unwrap();
    let sync = cursor.begin_sync(0).unwrap();
    cursor.settle(5..9, Settlement::Forwarded).unwrap();
    let result = sync.run();
    cursor.end_sync(&sync, result).unwrap();
    assert_eq!((cursor.low(), cursor.durable_low()), (9, 5));

    let failed = cursor.begin_sync(0).unwrap();
    assert!(cursor.end_sync(&failed, Err(io::ErrorKind::Other.into())).is_err());
    assert_eq!(cursor.durable_low(), 5, "nothing is durable by a sync that failed");
    cursor.sync().unwrap();
    assert_eq!(cursor.durable_low(), 9);
    // The journal was written anew meanwhile: the old file's failure says nothing.
    cursor.end_sync(&failed, Err(io::ErrorKind::Other.into())).unwrap();
    assert_eq!(cursor.durable_low(), 9);
}
