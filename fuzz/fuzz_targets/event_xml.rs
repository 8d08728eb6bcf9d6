//! An event in XML: the scan and the row never panic, and the row of whatever is accepted is JSON.
#![no_main]

use gatepost::event::{from_xml, row};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|xml: &[u8]| {
    match from_xml::scan(xml) {
        Ok((_, end)) => assert!(end <= xml.len()),
        Err(error) => assert!(error.offset <= xml.len()),
    }
    if let Ok(row) = row::windows_event_row(xml) {
        assert!(serde_json::from_slice::<serde_json::Value>(&row).is_ok());
        assert!(!row.contains(&b'\n'));
    }
});
