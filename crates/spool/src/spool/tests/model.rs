//! Any order of appends, failures, releases, restarts and power cuts, against a model: what was acknowledged is all
//! there, at its ordinal; nothing is there that was never appended; what failed does not come back.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use proptest::prelude::*;

use super::*;
use crate::fs::faulty::{Faults, FaultyFs};
use crate::fs::volatile::VolatileFs;

#[derive(Debug, Clone)]
enum Op {
    Append(u8),
    FailedAppend(u8),
    Release(u8),
    Reopen,
    Crash,
    CrashInCommit(u8),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => (1..40u8).prop_map(Op::Append),
        1 => (1..6u8).prop_map(Op::FailedAppend),
        2 => (0..100u8).prop_map(Op::Release),
        1 => Just(Op::Reopen),
        1 => Just(Op::Crash),
        2 => (1..8u8).prop_map(Op::CrashInCommit),
    ];
    proptest::collection::vec(op, 1..25)
}

struct World {
    mem: Arc<VolatileFs>,
    faults: Arc<Faults>,
    spool: Spool,
    rng: fastrand::Rng,
    /// Number of a record by its ordinal.
    acknowledged: BTreeMap<u64, u32>,
    failed: BTreeSet<u32>,
    gone: BTreeSet<u32>,
    next: u32,
    /// Everything below was given up: a crash may bring a released segment back, whole or not.
    released: u64,
}

fn start(mem: &Arc<VolatileFs>) -> (Spool, Arc<Faults>) {
    let (fs, faults) = FaultyFs::new(Arc::clone(mem) as Arc<dyn Fs>);
    (open_on(fs, Path::new("spool")).0, faults)
}

impl World {
    async fn append(&mut self, n: u8) {
        let numbers: Vec<u32> = (self.next..).take(n.into()).collect();
        self.next += u32::from(n);
        let appends = numbers.iter().map(|number| self.spool.append(numbered(*number)));
        for (number, result) in numbers.iter().zip(join_all(appends).await) {
            match result {
                Ok(appended) => assert_eq!(self.acknowledged.insert(appended.first, *number), None),
                Err(_) => drop(self.failed.insert(*number)),
            }
        }
        // A success after a failure in one life closes the door for what failed.
        if self.acknowledged.values().any(|number| *number >= numbers[0]) {
            self.gone.append(&mut self.failed);
        }
    }

    fn restart(&mut self, crash: bool) {
        self.spool.close();
        if crash {
            self.mem = Arc::new(self.mem.cut(&mut self.rng));
        }
        (self.spool, self.faults) = start(&self.mem);
        self.failed.clear();
    }

    async fn apply(&mut self, op: Op) {
        match op {
            Op::Append(n) => self.append(n).await,
            Op::FailedAppend(n) => {
                self.faults.fail_syncs(1, 1);
                self.append(n).await;
            }
            Op::Release(percent) => {
                let status = self.spool.status();
                let before = status.first + (status.end - status.first) * u64::from(percent) / 100;
                self.released = self.released.max(before);
                self.spool.release(before);
            }
            Op::Reopen => self.restart(false),
            Op::Crash => self.restart(true),
            Op::CrashInCommit(n) => {
                self.faults.fail_all_syncs();
                self.append(n).await;
                self.restart(true);
            }
        }
    }

    fn check(&self) {
        let first = self.spool.status().first;
        let owed = first.max(self.released);
        let Ok(mut reader) = self.spool.reader(first) else { panic!("a reader at the first item") };
        let mut seen = BTreeMap::new();
        loop {
            match reader.next() {
                Ok(Some(Item::Record(record))) => {
                    let number = u32::from_le_bytes(record.payload[..4].try_into().unwrap());
                    let gone = record.first >= owed && self.gone.contains(&number);
                    assert!(number < self.next && !gone, "{number} must not be here");
                    assert_eq!(seen.insert(record.first, number), None);
                }
                Ok(Some(Item::Damaged { first, until, reason })) => {
                    let lost = self.acknowledged.range(first.max(owed)..until.max(owed)).next();
                    assert!(lost.is_none(), "{first}..{until} lost: {reason}");
                }
                Ok(None) => break,
                // A release of the committer overtook this reader.
                Err(super::super::ReadError::Released) => return,
                Err(e) => panic!("{e}"),
            }
        }
        for (ordinal, number) in self.acknowledged.range(owed..) {
            assert_eq!(seen.get(ordinal), Some(number), "ordinal {ordinal}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn acknowledged_records_survive_anything(ops in ops(), seed in any::<u64>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mem = Arc::new(VolatileFs::default());
            let (spool, faults) = start(&mem);
            let mut world = World {
                mem, faults, spool, rng: fastrand::Rng::with_seed(seed), acknowledged: BTreeMap::new(),
                failed: BTreeSet::new(), gone: BTreeSet::new(), next: 0, released: 0,
            };
            for op in ops {
                world.apply(op).await;
                world.check();
            }
        });
    }
}
