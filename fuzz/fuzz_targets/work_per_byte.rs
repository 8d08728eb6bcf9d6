//! Any part of a body, repeated: every decoder looks at each byte a small number of times.
#![no_main]

use gatepost::event::work::visits;
use gatepost::event::{Syntax, decode, from_xml};
use libfuzzer_sys::fuzz_target;

/// A body must be long for work that grows faster than it does to show.
const LENGTH: usize = 256 << 10;
const VISITS_MAX: usize = 12;

fuzz_target!(|part: &[u8]| {
    if part.is_empty() {
        return;
    }
    let body = part.repeat((LENGTH / part.len()).max(1));
    for syntax in [Syntax::Sniff, Syntax::Lines, Syntax::JsonArray] {
        let (_, visited) = visits(|| decode(syntax, &body).is_ok());
        assert!(visited <= VISITS_MAX * body.len(), "{visited} visits of {} bytes", body.len());
    }
    let (_, visited) = visits(|| from_xml::scan(&body).is_ok());
    assert!(visited <= VISITS_MAX * body.len(), "{visited} visits of {} bytes", body.len());
});
