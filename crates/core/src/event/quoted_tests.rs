use super::*;
use crate::event::{KeyMaker, from_json};

fn fields(json: &str) -> Fields<'_> {
    from_json::scan(json, 0).expect(json).fields
}

const XML: &str = "<Event><System><Provider Name='p'/><EventID>7</EventID><Level>2</Level><Channel>c</Channel><Computer>dc</Computer></System></Event>";

#[test]
fn a_record_that_tells_no_event_is_the_one_that_it_quotes() {
    for record in [
        format!(r#"{{"Event":"{XML}"}}"#),
        format!(r#"{{"@timestamp":"2024-05-06T07:08:09Z","level":"error","event":{{"code":"1","original":"{XML}"}}}}"#),
        format!(r#"{{"Computer":"wec","message":"{XML}","x":"<Event/>"}}"#),
        format!(r#"{{"x":"<Event><b/></Event>","y":"{XML}"}}"#),
        format!(r#"{{"body":{{"body":"\t{XML}\n"}}}}"#),
    ] {
        let mut found = fields(&record);
        let at = found.quoted.take().expect("quoted");
        assert_eq!(unescaped(&record[at]).trim(), XML);
        let (plain, _) = from_xml::scan(XML.as_bytes()).expect("an event");
        assert_eq!(found, Fields { system_end: None, ..plain }, "{record}");
    }
}

#[test]
fn white_space_of_any_kind_may_stand_before_a_quoted_event() {
    for before in ["\u{a0}", "\\u00A0", "\u{feff}", "\\uFEFF", "\u{2003}\\u2028", "\\f\u{85}\u{3000} \\t"] {
        assert!(fields(&format!(r#"{{"EventXml":"{before}{XML}"}}"#)).quoted.is_some(), "{before:?}");
    }
    for before in ["x", "\\\"", "\\u0041", "\u{200b}", "\\ud83d\\ude00"] {
        assert!(fields(&format!(r#"{{"EventXml":"{before}{XML}"}}"#)).quoted.is_none(), "{before:?}");
    }
}

#[test]
fn a_record_that_tells_an_event_is_not_the_one_that_it_quotes() {
    for record in [
        format!(r#"{{"Computer":"a","EventID":1,"Channel":"x","_raw":"{XML}"}}"#),
        format!(r#"{{"_raw":"{XML}","winlog":{{"computer_name":"a","event_id":1,"provider_name":"x"}}}}"#),
    ] {
        let found = fields(&record);
        assert_eq!((found.quoted, found.event_id), (None, Some(1)), "{record}");
    }
}

#[test]
fn text_that_is_not_one_event_is_none() {
    let half = &XML[..XML.len() - 9];
    for text in [
        format!("{XML}{XML}"),
        format!("x {XML}"),
        format!("{XML} x"),
        half.to_owned(),
        format!("<Events>{XML}</Events>"),
        "<EventData/>".to_owned(),
        "<Event><System><Computer>dc</Computer></System></Event>".to_owned(),
        format!("<!DOCTYPE x>{XML}"),
    ] {
        let record = format!(r#"{{"_raw":"{text}"}}"#);
        assert_eq!(fields(&record), Fields::default(), "{text}");
    }
}

#[test]
fn only_the_first_texts_of_a_record_are_tried() {
    for (others, is_found) in [(15, true), (16, false)] {
        let record = format!(r#"{{{}"_raw":"{XML}"}}"#, r#""x":"<Event/>","#.repeat(others));
        assert_eq!(fields(&record).quoted.is_some(), is_found, "behind {others}");
    }
}

#[test]
fn a_quoted_event_without_a_record_id_is_the_duplicate_of_its_xml() {
    let maker = KeyMaker::new(&[7; 32]);
    let mut keys = maker.for_scope("scope", "stream");
    let (plain, _) = from_xml::scan(XML.as_bytes()).expect("an event");
    let plain = keys.key(&Event { format: Format::Xml, raw: XML.as_bytes(), fields: plain });
    for record in [format!(r#"{{"host":"a","_raw":"{XML}"}}"#), format!(r#"{{"log":"\ufeff\u003c{}"}}"#, &XML[1..])] {
        let event = Event { format: Format::Json, raw: record.as_bytes(), fields: fields(&record) };
        assert_eq!(keys.key(&event), plain, "{record}");
    }
}
