//! However the network cuts a stream of requests, the front door's verdict and what it lets through are the same.
#![no_main]

use gatepost::net::http1_guard::{Framing, HEAD_MAX};
use libfuzzer_sys::fuzz_target;

fn follow(input: &[u8], piece: usize) -> (bool, Vec<u8>) {
    let mut framing = Framing::default();
    let mut held = input[..0].into();
    let mut verified = Default::default();
    let mut sound = framing.advance(&mut held, &mut verified).is_ok();
    for bytes in input.chunks(piece) {
        if sound {
            held.extend_from_slice(bytes);
            sound = framing.advance(&mut held, &mut verified).is_ok();
            assert!(!sound || held.len() <= HEAD_MAX);
        }
    }
    (sound, verified.to_vec())
}

fuzz_target!(|input: &[u8]| {
    let whole = follow(input, input.len().max(1));
    assert_eq!(whole, follow(input, 1));
    assert_eq!(whole, follow(input, 7));
});
