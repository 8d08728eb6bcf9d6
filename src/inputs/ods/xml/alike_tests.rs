use proptest::prelude::*;

use super::*;
use crate::event::MAX_EVENTS;
use crate::inputs::http::body::Memory;
use crate::inputs::ods::xml::{How, Rows, XmlFault, rewrite, rewrite_each};
use crate::lab::agents::uploads;
use crate::lab::events::Host;
use crate::turns::Who;

const HOW: How<'static> = How { computer: Some("web01"), resource_id: Some("/s") };

fn upload(items: &str) -> Vec<u8> {
    format!("<DataItems DataType=\"SECURITY_EVENT_BLOB\">{items}</DataItems>").into_bytes()
}

/// What an upload becomes, which is what its items become by themselves.
fn made(body: &[u8]) -> Result<Rows, XmlFault> {
    let way = |way: fn(&[u8], How<'_>, u64, &mut crate::inputs::http::body::Share) -> Result<Rows, XmlFault>| {
        way(body, HOW, 64 << 20, &mut Memory::new(512 << 20).share(&Who::default()))
    };
    let made = way(rewrite);
    assert_eq!(made, way(rewrite_each), "{}", String::from_utf8_lossy(body));
    made
}

/// How many items of an upload are alike to the one before.
fn alike(body: &[u8]) -> usize {
    let mut reader = Reader::of_all(body);
    let root = reader.root().expect("an upload");
    let (mut last, mut count): (Option<Last<'_>>, usize) = (None, 0);
    loop {
        if last.as_mut().is_some_and(|last| last.next(&mut reader).is_some()) {
            count += 1;
            continue;
        }
        let Some(item) = reader.child(&root).expect("an item") else { return count };
        let (start, mut places) = (reader.start(), Places::default());
        let linked = Linked::read(&mut reader, &item, "".into(), &mut places).expect("an event");
        last = Last::of(linked, Written::default(), start..reader.pos(), places);
    }
}

#[test]
fn items_as_agents_send_them_are_alike_and_become_what_each_becomes_by_itself() {
    for (seed, with_record_ids) in [(1, false), (2, true), (3, true), (4, false)] {
        let events: Vec<_> = Host::new(format!("SRV-{seed}"), seed).take(300).collect();
        let body = uploads::xml("SECURITY_EVENT_BLOB", &events, with_record_ids);
        // But for those after the few with data of their own.
        assert!(alike(&body) > 290, "{}", alike(&body));
        assert!(made(&body).expect("it is taken").known.is_some());
        let spaced = String::from_utf8(body)
            .expect("text")
            .replace("<DataItem type=\"System.Event", "\r\n <DataItem type=\"System.Event");
        assert!(alike(spaced.as_bytes()) > 290, "white space between items tells nothing");
        made(spaced.as_bytes()).expect("it is taken");
    }
}

#[test]
fn items_of_another_host_channel_and_provider_are_alike_and_are_theirs() {
    let item = |host: &str, user: &str, channel: &str| {
        format!(
            "<DataItem type=\"System.Event.LinkedData\" time=\"2026-01-02T03:04:05Z\"><PublisherName>p-{channel}</PublisherName><Channel>{channel}</Channel>\
             <LoggingComputer>{host}</LoggingComputer><EventNumber>7</EventNumber><UserName>{user}</UserName></DataItem>"
        )
    };
    let items =
        [("a", "u", "Security"), ("b", "u", "Security"), ("", "u", "System"), ("a", "", ""), ("&lt;", "v", "System")];
    let body = upload(&items.map(|(host, user, channel)| item(host, user, channel)).concat());
    assert_eq!(alike(&body), items.len() - 1);
    let rows = made(&body).expect("it is taken");
    let text = String::from_utf8(rows.text).expect("text");
    for (line, computer) in text.lines().zip(["a", "b", "web01", "a", "&lt;"]) {
        assert!(line.contains(&format!("<Computer>{computer}</Computer>")), "{line}");
    }
}

#[test]
fn no_more_items_are_taken_than_an_upload_may_have_though_they_are_alike() {
    let item = "<DataItem type=\"System.Event.LinkedData\" time=\"x\"></DataItem>";
    let body = |count: usize| upload(&item.repeat(count));
    assert!(made(&body(MAX_EVENTS)).is_ok());
    assert_eq!(made(&body(MAX_EVENTS + 1)), Err(XmlFault::TooMany));
}

#[test]
fn a_large_item_among_those_that_are_alike_is_set_aside_and_the_others_go_on() {
    let item = |text: &str| {
        format!(
            "<DataItem type=\"System.Event.LinkedData\" time=\"x\"><Channel>Security</Channel><EventDescription>{text}</EventDescription></DataItem>"
        )
    };
    let large = "x".repeat(VALUE_MAX);
    let body =
        upload(&[item("a"), item(&large), item("b"), item(&(large.clone() + "y")), item("c"), item("d")].concat());
    let rows = made(&body).expect("it is taken");
    assert_eq!(rows.damaged.len(), 2);
    assert!(String::from_utf8(rows.text).expect("text").starts_with("<Event "));
}

#[test]
fn what_begins_alike_and_is_something_else_is_what_it_is() {
    let usual = "<DataItem type=\"System.Event.LinkedData\" time=\"2026-01-02T03:04:05Z\"><Channel>Security</Channel><EventData><DataItem time='x'>\
        <EventData xmlns=\"y\"><Data Name='a'>1</Data><Data>2</Data><Data Name='b'/></EventData></DataItem></EventData><RuleId>r</RuleId></DataItem>";
    assert_eq!(alike(&upload(&usual.repeat(2))), 1);
    for (from, to) in [
        ("LinkedData", "XData"),
        ("LinkedData", "Linked\"Data"),
        ("05Z\"", "05Z"),
        ("05Z\"", "05Z\" a=\"<\""),
        ("05Z\"", "05Z' a='\""),
        ("Security<", "Secu<!-- x -->rity<"),
        ("Security<", "<![CDATA[Security]]><"),
        ("Security<", "<Channel>Security</Channel><"),
        ("Security</Channel>", "Security</Channel ><Channel>x</Channel>"),
        ("<Channel>Security</Channel>", "<Channel/>"),
        ("time='x'", "time='<Event>'"),
        ("time='x'", "time='x' a='</Event>'"),
        ("xmlns=\"y\"", "xmlns=\"<Event>\""),
        ("Name='a'", "Name='<Event>'"),
        ("Name='a'", "Name='Ev&#101;nt'"),
        (">1<", "><Event></Event><"),
        (">1<", "><!-- </Event> --><"),
        (">1<", "><?x </Event><Event> ?><"),
        ("<Data>2</Data>", "<Data><Data>2</Data></Data>"),
        (
            "<Data>2</Data>",
            "<Data Name=\"EventRecordId\">2</Data><Data Name=\"TimeCreated\">2026-01-02T03:04:05.1Z</Data>",
        ),
        ("</EventData></DataItem>", "</EventData><EventData/></DataItem>"),
        ("</DataItem></EventData>", "</DataItem><DataItem><EventData></EventData></DataItem></EventData>"),
        ("<RuleId>", "<EventData>text</EventData><RuleId>"),
        ("r</RuleId></DataItem>", "r</RuleId><EventRecordId>7</EventRecordId></DataItem>"),
        ("r</RuleId></DataItem>", "r</RuleId>"),
        ("</DataItem>", ""),
    ] {
        let other = usual.replacen(from, to, 1);
        assert_ne!(other, usual, "{from}");
        for items in [[usual, &other, usual], [&other, usual, &other], [&other, &other, usual]] {
            made(&upload(&items.concat())).ok();
        }
    }
}

/// What texts, tags and attributes may meet.
const BITS: &str = "<|>|/|\"|'|=|&|&lt;|&#60;|<!--|-->|<!\\[CDATA\\[|\\]\\]>|<\\?|\\?>|</Data>|<Data>|<Event>|</Event>|</Channel>|</DataItem>|<DataItem>|<EventData>|</EventData>| Name='a'|time=|xmlns|é|\u{2}|7";
const ITEM: &str = "<DataItem type=\"System.Event.LinkedData\" time=\"2026-01-02T03:04:05Z\" id='1'><EventOriginId>{1}</EventOriginId><PublisherName>P</PublisherName>\
    <EventSourceName>P</EventSourceName><Channel>Security</Channel><LoggingComputer>web02</LoggingComputer><EventNumber>4624</EventNumber>\
    <EventRecordId></EventRecordId><EventLevel>8</EventLevel><UserName>N/A</UserName><EventData><DataItem type=\"System.XmlData\" time=\"2026-01-02T03:04:05Z\">\
    <EventData><Data Name='a'>b</Data><Data Name=\"EventRecordId\">77</Data><Data Name=\"TimeCreated\">2026-01-02T03:04:05.1Z</Data></EventData></DataItem></EventData>\
    <EventDisplayNumber>4624</EventDisplayNumber><EventDescription>d</EventDescription></DataItem>";

proptest! {
    #[test]
    fn whatever_differs_items_become_what_each_becomes_by_itself(
        changes in prop::collection::vec(prop::collection::vec((0..ITEM.len(), 0..12usize, BITS), 0..3), 2..6),
    ) {
        let items = changes.iter().map(|changes| {
            let mut item = ITEM.to_owned();
            for (at, gone, bit) in changes {
                let at = (*at).min(item.len());
                let at = (0..=at).rev().find(|at| item.is_char_boundary(*at)).unwrap_or(0);
                let end = (at + gone).min(item.len());
                let end = (end..=item.len()).find(|at| item.is_char_boundary(*at)).unwrap_or(item.len());
                item.replace_range(at..end, bit);
            }
            item
        });
        made(&upload(&items.collect::<String>())).ok();
    }

    #[test]
    fn as_much_is_common_as_is_the_same(one in prop::collection::vec(0u8..2, 0..200), at in 0usize..220, more: Vec<u8>) {
        let mut other = one.clone();
        if let Some(byte) = other.get_mut(at) { *byte ^= 4 }
        let wanted = one.iter().zip(&other).take_while(|(left, right)| left == right).count();
        prop_assert_eq!(common(&one, &other), wanted);
        let longer = [&one[..], &more].concat();
        prop_assert_eq!(common(&one, &longer), one.len());
        prop_assert_eq!(common(&longer, &one), one.len());
    }

    #[test]
    fn data_that_is_read_at_once_says_what_reading_it_finds(
        parts in prop::collection::vec("<Data( Name=(\"a\"|'EventRecordI[dD]'|'RecordId'|\"TimeCreated\"|'b&amp;'))?>( ?[0-9]{0,3}|2026-01-02T03:04:05.1Z ?|a&amp;b|<a/>)</Data>|<Data Name='TimeCreated'/>|<a/>| ", 0..6),
    ) {
        let data = format!("<EventData>{}</EventData>", parts.concat());
        if let Some(read) = EventData::read(&data, 0) {
            prop_assert_eq!(read.end, data.len());
            let slow = data.replace("</EventData>", "<!-- --></EventData>");
            let item = |data: &str| upload(&format!(
                "<DataItem type=\"System.Event.LinkedData\" time=\"t\"><EventData><DataItem>{data}</DataItem></EventData></DataItem>"
            ));
            let fields = |data: &str| {
                let rows = made(&item(data)).expect("it is taken");
                let text = String::from_utf8(rows.text).expect("text");
                text.split("</System>").next().map(str::to_owned)
            };
            prop_assert_eq!(fields(&data), fields(&slow));
        }
    }
}
