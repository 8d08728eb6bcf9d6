//! A record in JSON: what is accepted is JSON to another parser too, and the other way round within the depth limit.
#![no_main]

use gatepost::event::from_json;
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let text = text.trim_matches([' ', '\n', '\r', '\t']);
    let accepted = from_json::scan(text, 0).is_ok_and(|scanned| scanned.end == text.len());
    let shallow = text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count() <= 64;
    if accepted || shallow {
        assert_eq!(accepted, serde_json::from_str::<&RawValue>(text).is_ok());
    }
});
