//! Nothing is acknowledged into files that were taken away under the running process.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::spool::{AppendError, Health};

/// A spool with a record in it, within a state directory that can be taken away.
async fn running(dir: &Path) -> (Spool, PathBuf) {
    let path = dir.join("state/spool");
    let (spool, _) = open(&path);
    spool.append(numbered(0)).await.unwrap();
    (spool, path)
}

async fn assert_refuses_for_good(spool: &Spool, why: &str) {
    for n in 1..4 {
        let refused = spool.append(numbered(n)).await.unwrap_err();
        assert!(matches!(&refused, AppendError::Failed { reason } if reason.contains("removed")), "{why}: {refused:?}");
    }
    assert!(!spool.is_in_place(), "{why}");
    assert!(matches!(spool.status().health, Health::Removed { .. }), "{why}: {:?}", spool.status().health);
}

#[tokio::test]
async fn after_a_removal_no_append_is_acknowledged_also_when_the_place_is_there_again() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, path) = running(dir.path()).await;
    fs::remove_dir_all(dir.path().join("state")).unwrap();
    assert_refuses_for_good(&spool, "removed").await;
    fs::create_dir_all(&path).unwrap();
    assert_refuses_for_good(&spool, "made anew").await;
    assert_eq!(fs::read_dir(&path).unwrap().count(), 0, "a state that is not ours is not filled");
}

#[tokio::test]
async fn a_segment_that_was_deleted_replaced_or_moved_away_takes_nothing_more() {
    let taken: [fn(&Path, &Path); 4] = [
        |segment, _| fs::remove_file(segment).unwrap(),
        |segment, _| {
            let bytes = fs::read(segment).unwrap();
            fs::remove_file(segment).unwrap();
            fs::write(segment, bytes).unwrap();
        },
        |segment, _| fs::rename(segment, segment.with_extension("mine")).unwrap(),
        |_, spool| fs::rename(spool, spool.with_extension("mine")).unwrap(),
    ];
    for (n, take) in taken.iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, path) = running(dir.path()).await;
        let files = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
        let segment = files.filter(|file| file.extension().is_some_and(|extension| extension == "seg")).max().unwrap();
        take(&segment, &path);
        assert_refuses_for_good(&spool, &n.to_string()).await;
    }
}

#[tokio::test]
async fn what_its_owner_holds_must_stay_too() {
    let dir = tempfile::tempdir().unwrap();
    let lock = dir.path().join("lock");
    fs::write(&lock, "").unwrap();
    let (spool, _) = running(dir.path()).await;
    spool.hold(&lock, RealFs.id(&lock).unwrap());
    spool.append(numbered(1)).await.unwrap();
    assert!(spool.is_in_place());
    fs::remove_file(&lock).unwrap();
    assert_refuses_for_good(&spool, "the lock").await;
}

#[tokio::test]
async fn a_spool_that_was_just_opened_knows_its_segment() {
    let dir = tempfile::tempdir().unwrap();
    drop(running(dir.path()).await);
    let path = dir.path().join("state/spool");
    let (spool, _) = open(&path);
    assert!(spool.is_in_place());
    let files: Vec<PathBuf> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.iter().for_each(|file| fs::remove_file(file).unwrap());
    assert!(!spool.is_in_place(), "without any append in between");
    assert_refuses_for_good(&spool, "opened").await;
}
