//! Flat records against the tree: the same row, byte for byte.

use proptest::prelude::*;

use super::*;
use crate::event::columns::tests::both_ways::compare_json;

/// Compares the rows of every table. Tells whether the record was plain.
fn compare(json: &str) -> bool {
    compare_json(json, |event, text| read(event, text).is_some())
}

const WINEVTLOG: &str = r#"{"ProviderName":"Microsoft-Windows-Security-Auditing","ProviderGuid":"{5}","Qualifiers":"",
    "EventID":4624,"Version":2,"Level":0,"Task":12544,"Opcode":0,"Keywords":"0x8020000000000000",
    "TimeCreated":"2026-01-02 03:04:05 +0000","EventRecordID":7,"ActivityID":"","RelatedActivityID":"","ProcessID":700,
    "ThreadID":5208,"Channel":"Security","Computer":"DC01.plant.example","UserID":"","Message":"An account\r\nwas \"logged\" on",
    "StringInserts":["S-1-5-18","-",3]}"#;
const SECURITY: &str = r#"{"TimeGenerated":"2026-01-02T03:04:05.678Z","Computer":"DC01","Channel":"Security","EventID":4624,
    "EventRecordId":"7","EventLevelName":"LogAlways","Task":12544,"Opcode":"0","Version":2,"Keywords":"0x8020000000000000",
    "SystemProcessId":700,"SystemThreadId":5208,"EventSourceName":"P","Level":"0","Activity":"4624 - An account was logged on.",
    "TargetUserName":"O'Neil <ö>","ProcessName":"C:\\a\\b.exe","LogonType":3,"IpPort":""}"#;
const WINDOWS: &str = r#"{"TimeGenerated":"2026-01-02T03:04:05.678Z","Computer":"DC01","Channel":"Security","EventID":4624,
    "EventRecordId":"7","EventLevel":0,"Provider":"P","SystemUserId":"S-1-5-18","Correlation":"{a}","Tag":"x","Empty":[ ],
    "EventData":{"TargetUserName":"anna","LogonType":"3"},"Message":"","More":{"a":[1,2]}}"#;

#[test]
fn records_of_agents_and_rows_of_other_tables_are_plain_and_their_rows_are_those_of_the_tree() {
    for record in [WINEVTLOG, SECURITY, WINDOWS] {
        assert!(compare(record), "{record}");
        assert!(compare(&format!(" {} ", record.replace(r#"":"#, "\" : "))), "{record}");
    }
    for (known, other) in [
        ("\"0x8020000000000000\"", "-9214364837600034816"),
        ("\"Level\":0", "\"Level\":0,\"level\":\"Information\""),
        ("\"Computer\":\"DC01.plant.example\"", "\"Computer\":\"DC01.plant.example\",\"Hostname\":\"other\""),
        ("\"ProcessID\":700", "\"ProcessID\":null"),
        ("\"Version\":2", "\"Version\":\" 2 \""),
        ("\"Qualifiers\":\"\"", "\"Qualifiers\":16384,\"tags\":[],\"@timestamp\":1767323045.0"),
    ] {
        let record = WINEVTLOG.replace(known, other);
        assert_ne!(record, WINEVTLOG, "{known}");
        assert!(compare(&record), "{record}");
    }
}

#[test]
fn what_is_anything_else_goes_by_the_tree() {
    for (known, other) in [
        ("\"Task\":12544", "\"Task\":\"Logon\""),
        ("\"Task\":12544", "\"Task\":12544,\"task\":1"),
        ("\"Task\":12544", "\"Task\":12544,\"TASK\":12544"),
        ("\"Task\":12544", "\"Task\":12544,\"Message\":\"\""),
        ("\"Version\":2", "\"Version\":true"),
        ("\"Keywords\":\"0x8020000000000000\"", "\"Keywords\":[\"Audit Success\"]"),
        ("\"Opcode\":0", "\"Opcode\":{\"Value\":0}"),
        ("\"Message\"", "\"event.original\":\"<Event/>\",\"Message\""),
        ("\"Message\"", "\"winlog\":{},\"Message\""),
        ("\"Message\"", "\"EventData\":\"<Data>x</Data>\",\"Message\""),
        ("\"Message\"", "\"event_data\":{\"a\":\"b\"},\"Message\""),
        ("\"Message\"", "\"Site_CF\":1,\"Message\""),
        ("\"Message\"", "\"MachineName\":\"x\",\"Message\""),
        ("\"Message\"", "\"Mess\\u0061ge\""),
        ("\"Message\"", "\"\":1,\"Message\""),
        ("\"Level\":0", "\"Level\":{\"#text\":0}"),
    ] {
        let record = WINEVTLOG.replace(known, other);
        assert_ne!(record, WINEVTLOG, "{known}");
        assert!(!compare(&record), "{record}");
    }
}

/// Names that mean something anywhere, and some that do not.
fn name() -> impl Strategy<Value = String> {
    let parts: Vec<&str> = named_parts().map(|(name, ..)| name).collect();
    let others = [
        "EventID",
        "Computer",
        "Channel",
        "Provider",
        "Level",
        "level",
        "TimeCreated",
        "TimeGenerated",
        "EventRecordID",
        "Id",
        "Hostname",
        "EventData",
        "Message",
        "TargetUserName",
        "LogonType",
        "ProcessName",
        "FilePathBuffer",
        "SourceSystem",
        "EventLevelName",
        "VERSION",
        "opcode",
        "tags",
        "@timestamp",
        "Data",
        "attributes",
        "ActivityId",
        "a.b",
    ];
    prop_oneof![
        4 => prop::sample::select([&others[..], &NOT_PLAIN[..], &parts[..]].concat()).prop_map(str::to_owned),
        1 => "[a-zA-Z<\\\\\"]{0,3}",
    ]
}

fn value() -> impl Strategy<Value = String> {
    let fixed = [
        "null",
        "true",
        "5",
        "4624",
        "4624.0",
        "-3",
        "\"\"",
        "\" 7 \"",
        "\"0x1f\"",
        "\"DC\"",
        "\"Security\"",
        "\"Information\"",
        "\"2026-01-02T03:04:05Z\"",
        "\"<Event/>\"",
        "[]",
        "[ ]",
        "[1,\"x\"]",
        "{}",
        "{ }",
        "{\"a\":\"b\",\"LogonType\":3}",
        "{\"Value\":\"x\"}",
        "{\"a\":[1]}",
        "{\"activity_id\":\"x\"}",
        "{\"a\":\n1e400}",
    ];
    prop_oneof![
        4 => prop::sample::select(fixed.to_vec()).prop_map(str::to_owned),
        1 => "\\PC{0,8}[\\x00-\\x7f]{0,4}".prop_map(|text| serde_json::Value::from(text).to_string()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]
    #[test]
    fn any_flat_record_has_the_row_of_the_tree(
        members in prop::collection::vec((name(), value()), 0..12),
        is_event in any::<bool>(),
        keeps_data in any::<bool>(),
    ) {
        let event = if is_event { r#""EventID":4624,"Computer":"DC","Channel":"Security""# } else { "\"x\":1" };
        let data = if keeps_data { r#","EventData":{"TargetUserName":"anna"}"# } else { "" };
        let members: String = members.iter().map(|(name, value)| format!(",{}:{value}", serde_json::Value::from(name.as_str()))).collect();
        compare(&format!("{{{event}{data}{members}}}"));
    }
}
