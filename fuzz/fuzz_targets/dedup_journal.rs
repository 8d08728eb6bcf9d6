//! The journal of remembered keys is read back after crashes and from failing disks: any bytes are read without a
//! panic, what is counted adds up, and an intact frame behind the damage is found.

#![no_main]

use gatepost::dedup::journal::frame::{self, Kind};
use gatepost::event::key::decode_keys;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut frames = 0;
    let scan = frame::scan(bytes, |frame| {
        frames += 1;
        decode_keys(frame.payload).ok();
    })
    .expect("memory can be read");
    assert_eq!(scan.frames, frames);
    assert_eq!(scan.good_end + scan.torn_bytes, bytes.len() as u64);

    let mut more = bytes[..scan.good_end as usize].to_vec();
    frame::write(&mut more, Kind::NumberedKeys, 7, bytes);
    let mut last = None;
    frame::scan(&more[..], |frame| last = Some((frame.kind, frame.unix_s, frame.payload.to_vec())))
        .expect("memory can be read");
    assert_eq!(last, Some((Kind::NumberedKeys, 7, bytes.to_vec())));
});
