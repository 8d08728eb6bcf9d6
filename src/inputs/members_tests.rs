use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn elements(text: &str) -> Result<Vec<&str>, Broken> {
    let (mut members, mut found) = (Members::of(text), Vec::new());
    members.enter(b'[')?;
    while members.has_element(found.is_empty())? {
        found.push(members.value()?);
    }
    members.end()?;
    Ok(found)
}

fn members(text: &str) -> Result<Vec<(&str, &str)>, Broken> {
    let (mut members, mut found) = (Members::of(text), Vec::new());
    members.enter(b'{')?;
    while let Some(Member { name, value }) = members.member(found.is_empty())? {
        found.push((name, value));
    }
    members.end()?;
    Ok(found)
}

#[test]
fn values_are_found_as_they_are_written() {
    assert_eq!(elements(" [ ] "), Ok(vec![]));
    let text = r#"[1, "a]\"b" ,{"x":[{}]},[[]],null ]"#;
    assert_eq!(elements(text), Ok(vec!["1", r#""a]\"b""#, r#"{"x":[{}]}"#, "[[]]", "null"]));
    assert_eq!(members("{}"), Ok(vec![]));
    let text = "{ \"a\" : 1.5e3,\n\"b\\\"\":{\"c\":\"}\"} }";
    assert_eq!(members(text), Ok(vec![("\"a\"", "1.5e3"), ("\"b\\\"\"", "{\"c\":\"}\"}")]));
    assert_eq!(text_of(r#""a\u0062c""#), Some("abc".to_owned()));
    assert_eq!([text_of("\"a\""), text_of("\""), text_of("5")], [Some("a".to_owned()), None, None]);
}

fn text_of(json: &str) -> Option<String> {
    super::text(json).map(Cow::into_owned)
}

#[test]
fn frames_that_break_off_or_do_not_fit_are_broken() {
    for text in
        ["", "5", "[", "[1", "[1,]", "[,1]", "[1 2]", "[\"a]", "[\"a\\", "[{]", "[] x", "[1\"a\"]", "[\"a\nb\"]"]
    {
        assert!(elements(text).is_err(), "{text}");
    }
    for text in ["{", "{1:2}", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{\"a\":1 \"b\":2}", "{\"a\" 1}", "[]"] {
        assert!(members(text).is_err(), "{text}");
    }
}

#[test]
fn nesting_takes_neither_stack_nor_memory() {
    let deep = format!("[{}{}]", "[".repeat(1 << 20), "]".repeat(1 << 20));
    assert_eq!(elements(&deep).map(|found| found.len()), Ok(1));
}

/// The end of the string that a text begins with, first by its quote and then by what may not stand before that.
fn searched_twice(text: &str) -> Result<usize, Broken> {
    let broken = |reason| Err(Broken { reason, at: 0 });
    let mut at = 1;
    loop {
        let Some(found) = text.as_bytes().get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) else {
            return broken("a string does not end");
        };
        at += found;
        if text.as_bytes()[at] == b'"' {
            break;
        }
        at += 2;
    }
    if text[1..at].contains(['\n', '\r']) { broken("a line break stands in a string") } else { Ok(at + 1) }
}

proptest! {
    #[test]
    fn of_json_it_finds_what_every_reader_finds(texts in prop::collection::vec(any::<String>(), 0..4), numbers: [i64; 2]) {
        let object: serde_json::Map<String, Value> =
            texts.iter().enumerate().map(|(n, text)| (format!("{n}{text}"), Value::from(text.as_str()))).collect();
        let all = vec![Value::from(object.clone()), Value::from(numbers.to_vec()), Value::from(texts)];
        let pretty = serde_json::to_string_pretty(&all).expect("it can be written");
        for text in [Value::from(all.clone()).to_string(), pretty] {
            let found = elements(&text).expect("it is JSON");
            let read: Vec<Value> = found.iter().map(|raw| serde_json::from_str(raw).expect("a value")).collect();
            prop_assert_eq!(&read, &all);
            let names: Vec<_> = members(found[0]).expect("an object").into_iter().map(|(name, _)| super::text(name)).collect();
            let want: Vec<_> = object.keys().map(|name| Some(Cow::Borrowed(name.as_str()))).collect();
            prop_assert_eq!(names, want);
        }
    }

    #[test]
    fn what_it_sees_of_a_member_is_what_is_written(text in "[\"\\\\n\n\r\u{1}a:,é{}]{0,12}", plain: String) {
        for text in [text, Value::from(plain).to_string()] {
            let object = format!("{{{text}:{text}}}");
            let Ok(Some(seen)) = ({ let mut members = Members::of(&object); members.enter(b'{').and_then(|()| members.seen(true)) })
            else { continue };
            let Member { name, value } = seen.member();
            prop_assert_eq!(seen.name(), super::text(name));
            prop_assert_eq!(seen.has_plain_name, !name.contains('\\'));
            let is_plain = value.starts_with('"') && !value.contains('\\');
            prop_assert_eq!(seen.plain_text(), is_plain.then(|| &value[1..value.len() - 1]));
        }
    }

    #[test]
    fn strings_end_where_they_did_when_they_were_searched_twice(inner in "[\"\\\\\n\ra1\u{2}é ]{0,24}") {
        let text = format!("\"{inner}");
        let mut members = Members::of(&text);
        prop_assert_eq!(members.string().map(|_| members.pos), searched_twice(&text));
    }

    #[test]
    fn of_anything_it_says_something(text: String) {
        _ = (elements(&text), members(&text));
    }
}
