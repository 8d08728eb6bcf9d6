//! What is lost is known as soon as it can be, to one owner, and told once.

use std::ops::Range;
use std::path::PathBuf;

use super::*;
use crate::fs::faulty::FaultyFs;
use crate::spool::inspect::Inspection;

fn segment_files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "seg")).collect();
    files.sort();
    files
}

fn only(range: Range<u64>) -> Vec<Range<u64>> {
    vec![range]
}

/// Opens a spool of 200 numbered records in four segments.
async fn four_segments(dir: &Path) -> Spool {
    let (spool, _) = open(dir);
    for n in 0..200 {
        spool.append(numbered(n)).await.unwrap();
    }
    assert_eq!(spool.status().segments, 4);
    spool
}

/// What is suspected, as an output that has sent nothing sees it, is lost.
fn judged(spool: &Spool) -> Vec<Range<u64>> {
    spool.damage().judge(|range| Some(vec![range.clone()]));
    spool.damage().keep().unwrap();
    untold(spool)
}

fn untold(spool: &Spool) -> Vec<Range<u64>> {
    spool.damage().untold().into_iter().map(|found| found.range).collect()
}

#[tokio::test]
async fn the_lost_end_of_the_log_is_damage_at_once_and_not_when_something_comes_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    four_segments(dir.path()).await.close();
    let last = segment_files(dir.path()).pop().unwrap();
    let len = std::fs::metadata(&last).unwrap().len();
    let file = std::fs::OpenOptions::new().write(true).open(&last).unwrap();
    file.set_len(20_000).and_then(|()| file.set_len(len)).unwrap();

    let (spool, recovered) = open(dir.path());
    assert!((160..200).contains(&recovered.end), "{recovered:?}");
    spool.advance_to(200);
    let lost = recovered.end..200;
    assert_eq!(read_all(&spool, 0), ((0..recovered.end as u32).collect(), only(lost.clone())));
    assert_eq!(judged(&spool), only(lost.clone()));
    spool.append(numbered(200)).await.unwrap();
    assert_eq!(read_all(&spool, 190), (vec![200], only(190..200)));
    spool.close();

    let log = Inspection::open(dir.path(), Arc::new(RealFs)).unwrap();
    assert_eq!((log.lost(), log.range()), (200 - recovered.end, 0..201));
    let shown = log.segments().last().unwrap().unwrap();
    assert_eq!(shown.damage.iter().map(|(range, _)| range.clone()).collect::<Vec<_>>(), only(lost));
}

#[tokio::test]
async fn the_last_file_gone_or_all_of_them_is_damage_although_nothing_follows() {
    for gone in [1, 4] {
        let dir = tempfile::tempdir().unwrap();
        four_segments(dir.path()).await.close();
        segment_files(dir.path()).iter().rev().take(gone).for_each(|path| std::fs::remove_file(path).unwrap());
        let (spool, recovered) = open(dir.path());
        spool.advance_to(200);
        assert_eq!(read_all(&spool, 0).1, only(recovered.end..200), "{gone} gone");
        assert_eq!(judged(&spool), only(recovered.end..200));
        spool.close();
        // What is noted keeps its ordinals, whoever else has forgotten them.
        let (spool, _) = open(dir.path());
        assert_eq!(spool.append(numbered(1)).await.unwrap().first, 200);
        let log = Inspection::open(dir.path(), Arc::new(RealFs)).unwrap();
        assert_eq!((log.lost(), log.range().end), (200 - recovered.end, 201));
    }
}

#[tokio::test]
async fn a_missing_segment_is_known_when_the_spool_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    four_segments(dir.path()).await.close();
    let files = segment_files(dir.path());
    for (at, gone) in files.iter().enumerate().take(3) {
        let bytes = std::fs::read(gone).unwrap();
        std::fs::remove_file(gone).unwrap();
        let (spool, _) = open(dir.path());
        let (numbers, lost) = read_all(&spool, 0);
        assert_eq!(lost.len(), 1, "file {at}: {lost:?}");
        assert_eq!(numbers.len() as u64 + lost[0].end - lost[0].start, 200);
        let mut suspected = Vec::new();
        spool.damage().judge(|range| {
            assert_eq!(range, &lost[0], "file {at}");
            suspected.push(range.clone());
            Some(vec![])
        });
        assert_eq!(suspected, lost, "file {at}");
        spool.close();
        std::fs::write(gone, bytes).unwrap();
    }
}

#[tokio::test]
async fn a_file_that_disappears_under_a_running_spool_is_damage_and_reading_goes_on_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let spool = four_segments(dir.path()).await;
    let sound = read_all(&spool, 0);
    assert_eq!(sound.1, []);
    std::fs::remove_file(&segment_files(dir.path())[1]).unwrap();
    let (numbers, lost) = read_all(&spool, 0);
    assert_eq!(lost.len(), 1, "{lost:?}");
    let kept: Vec<u32> = (0..200).filter(|n| !lost[0].contains(&u64::from(*n))).collect();
    assert_eq!(numbers, kept);
    assert!((40..60).contains(&(lost[0].end - lost[0].start)));
    let mut reader = spool.reader(lost[0].start).unwrap();
    let Some(Item::Damaged { reason, .. }) = reader.next().unwrap() else { panic!("it is lost") };
    assert!(reason.contains("00000000000000000002.seg"), "{reason}");
}

#[tokio::test]
async fn what_several_miss_is_told_once_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let spool = four_segments(dir.path()).await;
    let damage = spool.damage();
    damage.lose(&only(10..20), "a checksum is wrong");
    assert_eq!(untold(&spool), [], "not before it is durable");
    damage.keep().unwrap();
    damage.lose(&[5..8, 15..25], "another output");
    damage.keep().unwrap();
    assert_eq!(untold(&spool), [5..8, 10..20, 20..25]);
    assert_eq!(damage.untold()[1].reason, "a checksum is wrong");
    spool.close();
    drop(spool);

    let (spool, _) = open(dir.path());
    let damage = spool.damage();
    assert_eq!((untold(&spool), damage.total()), (vec![5..8, 10..20, 20..25], 0));
    damage.told(&[5..8, 10..20]).unwrap();
    assert_eq!((untold(&spool), damage.total()), (only(20..25), 13));
    damage.told(&only(20..25)).unwrap();
    spool.close();
    drop(spool);

    let (spool, _) = open(dir.path());
    let damage = spool.damage();
    damage.lose(&only(0..30), "a third output");
    damage.keep().unwrap();
    assert_eq!((untold(&spool), damage.total()), (vec![0..5, 8..10, 25..30], 18));
    assert_eq!(damage.lost_in(3..22), only(3..22));
    assert_eq!(damage.lost_in(28..40), only(28..30));
}

#[tokio::test]
async fn what_left_the_spool_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let spool = four_segments(dir.path()).await;
    spool.damage().lose(&only(155..160), "a checksum is wrong");
    spool.damage().keep().unwrap();
    spool.damage().told(&only(155..160)).unwrap();
    spool.release(150);
    while spool.status().segments > 2 {
        tokio::task::yield_now().await;
    }
    for _ in 0..2 {
        spool.damage().suspect(0..150, "it is not there");
        assert_eq!(judged(&spool), []);
        assert_eq!(spool.damage().lost_in(100..200), only(155..160));
        assert_eq!(spool.damage().total(), 5);
        spool.close();
        let (again, recovered) = open(dir.path());
        assert!((1..150).contains(&recovered.first) && again.damage().floor() == 150);
        assert_eq!(judged(&again), []);
    }
}

#[tokio::test]
async fn on_a_full_disk_nothing_counts_as_kept_and_nothing_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (fs, faults) = FaultyFs::new(Arc::new(RealFs));
    faults.disk_full(true);
    let (spool, _) = open_on(fs, dir.path());
    spool.damage().lose(&only(1..3), "a checksum is wrong");
    assert!(spool.damage().keep().is_err());
    faults.disk_full(false);
    spool.damage().keep().unwrap();
    assert_eq!(untold(&spool), only(1..3));
}
