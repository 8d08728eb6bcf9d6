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
/// How close the search for the length of texts comes to the longest that fits: it takes a dozen attempts, whatever a hostile
/// event is made of.
const CLOSE: usize = 16;

/// The row with every column of more than 64 KiB cut, with a mark in each text that was. `None` when there is none, or
/// nothing in it can be cut.
pub(super) fn shorten(row: &[u8]) -> Option<Bytes> {
    let mut columns: Map<String, Value> = serde_json::from_slice(row).ok()?;
    let mut is_cut = false;
    for column in columns.values_mut() {
        if let Some(shorter) = fitting(column) {
            *column = shorter;
            is_cut = true;
        }
    }
    is_cut.then(|| Bytes::from(Value::from(columns).to_string()))
}

/// The column with its longest texts cut, all at one length, so that it just fits, or as far as may be cut. `None` when it
/// fits, or when nothing can be cut.
fn fitting(column: &Value) -> Option<Value> {
    if column.to_string().len() <= COLUMN_MAX {
        return None;
    }
    let mut shorter = cut_at(column, TEXT_MIN)?;
    let (mut fits, mut too_long) = (TEXT_MIN, COLUMN_MAX);
    while shorter.to_string().len() <= COLUMN_MAX && too_long - fits > CLOSE {
        let middle = usize::midpoint(fits, too_long);
        match cut_at(column, middle).filter(|attempt| attempt.to_string().len() <= COLUMN_MAX) {
            Some(attempt) => (shorter, fits) = (attempt, middle),
            None => too_long = middle,
        }
    }
    Some(shorter)
}

/// The column with every longer text cut; `None` when there is none.
fn cut_at(column: &Value, text_max: usize) -> Option<Value> {
    let mut attempt = column.clone();
    cut_texts(&mut attempt, text_max).then_some(attempt)
}

/// Cuts every longer text, at any depth. Whether there was one.
fn cut_texts(value: &mut Value, text_max: usize) -> bool {
    match value {
        Value::String(text) if text.len() > text_max => {
            cut(text, text_max);
            true
        }
        Value::Array(values) => values.iter_mut().fold(false, |is_cut, value| cut_texts(value, text_max) | is_cut),
        Value::Object(members) => members.values_mut().fold(false, |is_cut, value| cut_texts(value, text_max) | is_cut),
        _ => false,
    }
}

/// Leaves so many bytes of a text, with a mark at their end.
fn cut(text: &mut String, text_max: usize) {
    let whole = text.len();
    let mark = |kept: usize| format!("… [cut by Gatepost: {} of {whole} bytes]", whole - kept);
    let kept = text.floor_char_boundary(text_max - mark(0).len());
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
    fn a_column_of_countless_texts_is_cut_as_far_as_may_be() {
        let many = json!({ "EventData": vec!["d".repeat(300); 3_000] });
        let row = shortened(&many);
        let texts = row["EventData"].as_array().expect("a list");
        assert!(
            texts.len() == 3_000 && texts.iter().all(|text| text.as_str().is_some_and(|text| text.len() <= TEXT_MIN))
        );
    }

    #[test]
    fn nothing_to_cut_is_nothing_done() {
        assert_eq!(shorten(json!({ "a": "b".repeat(COLUMN_MAX - 2) }).to_string().as_bytes()), None);
        let numbers = json!({ "EventData": vec![1; 40_000] });
        assert_eq!(shorten(numbers.to_string().as_bytes()), None, "numbers are not cut");
        assert_eq!(shorten(b"no JSON"), None);
    }
}
