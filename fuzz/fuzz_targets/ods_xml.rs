//! Whatever an agent sends in XML: records come out within their limit and each is read as one, or words; so of registrations.
//! Items that are compared with the one before become what they become by themselves.
#![no_main]

mod agreement;

use gatepost::event::{Syntax, decode};
use gatepost::inputs::http::body::Memory;
use gatepost::inputs::ods::signature::{shown, unix_seconds};
use gatepost::inputs::ods::xml::{How, XmlFault, data_type, registration, renewal, rewrite, rewrite_each};
use gatepost::turns::Who;
use libfuzzer_sys::fuzz_target;

const LIMIT: u64 = 1 << 20;

fuzz_target!(|input: &[u8]| {
    if let Ok(found) = registration(input) {
        assert!(!found.computer.contains('*') && !found.certificate.is_empty());
    }
    renewal(input).ok();
    if let Ok(text) = std::str::from_utf8(input) {
        shown(text);
        unix_seconds(text);
    }
    let how = How { computer: Some("web01"), resource_id: Some("/subscriptions/s") };
    let rows = rewrite(input, how, LIMIT, &mut Memory::new(16 * LIMIT).share(&Who::default()));
    assert_eq!(rows, rewrite_each(input, how, LIMIT, &mut Memory::new(16 * LIMIT).share(&Who::default())));
    let Ok(rows) = rows else { return };
    assert!(rows.text.len() as u64 <= LIMIT);
    // A type that is too long, or no text, is none.
    assert!(matches!(data_type(input), Ok(_) | Err(XmlFault::Lacks(_))));
    let end = rows.damaged.first().map_or(rows.text.len(), |first| first.span.start);
    let records = rows.text[..end].iter().filter(|byte| **byte == b'\n').count();
    let decoded = decode(Syntax::Enveloped, &rows.text[..end]).expect("it is far from too many");
    assert!(decoded.unreadable.is_empty() && decoded.events.len() <= records, "{:?}", decoded.unreadable);
    agreement::check(Syntax::Enveloped, &rows.text, &rows.damaged, rows.known);
});
