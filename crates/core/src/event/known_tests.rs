use proptest::prelude::*;

use super::*;
use crate::event::{Client, DecodeError, Presence, Syntax, Upload, decode};

/// Records as agents write them, and some that differ from the one before in one thing.
const LINES: &str = concat!(
    r#"{"Computer":"web01","Channel":"Security","Provider":"P","EventID":4624,"EventRecordID":1,"TimeCreated":"2026-01-02T03:04:05.1Z","Level":0}"#,
    "\n",
    r#"{"Computer":"web01","Channel":"System","Provider":"P","EventID":7036,"EventRecordID":2,"TimeCreated":"2026-01-02T03:04:06Z","Level":4}"#,
    "\n",
    r#"{"Computer":"web\u0030\u0031","Channel":"","EventID":1}"#,
    "\n{}\n",
    "<Event><System><Provider Name=\"Q\"/><EventID>5</EventID><EventRecordID>9</EventRecordID><Keywords>0x8020000000000000</Keywords>",
    "<TimeCreated SystemTime=\"2026-01-02T03:04:05Z\"/><Channel>Security</Channel><Computer>db01</Computer></System></Event>\n",
);

fn upload(text: &str, known: Option<Known>) -> Upload {
    Upload {
        input: "in".into(),
        client: Client::default(),
        stream: "".into(),
        syntax: Syntax::Enveloped,
        body: text.to_owned().into(),
        damaged: Vec::new(),
        known: known.map(Into::into),
        presence: Presence::default(),
    }
}

fn known_of(text: &str) -> Known {
    let mut known = Known::default();
    for event in decode(Syntax::Enveloped, text.as_bytes()).expect("it is read").events {
        let start = event.raw.as_ptr() as usize - text.as_ptr() as usize;
        assert!(known.note(event.format, start..start + event.raw.len(), &event.fields));
    }
    known
}

fn go_on() -> Result<(), DecodeError> {
    Ok(())
}

#[test]
fn an_upload_of_known_records_decodes_to_what_it_would_without() {
    let (known, unknown) = (upload(LINES, Some(known_of(LINES))), upload(LINES, None));
    let decoded = unknown.decode(go_on).expect("it is read");
    assert_eq!(decoded.events.len(), 5);
    assert_eq!(known.decode(go_on).expect("it is read"), decoded);
}

#[test]
fn records_are_identified_when_each_has_its_computer_its_record_id_and_its_time() {
    let identified = |lines: &str| known_of(lines).are_identified();
    assert!(identified(LINES.lines().next().expect("a line")) && identified(""));
    assert!(!identified(LINES));
}

#[test]
fn a_record_that_quotes_an_event_is_not_noted() {
    let text = r#"{"message":"<Event><System><Provider Name=\"Q\"/><EventID>5</EventID></System></Event>"}"#;
    let decoded = decode(Syntax::Enveloped, text.as_bytes()).expect("it is read");
    assert!(decoded.events[0].fields.quoted.is_some());
    assert!(!Known::default().note(Format::Json, 0..text.len(), &decoded.events[0].fields));
}

#[test]
fn who_asks_to_stop_is_heard_before_the_first_record() {
    let known = upload(LINES, Some(known_of(LINES)));
    let stop = || Err(DecodeError { offset: 0, message: "stop".to_owned() });
    assert!(known.decode(stop).is_err());
}

proptest! {
    #[test]
    fn computers_that_alternate_stay_apart(names in prop::collection::vec("a|b|", 0..12)) {
        let lines: String = names.iter().map(|name| format!("{{\"Computer\":\"{name}\",\"Channel\":\"{name}\"}}\n")).collect();
        let (known, unknown) = (upload(&lines, Some(known_of(&lines))), upload(&lines, None));
        prop_assert_eq!(known.decode(go_on), unknown.decode(go_on));
    }
}
