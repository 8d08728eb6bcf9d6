//! What an event's data becomes in the dynamic column.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::event::columns::{Extras, Source, Table};
use crate::event::{Format, Timestamp};

const EPOCH: Timestamp = Timestamp::from_ticks(0);

fn windows_event_row(xml: &[u8]) -> Result<Bytes, String> {
    let source = Source { format: Format::Xml, raw: &Bytes::copy_from_slice(xml), client: None };
    super::super::row(Some(Table::WindowsEvent), source, &Extras::default(), &(EPOCH..=EPOCH)).map(|made| made.bytes)
}

fn row(xml: &str) -> Value {
    let bytes = windows_event_row(xml.as_bytes()).expect(xml);
    assert!(!bytes.contains(&b'\n'));
    serde_json::from_slice(&bytes).expect("is JSON")
}

/// The row of an event of the computer `c`, without that.
fn data(body: &str) -> Value {
    let mut row = row(&format!("<Event><System><Computer>c</Computer></System>{body}</Event>"));
    assert_eq!(row.as_object_mut().and_then(|row| row.remove("Computer")), Some(json!("c")));
    row
}

#[test]
fn the_columns_of_an_event() {
    let xml = "<Event xmlns='n'><System><Provider Name='P' Guid='{1}'/><EventID>4688</EventID><Version>2</Version><Level>0</Level><Task>13312</Task>\
        <Opcode>0</Opcode><Keywords>0x8020000000000000</Keywords><TimeCreated SystemTime='2024-05-06T07:08:09.123Z'/><EventRecordID>9</EventRecordID>\
        <Correlation ActivityID='{a}'/><Execution ProcessID='4' ThreadID='8'/><Channel>Security</Channel><Computer>dc1</Computer><Security UserID='S-1-5-18'/></System>\
        <EventData><Data Name='CommandLine'>a &lt;b&gt;\n\u{2}</Data><Data Name='Empty'/></EventData></Event>";
    let want = json!({
        "TimeGenerated": "2024-05-06T07:08:09.1230000Z", "Provider": "P", "Channel": "Security", "Computer": "dc1", "EventID": 4688,
        "EventLevel": 0, "EventLevelName": "LogAlways", "Task": 13312, "Opcode": "0", "Keywords": "0x8020000000000000", "Version": 2,
        "EventRecordId": "9", "SystemProcessId": 4, "SystemThreadId": 8, "SystemUserId": "S-1-5-18", "Correlation": "{a}",
        "EventData": { "CommandLine": "a <b>\n\u{2}", "Empty": "" },
    });
    assert_eq!(row(xml), want);
    let bytes = windows_event_row(xml.as_bytes()).expect("row");
    assert!(String::from_utf8(bytes.to_vec()).expect("UTF-8").contains(r"\u0002"));
}

#[test]
fn nothing_of_the_data_is_lost() {
    assert_eq!(data("<EventData><Data>one</Data></EventData>")["EventData"], json!({ "Data": "one" }));
    assert_eq!(
        data(
            "<EventData Name='T'><Data>a</Data><Data Name='x'>b</Data><Data>c</Data><Data Name='x'>d</Data><Binary>00FF</Binary></EventData>"
        )["EventData"],
        json!({ "EventData@Name": "T", "Data": ["a", "c"], "x": ["b", "d"], "Binary": "00FF" })
    );
    assert_eq!(
        data(
            "<UserData><LogFileCleared xmlns='n'><SubjectUserName>u</SubjectUserName><Deep><v k='1'>x<![CDATA[<y>]]></v>mixed</Deep></LogFileCleared></UserData>"
        )["EventData"],
        json!({ "SubjectUserName": "u", "v": "x<y>", "v@k": "1", "Deep": "mixed" })
    );
    assert_eq!(
        data(
            "<ProcessingErrorData><ErrorCode>15005</ErrorCode></ProcessingErrorData><RenderingInfo Culture='en-US'><Message>m</Message></RenderingInfo>"
        ),
        json!({ "EventData": { "ErrorCode": "15005", "RenderingInfo/Message": "m", "RenderingInfo/RenderingInfo@Culture": "en-US" } })
    );
    assert_eq!(data(""), json!({}));
}

#[test]
fn data_that_is_not_well_formed_goes_as_text() {
    for body in
        ["<EventData><Data>x</EventData>".to_owned(), "</EventData>".to_owned(), format!("<a>{}", "<b>".repeat(70))]
    {
        let xml = format!("<Event><System><EventID>1</EventID></System>{body}</Event>");
        assert_eq!(row(&xml), json!({ "EventID": 1, "RawEventData": xml }), "{body}");
    }
    assert!(windows_event_row(b"{}").is_err());
    assert!(windows_event_row(b"<Event><a>\xff</a></Event>").is_err());
}
