//! Each event once: through crashes at any byte, full disks, rotation, and people who move files about.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::writer::{WriteError, Writer};
use super::{Config, File};
use crate::outputs::output::{Outcome, Output, RetryReason, Row};

/// Everything in the directory, in the order of the files.
fn content(directory: &Path) -> String {
    let mut names: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names.retain(|path| path.extension().is_some_and(|extension| extension == "ndjson"));
    names.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

fn writer(directory: &Path) -> Writer {
    Writer::new(directory.to_owned(), 1 << 20, 0)
}

/// A disk that takes so many bytes of the next write, and then fails.
fn failing_writer(directory: &Path, takes: Arc<AtomicUsize>) -> Writer {
    let put = move |file: &mut fs::File, bytes: &[u8]| {
        let room = takes.load(Ordering::Relaxed).min(bytes.len());
        file.write_all(&bytes[..room])?;
        file.sync_data()?;
        if room < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    };
    Writer::with_put(directory.to_owned(), 1 << 20, 0, Box::new(put))
}

/// The directory as a crash leaves it when `cut` bytes of batch "b" were written after batch "a".
fn crashed(directory: &Path, cut: usize) {
    let mut writer = writer(directory);
    writer.write("a", b"1\n2\n").unwrap();
    writer.write("b", b"3\n4\n").unwrap();
    drop(writer);
    let file = fs::OpenOptions::new().write(true).open(directory.join("events-00000001.ndjson")).unwrap();
    file.set_len(4 + cut as u64).unwrap();
}

#[test]
fn a_batch_sent_again_after_a_crash_at_any_byte_is_there_once() {
    for cut in 0..=4 {
        let dir = tempfile::tempdir().unwrap();
        crashed(dir.path(), cut);
        let mut writer = writer(dir.path());
        writer.write("b", b"3\n4\n").unwrap();
        writer.write("c", b"5\n").unwrap();
        assert_eq!(content(dir.path()), "1\n2\n3\n4\n5\n", "cut at {cut}");
    }
}

#[test]
fn half_a_batch_goes_when_another_one_comes_first() {
    for cut in 0..4 {
        let dir = tempfile::tempdir().unwrap();
        crashed(dir.path(), cut);
        writer(dir.path()).write("c", b"5\n").unwrap();
        assert_eq!(content(dir.path()), "1\n2\n5\n", "cut at {cut}");
    }
}

#[test]
fn a_batch_that_is_there_is_not_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = writer(dir.path());
    first.write("a", b"1\n").unwrap();
    first.write("a", b"1\n").unwrap();
    drop(first);
    let refuse = |_: &mut fs::File, _: &[u8]| Err(io::ErrorKind::PermissionDenied.into());
    let mut second = Writer::with_put(dir.path().to_owned(), 1 << 20, 0, Box::new(refuse));
    second.write("a", b"1\n").unwrap();
    assert_eq!(content(dir.path()), "1\n");
}

#[test]
fn a_crash_before_the_note_of_a_batch_was_whole_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = writer(dir.path());
    first.write("a", b"1\n").unwrap();
    drop(first);
    // The note of turn 2 goes to the first slot.
    let path = dir.path().join(".position");
    let mut sidecar = fs::read(&path).unwrap();
    sidecar[..20].copy_from_slice(b"deadbeef {\"turn\":2,\"");
    fs::write(&path, sidecar).unwrap();
    let mut second = writer(dir.path());
    second.write("b", b"2\n").unwrap();
    second.write("c", b"3\n").unwrap();
    assert_eq!(content(dir.path()), "1\n2\n3\n");
}

#[test]
fn a_full_disk_leaves_no_trace_and_the_batch_is_there_once_when_there_is_room() {
    for takes in 0..4 {
        let dir = tempfile::tempdir().unwrap();
        let room = Arc::new(AtomicUsize::new(usize::MAX));
        let mut writer = failing_writer(dir.path(), Arc::clone(&room));
        writer.write("a", b"1\n").unwrap();
        room.store(takes, Ordering::Relaxed);
        for _ in 0..3 {
            assert!(matches!(writer.write("b", b"2\n3\n"), Err(WriteError::Io { .. })));
            assert_eq!(content(dir.path()), "1\n", "no half batch for readers to see");
        }
        room.store(usize::MAX, Ordering::Relaxed);
        writer.write("b", b"2\n3\n").unwrap();
        writer.write("c", b"4\n").unwrap();
        assert_eq!(content(dir.path()), "1\n2\n3\n4\n");
    }
}

#[tokio::test]
async fn a_full_disk_is_a_reason_to_try_again() {
    let dir = tempfile::tempdir().unwrap();
    let room = Arc::new(AtomicUsize::new(3));
    let output = File::with_writer(&Config::default(), failing_writer(dir.path(), Arc::clone(&room)));
    let batch = crate::outputs::output::Request::new("a".to_owned(), output.body(&[Row::timeless("{\"n\":1}".into())]));
    let outcome = output.send(0, &batch).await;
    assert!(matches!(outcome, Outcome::Retry { after: None, reason: RetryReason::Failed, .. }), "{outcome:?}");
    room.store(usize::MAX, Ordering::Relaxed);
    assert_eq!(output.send(0, &batch).await, Outcome::Accepted);
    assert_eq!(content(dir.path()), "{\"n\":1}\n");
}

#[test]
fn bytes_whose_flush_failed_prove_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut writes = 0;
    let put = move |file: &mut fs::File, bytes: &[u8]| {
        writes += 1;
        file.write_all(bytes)?;
        if writes == 1 { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
    };
    let mut writer = Writer::with_put(dir.path().to_owned(), 1 << 20, 0, Box::new(put));
    assert!(writer.write("a", b"1\n").is_err());
    assert_eq!(content(dir.path()), "", "taken out, though it could be read back");
    writer.write("a", b"1\n").unwrap();
    assert_eq!(content(dir.path()), "1\n");
}

#[test]
fn files_rotate_at_their_size_and_only_the_newest_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(dir.path().to_owned(), 4, 3);
    for n in 1..=9 {
        writer.write(&n.to_string(), format!("{n}\n").as_bytes()).unwrap();
    }
    assert_eq!(content(dir.path()), "5\n6\n7\n8\n9\n");
    writer.write("large", b"larger than a file may be\n").unwrap();
    assert_eq!(content(dir.path()), "7\n8\n9\nlarger than a file may be\n");
}

#[test]
fn a_file_that_somebody_changed_or_took_away_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut running = writer(dir.path());
    running.write("a", b"1\n").unwrap();
    let first = dir.path().join("events-00000001.ndjson");
    fs::write(&first, "1\nforeign\n").unwrap();
    running.write("b", b"2\n").unwrap();
    fs::remove_file(dir.path().join("events-00000002.ndjson")).unwrap();
    running.write("c", b"3\n").unwrap();
    drop(running);
    fs::write(dir.path().join("events-00000002.ndjson"), "mine\n").unwrap();
    let mut restarted = writer(dir.path());
    restarted.write("d", b"4\n").unwrap();
    assert_eq!(content(dir.path()), "1\nforeign\nmine\n3\n4\n");
}

#[test]
fn one_writer_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut old = writer(dir.path());
    old.write("a", b"1\n").unwrap();
    let mut new = writer(dir.path());
    assert!(matches!(new.write("b", b"2\n"), Err(WriteError::Locked { .. })));
    drop(old);
    new.write("b", b"2\n").unwrap();
    assert_eq!(content(dir.path()), "1\n2\n");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// Whatever fails and wherever the process dies: what was accepted is there, once and whole, in order.
    #[test]
    fn what_was_accepted_is_there_once(steps in proptest::collection::vec((0usize..12, proptest::bool::ANY), 1..20)) {
        let dir = tempfile::tempdir().unwrap();
        let room = Arc::new(AtomicUsize::new(0));
        let mut writer = failing_writer(dir.path(), Arc::clone(&room));
        let mut next = 0;
        let mut accepted = String::new();
        for (takes, restart) in steps {
            room.store(takes, Ordering::Relaxed);
            let body = format!("event {next}\n");
            if writer.write(&format!("batch {next}"), body.as_bytes()).is_ok() {
                accepted.push_str(&body);
                next += 1;
            }
            if restart {
                drop(writer);
                writer = failing_writer(dir.path(), Arc::clone(&room));
            }
        }
        let found = content(dir.path());
        let unique: BTreeSet<&str> = found.lines().collect();
        proptest::prop_assert_eq!(unique.len(), found.lines().count());
        proptest::prop_assert_eq!(found, accepted);
    }
}
