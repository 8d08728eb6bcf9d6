//! Keys: stored ones decode or are refused within bounds, and read back as written; making them never panics.
#![no_main]

use gatepost::event::key::{decode_keys, encode_keys};
use gatepost::event::{KeyMaker, Syntax, decode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(keys) = decode_keys(bytes) {
        assert!(keys.len() <= bytes.len());
        assert_eq!(decode_keys(&encode_keys(&keys)).as_ref(), Ok(&keys));
    }
    if let Ok(decoded) = decode(Syntax::Sniff, bytes) {
        let maker = KeyMaker::new(&[1; 32]);
        let mut keys = maker.for_scope("scope", "stream");
        let keys: Vec<_> = decoded.events.iter().map(|event| keys.key(event)).collect();
        assert_eq!(decode_keys(&encode_keys(&keys)).as_ref(), Ok(&keys));
    }
});
