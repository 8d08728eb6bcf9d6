use super::*;
use crate::event::{Syntax, decode};

fn asked(text: &str) -> Asked {
    Asked::read(text).unwrap_or_else(|error| panic!("{}", error.pointed(text)))
}

fn takes(asked: Asked, records: &[&str]) -> Vec<bool> {
    let mut search = Search::new(asked, Timestamp::from_ticks(0), Some(Form::Xml));
    let mut takes = |record: &&str| {
        let before = search.taken;
        let decoded = decode(Syntax::Lines, record.as_bytes()).expect("sound");
        search.look_at(&decoded.events[0]).expect("little is shown");
        search.taken > before
    };
    records.iter().map(&mut takes).collect()
}

const LOGON: &str = "<Event><System><EventID>4624</EventID><Channel>Security</Channel></System><EventData><Data Name='LogonType'>3</Data></EventData></Event>";
const START: &str = r#"{"EventID":4688,"Channel":"Security"}"#;
const SYSTEM: &str = r#"{"EventID":4624,"Channel":"System"}"#;

#[test]
fn every_form_of_a_query_is_taken() {
    let list = "<QueryList><Query Id='0' Path='Security'><Select>*</Select><Suppress>*[System[EventID=4688]]</Suppress></Query></QueryList>";
    for (query, expected) in [
        ("*[System[EventID=4624]]", [true, false, true]),
        ("security!*[System[EventID=4624]]", [true, false, false]),
        ("Security!*[System[EventID!=4624]]", [false, true, false]),
        ("*[EventData[Data[@Name='LogonType']!='2']]", [true, false, false]),
        (list, [true, false, false]),
    ] {
        assert_eq!(takes(asked(query), &[LOGON, START, SYSTEM]), expected, "{query}");
    }
}

#[test]
fn forwarded_events_are_those_of_every_channel_and_that_is_said() {
    for query in [
        "ForwardedEvents!*[System[EventID=4624]]",
        "<QueryList><Query Path='forwardedevents'><Select>*[System[EventID=4624]]</Select></Query></QueryList>",
    ] {
        let told: Vec<String> = asked(query).warnings().collect();
        assert!(told.len() == 1 && told[0].contains("events of every channel"), "{told:?}");
        assert_eq!(takes(asked(query), &[LOGON, START, SYSTEM]), [true, false, true], "{query}");
    }
}

#[test]
fn a_query_is_read_from_a_file_in_utf_16() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("query.xml");
    let utf16: Vec<u8> = "\u{feff}Security!*\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(&path, utf16).expect("written");
    assert_eq!(query_text(&format!("@{}", path.display())).expect("a text"), "Security!*");
}

#[test]
fn a_mistake_is_told_of_the_form_that_was_meant() {
    for (query, offset) in [("*[System[EventID!=]]", 18), ("Security!*[System[", 18)] {
        let error = Asked::read(query).expect_err(query);
        assert_eq!(error.offset, offset, "{}", error.pointed(query));
    }
}

#[test]
fn a_search_reads_files_and_counts_and_steps_over_damage() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.xml");
    std::fs::write(&path, format!("{LOGON}\n{LOGON}\n")).expect("written");
    let json = folder.path().join("events.json");
    std::fs::write(&json, format!("{START}\n[1]\n{SYSTEM}\n")).expect("written");
    let mut search = Search::new(asked("*[System[EventID=4624]]"), Timestamp::from_ticks(0), None);
    let damage = event_files::for_each(&[path, json], Form::Xml, |_, event| Ok(search.look_at(event)?)).expect("read");
    assert_eq!((search.events, search.taken), (4, 3));
    assert!(damage.len() == 1 && damage[0].contains("events.json"), "{damage:?}");
}

#[test]
fn an_event_is_printed_on_one_line() {
    assert_eq!(one_line(b"<a>\r\n</a>"), b"<a>&#13;&#10;</a>");
}

#[test]
fn an_explanation_names_the_parts_of_a_list() {
    let list = "<QueryList><Query><Select Path='Security'>*</Select><Suppress Path='Security'>*[System[EventID=1]]</Suppress></Query></QueryList>";
    let lines = asked(list).explain();
    assert_eq!(lines[0], "takes events in the channel Security: *");
    assert!(lines.iter().any(|line| line == "but none of the events in the channel Security: *[System[EventID=1]]"));
    assert!(lines.iter().any(|line| line == "  event id in 1"));
}
