use proptest::prelude::*;
use quick_xml::events::Event;

use super::text::write;
use super::*;
use crate::event::from_utf16::Order;

const WINDOWS: Charset = Charset::Utf16(Order::Little);

fn read(text: &str) -> Result<Envelope, EnvelopeError> {
    let read = Envelope::read(text.as_bytes());
    let wide = Envelope::read(&write(text, WINDOWS));
    assert_eq!(read.as_ref().err(), wide.as_ref().err(), "{text}");
    read
}

fn gathered(text: &str) -> Vec<String> {
    let envelope = read(text).expect("an envelope");
    let count = envelope.count();
    let Gathered { text, events } = envelope.gather(|_| true);
    assert_eq!(events.len(), count);
    events.into_iter().map(|span| String::from_utf8(text[span].to_vec()).expect("text")).collect()
}

fn delivery(events: &str) -> String {
    // As captured from Windows, but for the names: spaces in texts, reference properties as headers.
    format!(
        r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:e="http://schemas.xmlsoap.org/ws/2004/08/eventing" xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd" xmlns:p="http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd">
<s:Header><a:To>https://gateway.test:5986/wsman/subscriptions/4D2C/1</a:To>
<m:MachineID xmlns:m="http://schemas.microsoft.com/wbem/wsman/1/machineid" s:mustUnderstand="false">pc1.plant.test
</m:MachineID><a:ReplyTo><a:Address s:mustUnderstand="true">http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</a:Address></a:ReplyTo>
<a:Action s:mustUnderstand="true">http://schemas.dmtf.org/wbem/wsman/1/wsman/Events</a:Action>
<w:MaxEnvelopeSize s:mustUnderstand="true">512000</w:MaxEnvelopeSize>
<a:MessageID>uuid:EC9F4CA0-2D5F-4BBA-8D4E-0DB0D0E3F1A5</a:MessageID>
<w:Locale xml:lang="en-US" s:mustUnderstand="false" /><p:SessionId s:mustUnderstand="false">uuid:1</p:SessionId>
<e:Identifier xmlns:e="http://schemas.xmlsoap.org/ws/2004/08/eventing"> 219C5353
</e:Identifier><w:Bookmark>
<BookmarkList><Bookmark Channel="Security" RecordId="12" IsCurrent="true"/></BookmarkList></w:Bookmark><w:AckRequested/>
</s:Header><s:Body><w:Events>{events}</w:Events></s:Body></s:Envelope>"#
    )
}

#[test]
fn a_delivery_is_read_as_windows_writes_it() {
    let envelope = read(&delivery("")).expect("an envelope");
    let header = &envelope.header;
    assert_eq!(header.action, "http://schemas.dmtf.org/wbem/wsman/1/wsman/Events");
    assert_eq!(header.message_id, "uuid:EC9F4CA0-2D5F-4BBA-8D4E-0DB0D0E3F1A5");
    assert_eq!(header.machine_id.as_deref(), Some("pc1.plant.test"), "trimmed");
    assert_eq!(header.identifier.as_deref(), Some("219C5353"));
    let bookmark = r#"<BookmarkList><Bookmark Channel="Security" RecordId="12" IsCurrent="true"/></BookmarkList>"#;
    assert_eq!(header.bookmark.as_deref(), Some(bookmark), "as it came");
    assert!(header.wants_answer);
    assert_eq!(envelope.count(), 0);
}

#[test]
fn events_come_as_cdata_as_text_and_in_the_open() {
    let event = "<Event><System><EventID>1</EventID></System><EventData><Data>a &lt; b</Data></EventData></Event>";
    let escaped = event.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let action = r#"Action="http://schemas.dmtf.org/wbem/wsman/1/wsman/Event""#;
    for written in [
        format!("<w:Event {action}><![CDATA[{event}]]></w:Event>"),
        format!("<w:Event {action}>\n  <![CDATA[{event}]]>\n</w:Event>"),
        format!("<w:Event {action}>{escaped}</w:Event>"),
        format!("<w:Event {action}> {event} </w:Event>"),
    ] {
        let found = gathered(&delivery(&written.repeat(3)));
        assert_eq!(found.iter().map(|found| found.trim()).collect::<Vec<_>>(), [event; 3], "{written}");
    }
    assert_eq!(gathered(&delivery("<w:Event/><w:Event> </w:Event><w:Other>x</w:Other>")), Vec::<String>::new());
}

#[test]
fn an_event_whose_text_ends_cdata_comes_in_two_sections() {
    let found = gathered(&delivery("<w:Event><![CDATA[<Event>a]]]]><![CDATA[>b</Event>]]></w:Event>"));
    assert_eq!(found, ["<Event>a]]>b</Event>"]);
}

#[test]
fn control_characters_in_an_event_harm_nobody() {
    let found = gathered(&delivery("<w:Event><![CDATA[<Event>\u{2}\u{f}</Event>]]></w:Event>"));
    assert_eq!(found, ["<Event>\u{2}\u{f}</Event>"]);
}

#[test]
fn events_that_are_not_kept_leave_no_trace() {
    let events = delivery("<w:Event><![CDATA[<a/>]]></w:Event><w:Event><![CDATA[<b/>]]></w:Event><w:Event>c</w:Event>");
    let Gathered { text, events } = read(&events).expect("an envelope").gather(|event| event != b"<b/>");
    assert_eq!((text.as_slice(), events), (&b"<a/>\nc\n"[..], vec![0..4, 5..6]));
}

#[test]
fn the_reason_of_an_end_is_read_out_of_its_fault() {
    let body = r#"<e:SubscriptionEnd><e:Status>x</e:Status><e:Reason><f:WSManFault Code="15001">
        <f:Message>The query &quot;is&quot; invalid.</f:Message></f:WSManFault></e:Reason></e:SubscriptionEnd>"#;
    let text = delivery("").replace("<w:Events></w:Events>", body);
    assert_eq!(read(&text).expect("an envelope").fault.as_deref(), Some(r#"x The query "is" invalid."#));
}

#[test]
fn an_envelope_that_is_cut_anywhere_is_refused() {
    let whole = delivery("<w:Event><![CDATA[<Event/>]]></w:Event><w:Event>&lt;Event/&gt;</w:Event>");
    for cut in 0..whole.len() {
        assert!(Envelope::read(&whole.as_bytes()[..cut]).is_err(), "{}", &whole[..cut]);
    }
    let wide = write(&whole, WINDOWS);
    for cut in 0..wide.len() {
        assert!(Envelope::read(&wide[..cut]).is_err(), "{cut}");
    }
}

#[test]
fn what_is_hostile_is_refused() {
    let whole = delivery("");
    for (hostile, wrong) in [
        (format!("<!DOCTYPE x [<!ENTITY a \"b\">]>{whole}"), "a document type"),
        (whole.replace("</s:Body>", "</s:Bodies>"), "an end tag of another element"),
        (format!("{whole}<more/>"), "a second document"),
        (whole.replace("MessageID", "Other"), "no message id"),
        (whole.replace("a:Action", "a:Other"), "no action"),
        (whole.replace("s:Header", "s:Other"), "no header"),
        (whole.replace("219C5353", &"x".repeat(5000)), "a header without end"),
        (whole.replace("RecordId=\"12\"", &format!("RecordId=\"{}\"", "1".repeat(300_000))), "a bookmark without end"),
        (delivery(&format!("<w:Event>{}</w:Event>", "<x>".repeat(100_000))), "nesting without end"),
        ("<Event/>".to_owned(), "another document"),
        (String::new(), "nothing"),
    ] {
        assert!(read(&hostile).is_err(), "{wrong}");
    }
    assert_eq!(Envelope::read(&vec![b' '; ENVELOPE_MAX + 1]).err(), Some(EnvelopeError::TooLarge));
}

/// What a real parser finds: the machine, and the text of each event that is no element.
fn by_a_real_parser(text: &str) -> (String, Vec<String>) {
    let mut reader = quick_xml::Reader::from_str(text);
    let (mut path, mut machine, mut events): (Vec<String>, _, Vec<String>) = (Vec::new(), String::new(), Vec::new());
    loop {
        let in_event = path.last().is_some_and(|name| name == "Event");
        let in_machine = path.last().is_some_and(|name| name == "MachineID");
        let mut piece = |piece: &str| match events.last_mut() {
            Some(event) if in_event => event.push_str(piece),
            _ if in_machine => machine.push_str(piece),
            _ => {}
        };
        match reader.read_event().expect("a sound document") {
            Event::Start(tag) => {
                path.push(tag.local_name().into_inner().to_owned());
                if path.last().is_some_and(|name| name == "Event") {
                    events.push(String::new());
                }
            }
            Event::End(_) => drop(path.pop()),
            Event::Text(text) => piece(&text),
            Event::CData(text) => piece(&text),
            Event::GeneralRef(reference) => {
                let found = match reference.resolve_char_ref().expect("a character") {
                    Some(character) => character.to_string(),
                    None => quick_xml::escape::resolve_predefined_entity(&reference).expect("an entity").to_owned(),
                };
                piece(&found);
            }
            Event::Eof => break,
            _ => {}
        }
    }
    events.retain(|event| !event.trim().is_empty());
    (machine.trim().to_owned(), events)
}

fn escaped(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}

proptest! {
    #[test]
    fn a_real_parser_finds_the_same(
        prefix in "[a-z]{1,3}",
        machine in "[ a-z&<>\"']{0,12}",
        events in proptest::collection::vec(("[ -~é😀]{0,30}", any::<bool>()), 0..6),
    ) {
        let events: Vec<String> = events.iter().map(|(text, as_cdata)| match as_cdata {
            true => format!("<{prefix}:Event a='>'><![CDATA[{}]]></{prefix}:Event>", text.replace("]]>", "]]]]><![CDATA[>")),
            false => format!("<{prefix}:Event>{}</{prefix}:Event>", escaped(text)),
        }).collect();
        let text = delivery("")
            .replace("pc1.plant.test", &escaped(&machine))
            .replace("<w:Events></w:Events>", &format!("<{prefix}:Events>{}</{prefix}:Events>", events.concat()))
            .replace("<s:Envelope ", &format!("<s:Envelope xmlns:{prefix}=\"x\" "));
        let (real_machine, real_events) = by_a_real_parser(&text);
        let envelope = read(&text).expect("an envelope");
        prop_assert_eq!(envelope.header.machine_id.clone().unwrap_or_default(), real_machine);
        let found: Vec<String> = gathered(&text).into_iter().filter(|event| !event.trim().is_empty()).collect();
        prop_assert_eq!(found, real_events);
    }

    #[test]
    fn whatever_comes_is_read_or_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        at in 0usize..2000,
        text in "[<>/a-z:&;!\\[\\]\"= -]{0,40}",
    ) {
        Envelope::read(&bytes).ok();
        let whole = delivery("<w:Event><![CDATA[<Event/>]]></w:Event>");
        let at = at.min(whole.len());
        let changed = [&whole.as_bytes()[..at], text.as_bytes(), &whole.as_bytes()[at..]].concat();
        if let Ok(envelope) = Envelope::read(&changed) {
            envelope.gather(|_| true);
        }
    }
}
