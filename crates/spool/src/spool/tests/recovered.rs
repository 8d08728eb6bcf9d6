//! What a crash, a bad disk or a careless hand left behind.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::fs::File;
use crate::fs::faulty::FaultyFs;
use crate::fs::volatile::VolatileFs;
use crate::spool::frame::SEGMENT_HEADER_LEN;
use crate::spool::inspect::Inspection;
use crate::spool::recovery::{read_tail, survey};
use crate::spool::segment::{Step, WIDE, Walk};
use crate::spool::{HeadItem, Health, OpenError, ReadError};

fn segment_files(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "seg")).collect();
    files.sort();
    files
}

/// A spool of this many numbered records, closed.
async fn filled(dir: &Path, records: u32) {
    let (spool, _) = open(dir);
    for n in 0..records {
        spool.append(numbered(n)).await.unwrap();
    }
    spool.close();
}

#[tokio::test]
async fn what_opening_found_is_durable_before_anybody_builds_on_it() {
    for seed in 0..40 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let disk = Arc::new(VolatileFs::default());
        let (fs, faults) = FaultyFs::new(Arc::<VolatileFs>::clone(&disk));
        let dir = Path::new("/spool");
        let (spool, _) = open_on(fs, dir);
        spool.append(numbered(1)).await.unwrap();
        // Killed between the write and the end of the sync.
        faults.fail_all_syncs();
        assert!(spool.append(numbered(2)).await.is_err());
        drop(spool);
        let (spool, _) = open_on(Arc::<VolatileFs>::clone(&disk), dir);
        let found = read_all(&spool, 0);
        assert_eq!(found.0, [1, 2], "the record looks whole, its keys are remembered, its repetition is acknowledged");
        drop(spool);
        let (spool, _) = open_on(Arc::new(disk.cut(&mut rng)), dir);
        assert_eq!(read_all(&spool, 0), found, "seed {seed}");
    }
}

#[tokio::test]
async fn a_segment_that_a_killed_process_named_keeps_its_name_once_it_holds_something() {
    for (changes, seed) in (0..10).flat_map(|changes| (0..8).map(move |seed| (changes, seed))) {
        let dir = Path::new("/spool");
        let disk = VolatileFs::default();
        let (spool, _) = open_on(Arc::new(disk.clone()), dir);
        // Killed in the middle of it.
        disk.cut_after(changes);
        drop(spool.append(numbered(1)).await);
        let disk = disk.kill();
        let (spool, _) = open_on(Arc::new(disk.clone()), dir);
        spool.append(numbered(2)).await.unwrap();
        let end = spool.status().end;
        let disk = disk.cut(&mut fastrand::Rng::with_seed(seed));
        let (spool, recovered) = open_on(Arc::new(disk), dir);
        assert!(recovered.end == end && read_all(&spool, 0).0.contains(&2), "{changes} changes, seed {seed}");
    }
}

#[tokio::test]
async fn a_disk_that_cannot_make_the_tail_durable_is_not_built_upon() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 3).await;
    let (fs, faults) = FaultyFs::new(Arc::new(RealFs));
    faults.fail_all_syncs();
    assert!(matches!(Spool::open(&config(), dir.path(), Arc::<FaultyFs>::clone(&fs)), Err(OpenError::Sync { .. })));
    faults.mend_syncs();
    faults.disk_full(true);
    let (spool, recovered) = open_on(fs, dir.path());
    assert_eq!(recovered.end, 3, "a full disk keeps nobody from starting");
    assert_eq!(read_all(&spool, 0).0, [0, 1, 2]);
}

#[tokio::test]
async fn a_zeroed_page_loses_the_records_it_held_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 100).await;
    let path = segment_files(dir.path())[0].clone();
    let whole = std::fs::read(&path).unwrap();
    for page in [1, 2, 7] {
        let mut bytes = whole.clone();
        bytes[page * 4096..(page + 1) * 4096].fill(0);
        std::fs::write(&path, &bytes).unwrap();
        let (spool, _) = open(dir.path());
        let (numbers, lost) = read_all(&spool, 0);
        let gone: u64 = lost.iter().map(|range| range.end - range.start).sum();
        assert_eq!(numbers.len() as u64 + gone, 100);
        assert!((3..=6).contains(&gone), "page {page}: {lost:?}");
        assert!(numbers.iter().all(|n| !lost.iter().any(|range| range.contains(&u64::from(*n)))));
    }
}

#[tokio::test]
async fn a_truncated_segment_loses_its_end_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 100).await;
    let path = segment_files(dir.path())[0].clone();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(30_000).unwrap();
    let (spool, recovered) = open(dir.path());
    assert_eq!(recovered.end, 100);
    let (numbers, lost) = read_all(&spool, 0);
    let gone: u64 = lost.iter().map(|range| range.end - range.start).sum();
    assert_eq!(numbers.len() as u64 + gone, 100);
    assert!(gone > 20 && numbers.contains(&99), "{lost:?}");
}

#[tokio::test]
async fn records_of_a_files_former_life_never_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    let mut next = 0;
    while spool.status().segments < 4 {
        spool.append(numbered(next)).await.unwrap();
        next += 1;
    }
    spool.release(spool.status().end);
    // Into recycled files, which are full of older records.
    while spool.status().segments > 1 || spool.status().spares == 0 {
        spool.append(numbered(next)).await.unwrap();
        next += 1;
        spool.release(spool.status().end);
    }
    let segments = spool.status().segments;
    while spool.status().segments == segments {
        spool.append(numbered(next)).await.unwrap();
        next += 1;
    }
    let first = spool.status().first;
    spool.close();
    let (spool, recovered) = open(dir.path());
    assert_eq!((recovered.end, recovered.torn_bytes), (u64::from(next), 0));
    assert_eq!(read_all(&spool, first), ((first as u32..next).collect(), vec![]));
}

#[tokio::test]
async fn a_reader_of_a_released_segment_goes_on_if_it_had_read_it_all_and_else_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    let mut next = 0;
    let (mut behind, mut abreast) = (spool.reader(0).unwrap(), spool.reader(0).unwrap());
    while spool.status().segments < 3 {
        spool.append(numbered(next)).await.unwrap();
        next += 1;
    }
    behind.next().unwrap();
    let second = u64::from(next) / 2 + 1;
    let mut read = 0;
    while abreast
        .next_head()
        .unwrap()
        .is_some_and(|item| matches!(item, HeadItem::Head(head) if head.first + 1 < second))
    {
        read += 1;
    }
    assert!(read > 10);
    spool.release(u64::from(next));
    while spool.status().segments > 1 {
        tokio::task::yield_now().await;
    }
    assert!(matches!(behind.next(), Err(ReadError::Released)));
    let mut caught_up = spool.reader(spool.status().first).unwrap();
    while caught_up.next().unwrap().is_some() {}
    while spool.status().segments < 3 {
        spool.append(numbered(next)).await.unwrap();
        next += 1;
        while caught_up.next().unwrap().is_some() {}
    }
    spool.release(u64::from(next));
    while spool.status().segments > 1 {
        tokio::task::yield_now().await;
    }
    spool.append(numbered(next)).await.unwrap();
    let Ok(Some(Item::Record(record))) = caught_up.next() else { panic!("it had read everything") };
    assert_eq!(record.first, u64::from(next));
}

#[tokio::test]
async fn an_inspection_sees_every_record_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 100).await;
    let before: Vec<Vec<u8>> = segment_files(dir.path()).iter().map(|path| std::fs::read(path).unwrap()).collect();
    let log = Inspection::open(dir.path(), Arc::new(RealFs)).unwrap();
    assert_eq!(log.range(), 0..100);
    let mut reader = log.reader(0);
    let mut seen = 0;
    while let Some(HeadItem::Head(head)) = reader.next_head().unwrap() {
        assert_eq!((head.first, &head.note[..]), (seen, &[1; 5][..]));
        seen += 1;
    }
    assert_eq!(seen, 100);
    let after: Vec<Vec<u8>> = segment_files(dir.path()).iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(before == after);
}

#[tokio::test]
async fn a_spool_whose_thread_is_gone_is_failing_and_a_closed_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    spool.append(numbered(0)).await.unwrap();
    spool.inner.shared.end_service();
    assert!(matches!(spool.status().health, Health::Failing { .. }));
    assert!(spool.append(numbered(1)).await.is_err());
    drop(spool);
    let (spool, _) = open(dir.path());
    spool.close();
    assert_eq!(spool.status().health, Health::Ok);
}

/// A segment that somebody is writing to: the first read finds it up to here, and those that follow find all of it.
#[derive(Debug)]
struct Growing {
    bytes: Vec<u8>,
    until: usize,
    is_read: AtomicBool,
}

impl File for Growing {
    fn pread(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let offset = usize::try_from(offset).unwrap();
        let len = buf.len().min(self.bytes.len().saturating_sub(offset));
        buf[..len].copy_from_slice(&self.bytes[offset..offset + len]);
        if !self.is_read.swap(true, Ordering::SeqCst) {
            buf[self.until.saturating_sub(offset).min(len)..len].fill(0);
        }
        Ok(len)
    }

    fn pwrite(&self, _: &[u8], _: u64) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.len() as u64)
    }
}

#[tokio::test]
async fn a_segment_that_grows_while_it_is_read_is_walked_to_its_end_and_shows_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 3).await;
    let survey = survey(&RealFs, dir.path()).unwrap();
    let found = &survey.live[0];
    let bytes = std::fs::read(&found.path).unwrap();
    let begin = usize::try_from(SEGMENT_HEADER_LEN).unwrap();
    let growing =
        |until| -> Arc<dyn File> { Arc::new(Growing { bytes: bytes.clone(), until, is_read: AtomicBool::new(false) }) };
    for until in (begin..begin + 3400).step_by(8) {
        let mut walk = Walk::new(growing(until), found.header.epoch, found.header.first, WIDE);
        // One step for each record, and one for the end.
        for _ in 0..4 {
            if let Step::Head(header) = walk.step(found.len, u64::MAX).unwrap() {
                walk.pass(&header);
            }
        }
        assert_eq!(walk.expected, 3, "written up to {until} at first");
        let tail = read_tail(&growing(until), found);
        assert_eq!((tail.until, tail.damaged), (3, Vec::new()), "written up to {until} at first");
    }
}
