use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::event::Syntax;
use crate::inputs::agreement::{agrees, value};
use crate::inputs::http::body::Memory;
use crate::lab::events::{Host, Shape};
use crate::turns::Who;

const SYSLOG: &[(&str, &str)] = &[("ident", "ProcessName"), ("Host", "HostName"), ("id", "EventID")];

fn checked(items: &str, how: How<'_>) -> bool {
    let body = format!("{{\"DataType\":\"X\",\"DataItems\":{items}}}");
    let mut share = Memory::new(64 << 20).share(&Who::default());
    match Envelope::read(body.as_bytes()).and_then(|read| read.rewrite(how, 8 << 20, body.len() as u64, &mut share)) {
        Ok(rows) => agrees(Syntax::Enveloped, &rows.text, &rows.damaged, rows.known.as_ref()),
        Err(_) => false,
    }
}

#[test]
fn of_uploads_as_agents_send_them_everything_is_known_as_decoding_finds_it() {
    let rows: Vec<Vec<u8>> = Host::new("SRV-1".to_owned(), 1).take(300).map(|event| event.render(Shape::Row)).collect();
    let items = format!("[{}]", String::from_utf8(rows.join(&b',')).expect("JSON is text"));
    for columns in [&[], SYSLOG, &[("Channel", "channel")]] {
        for how in [
            How { columns, computer: None, resource_id: None },
            How { columns, computer: Some("web01"), resource_id: Some("/subscriptions/s") },
        ] {
            assert!(checked(&items, how), "{how:?}");
            assert!(checked(&items.replace("\"Computer\"", "\"Host\""), how), "{how:?}");
            assert!(checked(&items.replace("\"TimeGenerated\"", "\n\"Timestamp\""), how), "{how:?}");
        }
    }
    let large = format!("[{{\"a\":\"{}\"}},5,{{}}]", "x".repeat(MAX_RECORD_BYTES));
    let how = How { columns: &[], computer: None, resource_id: None };
    assert!(checked(&large, how), "what is set aside is not in the text");
}

#[test]
fn what_decoding_has_to_read_is_not_known() {
    let how = How { columns: &[], computer: None, resource_id: None };
    for items in [
        "[{\"a\":01}]",
        "[{\"a\":\"\\ud800\"}]",
        "[{\"a\":\"\t\"}]",
        "[{},{\"a\":[1,]}]",
        "[{\"a\":\"<Event><System><Provider Name='x'/><EventID>5</EventID></System></Event>\"}]",
    ] {
        assert!(!checked(items, how), "{items}");
    }
}

const NAMES: &str = "Computer|Host|id|EventID|EventRecordId|Timestamp|TimeGenerated|time|Channel|Level|System|body|_ResourceId|message|[a-zé\"]{0,4}";

proptest! {
    #[test]
    fn what_is_known_of_an_item_is_what_decoding_finds_in_its_record(
        records in prop::collection::vec(prop::collection::vec((NAMES, value(NAMES)), 0..6), 0..4),
        renames: bool,
        computer in prop::option::of("web01| db01 |\n| "),
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
        let items = format!("[{}]", records.iter().map(members).collect::<Vec<_>>().join(","));
        let columns = if renames { SYSLOG } else { &[] };
        checked(&items, How { columns, computer: computer.as_deref(), resource_id: resource_id.as_deref() });
    }

    #[test]
    fn of_anything_no_more_is_known_than_decoding_finds(items in "\\[\\{[{}\\[\\]\":,0-9a\\\\u d8-]{0,16}\\}\\]") {
        checked(&items, How { columns: &[("a", "EventID")], computer: Some("web01"), resource_id: None });
    }
}
