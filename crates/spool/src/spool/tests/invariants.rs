//! What always holds: what was appended is read, in order, also after a restart; ordinals are dense.

use std::sync::Arc;

use super::super::{Config, Entry, Item, Spool};
use crate::fs::RealFs;
use crate::fs::faulty::FaultyFs;
use crate::values::ByteSize;

#[tokio::test]
async fn what_was_appended_is_read_in_order_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { segment_size: ByteSize::bytes(64 << 10), max_size: ByteSize::mib(4), ..Config::default() };
    let (spool, _) = Spool::open(&config, dir.path(), Arc::new(RealFs)).unwrap();
    let mut next = 0;
    for i in 0..100u32 {
        let entry = Entry { items: i % 4, note: vec![1; 10], index: vec![2; 9], payload: vec![i as u8; 3000] };
        let packed = super::super::Packed::new(entry, 0, 1 << 20);
        let appended = spool.append(packed).await.unwrap();
        assert_eq!(appended.first, next);
        next += u64::from(i % 4);
    }
    assert!(spool.status().segments > 3);
    for _ in 0..2 {
        let mut reader = spool.reader(0).unwrap();
        for i in 0..100u32 {
            let Some(Item::Record(record)) = reader.next().unwrap() else { panic!("record {i}") };
            assert_eq!(record.payload, vec![i as u8; 3000]);
        }
        assert!(reader.next().unwrap().is_none());
        spool.close();
    }
    let (spool, recovered) = Spool::open(&config, dir.path(), Arc::new(RealFs)).unwrap();
    assert_eq!(recovered.end, next);
    let mut reader = spool.reader(0).unwrap();
    for i in 0..100u32 {
        let Some(Item::Record(record)) = reader.next().unwrap() else { panic!("record {i}") };
        assert_eq!(record.payload, vec![i as u8; 3000]);
    }
}

#[tokio::test]
async fn appends_that_wait_together_share_a_commit() {
    let dir = tempfile::tempdir().unwrap();
    let (fs, faults) = FaultyFs::new(Arc::new(RealFs));
    let (spool, _) = super::open_on(fs, dir.path());
    spool.append(super::numbered(0)).await.unwrap();
    faults.hold_syncs();
    let appends = futures_util::future::join_all((1..30).map(|n| spool.append(super::numbered(n))));
    let release = async {
        faults.wait_for_held_sync();
        assert_eq!(*spool.durable_end().borrow(), 1, "nothing is durable before its sync");
        faults.let_syncs_go();
    };
    let (results, ()) = futures_util::future::join(appends, release).await;
    assert!(results.iter().all(Result::is_ok));
    assert!(spool.status().commits <= 4, "{:?}", spool.status());
}
