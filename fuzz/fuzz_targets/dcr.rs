//! A file of data collection rules: never panics, and either every rule is taken or an error is told.
#![no_main]

use gatepost::filter::dcr::{Given, Severity, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (rules, findings) = read(text, "file", &Given::default());
    let refused = findings.iter().any(|finding| finding.severity == Severity::Error);
    assert_eq!(rules.is_empty(), refused);
});
