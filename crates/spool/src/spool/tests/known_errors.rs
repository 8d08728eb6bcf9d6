//! What has gone wrong elsewhere: failed syncs, full disks, torn tails, flipped bits.

use super::*;
use crate::fs::faulty::FaultyFs;
use crate::spool::{AppendError, Health};

fn segment_files(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "seg")).collect();
    files.sort();
    files
}

#[tokio::test]
async fn bytes_of_a_failed_sync_never_replay_once_a_later_append_succeeded() {
    let dir = tempfile::tempdir().unwrap();
    let (fs, faults) = FaultyFs::new(Arc::new(RealFs));
    let (spool, _) = open_on(fs, dir.path());
    spool.append(numbered(1)).await.unwrap();
    faults.fail_syncs(1, 1);
    assert!(matches!(spool.append(numbered(2)).await, Err(AppendError::Failed { .. })));
    assert_eq!(spool.append(numbered(3)).await.unwrap().first, 1);
    assert_eq!(spool.status().health, Health::Ok);
    assert_eq!(read_all(&spool, 0), (vec![1, 3], vec![]));
    spool.close();
    let (spool, _) = open(dir.path());
    assert_eq!(read_all(&spool, 0), (vec![1, 3], vec![]));
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (fs, faults) = FaultyFs::new(Arc::new(RealFs));
    faults.disk_full(true);
    let (spool, _) = open_on(fs, dir.path());
    assert_eq!(spool.append(numbered(1)).await, Err(AppendError::Full));
    assert!(matches!(spool.status().health, Health::Full { .. }));
    faults.disk_full(false);
    spool.append(numbered(2)).await.unwrap();
    assert_eq!(read_all(&spool, 0), (vec![2], vec![]));
}

#[tokio::test]
async fn the_quota_refuses_and_release_makes_room_in_recycled_files() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    let mut appended = 0;
    while spool.append(numbered(appended)).await.is_ok() {
        appended += 1;
    }
    assert!(spool.status().bytes <= 1 << 20 && spool.status().above_watermark);
    spool.release(u64::from(appended) / 2);
    for _ in 0..200 {
        spool.append(numbered(appended)).await.unwrap();
        appended += 1;
    }
    assert!(spool.status().bytes <= 1 << 20);
    let first = spool.status().first;
    let kept: Vec<u32> = (first as u32..appended).collect();
    assert_eq!(read_all(&spool, first), (kept.clone(), vec![]));
    spool.close();
    let (spool, recovered) = open(dir.path());
    assert_eq!((recovered.first, recovered.damaged.len()), (first, 0));
    assert_eq!(read_all(&spool, first), (kept, vec![]));
}

#[tokio::test]
async fn a_flipped_bit_loses_only_the_record_it_is_in_and_a_torn_tail_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    for n in 0..80 {
        spool.append(numbered(n)).await.unwrap();
    }
    spool.close();
    let first_file = segment_files(dir.path())[0].clone();
    let whole = std::fs::read(&first_file).unwrap();
    for at in [3, 20, 4096, 4100, 4170, 4180, 5000, 9000, 40_000] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(&first_file, &bytes).unwrap();
        let (spool, _) = open(dir.path());
        let (numbers, lost) = read_all(&spool, 0);
        let lost_items: u64 = lost.iter().map(|range| range.end - range.start).sum();
        assert_eq!(numbers.len() as u64 + lost_items, 80, "byte {at}");
        assert!(lost_items <= 1, "byte {at}: {lost:?}");
    }
    std::fs::write(&first_file, &whole).unwrap();
    let last_file = segment_files(dir.path()).pop().unwrap();
    let mut bytes = std::fs::read(&last_file).unwrap();
    let (spool, recovered) = open(dir.path());
    assert_eq!(recovered.end, 80);
    spool.close();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[end - 20] ^= 1;
    std::fs::write(&last_file, &bytes).unwrap();
    let (spool, recovered) = open(dir.path());
    assert_eq!(recovered.end, 79);
    assert!(recovered.torn_bytes > 0 && recovered.damaged.is_empty());
    assert_eq!(spool.append(numbered(500)).await.unwrap().first, 79);
    assert_eq!(read_all(&spool, 70).0, [70, 71, 72, 73, 74, 75, 76, 77, 78, 500]);
}
