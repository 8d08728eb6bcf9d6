//! Whatever the bytes of a segment are, reading its headers and records neither panics nor unpacks without bound.
#![no_main]

use gatepost::spool::frame::{PLAIN_MAX, RECORD_HEADER_LEN, RecordHeader, SegmentHeader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(header) = SegmentHeader::decode(data) {
        assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
    }
    // The offset is part of what is checked; take the one that the bytes claim, as an attacker would.
    let claimed = data.get(52..56).map_or(0, |b| u64::from(u32::from_le_bytes([b[0], b[1], b[2], b[3]])));
    if let Some(header) = RecordHeader::decode(data, claimed) {
        let body = &data[RECORD_HEADER_LEN..];
        if header.body_is_whole(body) {
            let stored = &body[header.head_len() as usize..];
            assert!(header.unpack(stored).map_or(0, |plain| plain.len() as u64) <= PLAIN_MAX);
        }
    }
});
