use proptest::prelude::*;

use super::*;
use crate::event::{Syntax, decode};
use crate::inputs::agreement::agrees;
use crate::inputs::http::body::Memory;
use crate::lab::agents::uploads;
use crate::lab::events::Host;
use crate::turns::Who;

const NOBODY: How<'static> = How { computer: None, resource_id: None };

fn checked(body: &[u8], how: How<'_>) -> bool {
    match rewrite(body, how, 8 << 20, &mut Memory::new(64 << 20).share(&Who::default())) {
        Ok(rows) => agrees(Syntax::Enveloped, &rows.text, &rows.damaged, rows.known.as_ref()),
        Err(_) => false,
    }
}

fn upload(items: &str) -> Vec<u8> {
    format!("<DataItems DataType=\"SECURITY_EVENT_BLOB\">{items}</DataItems>").into_bytes()
}

fn event(elements: &str) -> String {
    format!("<DataItem type=\"System.Event.LinkedData\" time=\"2026-01-02T03:04:05.678901Z\">{elements}</DataItem>")
}

#[test]
fn of_uploads_as_agents_send_them_everything_is_known_as_decoding_finds_it() {
    let events: Vec<_> = Host::new("SRV-1".to_owned(), 1).take(300).collect();
    for with_record_ids in [false, true] {
        let body = uploads::xml("SECURITY_EVENT_BLOB", &events, with_record_ids);
        assert!(checked(&body, NOBODY));
        assert!(checked(&body, How { computer: Some("web01"), resource_id: Some("/s") }));
    }
    let other = "<DataItem type=\"System.Performance.Data\"><Value>1</Value></DataItem>";
    let bag = "<DataItem type=\"System.PropertyBagData\"><Property Name=\"a\">1</Property></DataItem>";
    let broken = event("<a><b></a>");
    assert!(checked(&upload(&format!("{other}{bag}{broken}{}", event("<Channel/>"))), NOBODY));
}

#[test]
fn an_item_whose_data_would_end_its_event_or_begin_another_is_set_aside_and_the_others_go_on() {
    for data in [
        "<EventData><a/><?x </Event><Event><System><Computer>dc1</Computer></System></Event>?></EventData>",
        "<EventData><a/><?x <!-- ?></EventData>",
        "<EventData><a/><?x <Event> ?></EventData>",
        "<EventData><DataItem><a/></DataItem><DataItem a=\"<Event>\"><a/></DataItem></EventData>",
    ] {
        let body = upload(&(event(data) + &event("<Channel>Security</Channel>")));
        assert!(checked(&body, NOBODY), "{data}");
        let rows =
            rewrite(&body, NOBODY, 8 << 20, &mut Memory::new(64 << 20).share(&Who::default())).expect("it is one");
        let reasons: Vec<&str> = rows.damaged.iter().map(|damaged| &*damaged.reason).collect();
        assert_eq!(reasons, ["what it holds would end its event, or begin another"], "{data}");
        let end = rows.damaged[0].span.start;
        let decoded = decode(Syntax::Enveloped, &rows.text[..end]).expect("it is read");
        assert_eq!((decoded.events.len(), decoded.events[0].fields.computer.as_deref()), (1, None), "{data}");
    }
    for data in [
        "<EventData><!-- </Event> --><Data>x</Data></EventData>",
        "<EventData><Data><![CDATA[</Event>]]></Data></EventData>",
        "<EventData><Data>/Event> Event</Data></EventData>",
    ] {
        assert!(checked(&upload(&event(data)), NOBODY), "{data}");
    }
}

const TEXT: &str = "[a-z&;<>\"' \n\u{a0}é\u{2}]{0,8}|[0-9]{1,6}|8|16|-1|\\+4|&lt;Event&gt;|<!\\[CDATA\\[ </Event> \\]\\]>|<!-- x -->|2026-01-02T03:04:05Z";

fn element() -> impl Strategy<Value = String> {
    let name = "PublisherId|PublisherName|EventSourceName|Channel|LoggingComputer|EventNumber|EventDisplayNumber|EventCategory|EventLevel|UserName|EventDescription|RawDescription|EventRecordId|RecordId|LCID";
    let data = "(<Data( Name=(\"a\"|'EventRecordId'|'TimeCreated'))?>([0-9]{1,3}|2026-01-02T03:04:05.1Z|a&amp;b)</Data>|<a/>| |<\\?x (</Event>|y)\\?>){0,4}";
    prop_oneof![
        (name, TEXT).prop_map(|(name, text)| format!("<{name}>{text}</{name}>")),
        data.prop_map(|data| format!(
            "<EventData><DataItem type='x'><EventData>{data}</EventData></DataItem></EventData>"
        )),
        data.prop_map(|data| format!("<EventData>{data}</EventData>")),
        Just("<LoggingComputer/>".to_owned()),
    ]
}

proptest! {
    #[test]
    fn what_is_known_of_an_item_is_what_decoding_finds_in_its_record(
        items in prop::collection::vec(prop::collection::vec(element(), 0..8), 1..3),
        computer in prop::option::of("web01| db01 | |a&b"),
        time in "2026-01-02T03:04:05(\\.5)?Z| 2026-01-02T03:04:05Z |x|&lt;|",
    ) {
        let items: String = items.iter().map(|elements| event(&elements.concat())).collect();
        let body = upload(&items.replace("2026-01-02T03:04:05.678901Z", &time));
        checked(&body, How { computer: computer.as_deref(), resource_id: None });
    }
}
