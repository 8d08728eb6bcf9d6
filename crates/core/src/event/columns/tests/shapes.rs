//! Events in JSON: what is converted, what goes out as it came, and the extras.

use super::*;

const XML: &str = "<Event><System><Provider Name='Microsoft-Windows-Security-Auditing'/><EventID>4624</EventID><Version>2</Version><Level>0</Level><Task>12544</Task><Opcode>0</Opcode>\
    <Keywords>0x8020000000000000</Keywords><TimeCreated SystemTime='2024-05-06T07:08:09.1234567Z'/><EventRecordID>1234</EventRecordID><Correlation ActivityID='{a}'/>\
    <Execution ProcessID='4' ThreadID='8'/><Channel>Security</Channel><Computer>DC1.corp.example</Computer></System>\
    <EventData><Data Name='TargetUserName'>anna</Data><Data Name='TargetDomainName'>CORP</Data><Data Name='LogonType'>3</Data></EventData></Event>";

/// The event of [`XML`] as agents write it.
const SHAPES: [&str; 7] = [
    // evtx tools
    r##"{"Event":{"#attributes":{"xmlns":"x"},"System":{"Provider":{"#attributes":{"Name":"Microsoft-Windows-Security-Auditing"}},"EventID":4624,"Version":2,"Level":0,"Task":12544,"Opcode":0,"Keywords":"0x8020000000000000","TimeCreated":{"#attributes":{"SystemTime":"2024-05-06T07:08:09.1234567Z"}},"EventRecordID":1234,"Correlation":{"#attributes":{"ActivityID":"{a}"}},"Execution":{"#attributes":{"ProcessID":4,"ThreadID":8}},"Channel":"Security","Computer":"DC1.corp.example","Security":null},"EventData":{"TargetUserName":"anna","TargetDomainName":"CORP","LogonType":3}}}"##,
    // Fluent Bit, winevtlog with event_data_as_map
    r#"{"ProviderName":"Microsoft-Windows-Security-Auditing","EventID":4624,"Version":2,"Level":0,"Task":12544,"Opcode":0,"Keywords":"0x8020000000000000","TimeCreated":"2024-05-06T07:08:09.1234567Z","EventRecordID":1234,"ActivityID":"{a}","ProcessID":4,"ThreadID":8,"Channel":"Security","Computer":"DC1.corp.example","EventData":{"TargetUserName":"anna","TargetDomainName":"CORP","LogonType":"3"}}"#,
    // Vector
    r#"{"timestamp":"2024-05-06T07:08:09.1234567Z","computer":"DC1.corp.example","channel":"Security","event_id":4624,"record_id":1234,"provider_name":"Microsoft-Windows-Security-Auditing","level":"LogAlways","level_value":0,"version":2,"task":12544,"opcode":0,"OpcodeValue":0,"keywords":"0x8020000000000000","activity_id":"{a}","process_id":4,"thread_id":8,"event_data":{"TargetUserName":"anna","TargetDomainName":"CORP","LogonType":"3"}}"#,
    // OpenTelemetry
    r#"{"attributes":{},"body":{"event_id":{"id":4624,"qualifiers":0},"provider":{"name":"Microsoft-Windows-Security-Auditing","guid":"{1}"},"system_time":"2024-05-06T07:08:09.1234567Z","computer":"DC1.corp.example","channel":"Security","record_id":1234,"level":"LogAlways","version":2,"task":"12544","Opcode":"0","keywords":["Audit Success"],"activity_id":"{a}","process_id":4,"thread_id":8,"event_data":{"TargetUserName":"anna","TargetDomainName":"CORP","LogonType":"3"}}}"#,
    // Winlogbeat
    r#"{"@timestamp":"2024-05-06T07:08:09.1234567Z","event":{"code":"4624"},"log":{"level":"LogAlways"},"OpcodeValue":"0","task":"12544","winlog":{"computer_name":"DC1.corp.example","channel":"Security","event_id":"4624","record_id":"1234","version":2,"provider_name":"Microsoft-Windows-Security-Auditing","keywords":["Audit Success"],"activity_id":"{a}","process":{"pid":4,"thread":{"id":8}},"event_data":{"TargetUserName":"anna","TargetDomainName":"CORP","LogonType":"3"}}}"#,
    // a row of WindowsEvent
    r#"{"TimeGenerated":"2024-05-06T07:08:09.1234567Z","Provider":"Microsoft-Windows-Security-Auditing","Channel":"Security","Computer":"DC1.corp.example","EventID":4624,"EventLevel":0,"EventLevelName":"LogAlways","Task":12544,"Opcode":"0","Keywords":"0x8020000000000000","Version":2,"EventRecordId":"1234","SystemProcessId":4,"SystemThreadId":8,"Correlation":"{a}","EventData":{"TargetUserName":"anna","TargetDomainName":"CORP","LogonType":"3"}}"#,
    // a row of SecurityEvent, as a script would make it
    r#"{"TimeGenerated":"2024-05-06T07:08:09.1234567Z","EventSourceName":"Microsoft-Windows-Security-Auditing","Channel":"Security","Computer":"DC1.corp.example","EventID":4624,"Level":"0","Task":12544,"Opcode":"0","Keywords":"0x8020000000000000","Version":2,"EventRecordId":"1234","SystemProcessId":4,"SystemThreadId":8,"Correlation":"{a}","EventData":"<EventData><Data Name=\"TargetUserName\">anna</Data><Data Name=\"TargetDomainName\">CORP</Data><Data Name=\"LogonType\">3</Data></EventData>"}"#,
];

#[test]
fn an_event_is_the_same_row_whatever_shape_it_came_in() {
    for table in Table::ALL {
        let mut want = row_of(table, XML);
        if table != Table::WindowsEvent {
            // In XML made of JSON, quotes are always double.
            want["EventData"] = want["EventData"].as_str().expect("text").replace('\'', "\"").into();
        }
        for shape in SHAPES {
            let is_of = |key: &str| shape.contains(key);
            let ready = [(Table::WindowsEvent, "\"EventLevelName\""), (Table::SecurityEvent, "\"EventSourceName\"")];
            if ready.iter().any(|(of, key)| *of == table && is_of(key)) {
                assert_eq!(made(table, Format::Json, shape).expect("a row"), shape);
            } else {
                assert_eq!(row_of(table, shape), want, "{table:?} {shape}");
            }
        }
    }
}

#[test]
fn every_shape_of_an_event_has_one_key() {
    // `printf 'dc1.corp.example\nsecurity\n4624\n1234\n1714979289' | sha256sum | cut -c1-32`
    const KEY: &str = "d6f877bdcafaeef0a62cfce7cb4ff317";
    let extras = Extras { event_key: "Key_CF".to_owned(), ..Extras::default() };
    for raw in SHAPES.into_iter().chain([XML]) {
        let format = if raw.starts_with('{') { Format::Json } else { Format::Xml };
        for table in Table::ALL {
            let raw = Bytes::from_static(raw.as_bytes());
            let source = Source { format, raw: &raw, client: None };
            let Made { bytes: row, time, .. } = row(Some(table), source, &extras, &KEPT).expect("a row");
            let row: Value = serde_json::from_slice(&row).expect("JSON");
            assert_eq!(row["Key_CF"], KEY, "{row}");
            assert_eq!(time.map(|time| time.to_string()).as_deref(), Some("2024-05-06T07:08:09.1234567Z"));
        }
    }
}

#[test]
fn white_space_around_what_system_says_changes_no_row() {
    let loose =
        XML.replace("Name='Microsoft-Windows-Security-Auditing'", "Name=' Microsoft-Windows-Security-Auditing '");
    let loose = loose.replacen("'4' ThreadID='8'", "' 4' ThreadID='8 '", 1);
    let (system, data) = loose.split_once("</System>").expect("a System");
    // Around the text of every element.
    let loose =
        format!("{}</System>{data}", system.replace("</", "\n  </").replace("'>", "'>\n\t").replace("D>", "D>\n "));
    let loose =
        loose.replace("<Channel>", "<Channel>\r\n").replace("<Computer>", "<Computer>\n").replace("<Task>", "<Task> ");
    let loose = loose.replace("<Keywords>", "<Keywords>\n").replace("<Opcode>", "<Opcode>\n");
    for table in Table::ALL {
        assert_eq!(row_of(table, &loose), row_of(table, XML), "{table:?} {loose}");
    }
}

fn extended(raw: &'static str, extras: &Extras, kept: &RangeInclusive<Timestamp>) -> String {
    let raw = Bytes::from_static(raw.as_bytes());
    let format = if raw.starts_with(b"{") { Format::Json } else { Format::Xml };
    let source = Source { format, raw: &raw, client: Some("web\"01") };
    let row = row(None, source, extras, kept).expect("a row").bytes;
    String::from_utf8(row.to_vec()).expect("UTF-8")
}

fn all(original_time: &str, event_key: &str, client: &str) -> Extras {
    Extras { original_time: original_time.to_owned(), event_key: event_key.to_owned(), client: client.to_owned() }
}

/// What becomes of a record, and whether it was found to have no shape.
fn of_record(table: Option<Table>, raw: &'static str) -> (Bytes, bool) {
    let raw = Bytes::from_static(raw.as_bytes());
    let source = Source { format: Format::Json, raw: &raw, client: None };
    let made = row(table, source, &Extras::default(), &KEPT).expect("a row");
    (made.bytes, made.is_shapeless)
}

#[test]
fn what_is_no_windows_event_goes_out_as_it_came_where_it_has_its_columns() {
    const NO_EVENTS: [&str; 4] = [
        r#"{"a":{"b":[1,2.50,1e3]},"c":"é"}"#,
        "{}",
        r#"{"EventID":1,"Computer":"c","TimeGenerated":"2024-05-06T07:08:09Z","Own_CF":{"a":1},"x":null}"#,
        r#"{"Channel":"x","Computer":"c","Id":"no number"}"#,
    ];
    let not_copied = |table, raw: &'static str| {
        let (row, is_shapeless) = of_record(table, raw);
        assert_eq!((row.as_ptr(), is_shapeless), (raw.as_ptr(), false), "{table:?} {raw}");
    };
    NO_EVENTS.into_iter().for_each(|raw| not_copied(None, raw));
    for table in Table::ALL {
        NO_EVENTS[1..3].iter().for_each(|raw| not_copied(Some(table), raw));
    }
}

#[test]
fn a_record_of_no_known_shape_is_no_empty_row_but_stands_whole_in_one_column() {
    for raw in [
        r#"{"a":{"b":[1,2.50,1e3]},"c":"é"}"#,
        r#"{"Channel":"x","Computer":"c","Id":"no number"}"#,
        r#"{"Computer":"c","timestamp":"2024-05-06T07:08:09Z","EventData":7}"#,
        r#"{"_raw":"<Event><System><Channel>Security</Channel></System></Event>","host":"wec1"}"#,
        r#"{"_raw":"<Event><System><EventID>1</EventID><Channel>x</Channel></System></Event><Event/>"}"#,
    ] {
        for table in Table::ALL {
            let (row, is_shapeless) = of_record(Some(table), raw);
            let row: Value = serde_json::from_slice(&row).expect("JSON");
            let free = if table == Table::WindowsEvent { "RawEventData" } else { "EventData" };
            assert_eq!((&row[free], is_shapeless), (&json!(raw), true), "{table:?} {row}");
            super::corpus::check_schema(table, &row);
            let told: Value = serde_json::from_str(raw).expect("JSON");
            assert_eq!(row.get("Computer"), told.get("Computer"));
            let time = told.get("timestamp").map(|_| json!("2024-05-06T07:08:09.0000000Z"));
            assert_eq!(row.get("TimeGenerated").cloned(), time);
        }
    }
}

#[test]
fn extras_are_put_into_a_record_that_stays_as_it_is() {
    let client = all("", "", "Client_CF");
    assert_eq!(extended(r#"{"a":1.50}"#, &client, &KEPT), r#"{"a":1.50,"Client_CF":"web\"01"}"#);
    assert_eq!(extended("{\r\n \"a\" : {}\n}\n", &client, &KEPT), r#"{ "a" : {},"Client_CF":"web\"01"}"#);
    assert_eq!(extended("{}", &client, &KEPT), r#"{"Client_CF":"web\"01"}"#);
    assert_eq!(extended("{ }", &client, &KEPT), r#"{ "Client_CF":"web\"01"}"#);
    assert_eq!(extended(r#"{"a":{"Client_CF":1}}"#, &client, &KEPT), r#"{"a":{"Client_CF":1},"Client_CF":"web\"01"}"#);
    // Two extras of one name are one.
    assert_eq!(
        extended(
            r#"{"timestamp":"2024-01-01T00:00:00Z"}"#,
            &all("x", "", "x"),
            &kept_from(Timestamp::from_ticks(i64::MAX))
        ),
        r#"{"timestamp":"2024-01-01T00:00:00Z","x":"2024-01-01T00:00:00.0000000Z"}"#
    );
}

#[test]
fn extras_are_put_into_rows_that_are_made() {
    let extras = all("Time_CF", "Key_CF", "Client_CF");
    let time = Timestamp::parse("2024-05-06T07:08:09.1234567Z").expect("a time");
    let row: Value = serde_json::from_str(&extended(XML, &extras, &kept_from(time.plus_seconds(1)))).expect("JSON");
    assert_eq!((&row["Time_CF"], &row["Client_CF"]), (&json!("2024-05-06T07:08:09.1234567Z"), &json!("web\"01")));
    assert_eq!(row["Key_CF"].as_str().map(str::len), Some(32));
    // An event whose time is kept needs no column for it; one that is too far ahead does.
    let row: Value = serde_json::from_str(&extended(XML, &extras, &kept_from(time))).expect("JSON");
    assert_eq!(row.get("Time_CF"), None);
    let earlier = Timestamp::from_ticks(0)..=time.plus_seconds(-1);
    let row: Value = serde_json::from_str(&extended(XML, &extras, &earlier)).expect("JSON");
    assert_eq!(row["Time_CF"], "2024-05-06T07:08:09.1234567Z");
    // A column that the row has is never written over, nor twice.
    let made = extended(XML, &all("TimeGenerated", "x", "x"), &kept_from(time.plus_seconds(1)));
    assert_eq!((made.matches("\"TimeGenerated\"").count(), made.matches("\"x\"").count()), (1, 1), "{made}");
}

#[test]
fn events_without_an_identity_are_known_by_their_content() {
    let key = |raw: &'static str| extended(raw, &all("", "k", ""), &KEPT);
    let made: [Value; 3] = [r#"{"b":1, "a":"\u0041"}"#, r#"{"a":"A","b":1}"#, r#"{"a":"A","b":1.0}"#]
        .map(|raw| serde_json::from_str(&key(raw)).expect("JSON"));
    assert_eq!(made[0]["k"], made[1]["k"]);
    assert_ne!(made[0]["k"], made[2]["k"], "numbers are compared as they are written");
    assert_eq!(key("<Event><a/></Event>"), key("<Event><a/></Event> "));
}
