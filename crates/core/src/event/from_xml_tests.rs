use super::*;
use proptest::prelude::*;
use quick_xml::events::Event as Piece;

const HEAD: &str = "<Event><System><Computer>c</Computer><EventRecordID>7</EventRecordID></System>";

fn fields(xml: &str) -> Fields<'_> {
    let (fields, end) = scan(xml.as_bytes()).expect(xml);
    assert_eq!(end, xml.len(), "{xml}");
    without_end(fields, xml)
}

/// The fields, of which the end of `System` has been seen to be right.
fn without_end<'a>(fields: Fields<'a>, xml: &str) -> Fields<'a> {
    assert!(fields.system_end.is_none_or(|end| xml[..end].ends_with("</System>")), "{xml}");
    Fields { system_end: None, ..fields }
}

#[test]
fn keywords_are_what_windows_renders_or_nothing() {
    for (text, bits) in [
        ("0x8020000000000000", Some(0x8020_0000_0000_0000)),
        (" 0x0 ", Some(0)),
        ("0x", None),
        ("0x+1", None),
        ("1", None),
        ("0x80200000000000000", None),
        ("", None),
    ] {
        let xml = format!("<Event><System><Keywords>{text}</Keywords></System></Event>");
        assert_eq!(fields(&xml).keywords, bits, "{text}");
    }
}

fn refused(xml: &str) -> XmlError {
    scan(xml.as_bytes()).expect_err(xml)
}

#[test]
fn control_characters_that_xml_forbids_are_kept() {
    let xml = format!("{HEAD}<EventData><Data Name='ObjectName'>a\u{2}b\u{f}</Data></EventData></Event>");
    assert_eq!(fields(&xml).record_id, Some(7));
    assert_eq!(
        fields("<Event><System><Computer>a\u{2}</Computer></System></Event>").computer.as_deref(),
        Some("a\u{2}")
    );
}

#[test]
fn every_field_may_be_missing() {
    for xml in ["<Event/>", "<Event></Event>", "<Event><System/></Event>", "<Event><System></System></Event>"] {
        assert_eq!(fields(xml), Fields::default(), "{xml}");
    }
    let xml = "<Event><System><Provider/><EventID></EventID><TimeCreated SystemTime=''/><Channel/><Computer/></System></Event>";
    assert_eq!(fields(xml), Fields { channel: Some("".into()), ..Fields::default() });
}

#[test]
fn attributes_come_in_any_order_and_either_quote() {
    let xml = "<Event xmlns=\"n\"><System><Provider Guid='{1}' Name=\"A &amp; 'B' > C\" EventSourceName='x'/>\
        <EventID Qualifiers='16384'> 7036 </EventID><TimeCreated\n RawTime='1' SystemTime = \"2024-05-06T07:08:09Z\" /><Level>16</Level></System></Event>";
    let found = fields(xml);
    assert_eq!(found.provider.as_deref(), Some("A & 'B' > C"));
    assert_eq!((found.event_id, found.level), (Some(7036), Some(16)));
    assert_eq!(found.time.map(Timestamp::unix_seconds), Some(1_714_979_289));
}

#[test]
fn text_is_borrowed_unless_it_holds_entities() {
    let found = fields(
        "<Event><System><Channel>Security</Channel><Computer>a&lt;&#x42;&#67;&nope;&</Computer></System></Event>",
    );
    assert!(matches!(found.channel, Some(std::borrow::Cow::Borrowed("Security"))));
    assert_eq!(found.computer.as_deref(), Some("a<BC&nope;&"));
}

#[test]
fn the_end_is_found_behind_comments_and_sections() {
    for body in [
        "<EventData><Data><![CDATA[</Event>]]></Data></EventData>",
        "<!-- </Event> --><UserData><EventXML>Event Event</EventXML></UserData>",
        "<!---->\n<![CDATA[<Event>]]><EventDataX/>",
        "<UserData><a b='/>'/></UserData>",
    ] {
        let xml = format!("{HEAD}{body}</Event\n>");
        assert_eq!(fields(&xml).record_id, Some(7), "{body}");
        let (_, end) = scan(format!("{xml}<Event/>").as_bytes()).expect("scans");
        assert_eq!(end, xml.len(), "{body}");
    }
}

#[test]
fn what_stands_before_the_event_is_passed_over() {
    let xml = format!("\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<!-- Record 1 -->\n{HEAD}</Event>");
    assert_eq!(fields(&xml).record_id, Some(7));
}

#[test]
fn document_types_are_refused_wherever_they_stand() {
    for xml in [
        "<!DOCTYPE Event [<!ENTITY a 'b'>]><Event/>".to_owned(),
        "<Event><!DOCTYPE x><System/></Event>".to_owned(),
        format!("{HEAD}<!ENTITY a 'b'></Event>"),
    ] {
        assert!(refused(&xml).reason.contains("document type"), "{xml}");
    }
}

#[test]
fn a_record_that_is_cut_off_ends_where_the_next_begins() {
    let xml = format!("{HEAD}<EventData><Data>cut <Event><System/></Event>");
    let error = refused(&xml);
    assert_eq!(&xml[error.offset..error.offset + 7], "<Event>");
    assert_eq!(refused(HEAD).offset, HEAD.len());
    for xml in [
        "",
        "x",
        "<",
        "<>",
        "<Event",
        "<Event a='",
        "<Events/>",
        "<Event><System>",
        "<Event><System><a",
        "<Event><![CDATA[",
        "<Event></Event x>",
    ] {
        refused(xml);
    }
}

#[test]
fn the_size_of_a_record_has_a_limit() {
    let large = format!("{HEAD}<EventData>{}</EventData></Event>", "x".repeat(MAX_RECORD_BYTES));
    assert_eq!(refused(&large).reason, "the record is larger than 1 MiB");
    let prefix = HEAD.len() + "</Event>".len();
    let largest = format!("{HEAD}{}</Event>", "x".repeat(MAX_RECORD_BYTES - prefix));
    assert_eq!(scan(largest.as_bytes()).map(|(_, end)| end), Ok(MAX_RECORD_BYTES));
}

/// A document of the Event grammar, with whatever an XML writer may choose.
fn any_document() -> impl Strategy<Value = String> {
    let text = "([a-zA-Z0-9 äß/.-]|&amp;|&lt;|&#233;|&quot;){0,12}";
    let field = prop_oneof![
        (text, any::<bool>(), "[ \n]{0,2}").prop_map(|(name, single, gap)| {
            let quote = if single { '\'' } else { '"' };
            format!("<Provider{gap} Guid={quote}{{1}}{quote} Name{gap}={quote}{name}{quote}{gap}/>")
        }),
        (any::<u32>(), "[ \n]{0,1}").prop_map(|(n, gap)| format!("<EventID Qualifiers=\"0\">{gap}{n}{gap}</EventID>")),
        any::<u64>().prop_map(|n| format!("<EventRecordID>{n}</EventRecordID>")),
        any::<u8>().prop_map(|n| format!("<Level>{n}</Level>")),
        any::<u64>().prop_map(|n| format!("<Keywords>{n:#x}</Keywords>")),
        text.prop_map(|t| format!("<Channel>{t}</Channel>")),
        text.prop_map(|t| format!("<Computer><!-- c -->{t}<![CDATA[<&>]]></Computer >")),
        Just("<Channel/>".to_owned()),
        (0u8..60).prop_map(|s| format!("<TimeCreated SystemTime=\"2024-01-01T00:00:{s:02}.5Z\"></TimeCreated>")),
        Just("<Execution ProcessID='4' ThreadID=\"8\"/><Keywords>0x8</Keywords>\n".to_owned()),
    ];
    let data = prop_oneof![
        text.prop_map(|t| format!("<EventData><Data Name='x'>{t}</Data><Data/></EventData>")),
        text.prop_map(|t| format!(
            "<!-- {} --><UserData><EventXML a=\"1\">{t}</EventXML></UserData>",
            t.replace('-', "")
        )),
        Just("<EventData><![CDATA[</Event><Event>]]></EventData>".to_owned()),
        Just("\n".to_owned()),
    ];
    (proptest::collection::vec(field, 0..9), proptest::collection::vec(data, 0..3)).prop_map(|(system, data)| {
        format!("<Event xmlns='n'><System>{}</System>{}</Event>", system.concat(), data.concat())
    })
}

/// The same fields by a real parser.
fn by_quick_xml(xml: &str) -> Fields<'static> {
    let mut reader = quick_xml::Reader::from_str(xml);
    let (mut fields, mut path, mut text) = (Fields::default(), vec![], String::new());
    let begin = |tag: &quick_xml::events::BytesStart<'_>, fields: &mut Fields<'static>| {
        let value = |wanted: &str| {
            let found = tag.attributes().flatten().find(|a| a.key.as_ref() == wanted)?;
            Some(unescaped(&found.value))
        };
        match tag.name().as_ref() {
            "Provider" => fields.provider = value("Name").map(|name| name.trim().to_owned().into()),
            "TimeCreated" => fields.time = value("SystemTime").and_then(|time| Timestamp::parse(&time)),
            "Channel" => fields.channel = Some("".into()),
            _ => {}
        }
    };
    loop {
        match reader.read_event().expect("well-formed") {
            Piece::Start(tag) => {
                begin(&tag, &mut fields);
                path.push(tag.name().as_ref().to_owned());
                text.clear();
            }
            Piece::Empty(tag) => begin(&tag, &mut fields),
            Piece::Text(piece) => text.push_str(&piece),
            Piece::GeneralRef(name) => text.push_str(&unescaped(&format!("&{};", &*name))),
            Piece::CData(piece) => text.push_str(&piece),
            Piece::End(_) => {
                let name = path.pop().expect("open");
                let text = std::mem::take(&mut text).trim().to_owned();
                match (path.last().map(String::as_str), name.as_str()) {
                    (Some("System"), "EventID") => fields.event_id = text.parse().ok(),
                    (Some("System"), "EventRecordID") => fields.record_id = text.parse().ok(),
                    (Some("System"), "Level") => fields.level = text.parse().ok(),
                    (Some("System"), "Keywords") => {
                        fields.keywords =
                            text.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
                    }
                    (Some("System"), "Channel") => fields.channel = Some(text.into()),
                    (Some("System"), "Computer") => {
                        fields.computer = Some(text.into()).filter(|t: &std::borrow::Cow<'_, str>| !t.is_empty())
                    }
                    _ => {}
                }
            }
            Piece::Eof => return fields,
            _ => {}
        }
    }
}

fn unescaped(text: &str) -> String {
    quick_xml::escape::unescape(text).expect("entities").into_owned()
}

proptest! {
    #[test]
    fn finds_what_a_real_parser_finds(xml in any_document()) {
        let (found, end) = scan(xml.as_bytes()).expect("scans");
        prop_assert_eq!(end, xml.len());
        prop_assert_eq!(without_end(found, &xml), by_quick_xml(&xml));
    }

    #[test]
    fn damaged_documents_never_panic(xml in any_document(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = xml.into_bytes();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        match scan(&bytes) {
            Ok((_, end)) => prop_assert!(end <= bytes.len()),
            Err(error) => prop_assert!(error.offset <= bytes.len()),
        }
    }
}

#[test]
fn a_time_that_was_told_as_a_number_is_a_time() {
    for (attributes, time) in [
        ("RawTime='133594528891234567'", Some("2024-05-06T07:08:09.1234567Z")),
        ("RawTime='133594528891234567' SystemTime='2024-05-06T07:08:08Z'", Some("2024-05-06T07:08:08Z")),
        ("RawTime='84600000000'", None),
    ] {
        let xml = format!("<Event><System><TimeCreated {attributes}/></System></Event>");
        let (fields, _) = scan(xml.as_bytes()).expect("an event");
        assert_eq!(fields.time, time.and_then(Timestamp::parse), "{attributes}");
    }
}
