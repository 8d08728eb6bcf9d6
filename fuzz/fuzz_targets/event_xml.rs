//! An event in XML: the scan never panics, and its end is within the text.
#![no_main]

use gatepost::event::from_xml;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|xml: &[u8]| {
    match from_xml::scan(xml) {
        Ok((_, end)) => assert!(end <= xml.len()),
        Err(error) => assert!(error.offset <= xml.len()),
    }
});
