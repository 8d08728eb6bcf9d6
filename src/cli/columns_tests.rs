use super::*;
use crate::event::Syntax;
use crate::event::columns::activity;
use crate::event::decode;
use crate::filter::EventSet;

const XML: &str = "<Event><System><Provider Name='P'/><EventID>4625</EventID><Channel>Security</Channel><Computer>c</Computer></System>\
    <EventData><Data Name='TargetUserName'>a\u{1b}[2J</Data><Data Name='LogonType'>3</Data></EventData></Event>";

fn listed(table: Table) -> String {
    let decoded = decode(Syntax::Lines, XML.as_bytes()).expect("decodes");
    listing(table, &row(table, &decoded.events[0]).expect("a row")).expect("a listing")
}

/// Ids of the common set of which Microsoft publishes no text.
const UNTITLED: [u32; 4] = [1, 340, 26401, 30004];

#[test]
fn every_event_of_the_common_set_has_a_title() {
    let mut ids = 0;
    for query in EventSet::Common.queries() {
        let (channel, path) = query.split_once('!').expect("a channel");
        for id in path.split("EventID=").skip(1) {
            let id: u32 = id.split(')').next().and_then(|id| id.parse().ok()).expect("an id");
            // The set asks for AppLocker's ids in the channel Security too, where there are none.
            let is_applockers = channel == "Security" && (8001..=8007).contains(&id);
            if !UNTITLED.contains(&id) && !is_applockers {
                assert!(activity(channel, id).is_some(), "{channel} {id} has no title in activities.tsv");
                ids += 1;
            }
        }
    }
    assert_eq!(ids, 143 - UNTITLED.len());
}

#[test]
fn a_listing_has_a_line_for_each_column_and_datum_and_obeys_nothing() {
    let security = listed(Table::SecurityEvent);
    assert!(security.contains("\nActivity          4625 - An account failed to log on.\n"), "{security}");
    assert!(security.contains("\nTargetUserName    a\\u{1b}[2J\n"), "{security}");
    assert!(security.ends_with("</EventData>\n\n"), "{security}");
    let windows = listed(Table::WindowsEvent);
    assert!(windows.contains("\nEventData  LogonType: 3\nEventData  TargetUserName: a\\u{1b}[2J\n\n"), "{windows}");
}

#[test]
fn a_schema_is_what_a_stream_declares() {
    let written = schema(Table::SecurityEvent, true).expect("a schema");
    let mut listed: BTreeMap<String, Vec<BTreeMap<String, String>>> = serde_json::from_str(&written).expect("JSON");
    let columns = listed.remove("columns").expect("the key of every list");
    assert_eq!(
        columns[0],
        BTreeMap::from([("name", "TimeGenerated"), ("type", "datetime")].map(|(a, b)| (a.to_owned(), b.to_owned())))
    );
    assert!(columns.iter().any(|column| column["name"] == "LogonType" && column["type"] == "int"));
    let text = schema(Table::WindowsEvent, false).expect("a schema");
    assert!(text.contains("EventData        dynamic\n"), "{text}");
}
