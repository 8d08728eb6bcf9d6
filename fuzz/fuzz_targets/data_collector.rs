//! Whatever stands in the headers and the body of a post to the Data Collector API: rows come out within their limit, or words.
#![no_main]

mod agreement;

use gatepost::event::{Syntax, Timestamp};
use gatepost::inputs::data_collector::Columns;
use gatepost::inputs::data_collector::rewrite::{How, rewrite};
use gatepost::inputs::data_collector::signature::{shown, unix_seconds};
use gatepost::inputs::http::body::Memory;
use gatepost::turns::Who;
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

const LIMIT: u64 = 1 << 20;

fuzz_target!(|input: (&str, Vec<String>, Option<&str>, bool, &[u8])| {
    let (header, columns, time_field, suffixes, body) = input;
    shown(header);
    unix_seconds(header);
    let columns = suffixes.then(|| Columns::new(&columns));
    let arrival = Timestamp::from_ticks(0);
    let how = How { columns: columns.as_ref(), time_field, resource_id: Some(header), arrival };
    if let Ok(rows) = rewrite(body, &how, LIMIT, &mut Memory::new(4 * LIMIT).share(&Who::default())) {
        assert!(rows.text.len() as u64 <= LIMIT);
        // What is not proven is for decoding to refuse.
        assert!(rows.known.is_none() || serde_json::from_slice::<Vec<&RawValue>>(&rows.text).is_ok());
        agreement::check(Syntax::JsonArray, &rows.text, &[], rows.known);
    }
});
