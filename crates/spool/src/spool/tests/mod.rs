//! Tests of the spool's promises, by theme.

use std::path::Path;
use std::sync::Arc;

use super::{Config, Entry, Item, Packed, Recovered, Spool};
use crate::fs::{Fs, RealFs};
use crate::values::ByteSize;

mod damage;
mod invariants;
mod known_errors;
mod model;
mod recovered;
mod removed;
mod size_limits;

/// A small spool: segments of 64 KiB, at most 16 of them, nothing compressed.
fn config() -> Config {
    Config {
        segment_size: ByteSize::bytes(64 << 10),
        max_size: ByteSize::mib(1),
        compression_level: 0,
        ..Config::default()
    }
}

fn open_on(fs: Arc<dyn Fs>, dir: &Path) -> (Spool, Recovered) {
    Spool::open(&config(), dir, fs).unwrap()
}

fn open(dir: &Path) -> (Spool, Recovered) {
    open_on(Arc::new(RealFs), dir)
}

/// One item with a payload of 1,000 bytes that tells its number.
fn numbered(n: u32) -> Packed {
    let payload = n.to_le_bytes().repeat(250);
    Packed::new(Entry { items: 1, note: vec![1; 5], index: vec![2; 6], payload }, 0, 1 << 20)
}

/// The numbers of all records from an ordinal to the end, and the lost ranges.
fn read_all(spool: &Spool, from: u64) -> (Vec<u32>, Vec<std::ops::Range<u64>>) {
    let mut reader = spool.reader(from).unwrap();
    let (mut numbers, mut lost) = (Vec::new(), Vec::new());
    while let Some(item) = reader.next().unwrap() {
        match item {
            Item::Record(record) => {
                numbers.push(u32::from_le_bytes(record.payload[..4].try_into().unwrap()));
            }
            Item::Damaged { first, until, .. } => lost.push(first..until),
        }
    }
    (numbers, lost)
}
