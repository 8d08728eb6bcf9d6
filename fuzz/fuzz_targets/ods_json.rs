//! Whatever an agent sends in JSON: one record a line comes out, within the limit, and known as it is decoded, or words.
#![no_main]

mod agreement;

use gatepost::event::Syntax;
use gatepost::inputs::http::body::Memory;
use gatepost::inputs::ods::json::{Envelope, How};
use gatepost::turns::Who;
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

const LIMIT: u64 = 1 << 20;

fuzz_target!(|input: (&str, &str, &[u8])| {
    let (from, to, body) = input;
    let Ok(envelope) = Envelope::read(body) else { return };
    let columns = [(from, to)];
    let how = How { columns: &columns, computer: Some(from), resource_id: Some(to) };
    let mut share = Memory::new(4 * LIMIT).share(&Who::default());
    let Ok(rows) = envelope.rewrite(how, LIMIT, body.len() as u64, &mut share) else { return };
    assert!(rows.text.len() as u64 <= LIMIT);
    let end = rows.damaged.first().map_or(rows.text.len(), |first| first.span.start);
    for line in rows.text[..end].split_inclusive(|byte| *byte == b'\n') {
        let record: Result<&RawValue, _> = serde_json::from_slice(line);
        assert!(record.is_ok_and(|record| record.get().starts_with('{')));
    }
    agreement::check(Syntax::Enveloped, &rows.text, &rows.damaged, rows.known);
});
