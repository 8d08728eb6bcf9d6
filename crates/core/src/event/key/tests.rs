use super::*;
use crate::event::{Syntax, decode};
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};

const XML: &str = "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System>\
    <Provider Name='Microsoft-Windows-Security-Auditing' Guid='{54849625-5478-4994-A5BA-3E3B0328C30D}'/><EventID>4624</EventID>\
    <Version>2</Version><Level>0</Level><TimeCreated SystemTime='2024-05-06T07:08:09.1234567Z'/><EventRecordID>1234</EventRecordID>\
    <Channel>Security</Channel><Computer>DC1.corp.example</Computer></System><EventData><Data Name='A'>b</Data></EventData></Event>";

fn maker() -> KeyMaker {
    KeyMaker::new(&[7; 32])
}

fn key_of(body: &str) -> EventKey {
    let decoded = decode(Syntax::Lines, body.as_bytes()).expect("decodes");
    assert_eq!((decoded.events.len(), &decoded.unreadable), (1, &vec![]), "{body}");
    maker().for_scope("scope", "stream").key(&decoded.events[0])
}

#[test]
fn the_same_event_by_every_road_has_one_key() {
    let want = key_of(XML);
    assert!(matches!(want, EventKey::Record { record_id: 1234, second: 1_714_979_289, .. }), "{want:?}");
    let as_text = serde_json::json!({ "System": XML, "Message": "An account was logged on" }).to_string();
    let raw_body = serde_json::json!({ "body": XML }).to_string();
    let shapes = [
        // evtx tools, with attributes under one key or beside
        r##"{"Event":{"#attributes":{"xmlns":"x"},"System":{"Provider":{"#attributes":{"Name":"P"}},"EventID":{"#attributes":{"Qualifiers":0},"#text":4624},"TimeCreated":{"#attributes":{"SystemTime":"2024-05-06T07:08:09.123456Z"}},"EventRecordID":1234,"Channel":"Security","Computer":"DC1.corp.example"},"EventData":{"Computer":"other"}}}"##,
        r##"{"Event_attributes":{"xmlns":"x"},"Event":{"System":{"Provider_attributes":{"Name":"P"},"EventID":4624,"TimeCreated_attributes":{"SystemTime":"2024-05-06T07:08:09.123456Z"},"EventRecordID":1234,"Channel":"Security","Computer":"DC1.corp.example"}}}"##,
        r##"{"System":{"Provider":{"@Name":"P"},"EventID":{"#text":"4624"},"TimeCreated":{"@SystemTime":"2024-05-06T07:08:09.123456700Z"},"EventRecordID":"1234","Channel":"Security","Computer":"DC1.corp.example"}}"##,
        // rows of SecurityEvent and WindowsEvent
        r#"{"TimeGenerated":"2024-05-06T07:08:09.123Z","Computer":"dc1.CORP.example","Channel":"security","EventID":4624,"EventRecordId":"1234","EventSourceName":"P"}"#,
        r#"{"TimeCreated":"2024-05-06T07:08:09Z","Computer":"DC1.corp.example","Channel":"Security","EventID":"4624","RecordId":1234}"#,
        // Fluent Bit winevtlog: local time, whole seconds; its own @timestamp is of no account
        r#"{"@timestamp":1714979999.5,"ProviderName":"P","EventID":4624,"EventRecordID":1234,"TimeCreated":"2024-05-06 09:08:09 +0200","Channel":"Security","Computer":"DC1.corp.example"}"#,
        &as_text,
        // Vector
        r#"{"timestamp":"2024-05-06T07:08:09.123456700Z","host":"gw","computer":"DC1.corp.example","channel":"Security","event_id":4624,"record_id":1234,"provider_name":"P","level":"Information","level_value":0}"#,
        // Winlogbeat, nested and dotted
        r#"{"@timestamp":"2024-05-06T07:08:09.123Z","event":{"code":"4624"},"winlog":{"computer_name":"DC1.corp.example","channel":"Security","event_id":"4624","record_id":"1234","provider_name":"P"}}"#,
        r#"{"@timestamp":"2024-05-06T07:08:09.123Z","winlog.computer_name":"DC1.corp.example","winlog.channel":"Security","winlog.event_id":"4624","winlog.record_id":1234}"#,
        // OpenTelemetry stanza, bare and wrapped, and raw
        r#"{"event_id":{"id":4624,"qualifiers":0},"provider":{"name":"P"},"system_time":"2024-05-06T07:08:09.1234567Z","computer":"DC1.corp.example","channel":"Security","record_id":1234}"#,
        r#"{"attributes":{},"body":{"event_id":{"id":4624},"provider":{"name":"P"},"system_time":"2024-05-06T07:08:09.1234567Z","computer":"DC1.corp.example","channel":"Security","record_id":1234}}"#,
        &raw_body,
        // PowerShell's Get-WinEvent | ConvertTo-Json
        r#"{"Id":4624,"RecordId":1234,"ProviderName":"P","LogName":"Security","MachineName":"DC1.corp.example","TimeCreated":"\/Date(1714979289123)\/"}"#,
    ];
    for shape in shapes {
        assert_eq!(key_of(shape), want, "{shape}");
        let decoded = decode(Syntax::Lines, shape.as_bytes()).expect("decodes");
        assert_eq!(decoded.events[0].fields.event_id, Some(4624), "{shape}");
    }
}

#[test]
fn computer_channel_event_id_record_and_second_each_make_a_difference() {
    let event = |from: &str, to: &str| key_of(&XML.replacen(from, to, 1));
    let base = key_of(XML);
    for (from, to) in [
        ("DC1.", "DC2."),
        ("Security</C", "System</C"),
        (">1234<", ">1235<"),
        (">4624<", ">4625<"),
        ("<EventID>4624</EventID>", ""),
        (":09.", ":10."),
        ("DC1.corp.example", "DC1"),
    ] {
        assert_ne!(event(from, to), base, "{from}");
    }
    assert_eq!(event(":09.1234567", ":09.9"), base, "agents cut to seconds");
    assert_eq!(event("DC1.", "dc1."), base);
    assert_eq!(event("<EventID>4624<", "<EventID Qualifiers='16384'>4624<"), base);
    assert_eq!(event(">4624<", ">1073746448<"), base, "some agents send the qualifiers with the id");
    // The second time of a reused record id (a cleared log) is another event.
    assert_ne!(event("2024-05-06", "2024-07-03"), base);
}

#[test]
fn white_space_around_names_and_numbers_is_no_part_of_them() {
    let want = key_of(XML);
    let pretty = XML
        .replace("<EventID>4624<", "<EventID>\n      4624\n    <")
        .replace("<EventRecordID>1234<", "<EventRecordID>\t1234 <")
        .replace("<Channel>Security<", "<Channel>\r\n      Security\r\n    <")
        .replace("<Computer>DC1.corp.example<", "<Computer>\n      DC1.corp.example\n    <")
        .replace("SystemTime='", "SystemTime=' ");
    let escaped = XML.replace("<Channel>Security<", "<Channel>&#10;Security&#32;<");
    let as_text = serde_json::json!({ "System": pretty }).to_string();
    let shapes = [
        &pretty,
        &escaped,
        &as_text,
        r#"{"TimeCreated":" 2024-05-06T07:08:09Z ","Computer":" DC1.corp.example","Channel":"Security\r\n","EventID":" 4624","RecordId":"1234 "}"#,
        r##"{"Event":{"System":{"EventID":{"#text":"\n4624\n"},"TimeCreated":{"#attributes":{"SystemTime":"2024-05-06T07:08:09.1Z"}},"EventRecordID":"\n1234","Channel":"\n Security","Computer":"DC1.corp.example\n"}}}"##,
    ];
    for shape in shapes {
        assert_eq!(key_of(shape), want, "{shape}");
    }
    let blank = XML.replace("DC1.corp.example", " \n ");
    assert!(matches!(key_of(&blank), EventKey::Content(_)), "a name of white space is none");
}

#[test]
fn streams_are_those_of_older_versions() {
    let EventKey::Record { stream, .. } = key_of(XML) else { panic!("a record") };
    assert_eq!(stream, STREAM, "what they acknowledged would be new");
}

/// Of the scope, computer and channel of [`XML`]: made by the version that kept no event ids.
const STREAM: u128 = 207_921_657_738_653_133_274_563_038_437_212_790_721;

#[test]
fn scopes_and_secrets_keep_keys_apart() {
    let decoded = decode(Syntax::Lines, XML.as_bytes()).expect("decodes");
    let event = &decoded.events[0];
    let base = maker().for_scope("a", "s").key(event);
    assert_ne!(maker().for_scope("b", "s").key(event), base);
    assert_ne!(KeyMaker::new(&[8; 32]).for_scope("a", "s").key(event), base);
    assert_eq!(maker().for_scope("a", "other").key(event), base, "an event is the same whatever stream it came by");
}

#[test]
fn an_empty_channel_is_a_channel() {
    let empty = XML.replace("<Channel>Security</Channel>", "<Channel></Channel>");
    let closed = XML.replace("<Channel>Security</Channel>", "<Channel/>");
    let missing = XML.replace("<Channel>Security</Channel>", "");
    assert_eq!(key_of(&empty), key_of(&closed));
    assert_eq!(key_of(&empty), key_of(&missing));
    assert!(matches!(key_of(&empty), EventKey::Record { .. }));
    assert_ne!(key_of(&empty), key_of(XML));
}

#[test]
fn without_computer_record_id_or_time_the_content_is_the_identity() {
    for (from, to) in [
        ("<Computer>DC1.corp.example</Computer>", "<Computer/>"),
        ("<EventRecordID>1234</EventRecordID>", ""),
        ("2024-05-06T07:08:09.1234567Z", "1601-01-01T00:00:00Z"),
    ] {
        let body = XML.replace(from, to);
        let key = key_of(&body);
        assert!(matches!(key, EventKey::Content(_)), "{from}");
        assert_eq!(key, key_of(&format!("  {body}\n")));
        assert_ne!(key, key_of(&body.replace(">b<", ">c<")), "{from}");
    }
}

#[test]
fn content_counts_in_its_canonical_form() {
    let base = key_of(r#"{"b":1,"a":["x",{"z":null,"y":"\u00e4\/"}]}"#);
    assert_eq!(key_of("{ \"a\" : [ \"x\" , {\"y\":\"ä/\", \"z\": null} ] , \"b\":1 }"), base);
    assert_ne!(key_of(r#"{"b":2,"a":["x",{"z":null,"y":"ä/"}]}"#), base);
    assert_ne!(
        key_of(r#"{"n":12345678901234567890123}"#),
        key_of(r#"{"n":12345678901234567890124}"#),
        "numbers keep their digits"
    );
    assert_ne!(key_of(r#"{"n":"1"}"#), key_of(r#"{"n":1}"#));
    let mut keys = maker();
    let mut scoped = keys.for_scope("scope", "stream");
    assert_ne!(scoped.unreadable_key(b"{}"), key_of("{}"));
    keys = KeyMaker::new(&[9; 32]);
    assert_ne!(
        keys.for_scope("scope", "stream").unreadable_key(b"x"),
        maker().for_scope("scope", "stream").unreadable_key(b"x")
    );
}

#[test]
fn a_run_of_one_host_costs_two_bytes_a_key_and_a_third_for_its_event_id() {
    for (event_ids, most) in [(1, 2_045), (12, 3_080)] {
        let key = |n: u64| EventKey::Record {
            stream: 5,
            record_id: 1 << 40 | n,
            second: 1_714_979_289 + n as i64 / 7,
            event_id: Some(4_624 + (n * 7 % event_ids) as u16),
        };
        let run: Vec<_> = (0..1000).map(key).collect();
        let bytes = encode_keys(&run);
        assert!(bytes.len() < most, "{event_ids} event ids: {}", bytes.len());
        assert_eq!(decode_keys(&bytes), Ok(run));
    }
}

/// Made by the version before event ids were in keys: three records of two streams, and a content.
const OLD_LIST: &[u8] = &[
    4, 1, 2, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 200, 1, 20, 2, 1, 1, 1, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 14, 0, 2, 1, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

#[test]
fn what_older_versions_wrote_is_read() {
    let old = |stream, record_id, second| EventKey::OldRecord { stream, record_id, second };
    let keys = vec![old(5, 100, 10), old(5, 101, 9), old(6, 7, 0), EventKey::Content(9)];
    assert_eq!(decode_keys(OLD_LIST), Ok(keys.clone()));
    assert_eq!(encode_keys(&keys), OLD_LIST);
}

#[test]
fn lists_of_event_ids_that_lie_are_refused() {
    let key = |event_id| EventKey::Record { stream: 0, record_id: 0, second: 0, event_id };
    let good = encode_keys(&[key(None), key(Some(3))]);
    let end = good.len();
    // count, tag, length, stream, then: two ids (none and 3), and for each key record id, second, index.
    assert_eq!(good[19..], [2, 0, 4, 0, 0, 0, 0, 0, 1]);
    for (at, byte) in [(19, 3), (end - 1, 2), (21, 0x84)] {
        let mut bad = good.clone();
        bad[at] = byte;
        assert!(decode_keys(&bad).is_err(), "{at}");
    }
    assert!(
        decode_keys(&[1, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).is_err(),
        "no id for a key"
    );
}

#[test]
fn a_lying_count_allocates_nothing() {
    assert!(decode_keys(&[0xFF, 0xFF, 0xFF, 0xFF, 0x0F]).is_err());
    assert!(decode_keys(&[2, 1, 200, 0]).is_err());
    assert_eq!(decode_keys(&encode_keys(&[])), Ok(vec![]));
}

fn any_key() -> impl Strategy<Value = EventKey> {
    let record = |streams: std::ops::Range<u128>| {
        let event_id = prop_oneof![Just(None), Just(Some(4_624)), any::<u16>().prop_map(Some)];
        (streams, any::<u64>(), any::<i64>(), event_id)
            .prop_map(|(stream, record_id, second, event_id)| EventKey::Record { stream, record_id, second, event_id })
    };
    let old = (0u128..3, any::<u64>(), any::<i64>()).prop_map(|(stream, record_id, second)| EventKey::OldRecord {
        stream,
        record_id,
        second,
    });
    prop_oneof![3 => record(0..3), 1 => old, 1 => any::<u128>().prop_map(EventKey::Content)]
}

proptest! {
    #[test]
    fn keys_read_back_as_written(keys in proptest::collection::vec(any_key(), 0..60)) {
        let bytes = encode_keys(&keys);
        prop_assert_eq!(decode_keys(&bytes), Ok(keys));
        for cut in 0..bytes.len() {
            prop_assert!(decode_keys(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn hostile_key_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        if let Ok(keys) = decode_keys(&bytes) {
            prop_assert!(keys.len() <= bytes.len());
        }
    }
}

/// Where the shared data lies, if it is there.
fn shared() -> Option<std::path::PathBuf> {
    let named = std::env::var_os("GATEPOST_SHARED").map(std::path::PathBuf::from);
    let path = named.unwrap_or_else(|| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"));
    path.is_dir().then_some(path)
}

/// Every event of the shared set, as XML, as XML for people to read, and as JSON.
fn corpus(folder: &std::path::Path) -> Vec<(String, String, String)> {
    let mut events = vec![];
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).expect("readable").map(|entry| entry.expect("entry").path()).collect();
    paths.sort();
    for path in paths {
        let read = |indent| {
            let settings = evtx::ParserSettings::default().indent(indent).num_threads(1);
            evtx::EvtxParser::from_path(&path).map(|parser| parser.with_configuration(settings))
        };
        let (Ok(mut xml), Ok(mut pretty), Ok(mut json)) = (read(false), read(true), read(false)) else { continue };
        let pretty: HashMap<u64, String> = pretty.records().flatten().map(|r| (r.event_record_id, r.data)).collect();
        let json: HashMap<u64, String> = json.records_json().flatten().map(|r| (r.event_record_id, r.data)).collect();
        for record in xml.records().flatten() {
            let id = record.event_record_id;
            let (Some(pretty), Some(json)) = (pretty.get(&id), json.get(&id)) else { continue };
            events.push((record.data, pretty.clone(), json.clone()));
        }
    }
    events
}

#[test]
fn real_events_have_one_key_in_every_form_and_no_two_share_one() {
    let Some(shared) = shared() else { return println!("skipped: no shared data") };
    let maker = maker();
    let mut scoped = maker.for_scope("scope", "stream");
    let events = corpus(&shared.join("data/evtx"));
    assert!(events.len() > 9_000, "{}", events.len());
    let (mut keys, mut full, mut different, mut content) = (HashMap::new(), HashSet::new(), vec![], 0);
    for (xml, pretty, json) in &events {
        let one = |body: &str, syntax| {
            let decoded = decode(syntax, body.as_bytes()).expect("decodes");
            assert_eq!((decoded.events.len(), &decoded.unreadable), (1, &vec![]), "{body}");
            let event = &decoded.events[0];
            (maker.for_scope("scope", "stream").key(event), event.fields.time)
        };
        let ((xml_key, time), (json_key, _)) = (one(xml, Syntax::Lines), one(json, Syntax::Lines));
        content += usize::from(matches!(xml_key, EventKey::Content(_)));
        if matches!(xml_key, EventKey::Record { .. }) {
            assert_eq!(xml_key, json_key, "{xml}\n{json}");
            assert_eq!(xml_key, one(pretty, Syntax::Lines).0, "{xml}\n{pretty}");
        }
        full.insert((xml_key, time, scoped.unreadable_key(json.as_bytes())));
        if let Some(first) = keys.insert(xml_key, json)
            && first != json
        {
            different.push((first, json));
        }
    }
    println!(
        "{} events, {} distinct with 100 ns and content, {} distinct keys, {} by content, {} different events under one key",
        events.len(),
        full.len(),
        keys.len(),
        content,
        different.len()
    );
    assert!(different.is_empty(), "{:?}", different.first());
}

#[test]
fn within_an_upload_equal_records_are_two_and_only_the_same_upload_repeats_them() {
    for records in [2, RUN_MIN] {
        let body = "{\"a\":1}\n".repeat(records) + "x";
        let decoded = decode(Syntax::Lines, body.as_bytes()).expect("decodes");
        let keys = |mark: u8| {
            let maker = maker();
            let mut keys = maker.for_scope("scope", "stream").within_upload(&[mark; 32], records);
            let mut all: Vec<EventKey> =
                decoded.events.iter().enumerate().map(|(at, event)| keys.at(at).key(event)).collect();
            all.push(keys.at(0).unreadable_key(b"x"));
            all
        };
        let first = keys(1);
        assert_eq!(first, keys(1));
        let different: HashSet<EventKey> = first.into_iter().chain(keys(2)).collect();
        assert_eq!(different.len(), 2 * (records + 1));
    }
    let event = decode(Syntax::Lines, XML.as_bytes()).expect("decodes");
    let known = maker().for_scope("scope", "stream").within_upload(&[1; 32], 1).at(7).key(&event.events[0]);
    assert_eq!(known, key_of(XML), "an event with an identity of its own has it in any upload");
}

#[test]
fn many_places_of_an_upload_take_two_bytes_each_and_a_few_are_hashes() {
    let body = "{\"a\":1}\n".repeat(500);
    let decoded = decode(Syntax::Lines, body.as_bytes()).expect("decodes");
    let bytes = |records: usize| {
        let maker = maker();
        let mut keys = maker.for_scope("scope", "stream").within_upload(&[1; 32], records);
        let keys: Vec<EventKey> =
            decoded.events.iter().take(records).enumerate().map(|(at, event)| keys.at(at).key(event)).collect();
        let is_run = keys.iter().all(|key| matches!(key, EventKey::Record { .. }));
        assert_eq!(is_run, records >= RUN_MIN);
        encode_keys(&keys).len()
    };
    assert!(bytes(500) < 500 * 2 + 32, "{}", bytes(500));
    assert!(bytes(RUN_MIN - 1) > (RUN_MIN - 1) * 16);
}

#[test]
fn records_with_an_exact_time_are_known_in_whatever_upload_they_come_and_others_by_their_place_there() {
    let body = br#"{"TimeGenerated":"2026-01-02T03:04:05.5Z","a":1}
{"TimeGenerated":"2026-01-02T03:04:05.0Z","a":1}
{"a":1}"#;
    let decoded = decode(Syntax::Lines, body).expect("decodes");
    let keys = |mark: u8| -> Vec<(EventKey, bool)> {
        let maker = maker();
        let mut keys = maker.for_scope("scope", "stream").within_upload_unless_exact(&[mark; 32], 3);
        let places = decoded.events.iter().enumerate();
        places.map(|(at, event)| (keys.at(at).key(event), keys.is_known_by_place(event))).collect()
    };
    let (first, again, other) = (keys(1), keys(1), keys(2));
    assert_eq!(first, again);
    assert_eq!(first[0], other[0]);
    assert!(first[1].0 != other[1].0 && first[2].0 != other[2].0);
    assert_eq!(first.iter().map(|(_, by_place)| *by_place).collect::<Vec<_>>(), [false, true, true]);
    let event = decode(Syntax::Lines, XML.as_bytes()).expect("decodes");
    let maker = maker();
    let keys = maker.for_scope("scope", "stream").within_upload_unless_exact(&[1; 32], 1);
    assert!(!keys.is_known_by_place(&event.events[0]));
}
