use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;

use super::*;
use crate::event::key::encode_keys;

const WINDOW: Duration = Duration::from_secs(86_400);
const NOW: i64 = 1_700_000_000;

fn run(first: u64, count: u64) -> Vec<EventKey> {
    (first..first + count)
        .map(|record_id| EventKey::Record { stream: 5, record_id, second: NOW, event_id: Some(4_624) })
        .collect()
}

fn journal(dir: &tempfile::TempDir) -> Journal {
    Journal::open(&dir.path().join("dedup"), WINDOW).expect("the journal opens")
}

fn append(journal: &mut Journal, unix_s: i64, keys: &[EventKey]) {
    journal.append(unix_s, &encode_keys(keys)).expect("the keys are appended");
}

fn load(journal: &mut Journal) -> (Loaded, Vec<(i64, Vec<EventKey>)>) {
    let mut all = Vec::new();
    let loaded = journal.load(NOW, |unix_s, keys| all.push((unix_s, keys))).expect("the journal is read");
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
fn a_journal_of_an_older_version_is_loaded_and_continued() {
    // Ten record ids from 0 on, without event ids: as many bytes for each second and id as were written then.
    let mut old = vec![10, 1, 10];
    old.extend_from_slice(&5u128.to_le_bytes());
    old.extend_from_slice(&[0, 0]);
    old.extend_from_slice(&[2, 0].repeat(9));
    let old_keys = (0..10).map(|record_id| EventKey::OldRecord { stream: 5, record_id, second: 0 }).collect();
    let dir = tempfile::tempdir().expect("a directory");
    let mut writer = journal(&dir);
    writer.append(NOW - 5, &old).expect("appended");
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
    writer.append(NOW, &[0xFF; 5]).expect("appended");
    writer.sync().expect("synced");
    assert_eq!(load(&mut writer).0, Loaded { corrupt: 1, ..Loaded::default() });
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

proptest! {
    #[test]
    fn a_scan_finds_every_intact_frame(
        parts in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..40)), 0..20),
    ) {
        let (mut bytes, mut frames, mut good_end) = (Vec::new(), Vec::new(), 0);
        for (i, (is_frame, part)) in parts.into_iter().enumerate() {
            if is_frame {
                frame::write(&mut bytes, i as i64, &part);
                frames.push((i as i64, part));
                good_end = bytes.len() as u64;
            } else {
                bytes.extend_from_slice(&part);
            }
        }
        let mut found = Vec::new();
        let scan = frame::scan(&bytes[..], |unix_s, payload| found.push((unix_s, payload.to_vec())))?;
        prop_assert_eq!(found, frames);
        prop_assert_eq!((scan.good_end, scan.torn_bytes), (good_end, bytes.len() as u64 - good_end));
    }
}
