use std::fs;
use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;

use super::*;
use crate::event::key::encode_keys;
use crate::fs::RealFs;
use crate::fs::faulty::FaultyFs;
use crate::fs::trial::{self, Durable};
use crate::fs::volatile::VolatileFs;

const WINDOW: Duration = Duration::from_secs(86_400);
const NOW: i64 = 1_700_000_000;

fn run(first: u64, count: u64) -> Vec<EventKey> {
    (first..first + count)
        .map(|record_id| EventKey::Record { stream: 5, record_id, second: NOW, event_id: Some(4_624) })
        .collect()
}

fn journal(dir: &tempfile::TempDir) -> Journal {
    Journal::open(Arc::new(RealFs), &dir.path().join("dedup"), WINDOW).expect("the journal opens")
}

fn append(journal: &mut Journal, unix_s: i64, keys: &[EventKey]) {
    append_at(journal, unix_s, 0, keys);
}

/// Appends the keys of events from this ordinal on.
fn append_at(journal: &mut Journal, unix_s: i64, first: u64, keys: &[EventKey]) {
    let ordinals = first..first + keys.len() as u64;
    journal.append(unix_s, ordinals, &encode_keys(keys)).expect("the keys are appended");
}

/// What a batch holds.
fn entries(batch: Vec<(i64, Entry)>) -> Vec<Entry> {
    batch.into_iter().map(|(_, entry)| entry).collect()
}

fn load(journal: &mut Journal) -> (Loaded, Vec<(i64, Vec<EventKey>)>) {
    let mut all = Vec::new();
    let loaded = journal.load(NOW, 1, |batch| batch, |batch| all.extend(batch)).expect("the journal is read");
    let all = all.into_iter().map(|(unix_s, entry)| match entry {
        Entry::Seen(keys) => (unix_s, keys),
        Entry::Forgotten(keys) => panic!("nobody forgot {keys:?}"),
    });
    let all = all.collect();
    (loaded, all)
}

/// A journal of three frames of ten keys in one file, and that file.
fn three_frames(dir: &tempfile::TempDir) -> PathBuf {
    let mut journal = journal(dir);
    (0..3).for_each(|i| append(&mut journal, NOW, &run(i * 10, 10)));
    journal.sync().expect("synced");
    journal.files().expect("files")[0].1.clone()
}

#[test]
fn what_was_synced_is_loaded_with_its_time_from_old_to_new() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut writer = journal(&dir);
    append(&mut writer, NOW - 10_000, &run(0, 300));
    append(&mut writer, NOW - 10_000, &[EventKey::Content(9)]);
    append(&mut writer, NOW - 5, &run(300, 1));
    writer.sync().expect("synced");
    let (loaded, all) = load(&mut journal(&dir));
    assert_eq!(loaded, Loaded { keys: 302, ..Loaded::default() });
    let expected =
        vec![(NOW - 10_000, run(0, 300)), (NOW - 10_000, vec![EventKey::Content(9)]), (NOW - 5, run(300, 1))];
    assert_eq!(all, expected);
}

#[test]
fn files_are_handed_out_in_their_order_however_many_are_read_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut writer = journal(&dir);
    let times: Vec<i64> = (0..40).map(|at| NOW - 80_000 + at * 1_900).collect();
    for (at, unix_s) in (0..).zip(&times) {
        // The older a file, the longer it takes.
        let keys = 20_000 / (at + 1);
        append_at(&mut writer, *unix_s, at * 100_000, &run(at * 100_000, keys));
    }
    writer.sync().expect("synced");
    let (mut again, mut all) = (journal(&dir), Vec::new());
    let loaded = again.load(NOW, 100, |batch| batch, |batch| all.extend(batch)).expect("the journal is read");
    assert_eq!(all.iter().map(|(unix_s, _)| *unix_s).collect::<Vec<_>>(), times);
    assert_eq!((loaded.corrupt, again.progress().files()), (0, (40, 40)));
    let lost = 3_900_000..3_900_002;
    assert_eq!(again.keys_of(&[lost]).expect("read"), run(3_900_000, 2));
}

#[test]
fn a_journal_of_an_older_version_is_loaded_and_continued() {
    // Ten record ids from 0 on, without event ids: as many bytes for each second and id as were written then.
    let mut old = vec![10, 1, 10];
    old.extend_from_slice(&5u128.to_le_bytes());
    old.extend_from_slice(&[0, 0]);
    old.extend_from_slice(&[2, 0].repeat(9));
    let old_keys = (0..10).map(|record_id| EventKey::OldRecord { stream: 5, record_id, second: 0 }).collect();
    let dir = tempfile::tempdir().expect("a directory");
    let mut writer = journal(&dir);
    writer.append(NOW - 5, 0..10, &old).expect("appended");
    append(&mut writer, NOW, &run(0, 10));
    writer.sync().expect("synced");
    let (loaded, all) = load(&mut journal(&dir));
    assert_eq!(loaded, Loaded { keys: 20, ..Loaded::default() });
    assert_eq!(all, [(NOW - 5, old_keys), (NOW, run(0, 10))]);
}

#[test]
fn only_the_owner_may_read_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = three_frames(&dir);
    let mode = |path: &Path| path.metadata().expect("it exists").permissions().mode() & 0o777;
    assert_eq!(mode(&file), 0o600);
    assert_eq!(mode(&dir.path().join("dedup")), 0o700);
}

#[test]
fn a_torn_end_is_cut_and_appending_goes_on_behind_the_rest() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = three_frames(&dir);
    let whole = fs::read(&file).expect("read");
    let frame = whole.len() / 3;
    for torn in [1, frame - 1] {
        fs::write(&file, &whole[..2 * frame + torn]).expect("write");
        let mut again = journal(&dir);
        assert_eq!(load(&mut again).0, Loaded { keys: 20, corrupt: 0, torn_bytes: torn as u64 });
        append(&mut again, NOW, &run(20, 10));
        again.sync().expect("synced");
        assert_eq!(fs::read(&file).expect("read"), whole);
    }
}

#[test]
fn a_damaged_frame_is_skipped_and_counted() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = three_frames(&dir);
    let whole = fs::read(&file).expect("read");
    for at in 0..whole.len() / 3 {
        let mut damaged = whole.clone();
        damaged[whole.len() / 3 + at] ^= 0xFF;
        fs::write(&file, &damaged).expect("write");
        let (loaded, all) = load(&mut journal(&dir));
        assert_eq!(loaded, Loaded { keys: 20, corrupt: 1, torn_bytes: 0 }, "byte {at}");
        assert_eq!(all, [(NOW, run(0, 10)), (NOW, run(20, 10))]);
    }
}

#[test]
fn an_intact_frame_that_holds_no_keys_is_counted_as_corrupt() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut writer = journal(&dir);
    writer.append(NOW, 0..1, &[0xFF; 5]).expect("appended");
    writer.sync().expect("synced");
    assert_eq!(load(&mut writer).0, Loaded { corrupt: 1, ..Loaded::default() });
}

#[test]
fn keys_are_found_by_the_ordinals_of_their_events_also_by_the_next_process() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut writer = journal(&dir);
    append_at(&mut writer, NOW - 10_000, 0, &run(0, 300));
    // The last key is of a record that was set aside: it has no ordinal.
    writer.append(NOW - 9_000, 300..302, &encode_keys(&run(300, 3))).expect("appended");
    append_at(&mut writer, NOW - 5, 302, &run(400, 50));
    writer.sync().expect("synced");
    let lost = [5..7, 299..303, 351..360];
    let keys = [run(5, 2), run(299, 3), run(400, 1), run(449, 1)].concat();
    assert_eq!(writer.keys_of(&lost).expect("read"), keys);
    let mut next = journal(&dir);
    load(&mut next);
    assert_eq!(next.keys_of(&lost).expect("read"), keys);
    assert_eq!(next.keys_of(&[352..360, 370..400]).expect("read"), []);
}

#[test]
fn what_was_forgotten_is_told_in_its_place() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut writer = journal(&dir);
    append(&mut writer, NOW, &run(0, 3));
    writer.forget(NOW, &run(1, 1)).expect("forgotten");
    append(&mut writer, NOW, &run(1, 1));
    writer.sync().expect("synced");
    let mut all = Vec::new();
    let loaded = journal(&dir).load(NOW, 1, entries, |batch| all.extend(batch)).expect("the journal is read");
    assert_eq!(all, [Entry::Seen(run(0, 3)), Entry::Forgotten(run(1, 1)), Entry::Seen(run(1, 1))]);
    assert_eq!(loaded.keys, 4);
}

#[test]
fn a_journal_of_the_version_before_ordinals_is_read_and_a_flipped_kind_forgets_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = three_frames(&dir);
    let mut bytes = Vec::new();
    frame::write(&mut bytes, Kind::Keys, NOW, &encode_keys(&run(0, 10)));
    let former = bytes.len();
    frame::write(&mut bytes, Kind::NumberedKeys, NOW, &[&[0; 16][..], &encode_keys(&run(10, 10))].concat());
    for (at, kind, kept) in [(3, b'1', 20), (3, b'3', 10), (former + 3, b'3', 10), (former + 3, b'1', 10)] {
        let mut damaged = bytes.clone();
        damaged[at] = kind;
        fs::write(&file, &damaged).expect("write");
        assert_eq!(load(&mut journal(&dir)).0.keys, kept, "kind {} at {at}", char::from(kind));
    }
}

#[test]
fn files_past_the_window_go_and_strangers_stay() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut writer = journal(&dir);
    for hours in [50, 25, 23, 1] {
        append(&mut writer, NOW - hours * 3_600, &run(hours as u64, 1));
    }
    let stranger = dir.path().join("dedup/notes.txt");
    fs::write(&stranger, "mine").expect("write");
    assert_eq!(load(&mut writer).0.keys, 1, "only the file that is complete is on disk");
    writer.sync().expect("synced");
    assert_eq!(load(&mut writer).0.keys, 2);
    assert_eq!(writer.expire(NOW).expect("expired"), 2);
    assert_eq!(load(&mut writer).0.keys, 2);
    assert_eq!(writer.expire(NOW + 90_000).expect("expired"), 1, "the open file stays");
    assert!(stranger.exists());
}

#[test]
fn the_keys_of_events_are_found_beside_whoever_writes_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut writer = Journal::open(Arc::new(RealFs), &dir.path().join("dedup"), WINDOW).expect("the journal opens");
    for first in 0..4 {
        let stamp = NOW - 3_000 + 1_000 * i64::try_from(first).expect("small");
        writer.append(stamp, first * 10..first * 10 + 10, &encode_keys(&run(first * 10, 12))).expect("appended");
    }
    writer.sync().expect("synced");
    let found = |since, wanted: &[std::ops::Range<u64>], most: usize| {
        let mut found = Vec::new();
        numbered(&RealFs, &dir.path().join("dedup"), since, wanted, |ordinals, keys| {
            found.push((ordinals, keys.len()));
            found.len() < most
        })
        .expect("it is readable");
        found
    };
    assert_eq!(found(0, &[0..5, 25..26], 9), [(0..10, 12), (20..30, 12)]);
    let all = std::slice::from_ref(&(0..40));
    assert_eq!(found(NOW - 2_000, all, 9), [(20..30, 12), (30..40, 12)]);
    assert_eq!(found(0, all, 2).len(), 2);
}

/// The journal, as far as the last key tells what it holds.
struct LastKey;

impl LastKey {
    fn open(fs: &Arc<dyn Fs>) -> Journal {
        Journal::open(Arc::clone(fs), &trial::path("dedup"), WINDOW).expect("the journal opens")
    }
}

impl Durable for LastKey {
    fn folders(&self) -> Vec<PathBuf> {
        vec![trial::path("dedup")]
    }

    fn write(&self, fs: &Arc<dyn Fs>, version: u8) -> io::Result<()> {
        let mut journal = Journal::open(Arc::clone(fs), &trial::path("dedup"), WINDOW).map_err(|error| error.source)?;
        let written = journal.append(NOW, 0..1, &encode_keys(&run(version.into(), 1)));
        written.and_then(|()| journal.sync()).map_err(|error| error.source)
    }

    fn read(&self, fs: &Arc<dyn Fs>) -> Result<Option<u8>, String> {
        let mut last = None;
        let loaded = Self::open(fs)
            .load(NOW, 1, entries, |batch| last = batch.last().cloned())
            .map_err(|error| error.to_string())?;
        match last {
            _ if loaded.corrupt > 0 => Err("damaged".to_owned()),
            Some(Entry::Seen(keys)) => {
                let versions = (1..=3).find(|version| keys == run(u64::from(*version), 1));
                versions.map(Some).ok_or_else(|| format!("{keys:?}"))
            }
            Some(other) => Err(format!("{other:?}")),
            None => Ok(None),
        }
    }
}

#[test]
fn the_journal_survives_a_power_cut_and_a_disk_that_lies() {
    trial::loses_power_at_every_change(&LastKey);
    trial::stands_on_a_disk_that_lies(&LastKey);
}

#[test]
fn what_a_failing_disk_took_half_is_appended_again_and_is_no_damage_to_the_next_start() {
    for nth in 1..50 {
        let disk = VolatileFs::default();
        disk.create_dir(&trial::path("dedup")).expect("a folder");
        let (fs, faults) = FaultyFs::new(Arc::new(disk.clone()));
        let mut journal = LastKey::open(&(fs as Arc<dyn Fs>));
        append(&mut journal, NOW, &run(0, 100));
        journal.sync().expect("synced");
        faults.fail_changes(nth, 1);
        let mut failures = 0;
        loop {
            let keys = encode_keys(&run(100, 100));
            // Into another file too.
            let appended = journal.append(NOW, 0..100, &keys).and_then(|()| journal.append(NOW + 3_600, 0..100, &keys));
            match appended.and_then(|()| journal.sync()) {
                Ok(()) => break,
                Err(_) => failures += 1,
            }
        }
        assert_eq!(failures, u8::from(faults.failed().is_some()), "change {nth}: a failure is told");
        let left: Arc<dyn Fs> = Arc::new(disk.cut(&mut fastrand::Rng::with_seed(nth)));
        let mut found = Vec::new();
        let loaded =
            LastKey::open(&left).load(NOW, 1, entries, |batch| found.extend(batch)).expect("the journal is read");
        assert_eq!((loaded.corrupt, loaded.torn_bytes), (0, 0), "change {nth}, {:?}", faults.failed());
        assert_eq!(found[0], Entry::Seen(run(0, 100)));
        assert!(found.iter().filter(|entry| **entry == Entry::Seen(run(100, 100))).count() >= 2, "change {nth}");
        if failures == 0 {
            assert!(nth > 4, "nothing was changed");
            return;
        }
    }
    panic!("it never came to its end");
}

proptest! {
    #[test]
    fn a_scan_finds_every_intact_frame(
        parts in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..40)), 0..20),
    ) {
        let (mut bytes, mut frames, mut good_end) = (Vec::new(), Vec::new(), 0);
        for (i, (is_frame, part)) in parts.into_iter().enumerate() {
            if is_frame {
                let kind = [Kind::Keys, Kind::NumberedKeys, Kind::Forgotten][i % 3];
                frame::write(&mut bytes, kind, i as i64, &part);
                frames.push((kind, i as i64, part));
                good_end = bytes.len() as u64;
            } else {
                bytes.extend_from_slice(&part);
            }
        }
        let mut found = Vec::new();
        let scan = frame::scan(&bytes[..], |frame| found.push((frame.kind, frame.unix_s, frame.payload.to_vec())))?;
        prop_assert_eq!(found, frames);
        prop_assert_eq!((scan.good_end, scan.torn_bytes), (good_end, bytes.len() as u64 - good_end));
    }
}
