//! A whole body: never panics, and every record is a part of the body.
#![no_main]

use gatepost::event::{Syntax, decode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    for syntax in [Syntax::JsonArray, Syntax::Lines, Syntax::Sniff] {
        match decode(syntax, body) {
            Ok(decoded) => {
                let events = decoded.events.iter().map(|event| event.raw.len());
                let size: usize = events.chain(decoded.unreadable.iter().map(|record| record.raw.len())).sum();
                assert!(size <= body.len());
            }
            Err(error) => assert!(error.offset <= body.len()),
        }
    }
});
