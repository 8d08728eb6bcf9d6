//! Plain events in JSON against the tree: the same row, byte for byte.

use proptest::prelude::*;

use super::*;
use crate::event::columns::tests::both_ways::compare_json;

/// Compares the rows of every table. Tells whether the event was plain.
fn compare(json: &str) -> bool {
    compare_json(json, |event, text| read(event, text).is_some())
}

const SYSTEM: &str = r##"{"Provider":{"#attributes":{"Name":"Microsoft-Windows-Security-Auditing","Guid":"5"}},"EventID":4624,
    "Version":2,"Level":0,"Task":12544,"Opcode":0,"Keywords":"0x8020000000000000",
    "TimeCreated":{"#attributes":{"SystemTime":"2026-01-02T03:04:05.678Z"}},"EventRecordID":7,
    "Correlation":{"#attributes":{"ActivityID":"A"}},"Execution":{"#attributes":{"ProcessID":700,"ThreadID":5208}},
    "Channel":"Security","Computer":"DC01.plant.example","Security":{"#attributes":{"UserID":"S-1-5-18"}}}"##;

fn event(system: &str, data: &str) -> String {
    format!(r##"{{"Event":{{"#attributes":{{"xmlns":"http://schemas"}},"System":{system}{data}}}}}"##)
}

#[test]
fn what_tools_write_of_a_plain_event_is_plain_and_its_row_is_that_of_the_tree() {
    for data in [
        "",
        r#","EventData":null"#,
        r#","EventData":{}"#,
        r#","EventData":{"SubjectUserSid":"S-1-5-18","TargetUserName":"O'Neil & <ö>","LogonType":3,"Elevated":true}"#,
        r#", "EventData" : { "ProcessName" : "C:\\Windows\\a.exe" , "IpPort" : null,"Text":"a\r\n\t\"b\" \u0002\/" } "#,
        r#","EventData":{"FilePathBuffer":"%SYSTEM32%\\A","TargetLogonGuid":"{0}","Attributes":"x","$t":"y"}"#,
    ] {
        assert!(compare(&event(SYSTEM, data)), "{data}");
    }
    for (known, other) in [
        ("4624", r##"{"#attributes":{"Qualifiers":3},"#text":4624}"##),
        ("4624", "\"4624\""),
        (r##"{"#attributes":{"ActivityID":"A"}}"##, "null"),
        ("\"0x8020000000000000\"", "\"0x0\""),
        ("\"0x8020000000000000\"", "\"0x08020000000000000\""),
        ("\"0x8020000000000000\"", "9232379236109516800"),
        ("\"0x8020000000000000\"", "-9214364837600034816"),
        ("\"0x8020000000000000\"", "\"Audit Success\""),
        ("\"0x8020000000000000\"", "\" 0XFF \""),
        ("12544", "\" 12544 \""),
        ("\"DC01.plant.example\"", r#"" DC01\u002eplant.example""#),
        (r#","Guid":"5""#, ""),
        (r#""Version":2,"#, ""),
    ] {
        let system = SYSTEM.replace(known, other);
        assert_ne!(system, SYSTEM, "{known}");
        assert!(compare(&event(&system, r#","EventData":{"a":"b"}"#)), "{system}");
    }
}

#[test]
fn what_is_anything_else_goes_by_the_tree() {
    for data in [
        r#","UserData":{"a":"b"}"#,
        r#","EventData":"<Data>a</Data>""#,
        r#","EventData":{"Data":["a","b"]}"#,
        r#","EventData":{"a":["b"]}"#,
        r#","EventData":{"a":{"b":"c"}}"#,
        r#","EventData":{"a":"b","c":"d","a":"e"}"#,
        r##","EventData":{"#attributes":{"Name":"x"},"a":"b"}"##,
        r#","EventData":{"@Name":"x"}"#,
        r#","EventData":{"x_attributes":{"Name":"x"}}"#,
        r#","EventData":{"Binary":"00FF"}"#,
        r#","EventData":{"":"b"}"#,
        r#","EventData":{"a\u0062":"b"}"#,
        r#","EventData":{"a":"b"},"EventData":{"a":"c"}"#,
        r#","RenderingInfo":{"Message":"m"}"#,
    ] {
        assert!(!compare(&event(SYSTEM, data)), "{data}");
    }
    for (known, other) in [
        ("12544", "\"none\""),
        ("12544,", "12544,\"Task\":1,"),
        ("12544", "1e3"),
        ("\"Level\":0", "\"Level\":\"high\""),
        ("4624", "4624.0,\"EventID\":1"),
        ("4624", r##"{"#text":4624,"#text":null}"##),
        ("2026-01-02T03:04:05.678Z", "yesterday"),
        ("2026-01-02T03:04:05.678Z", "9999-12-31T23:59:59-10:00"),
        ("700", "\"many\""),
        ("700", "1,\"ProcessID\":700"),
        ("\"UserID\":\"S-1-5-18\"", "\"UserID\":\"S\\u002d\""),
        (r##"{"#attributes":{"UserID":"S-1-5-18"}}"##, r##"{"#attributes":{"UserID":"S"},"#text":"x"}"##),
        ("\"Security\":", "\"Mystery\":1,\"Security\":"),
        ("\"Channel\":\"Security\"", "\"Channel\":null"),
        ("\"Opcode\":0", "\"Opcode\":[1]"),
    ] {
        let system = SYSTEM.replace(known, other);
        assert_ne!(system, SYSTEM, "{known}");
        assert!(!compare(&event(&system, r#","EventData":{"a":"b"}"#)), "{system}");
    }
    let whole = event(SYSTEM, "");
    assert!(!compare(&whole.replacen('{', r#"{"Site_CF":"x","#, 1)));
    assert!(!compare(&format!("{},\"tag\":\"x\"}}", &whole[..whole.len() - 1])));
    let many: Vec<String> = (0..=Seen::NAMES_MAX).map(|n| format!("\"n{n}\":{n}")).collect();
    assert!(!compare(&event(SYSTEM, &format!(",\"EventData\":{{{}}}", many.join(",")))));
}

/// Members of `System`, sound and not.
fn part() -> impl Strategy<Value = String> {
    let name = prop::sample::select([&PARTS[..], &["Mystery", "Provider_attributes", "#attributes"]].concat());
    (name, value()).prop_map(|(name, value)| format!("\"{name}\":{value}"))
}

/// Values, sound and not for wherever they come to stand.
fn value() -> impl Strategy<Value = String> {
    let fixed = [
        "null",
        "true",
        "5",
        "4624",
        "-1",
        "4624.0",
        "\"\"",
        "\" 7 \"",
        "\"0x1f\"",
        "\"a\\\\b\"",
        "\"DC\"",
        "[]",
        "[1,\"x\"]",
        "{}",
        r##"{"#text":4624}"##,
        r##"{"#attributes":{"Name":"p","UserID":"S","ActivityID":"{1}"}}"##,
        r##"{"#attributes":{"SystemTime":"2026-01-02T03:04:05Z"}}"##,
        r##"{"#attributes":{"ProcessID":4,"ThreadID":"x"}}"##,
        r##"{"#attributes":{"ProcessID":" 4 "},"x":1}"##,
        r##"{"@Name":"p"}"##,
        r##"{"Name":"a","Value":"b"}"##,
    ];
    prop_oneof![
        4 => prop::sample::select(fixed.to_vec()).prop_map(str::to_owned),
        1 => "\\PC{0,8}[\\x00-\\x7f]{0,4}".prop_map(|text| serde_json::Value::from(text).to_string()),
    ]
}

fn datum() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "TargetUserName",
        "LogonType",
        "ProcessName",
        "a",
        "Data",
        "#text",
        "Binary",
        "@x",
        "attributes",
        "FilePathBuffer",
    ]);
    let name = prop_oneof![3 => known.prop_map(str::to_owned), 1 => "[a-z<&\"\\\\]{0,3}"];
    (name, value()).prop_map(|(name, value)| format!("{}:{value}", serde_json::Value::from(name)))
}

proptest! {
    #[test]
    fn any_nested_event_has_the_row_of_the_tree(
        parts in prop::collection::vec(part(), 0..12),
        data in prop::collection::vec(datum(), 0..9),
        whole in 0..4_u8,
        beside in prop::sample::select(vec!["", "", "", r#","UserData":null"#, r#","Message":"m""#]),
    ) {
        let system = match whole {
            0 => format!("{{\"EventID\":4624,\"Computer\":\"DC\",\"Channel\":\"Security\",{}}}", parts.join(",")),
            1 => format!("{{{}}}", parts.join(",")),
            _ => SYSTEM.to_owned(),
        };
        compare(&event(&system.replace(",}", "}"), &format!(",\"EventData\":{{{}}}{beside}", data.join(","))));
    }
}
