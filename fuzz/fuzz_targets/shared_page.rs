//! Pages of shared deduplication are what other gateways wrote: any bytes are read without a panic, in work that is linear in
//! what a page may hold, and what is read is written and read again as the same.

#![no_main]

use gatepost::dedup::several::segment::{self, Gateway, Item};
use libfuzzer_sys::fuzz_target;

/// Keys of one segment, as many as a writer puts into it.
const KEYS_MAX: usize = 4_096;

fuzz_target!(|bytes: &[u8]| {
    let mut items: Vec<Item> = Vec::new();
    let read = segment::decode(3, bytes, |_, item| items.push(item));
    assert!(items.len() <= bytes.len() * KEYS_MAX);
    items.sort_unstable();
    items.dedup();
    items.truncate(KEYS_MAX);
    if read.is_ok() && items.iter().all(|item| item.page() == 3) {
        let written = segment::encode(Gateway::of(7), &items);
        let mut again = Vec::new();
        segment::decode(3, &written, |owner, item| {
            assert_eq!(owner, Gateway::of(7));
            again.push(item);
        })
        .expect("what was written is readable");
        assert_eq!(again, items);
    }
});
