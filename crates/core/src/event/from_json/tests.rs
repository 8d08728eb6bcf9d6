use super::*;
use crate::event::{Event, Format, KeyMaker};
use proptest::prelude::*;
use serde::de::IgnoredAny;

fn fields(json: &str) -> Fields<'_> {
    let scanned = scan(json, 0).expect(json);
    assert_eq!((scanned.end, scanned.is_object, scanned.unpaired_surrogate), (json.len(), true, false), "{json}");
    scanned.fields
}

fn is_json(text: &str) -> bool {
    scan(text, 0).is_ok_and(|scanned| scanned.end == text.len())
}

#[test]
fn an_object_that_is_no_event_has_no_fields() {
    for json in ["{}", r#"{"a":1,"Event":"text","System":"text","winlog":[],"event":null,"body":3}"#] {
        assert_eq!(fields(json), Fields::default(), "{json}");
    }
}

#[test]
fn the_more_specific_key_counts_in_any_order() {
    for json in [
        r#"{"@timestamp":"2024-01-01T00:00:01Z","TimeGenerated":"2024-01-01T00:00:02Z","TimeCreated":"2024-01-01T00:00:03Z"}"#,
        r#"{"TimeCreated":"2024-01-01T00:00:03Z","TimeGenerated":"2024-01-01T00:00:02Z","@timestamp":"2024-01-01T00:00:01Z"}"#,
    ] {
        assert_eq!(fields(json).time, Timestamp::parse("2024-01-01T00:00:03Z"), "{json}");
    }
    let unusable =
        r#"{"EventRecordID":"none","record_id":5,"TimeCreated":"1601-01-01T00:00:00Z","timestamp":1714979289}"#;
    assert_eq!(fields(unusable).record_id, Some(5));
    let own = r#"{"@timestamp":"2024-01-01T00:00:01Z","EventTime":"2024-01-01 00:00:03+01:00","EventReceivedTime":"2024-01-01T00:00:09Z"}"#;
    assert_eq!(fields(own).time, Timestamp::parse("2023-12-31T23:00:03Z"));
    let in_words = r#"{"TimeCreated":{"SystemTime":"2024-05-06T07:08:09Z","RawTime":133594528891234567}}"#;
    assert_eq!(fields(in_words).time, Timestamp::parse("2024-05-06T07:08:09Z"));
    assert_eq!(fields(unusable).time, Timestamp::from_epoch(1_714_979_289.0));
}

#[test]
fn levels_in_words_count_where_there_is_no_number() {
    for (json, level) in [
        (r#"{"Level":"LogAlways"}"#, Some(0)),
        (r#"{"Level":"critical"}"#, Some(1)),
        (r#"{"Level":" ERROR "}"#, Some(2)),
        (r#"{"level":"Warning","Level":"Nothing known"}"#, Some(3)),
        (r#"{"Level":"Information","level":"Error"}"#, Some(4)),
        (r#"{"log":{"level":"error"},"Level":"Informational"}"#, Some(4)),
        (r##"{"System":{"Level":{"#text":"Verbose"}},"Level":"Error"}"##, Some(5)),
        (r#"{"Level":"Information","level_value":0}"#, Some(0)),
        (r#"{"log.level":"2","EventLevel":"Information"}"#, Some(2)),
        (r#"{"Level":"Error","Level":"Warning"}"#, Some(3)),
        (r#"{"Level":"Fehler","log":"error"}"#, None),
    ] {
        assert_eq!(fields(json).level, level, "{json}");
    }
}

#[test]
fn the_level_is_no_part_of_the_identity() {
    let key = |level: &str| {
        let json = format!(r#"{{"Computer":"a","EventRecordID":1,"TimeCreated":"2024-01-01T00:00:00Z"{level}}}"#);
        let event = Event { format: Format::Json, raw: json.as_bytes(), fields: fields(&json) };
        KeyMaker::new(&[7; 32]).for_scope("scope", "stream").key(&event)
    };
    for level in [r#","Level":"Error""#, r#","Level":2"#, r#","log.level":"verbose""#] {
        assert_eq!(key(level), key(""), "{level}");
    }
}

#[test]
fn of_equal_keys_the_last_counts() {
    assert_eq!(fields(r#"{"EventID":1,"EventID":2}"#).event_id, Some(2));
    assert_eq!(fields(r#"{"Computer":"a","Comp\u0075ter":"b"}"#).computer.as_deref(), Some("b"));
}

#[test]
fn strings_are_borrowed_unless_they_hold_escapes() {
    let found =
        fields(r#"{"Computer":"dc1","Channel":"Microsoft-Windows-AppLocker\/EXE and DLL","Provider":"\ud83d\ude00"}"#);
    assert!(matches!(found.computer, Some(Cow::Borrowed("dc1"))));
    assert_eq!(found.channel.as_deref(), Some("Microsoft-Windows-AppLocker/EXE and DLL"));
    assert_eq!(found.provider.as_deref(), Some("😀"));
    assert_eq!(fields(r#"{"Computer":"","Channel":null}"#), Fields { channel: Some("".into()), ..Fields::default() });
}

#[test]
fn half_a_surrogate_pair_is_told_but_is_json() {
    for json in
        [r#"{"a":"\ud800"}"#, r#"{"a":"\udc00x"}"#, r#"{"a":"\ud800\u0041"}"#, r#"{"a":["\ud800\ud800\udc00"]}"#]
    {
        assert!(scan(json, 0).expect(json).unpaired_surrogate, "{json}");
    }
}

#[test]
fn depth_has_a_limit_and_no_stack() {
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    assert!(is_json(&nested(MAX_JSON_DEPTH)));
    assert!(scan(&nested(MAX_JSON_DEPTH + 1), 0).is_err());
    assert!(scan(&"[".repeat(1_000_000), 0).is_err());
    assert!(scan(&"{\"body\":".repeat(1_000_000), 0).is_err());
}

#[test]
fn what_is_no_json_is_refused() {
    for text in [
        "",
        "{",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "{a:1}",
        "[1,]",
        "[1 2]",
        "01",
        "-",
        "1.",
        ".5",
        "1e",
        "+1",
        "0x1",
        "NaN",
        "nul",
        "True",
        "'a'",
        "\"a",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\\u12\"",
        "\"\n\"",
        "\"\t\"",
        "\"1234567\u{1}\"",
        "\u{feff}{}",
        "{\"a\":1}}",
        "//\n{}",
    ] {
        assert!(!is_json(text), "{text:?}");
    }
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9f64).prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::String),
        "[\\x00-\\x7f\u{fffd}😀]{0,20}".prop_map(Value::String),
    ];
    leaf.prop_recursive(5, 30, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            proptest::collection::vec((any_key(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_key() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,9}".boxed(),
        prop::sample::select(vec![
            "Event",
            "System",
            "EventID",
            "Computer",
            "body",
            "winlog",
            "TimeCreated",
            "#text",
            "Provider",
            "Name",
            "id"
        ])
        .prop_map(str::to_owned)
        .boxed(),
    ]
}

/// The first usable value along paths that stand in order of rank.
fn first<T>(record: &serde_json::Value, paths: &[&str], read: impl Fn(&serde_json::Value) -> Option<T>) -> Option<T> {
    paths.iter().filter_map(|path| record.pointer(path)).find_map(read)
}

proptest! {
    #[test]
    fn takes_the_fields_that_a_real_parser_finds(
        values in proptest::collection::vec(prop_oneof![
            any::<u32>().prop_map(serde_json::Value::from),
            any::<u64>().prop_map(|n| n.to_string().into()),
            "[a-z\"\\\\\n]{0,6}".prop_map(serde_json::Value::from),
            Just(serde_json::Value::Null),
        ], 12),
        present in any::<u16>(),
        pretty in any::<bool>(),
    ) {
        let ids = ["/Event/System/EventID/#text", "/winlog/event_id", "/EventID", "/EventId", "/event_id/id", "/event/code"];
        let names = ["/Event/System/Provider/#attributes/Name", "/winlog/provider_name", "/ProviderName", "/Provider", "/provider/name", "/SourceName"];
        let mut record = serde_json::json!({});
        for (index, (path, value)) in ids.iter().chain(&names).zip(&values).enumerate() {
            if present >> index & 1 == 1 {
                let slot = path[1..].split('/').fold(&mut record, |at, key| &mut at[key]);
                *slot = value.clone();
            }
        }
        let text = if pretty { serde_json::to_string_pretty(&record) } else { serde_json::to_string(&record) }.expect("writes");
        let found = scan(&text, 0).expect("is JSON").fields;
        let number = |value: &serde_json::Value| {
            let text = value.as_str().map_or_else(|| value.to_string(), |text| text.trim().to_owned());
            text.parse::<u32>().ok().map(|id| id & 0xFFFF)
        };
        prop_assert_eq!(found.event_id, first(&record, &ids, number));
        prop_assert_eq!(found.provider.map(Cow::into_owned), first(&record, &names, |value| value.as_str().map(|text| text.trim().to_owned())));
    }

    #[test]
    fn the_computer_that_counts_is_among_all_that_are_named(value in any_json()) {
        let text = value.to_string();
        let counts = scan(&text, 0).expect("is JSON").fields.computer;
        let all = naming::computers(&text).expect("is JSON").names;
        prop_assert!(counts.is_none_or(|name| all.contains(&name)), "{}", text);
    }

    #[test]
    fn accepts_what_a_real_parser_accepts(value in any_json(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.expect("writes");
        prop_assert!(is_json(&text));
    }

    #[test]
    fn judges_damaged_json_as_a_real_parser_does(value in any_json(), edits in proptest::collection::vec((any::<prop::sample::Index>(), "[{}\\[\\],:\"\\\\0-9eE.+tfn \\x00-\\x1fu-]{0,2}"), 1..4)) {
        let mut text = value.to_string();
        for (at, new) in edits {
            let at = at.index(text.len() + 1);
            if text.is_char_boundary(at) {
                let end = (at + 1..=text.len()).find(|end| text.is_char_boundary(*end)).unwrap_or(at);
                text.replace_range(at..end, &new);
            }
        }
        let text = text.trim_matches([' ', '\n', '\r', '\t']);
        prop_assert_eq!(is_json(text), serde_json::from_str::<IgnoredAny>(text).is_ok(), "{:?}", text);
    }

    #[test]
    fn arbitrary_text_never_panics(text in "[{}\\[\\],:\"\\\\a-f0-9eE.+tnul ä-]{0,30}") {
        prop_assert_eq!(is_json(text.trim_matches(' ')), serde_json::from_str::<IgnoredAny>(text.trim_matches(' ')).is_ok());
    }
}
