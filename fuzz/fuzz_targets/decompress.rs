//! Nothing that is sent makes decompression panic, or yields more than the limit.
#![no_main]

use gatepost::event::Presence;
use gatepost::inputs::http::body::Memory;
use gatepost::inputs::http::decompress::{Encoding, decompress};
use gatepost::turns::{Turn, Who};
use libfuzzer_sys::fuzz_target;

const LIMIT: u64 = 1 << 20;

fuzz_target!(|input: &[u8]| {
    for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Deflate, Encoding::Zstd] {
        let memory = Memory::new(4 * LIMIT);
        if let Ok(body) = decompress(
            encoding,
            input.to_vec().into(),
            LIMIT,
            &mut memory.share(&Who::default()),
            &Turn::alone(),
            &Presence::default(),
        ) {
            assert!(body.len() as u64 <= LIMIT);
        }
    }
});
