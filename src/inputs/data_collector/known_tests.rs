use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::event::Syntax;
use crate::event::from_json::is_field;
use crate::inputs::agreement::{agrees, value};
use crate::inputs::http::body::Memory;
use crate::lab::events::{Host, Shape};
use crate::turns::Who;

const ARRIVAL: Timestamp = Timestamp::from_ticks(1_767_323_045 * 10_000_000);

fn checked(body: &str, how: &How<'_>) -> bool {
    match rewrite(body.as_bytes(), how, 8 << 20, &mut Memory::new(64 << 20).share(&Who::default())) {
        Ok(rows) => agrees(Syntax::JsonArray, &rows.text, &[], rows.known.as_ref()),
        Err(_) => false,
    }
}

#[test]
fn of_posts_as_scripts_send_them_everything_is_known_as_decoding_finds_it() {
    let rows: Vec<Vec<u8>> = Host::new("SRV-1".to_owned(), 1).take(300).map(|event| event.render(Shape::Row)).collect();
    let body = format!("[{}]", String::from_utf8(rows.join(&b',')).expect("JSON is text"));
    let known = ["EventID".to_owned(), "Channel".to_owned(), "Task_s".to_owned()];
    for columns in [None, Some(Columns::default()), Some(Columns::new(&known))] {
        for time_field in [None, Some("TimeCreated"), Some("Missing")] {
            let how =
                How { columns: columns.as_ref(), time_field, resource_id: Some("/subscriptions/s"), arrival: ARRIVAL };
            let body = body.replace("\"TimeGenerated\"", "\"TimeCreated\"");
            assert!(checked(&body, &how), "{columns:?} {time_field:?}");
        }
    }
}

#[test]
fn what_decoding_has_to_read_is_not_known() {
    let deep = format!("[{{\"a\":{}{}}}]", "[".repeat(100), "]".repeat(100));
    let large = format!("[{{\"a\":\"{}\"}}]", "x".repeat(MAX_RECORD_BYTES));
    let columns = Columns::default();
    let how = How { columns: Some(&columns), time_field: None, resource_id: None, arrival: ARRIVAL };
    for body in [
        "[{},5]",
        "[{\"a\":01}]",
        "[{\"a\":\"\\ud800\"}]",
        "[{\"a\":\"\\x\"}]",
        "[{\"a\":\"\t\"}]",
        "[{\"a\":[1,]}]",
        "[{\"a\":\"<Event><System><Provider Name='x'/><EventID>5</EventID></System></Event>\"}]",
        &deep,
        &large,
    ] {
        assert!(!checked(body, &how), "{body:.80}");
    }
    assert!(checked("[]", &how));
    assert!(checked("{}", &how));
}

#[test]
fn a_record_that_cannot_be_proven_becomes_the_same_row_as_before() {
    let columns = Columns::default();
    let how = How { columns: Some(&columns), time_field: Some("t"), resource_id: None, arrival: ARRIVAL };
    let row = |body: &str| {
        let rows = rewrite(body.as_bytes(), &how, 1 << 20, &mut Memory::new(4 << 20).share(&Who::default()));
        rows.map(|rows| (String::from_utf8(rows.text).expect("text"), rows.timed))
    };
    let (bad, timed) = row("[{\"a\":1,\"t\":\"2026-01-02T03:04:05Z\",\"b\":01}]").expect("it is taken");
    let (good, _) = row("[{\"a\":1,\"t\":\"2026-01-02T03:04:05Z\",\"b\":11}]").expect("it is taken");
    assert_eq!((bad, timed), (good.replace("11", "01"), true));
    assert_eq!(row("[{\"a\":1},{\"b\":01}]").map(|(_, timed)| timed), Ok(false));
}

#[test]
fn no_field_of_an_event_has_a_name_with_a_suffix() {
    for name in ["Computer", "TimeGenerated", "EventID", "level"] {
        assert!(is_field(name));
        for suffix in ["_s", "_d", "_b", "_t", "_g"] {
            assert!(!is_field(&format!("{name}{suffix}")));
        }
    }
    assert!(!is_field("_ResourceId"));
}

const NAMES: &str = "Computer|EventID|EventRecordId|TimeCreated|TimeGenerated|@timestamp|Channel|Level|System|body|message|[a-zA-Z_ö\"]{0,6}(_[sdbtg])?";

proptest! {
    #[test]
    fn what_is_known_of_a_row_is_what_decoding_finds_in_it(
        records in prop::collection::vec(prop::collection::vec((NAMES, value(NAMES)), 0..6), 0..4),
        columns in prop::option::of(prop::collection::vec("(Computer|EventID|Level|message|a)(_[sdbtg])?", 0..3)),
        time_field in prop::option::of("TimeCreated|TimeGenerated|a"),
        resource_id in prop::option::of("/s\"?"),
        space in "[ \n]?",
    ) {
        let members = |record: &Vec<(String, Value)>| {
            let members: Vec<String> = record
                .iter()
                .map(|(name, value)| format!("{space}{}{space}:{space}{value}{space}", Value::from(name.as_str())))
                .collect();
            format!("{{{}}}", members.join(","))
        };
        let body = format!("[{}]", records.iter().map(members).collect::<Vec<_>>().join(","));
        let columns = columns.map(|columns| Columns::new(&columns));
        let how = How {
            columns: columns.as_ref(),
            time_field: time_field.as_deref(),
            resource_id: resource_id.as_deref(),
            arrival: ARRIVAL,
        };
        checked(&body, &how);
    }

    #[test]
    fn of_anything_no_more_is_known_than_decoding_finds(body in "\\[\\{[{}\\[\\]\":,0-9a\\\\u d8-]{0,16}\\}\\]", suffixes: bool) {
        let columns = Columns::default();
        let how = How { columns: suffixes.then_some(&columns), time_field: None, resource_id: None, arrival: ARRIVAL };
        checked(&body, &how);
    }
}
