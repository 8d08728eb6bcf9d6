//! Keys: stored ones decode or are refused within bounds, and read back as written; making them never panics.
#![no_main]

use std::collections::HashSet;

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
        // Within an upload those without an identity of their own are all different.
        let mark = maker.upload_mark().and(bytes).finish();
        let mut placed = maker.for_scope("scope", "stream").within_upload(&mark, decoded.events.len());
        let places = decoded.events.iter().enumerate().map(|(at, event)| (event, placed.at(at).key(event)));
        let own: Vec<_> = places.filter(|(event, _)| !event.fields.has_identity()).map(|(_, key)| key).collect();
        assert_eq!(own.iter().collect::<HashSet<_>>().len(), own.len());
        assert_eq!(decode_keys(&encode_keys(&own)).as_ref(), Ok(&own));
    }
});
