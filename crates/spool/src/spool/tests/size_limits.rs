//! Every size has a bound, and what reaches it is told.

use super::*;
use crate::spool::{AppendError, OpenError};

fn sized(bytes: usize) -> Packed {
    Packed::new(Entry { items: 1, note: vec![], index: vec![], payload: vec![7; bytes] }, 0, 1 << 20)
}

#[tokio::test]
async fn a_record_that_no_segment_holds_is_refused_and_one_that_fills_a_segment_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    assert_eq!(spool.append(sized(64 << 10)).await, Err(AppendError::TooLarge));
    let most = (0..).map(|less| (64 << 10) - 4096 - less).find(|bytes| sized(*bytes).stored_len() <= (64 << 10) - 4096);
    spool.append(sized(most.unwrap())).await.unwrap();
    spool.append(sized(1)).await.unwrap();
    assert_eq!(spool.status().segments, 2);
    spool.close();
    let (spool, recovered) = open(dir.path());
    assert_eq!((recovered.end, recovered.damaged.len()), (2, 0));
    let mut reader = spool.reader(0).unwrap();
    let Some(Item::Record(record)) = reader.next().unwrap() else { panic!("the large record") };
    assert_eq!(record.payload.len(), most.unwrap());
}

#[tokio::test]
async fn a_record_larger_than_max_record_is_refused_however_well_it_packs() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { max_record: ByteSize::bytes(1000), compression_level: 1, ..config() };
    let (spool, _) = Spool::open(&config, dir.path(), Arc::new(RealFs)).unwrap();
    let entry = |bytes| Entry { items: 1, note: vec![], index: vec![], payload: vec![7; bytes] };
    assert_eq!(spool.append(spool.pack(entry(1001))).await, Err(AppendError::TooLarge));
    spool.append(spool.pack(entry(1000))).await.unwrap();
}

#[tokio::test]
async fn another_segment_size_reads_what_the_old_one_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    for n in 0..150 {
        spool.append(numbered(n)).await.unwrap();
    }
    spool.close();
    let larger = Config { segment_size: ByteSize::bytes(128 << 10), max_size: ByteSize::mib(2), ..config() };
    let (spool, recovered) = Spool::open(&larger, dir.path(), Arc::new(RealFs)).unwrap();
    assert_eq!(recovered.end, 150);
    spool.append(numbered(150)).await.unwrap();
    assert_eq!(read_all(&spool, 0), ((0..=150).collect(), vec![]));
}

#[test]
fn sizes_that_contradict_each_other_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for wrong in [
        Config { segment_size: ByteSize::bytes(1000), ..config() },
        Config { max_size: ByteSize::bytes(64 << 10), ..config() },
        Config { compression_level: 99, ..config() },
        Config { max_record: ByteSize::bytes(0), ..config() },
    ] {
        assert!(matches!(Spool::open(&wrong, dir.path(), Arc::new(RealFs)), Err(OpenError::Config(_))), "{wrong:?}");
    }
}
