//! However the network cuts the answer of an upstream proxy, it is read the same, and never past its limits.
#![no_main]

use gatepost::tunnel::dial::upstream_answer::{Answer, HEAD_MAX, Reader};
use libfuzzer_sys::fuzz_target;

fn read(input: &[u8], piece: usize) -> Option<Option<Answer>> {
    let mut reader = Reader::default();
    let mut end = 0;
    loop {
        end = input.len().min(end + piece);
        match reader.advance(&input[..end]) {
            Ok(None) if end < input.len() => {}
            verdict => return verdict.ok(),
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let whole = read(input, input.len().max(1));
    if let Some(Some(answer)) = whole {
        assert!(answer.length <= input.len().min(HEAD_MAX));
        assert!(answer.status != 101 && (200..600).contains(&answer.status));
        assert!(input[..answer.length].ends_with(b"\r\n\r\n"));
    }
    assert_eq!(whole, read(input, 1));
    assert_eq!(whole, read(input, 7));
});
