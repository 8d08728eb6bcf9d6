//! A row that is too large alone, made smaller.
//!
//! Azure cuts every column at 64 KB without a word; of a dynamic one that leaves half a JSON. When a row does not fit into a
//! request, the same is done here, but to the longest texts, and with a mark that tells how much is missing. The event itself
//! stays in the spool until the shortened row is taken.

use bytes::Bytes;
use serde_json::{Map, Value};

/// Most bytes of one column, as JSON: what Azure keeps of it.
const COLUMN_MAX: usize = 64 << 10;
/// Texts are not cut below this.
const TEXT_MIN: usize = 256;

/// The row with every column of more than 64 KiB cut, with a mark in each text that was. `None` when there is none, or
/// nothing in it can be cut.
pub(super) fn shorten(row: &[u8]) -> Option<Bytes> {
    let mut columns: Map<String, Value> = serde_json::from_slice(row).ok()?;
    let mut is_cut = false;
    for column in columns.values_mut() {
        is_cut |= fit(column);
    }
    is_cut.then(|| Bytes::from(Value::from(columns).to_string()))
}

/// Cuts the longest text of a column, and again, until it fits or nothing is left to cut. Whether anything was.
fn fit(column: &mut Value) -> bool {
    let mut is_cut = false;
    loop {
        let size = column.to_string().len();
        if size <= COLUMN_MAX {
            return is_cut;
        }
        match longest(column) {
            Some(text) if text.len() > TEXT_MIN => cut(text, size - COLUMN_MAX),
            _ => return is_cut,
        }
        is_cut = true;
    }
}

/// The longest text in a value, at any depth.
fn longest(value: &mut Value) -> Option<&mut String> {
    match value {
        Value::String(text) => Some(text),
        Value::Array(values) => values.iter_mut().filter_map(longest).max_by_key(|text| text.len()),
        Value::Object(members) => members.values_mut().filter_map(longest).max_by_key(|text| text.len()),
        _ => None,
    }
}

/// Takes so many bytes from a text, or all that may be taken, and leaves a mark.
fn cut(text: &mut String, bytes: usize) {
    let whole = text.len();
    let mark = |kept: usize| format!("… [cut by Gatepost: {} of {whole} bytes]", whole - kept);
    let room = mark(0).len();
    let kept = text.floor_char_boundary(whole.saturating_sub(bytes + room).max(TEXT_MIN - room));
    let mark = mark(kept);
    text.truncate(kept);
    text.push_str(&mark);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shortened(row: &Value) -> Value {
        let shorter = shorten(row.to_string().as_bytes()).expect("there is something to cut");
        assert_eq!(shorten(&shorter), None, "once is enough");
        serde_json::from_slice(&shorter).expect("it is JSON")
    }

    #[test]
    fn a_long_text_is_cut_with_a_mark_and_the_rest_stays() {
        let row = shortened(&json!({ "EventID": 4104, "Script": "é".repeat(200_000), "Name": "x" }));
        let text = row["Script"].as_str().expect("a text");
        assert!(text.len() > COLUMN_MAX - 200 && row["Script"].to_string().len() <= COLUMN_MAX, "{}", text.len());
        assert!(text.starts_with("éé") && text.ends_with("of 400000 bytes]"), "{}", &text[text.len() - 60..]);
        assert_eq!((&row["EventID"], &row["Name"]), (&json!(4104), &json!("x")));
    }

    #[test]
    fn a_dynamic_column_fits_as_a_whole_and_its_short_texts_stay() {
        // Quotes are two bytes each in JSON.
        let data = json!({ "Script": "\"".repeat(90_000), "Second": "b".repeat(60_000), "List": ["c".repeat(300), 7], "Name": "x" });
        let row = shortened(&json!({ "EventData": data, "Other": "kept" }));
        let data = &row["EventData"];
        assert!(data.to_string().len() <= COLUMN_MAX, "{}", data.to_string().len());
        assert_eq!((&data["Name"], &data["List"][1], &row["Other"]), (&json!("x"), &json!(7), &json!("kept")));
        assert!(data["List"][0].as_str().is_some_and(|text| text.len() == 300), "short texts are cut last");
    }

    #[test]
    fn nothing_to_cut_is_nothing_done() {
        assert_eq!(shorten(json!({ "a": "b".repeat(COLUMN_MAX - 2) }).to_string().as_bytes()), None);
        let numbers = json!({ "EventData": vec![1; 40_000] });
        assert_eq!(shorten(numbers.to_string().as_bytes()), None, "numbers are not cut");
        assert_eq!(shorten(b"no JSON"), None);
    }
}
