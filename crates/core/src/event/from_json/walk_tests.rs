use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;
use crate::event::from_json::{Scanned, scan};
use crate::event::near;

/// Walks an object that stays as it is.
fn walked(text: &str) -> Result<(Option<Fields<'_>>, usize), JsonError> {
    let one_by_one = walked_with(text, |_| None);
    assert_eq!(walked_with(text, Walk::plain), one_by_one, "{text}");
    one_by_one
}

/// The same; members that are seen in one step are kept after all.
fn walked_with<'a>(
    text: &'a str,
    mut plain: impl FnMut(&mut Walk<'a>) -> Option<Plain>,
) -> Result<(Option<Fields<'a>>, usize), JsonError> {
    let mut walk = Walk::open(text, 0)?;
    loop {
        if let Some(plain) = plain(&mut walk) {
            walk.keep_plain(&plain, &text[plain.at + 1..plain.name_end - 1])?;
            continue;
        }
        let Some(name) = walk.name(near::letters)? else { break };
        let name = walk.text_of(&name);
        walk.keep(&name)?;
    }
    let end = walk.pos();
    Ok((walk.end(), end))
}

fn agrees(text: &str) -> Result<(), TestCaseError> {
    match (walked(text), scan(text, 0)) {
        (Ok((fields, end)), Ok(scanned)) => {
            prop_assert_eq!(end, scanned.end);
            match fields {
                Some(fields) => prop_assert_eq!(fields, scanned.fields),
                None => prop_assert!(scanned.unpaired_surrogate || text.contains('<'), "{}", text),
            }
        }
        (walked, scanned) => prop_assert_eq!(walked.err(), scanned.err()),
    }
    Ok(())
}

const NAMES: &str = "Computer|EventID|TimeGenerated|Level|level|EventRecordId|Channel|Provider|System|body|winlog|event|message|[a-z\"é]{0,4}";

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u16>().prop_map(Value::from),
        "\\PC{0,12}|Warning|2026-01-0[0-9]T00:00:00Z|<Event><System><Provider Name='a'/><EventID>5</EventID></System></Event>"
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((NAMES, inner), 0..4)
                .prop_map(|members| Value::from(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

#[test]
fn what_is_added_counts_as_if_it_stood_at_the_end() {
    let fields = |text: &'static str, add: fn(&mut Walk<'static>)| {
        let mut walk = Walk::open(text, 0).expect("an object");
        while let Some(name) = walk.name(|_| 0).expect("JSON") {
            let name = walk.text_of(&name);
            walk.keep(&name).expect("JSON");
        }
        add(&mut walk);
        walk.end()
    };
    let read = |text| scan(text, 0).map(|Scanned { fields, .. }| fields).ok();
    let time = "2026-01-02T03:04:05.0000000Z";
    for (before, after) in [
        (
            "{\"a\":1}",
            "{\"a\":1,\"Computer\":\"web01\",\"TimeGenerated\":\"2026-01-02T03:04:05.0000000Z\",\"x\":\"y\"}",
        ),
        (
            "{\"TimeCreated\":\"2026-01-01T00:00:00Z\",\"winlog.computer_name\":\"db01\",\"Computer\":5}",
            "{\"TimeCreated\":\"2026-01-01T00:00:00Z\",\"winlog.computer_name\":\"db01\",\"Computer\":5,\"Computer\":\"web01\",\"TimeGenerated\":\"2026-01-02T03:04:05.0000000Z\",\"x\":\"y\"}",
        ),
    ] {
        let added = fields(before, |walk| {
            walk.add("Computer", Cow::Borrowed("web01"));
            walk.add_time("TimeGenerated", Timestamp::parse("2026-01-02T03:04:05.0000000Z"));
            walk.add("x", Cow::Borrowed("y"));
        });
        assert_eq!(added, read(after), "{time}");
    }
}

#[test]
fn what_was_passed_over_can_be_kept_after_all() {
    let text = "{\"a\":\"web01\",\"b\":2}";
    let mut walk = Walk::open(text, 0).expect("an object");
    walk.name(|_| 0).expect("a name");
    let at = walk.pos();
    assert_eq!(walk.pass(), Ok(true));
    walk.keep_after_all(at, "Computer").expect("it is JSON");
    assert!(walk.name(|_| 0).is_ok_and(|name| name.is_some()));
    assert_eq!(walk.pass(), Ok(false));
    assert!(walk.name(|_| 0).is_ok_and(|name| name.is_none()));
    let computer = walk.end().and_then(|fields| fields.computer);
    assert_eq!(computer.as_deref(), Some("web01"));
}

/// What is seen of the next member in one step, and in two.
fn seen(text: &str, is_first: bool) -> [Option<(Plain, usize)>; 2] {
    let walk = || {
        let mut walk = Walk::open(text, 0).ok()?;
        if !is_first {
            walk.name(near::word).ok()??;
            walk.pass().ok()?;
        }
        Some(walk)
    };
    let in_one = walk().and_then(|mut walk| Some((walk.plain()?, walk.pos())));
    let in_two = walk().and_then(|mut walk| {
        let Name { at, end: name_end, has_letters, .. } = walk.name(near::word).ok()??;
        let value_at = walk.pos();
        let is_plain_text = walk.pass().ok()?;
        let plain = Plain { at, name_end, value_at, end: walk.pos(), is_plain_text };
        has_letters.then_some((plain, walk.pos()))
    });
    [in_one, in_two]
}

#[test]
fn members_as_nearly_all_are_written_are_seen_in_one_step() {
    for value in ["\"\"", "\"a b\"", "\"C:\\\\x\"", "\"say \\\"x\\\"\"", "true", "false", "0", "12544", "\" <b\""] {
        for end in ["}", ",\"b\":1}"] {
            let text = format!("{{\"Name_1\":{value}{end}");
            let [in_one, in_two] = seen(&text, true);
            assert!(in_one.is_some() && in_one == in_two, "{text}");
            let [in_one, in_two] = seen(&format!("{{\"x\":1,\"Name_1\":{value}{end}"), false);
            assert!(in_one.is_some() && in_one == in_two, "{text}");
        }
    }
    for text in [
        "{}",
        "{\"a\":1",
        "{\"a\":01}",
        "{\"a\":1.5}",
        "{\"a\":-1}",
        "{\"a\":tru}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\\n\"}",
        "{\"a\":\"\n\"}",
        "{\"a\": 1}",
        "{\"a-b\":1}",
        "{\"a\":\"<Event>\"}",
        "{\"a\":\" \\n<Event>\"}",
        "{\"a\":[]}",
        "{\"a\":null}",
        "{\"a\":\"x\" }",
    ] {
        assert_eq!(seen(text, true)[0], None, "{text}");
    }
}

proptest! {
    #[test]
    fn a_member_that_is_seen_in_one_step_is_seen_so_in_two(
        name in "[a-z_1]{0,10}|é|\\\\\\\\|", value in "[-0-9a-z.]{0,4}|true|false|\"([a-z<é \\\\\"\n]|\\\\\\\\|\\\\\"|<Event>|\\\\u[0-9d]{4}){0,6}\"", end in "[,} ]", is_first: bool,
    ) {
        let before = if is_first { "" } else { "\"x\":\"y\"," };
        let [in_one, in_two] = seen(&format!("{{{before}\"{name}\":{value}{end}"), is_first);
        prop_assert!(in_one.is_none() || in_one == in_two, "{:?} {:?}", in_one, in_two);
    }

    #[test]
    fn a_record_that_is_walked_through_has_the_fields_that_reading_it_finds(
        members in prop::collection::vec((NAMES, value()), 0..8),
        pretty: bool,
    ) {
        let inner: Vec<String> = members
            .iter()
            .map(|(name, value)| {
                let value = if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
                format!("{}:{}", Value::from(name.as_str()), value.expect("it can be written"))
            })
            .collect();
        agrees(&format!("{{{}}}", inner.join(if pretty { " , " } else { "," })))?;
    }

    #[test]
    fn what_is_no_record_is_none_for_both(text in "\\{[{}\\[\\]\":,0-9a\\\\u d8\n-]{0,16}") {
        agrees(&text)?;
    }
}
