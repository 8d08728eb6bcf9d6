//! The journal of remembered keys is read back after crashes and from failing disks: any bytes are read without a
//! panic, what is counted adds up, and an intact frame behind the damage is found.

#![no_main]

use gatepost::dedup::journal::frame;
use gatepost::event::key::decode_keys;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut frames = 0;
    let scan = frame::scan(bytes, |_, payload| {
        frames += 1;
        decode_keys(payload).ok();
    })
    .expect("memory can be read");
    assert_eq!(scan.frames, frames);
    assert_eq!(scan.good_end + scan.torn_bytes, bytes.len() as u64);

    let mut more = bytes[..scan.good_end as usize].to_vec();
    frame::write(&mut more, 7, bytes);
    let mut last = None;
    frame::scan(&more[..], |unix_s, payload| last = Some((unix_s, payload.to_vec()))).expect("memory can be read");
    assert_eq!(last, Some((7, bytes.to_vec())));
});
