//! Against serde_json, which has read the same text into a tree.

use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Map, Value as Tree};

use super::*;

/// Any JSON value, with its white space and escapes as a strange writer may choose them.
fn value() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        "[a-zA-Z .:]{0,9}".prop_map(|text| format!("\"{text}\"")),
        "\\PC{0,9}[\\x00-\\x7f]{0,3}".prop_map(|text| Tree::from(text).to_string()),
        prop::sample::select(vec![r#""a\/b""#, r#""\u0041\ud83d\ude00\\""#, r#""C:\\a\\\"b""#, r#""\b\f\n\r\t""#])
            .prop_map(str::to_owned),
    ];
    let word = prop::sample::select(vec!["null", "true", "false", "0", "-1.5e3", "12345678901234567890"]);
    let leaf = prop_oneof![3 => text, 1 => word.prop_map(str::to_owned)];
    leaf.prop_recursive(3, 24, 5, |inner| {
        let blank = prop::sample::select(vec!["", " ", "\r\n\t"]);
        let list = (prop::collection::vec(inner.clone(), 0..5), blank.clone())
            .prop_map(|(values, blank)| format!("[{blank}{}{blank}]", values.join(&format!("{blank},"))));
        prop_oneof![list, object_of(inner, blank)]
    })
}

fn object_of(
    inner: impl Strategy<Value = String>,
    blank: impl Strategy<Value = &'static str>,
) -> impl Strategy<Value = String> {
    (prop::collection::vec(("[a-z\\\\\"]{0,4}", inner), 0..6), blank).prop_map(|(members, blank)| {
        let member = |(key, value): &(String, String)| format!("{}{blank}:{blank}{value}", Tree::from(key.as_str()));
        let members: Vec<String> = members.iter().map(member).collect();
        format!("{{{blank}{}{blank}}}", members.join(&format!("{blank},{blank}")))
    })
}

/// What a value is, read again.
fn meant(value: Value<'_>) -> Tree {
    match value {
        Value::Text(text) => Tree::from(text.text()),
        Value::Word(raw) | Value::Tree(raw) => serde_json::from_str(raw).expect("JSON"),
    }
}

proptest! {
    #[test]
    fn every_member_is_handed_out_as_a_real_parser_reads_it(
        record in object_of(value(), prop::sample::select(vec!["", " ", "\n"]))
    ) {
        let expected: Map<String, Tree> = serde_json::from_str(&record).expect("JSON");
        let (mut values, mut raws) = (Cursor::new(&record), Cursor::new(&record));
        let are_objects = values.enter(b'{') && raws.enter(b'{');
        prop_assert!(are_objects);
        let mut found = Map::new();
        while let Some(key) = values.key() {
            let same = raws.key().expect("the same key").text().into_owned();
            prop_assert_eq!(key.plain().unwrap_or(&same), &same);
            let value = meant(values.value().expect("a value"));
            let raw: &RawValue = serde_json::from_str(raws.raw().expect("a value")).expect("one value");
            prop_assert_eq!(&meant(Cursor::new(raw.get()).value().expect("a value")), &value);
            found.insert(same, value);
        }
        prop_assert!(raws.key().is_none() && values.peek().is_none());
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn what_is_no_json_is_passed_over_without_a_panic(text in "[\\[\\]{}\",:\\\\a1 é]{0,40}") {
        let mut cursor = Cursor::new(&text);
        cursor.enter(b'{');
        for _ in 0..text.len() {
            let key = cursor.key().map(|key| key.text().len());
            if key.is_none() && cursor.raw().is_none() {
                break;
            }
        }
    }
}
