//! A row by the short way and by the tree: the same, byte for byte.

use super::*;
use crate::event::from_json;

/// Compares the rows of every table.
pub(in crate::event::columns) fn assert_same_rows(format: Format, text: &str) {
    let raw = Bytes::copy_from_slice(text.as_bytes());
    let extras = Extras { original_time: "Own_CF".to_owned(), event_key: "Key_CF".to_owned(), client: String::new() };
    let kept = Timestamp::from_ticks(0)..=Timestamp::from_ticks(0);
    let shown = |made: Result<Made, String>| made.map(|made| String::from_utf8(made.bytes.to_vec()).expect("UTF-8"));
    for table in Table::ALL {
        let source = Source { format, raw: &raw, client: None };
        let short = shown(row(Some(table), source, &extras, &kept));
        let long = shown(row_by_tree(Some(table), source, &extras, &kept));
        assert_eq!(short, long, "{table}: {text}");
    }
}

/// The same for JSON. Tells whether it is an event of Windows that is plain.
pub(in crate::event::columns) fn compare_json(json: &str, is_plain: impl FnOnce(&Event<'_>, &str) -> bool) -> bool {
    assert_same_rows(Format::Json, json);
    let json = json.trim_ascii();
    let Ok(scanned) = from_json::scan(json, 0) else { return false };
    let event = Event { format: Format::Json, raw: json.as_bytes(), fields: scanned.fields };
    event.fields.is_windows_event() && is_plain(&event, json)
}
