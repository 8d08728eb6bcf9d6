//! Nothing that is sent makes the decoder of SLDC panic, yields more than the limit, or more than the densest copies can hold.
#![no_main]

use gatepost::inputs::wef::sldc::decode;
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 1 << 20;

fuzz_target!(|input: &[u8]| {
    let mut asked = 0;
    let decoded = decode(input, LIMIT, |room| {
        asked = room;
        true
    });
    if let Ok(bytes) = decoded {
        assert!(bytes.len() <= LIMIT && bytes.len() <= input.len() * 95 + 64);
        assert!(bytes.len() <= asked, "room is asked for before it is taken");
    }
});
