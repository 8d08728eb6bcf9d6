//! No bookmark and no event makes the counting of lost events panic; what it reads it reads once.
#![no_main]

use gatepost::inputs::wef::gaps::missing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let (bookmark, events) = input.split_at(input.len() / 2);
    let bookmark = String::from_utf8_lossy(bookmark);
    let whole = ["security".to_owned(), "system".to_owned()];
    let events = events.split(|byte| *byte == b'\n');
    missing(&whole, Some(&bookmark), events.clone());
    assert_eq!(missing(&[], Some(&bookmark), events), 0, "where no channel is asked for whole, nothing can be told");
});
