//! Events of an upload as rows: making one never panics, it is one line of valid JSON, in rows made of XML the table's columns
//! have their types, nobody writes the gateway's own columns, and a row is the same with and without a tree.
#![no_main]

use bytes::Bytes;
use gatepost::event::columns::{ColumnType, Extras, Source, Table, columns, row, row_by_tree};
use gatepost::event::{Format, Syntax, Timestamp, decode};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fn has_type(kind: ColumnType, value: &Value) -> bool {
    match kind {
        ColumnType::String | ColumnType::Datetime => value.is_string(),
        ColumnType::Int => value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
        ColumnType::Long => value.is_i64(),
        ColumnType::Real => value.is_number(),
        ColumnType::Boolean => value.is_boolean(),
        ColumnType::Dynamic => true,
    }
}

fuzz_target!(|body: &[u8]| {
    let Ok(decoded) = decode(Syntax::Sniff, body) else { return };
    let extras =
        Extras { original_time: "Time_CF".to_owned(), event_key: "Key_CF".to_owned(), client: "EventData".to_owned() };
    let kept = Timestamp::from_ticks(17_356_896_000_000_000)..=Timestamp::from_ticks(i64::MAX);
    for event in decoded.events.iter().take(16) {
        let raw = Bytes::copy_from_slice(event.raw);
        for table in Table::ALL {
            let source = Source { format: event.format, raw: &raw, client: Some("c") };
            let made = row(Some(table), source, &extras, &kept);
            assert_eq!(made, row_by_tree(Some(table), source, &extras, &kept), "the short way is no other way");
            let Ok(made) = made.map(|made| made.bytes) else { continue };
            assert!(!made.contains(&b'\n'));
            let members: Value = serde_json::from_slice(&made).expect("valid JSON");
            let members = members.as_object().expect("an object");
            let key = members.get("Key_CF").and_then(Value::as_str);
            assert!(key.is_some_and(|key| key.len() == 32), "the gateway's own");
            let keys = members.keys().filter(|name| name.eq_ignore_ascii_case("Key_CF"));
            assert_eq!(keys.count(), 1, "nobody else's");
            if event.format == Format::Xml {
                for column in columns(table) {
                    assert!(
                        members.get(column.name).is_none_or(|value| has_type(column.kind, value)),
                        "{}",
                        column.name
                    );
                }
            }
        }
    }
});
