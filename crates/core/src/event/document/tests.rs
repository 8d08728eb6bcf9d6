use super::*;
use crate::event::{Fields, from_json, from_xml};

fn xml(raw: &str) -> Event<'_> {
    let (fields, _) = from_xml::scan(raw.as_bytes()).unwrap_or_default();
    Event { format: Format::Xml, raw: raw.as_bytes(), fields }
}

fn json(raw: &str) -> Event<'_> {
    let fields = from_json::scan(raw, 0).expect("a JSON value").fields;
    Event { format: Format::Json, raw: raw.as_bytes(), fields }
}

/// What a document holds, as XML without any escapes.
fn shown(document: &Document) -> String {
    let mut out = String::new();
    show(document, Node::ROOT, &mut out);
    out
}

fn show(document: &Document, node: Node, out: &mut String) {
    for child in document.children(node) {
        let Some(name) = document.name(child) else {
            out.push_str(document.value(child));
            continue;
        };
        let attributes = document.attributes(child);
        let attributes: String = attributes
            .map(|at| format!(" {}='{}'", document.name(at).expect("attributes have names"), document.value(at)))
            .collect();
        out.push_str(&format!("<{name}{attributes}>"));
        show(document, child, out);
        out.push_str(&format!("</{name}>"));
    }
}

fn whole(event: &Event<'_>) -> String {
    let mut document = Document::default();
    document.read_all(event);
    shown(&document)
}

#[test]
fn xml_is_read_in_two_stages() {
    let raw =
        "<Event xmlns='x'><System><EventID>1</EventID></System><EventData><Data Name='a'>b</Data></EventData></Event>";
    let mut document = Document::default();
    document.read_system(&xml(raw));
    assert_eq!(shown(&document), "<Event><System><EventID>1</EventID></System></Event>");
    let rest = "<EventData><Data Name='a'>b</Data></EventData></Event>";
    for _ in 0..2 {
        document.read_all(&xml(raw));
        assert_eq!(shown(&document), format!("<Event><System><EventID>1</EventID></System>{rest}"));
    }
    document.clear();
    document.read_all(&xml("<Event><System/></Event>"));
    assert_eq!(shown(&document), "<Event><System></System></Event>");
}

#[test]
fn xml_becomes_the_tree_that_queries_expect() {
    for (what, raw, expected) in [
        ("prefixes are dropped", "<e:Event><e:a x:b='1' xmlns:x='u'/></e:Event>", "<Event><a b='1'></a></Event>"),
        (
            "entities are decoded",
            "<Event><a b='&lt;'>&amp;&#65;&bad;</a></Event>",
            "<Event><a b='<'>&A&bad;</a></Event>",
        ),
        ("CDATA is text", "<Event><a>1<![CDATA[<&amp;]]><!-- no -->2</a></Event>", "<Event><a>1<&amp;2</a></Event>"),
        (
            "the first System counts",
            "<Event><System><Task>1</Task></System><System><Task>2</Task></System></Event>",
            "<Event><System><Task>1</Task></System></Event>",
        ),
        ("System may come late", "<Event><a/><System/><b/></Event>", "<Event><a></a><System></System><b></b></Event>"),
        (
            "of a field the last counts",
            "<Event><System><Level>1</Level><Task>7</Task><Level>2</Level></System></Event>",
            "<Event><System><Task>7</Task><Level>2</Level></System></Event>",
        ),
        (
            "inside of a field there are no elements",
            "<Event><System><Level>1<b>2</b>3</Level><Task>1<b>2</b></Task></System></Event>",
            "<Event><System><Level>13</Level><Task>1<b>2</b></Task></System></Event>",
        ),
        (
            "a field with a prefix replaces none",
            "<Event><System><Level>1</Level><x:Level>2</x:Level><x:Task>3</x:Task></System></Event>",
            "<Event><System><Level>1</Level><Task>3</Task></System></Event>",
        ),
        (
            "of an attribute that is a field the first counts",
            "<Event><System><Provider x:Name='a' Name='b' Guid='c' Name='d'/><Task Name='e' Name='f'/></System></Event>",
            "<Event><System><Provider Name='b' Guid='c'></Provider><Task Name='e' Name='f'></Task></System></Event>",
        ),
        (
            "fields are only fields in System",
            "<Event><EventData><Level>1</Level><Level>2</Level></EventData></Event>",
            "<Event><EventData><Level>1</Level><Level>2</Level></EventData></Event>",
        ),
    ] {
        assert_eq!(whole(&xml(raw)), expected, "{what}");
    }
}

#[test]
fn of_damaged_xml_counts_what_was_read() {
    let good = "<Event><System><Task>1</Task></System><EventData><Data>a</Data>";
    for bad in ["", "<", "<!DOCTYPE x>", "<Data", "<Data>b", "</Data></EventData></Event></Event></Event>", "<![CDATA["]
    {
        let raw = format!("{good}{bad}");
        let shown = whole(&xml(&raw));
        assert!(shown.starts_with(good), "{raw} became {shown}");
    }
    let latin = b"<Event><a>caf\xe9</a></Event>";
    let event = Event { format: Format::Xml, raw: latin, fields: Fields::default() };
    assert_eq!(whole(&event), "<Event><a>caf\u{fffd}</a></Event>");
}

#[test]
fn size_and_depth_are_bounded() {
    let deep = format!("<Event>{}x{}<after/></Event>", "<a>".repeat(5000), "</a>".repeat(5000));
    let shown = whole(&xml(&deep));
    assert_eq!(shown.matches("<a>").count(), MAX_DEPTH - 1);
    assert!(shown.ends_with("<after></after></Event>"), "what follows is read");
    let wide = format!("<Event>{}</Event>", "<a b='c'>d</a>".repeat(20_000));
    let mut document = Document::default();
    document.read_all(&xml(&wide));
    assert!((MAX_NODES..MAX_NODES + 3).contains(&(document.nodes.len() + document.attributes.len())));
    let fields = format!("<Event><System>{}</System></Event>", "<Level>1</Level>".repeat(50_000));
    assert!(whole(&xml(&fields)).matches("<Level>").count() <= 1);
    let members: String = (0..20_000).map(|n| format!("\"e{n}_attributes\":{{\"a\":1}},")).collect();
    document.clear();
    document.read_all(&json(&format!("{{\"System\":{{{members}\"Task\":1}}}}")));
    assert!(document.nodes.len() + document.attributes.len() < MAX_NODES + 3);
    let numbers = format!("{{\"EventData\":{{\"a\":[{}1]}}}}", "1,".repeat(50_000));
    document.clear();
    document.read_all(&json(&numbers));
    assert!(document.nodes.len() + document.attributes.len() < MAX_NODES + 3);
}

#[test]
fn the_value_of_an_element_is_all_text_inside_it() {
    let mut document = Document::default();
    document.read_all(&xml("<Event><a>1<b>2<c/>3</b>4</a><d>5</d></Event>"));
    let event = document.children(Node::ROOT).next().expect("an Event");
    let values: Vec<&str> = document.children(event).map(|child| document.value(child)).collect();
    assert_eq!((document.value(event), values), ("12345", vec!["1234", "5"]));
}

#[test]
fn nothing_is_allocated_once_the_memory_has_its_size() {
    let raw =
        "<Event><System><EventID>1</EventID></System><EventData><Data Name='a'>x &lt; y</Data></EventData></Event>";
    let mut document = Document::default();
    document.read_all(&xml(raw));
    let capacity = |d: &Document| (d.nodes.capacity(), d.attributes.capacity(), d.words.capacity(), d.text.capacity());
    let before = capacity(&document);
    for _ in 0..3 {
        document.clear();
        document.read_all(&xml(raw));
    }
    assert_eq!(capacity(&document), before);
}

const DATA: &str = "<Data Name='User'>bob</Data><Data Name='Type'>3</Data>";

#[test]
fn the_shapes_of_json_give_the_tree_of_the_event() {
    let system = "<System><EventID>4624</EventID><Level>0</Level><Channel>Security</Channel></System>";
    let fields = r#""EventID":4624,"Level":0,"Channel":"Security""#;
    for (what, raw) in [
        ("nested", format!(r##"{{"Event":{{"#attributes":{{"xmlns":"u"}},"System":{{{fields}}},"EventData":{{"User":"bob","Type":3}}}}}}"##)),
        ("a row", format!(r#"{{{fields},"EventData":{{"User":"bob","Type":"3"}}}}"#)),
        ("EventData as JSON text", format!(r#"{{{fields},"EventData":"{{\"User\":\"bob\",\"Type\":\"3\"}}"}}"#)),
        ("EventData as XML text", format!(r#"{{{fields},"EventData":"<EventData xmlns=\"u\">{DATA}</EventData>"}}"#)),
        ("the inside of EventData as XML text", format!(r#"{{{fields},"EventData":"{DATA}"}}"#)),
        ("a list", format!(r#"{{{fields},"EventData":[{{"Name":"User","Value":"bob"}},{{"Name":"Type","Text":"3"}}]}}"#)),
        ("Data with attributes", format!(r##"{{"System":{{{fields}}},"EventData":{{"Data":[{{"#attributes":{{"Name":"User"}},"#text":"bob"}},{{"@Name":"Type","#text":3}}]}}}}"##)),
        ("winlogbeat", r#"{"winlog":{"event_id":4624,"channel":"Security","event_data":{"User":"bob","Type":"3"}},"Level":0}"#.to_owned()),
        ("winlogbeat with dots", r#"{"winlog.event_id":4624,"winlog.channel":"Security","winlog.event_data.User":"bob","winlog.event_data.Type":"3","Level":0}"#.to_owned()),
        ("flat", format!(r#"{{{fields},"User":"bob","Type":3}}"#)),
        ("raw XML beside the fields", format!(r#"{{{fields},"RawXml":"<Event><System><EventID>9</EventID></System><EventData>{DATA}</EventData></Event>"}}"#)),
        ("the whole event as XML", format!(r#"{{"body":"<Event xmlns='u'>{system}<EventData>{DATA}</EventData></Event>"}}"#)),
    ] {
        assert_eq!(whole(&json(&raw)), format!("<Event>{system}<EventData>{DATA}</EventData></Event>"), "{what}: {raw}");
    }
}

#[test]
fn xml_in_a_text_is_read_behind_white_space_of_any_kind() {
    for before in ["", " ", "\\ufeff", "\u{a0}", "\\u00a0\\u2003", "\u{3000}\\r\\n<?xml version='1.0'?>"] {
        let event = format!("{before}<Event><System/><EventData>{DATA}</EventData></Event>");
        for raw in [
            format!(r#"{{"EventID":7,"Channel":"c","EventXml":"{event}"}}"#),
            format!(r#"{{"EventID":7,"Channel":"c","EventData":"{before}<EventData>{DATA}</EventData>"}}"#),
        ] {
            let tree = format!(
                "<Event><System><EventID>7</EventID><Channel>c</Channel></System><EventData>{DATA}</EventData></Event>"
            );
            assert_eq!(whole(&json(&raw)), tree, "{raw}");
        }
    }
}

#[test]
fn binary_is_an_element_whatever_the_shape() {
    let event_data = "<EventData><Data Name='a'>x</Data><Binary>00FF</Binary></EventData>";
    let data_item =
        format!("<DataItem type='System.XmlData' time='t' sourceHealthServiceId='s'>{event_data}</DataItem>");
    for raw in [
        r#"{"EventID":7,"EventData":{"a":"x","Binary":"00FF"}}"#.to_owned(),
        r#"{"EventID":7,"a":"x","Binary":"00FF"}"#.to_owned(),
        r#"{"winlog.event_id":7,"winlog.event_data.a":"x","winlog.event_data.Binary":"00FF"}"#.to_owned(),
        r#"{"body":{"event_id":{"id":7},"event_data":{"binary":"00FF","data":[{"a":"x"}]}}}"#.to_owned(),
        format!(r#"{{"EventID":7,"EventData":"{event_data}"}}"#),
        format!(r#"{{"EventID":7,"EventData":"{data_item}"}}"#),
    ] {
        let tree = format!("<Event><System><EventID>7</EventID></System>{event_data}</Event>");
        assert_eq!(whole(&json(&raw)), tree, "{raw}");
    }
    for broken in ["<DataItem>", "<DataItem/>", "<DataItem></Other>", "</DataItem>"] {
        assert!(whole(&json(&format!(r#"{{"EventData":"{broken}"}}"#))).starts_with("<Event><System>"), "{broken}");
    }
}

#[test]
fn json_without_names_keeps_the_order_of_its_data() {
    for (event_data, expected) in [
        (r#"{"Data":["a","b"]}"#, "<Data>a</Data><Data>b</Data>"),
        (r##"{"Data":{"#text":["a","b"]}}"##, "<Data>a</Data><Data>b</Data>"),
        (r#"{"Data":"a","Binary":"00"}"#, "<Data>a</Data><Binary>00</Binary>"),
        (r#"["a",{"Name":"n"},true,null]"#, "<Data>a</Data><Data Name='n'></Data><Data>true</Data><Data></Data>"),
        (r#"{"a":null,"b":["1","2"]}"#, "<Data Name='a'></Data><Data Name='b'>1</Data><Data Name='b'>2</Data>"),
        (r#"{"data":[{"b":"1"},{"":"2"}]}"#, "<Data Name='b'>1</Data><Data>2</Data>"),
        (r#""words""#, "<Data>words</Data>"),
    ] {
        let raw = format!("{{\"EventData\":{event_data}}}");
        assert_eq!(whole(&json(&raw)), format!("<Event><System></System><EventData>{expected}</EventData></Event>"));
    }
}

#[test]
fn json_keeps_the_other_parts_of_system() {
    for raw in [
        r##"{"Event":{"System":{"Provider":{"#attributes":{"Name":"p","Guid":"{1}"}},"Version":1,"Task":2,"Keywords":"0x8","Execution":{"#attributes":{"ProcessID":4,"ThreadID":5}},"Security":{"#attributes":{"UserID":"S-1-5-18"}}},"UserData":{"Op":{"#attributes":{"xmlns":"u"},"Who":"me"}}}}"##,
        r##"{"System":{"Provider_attributes":{"Name":"p","Guid":"{1}"},"Version":1,"Task":2,"Keywords":"0x8","Execution_attributes":{"ProcessID":4,"ThreadID":5},"Security_attributes":{"UserID":"S-1-5-18"}},"UserData":{"Op":{"Who":"me"}}}"##,
        r#"{"Provider":"p","Version":1,"Task":2,"Keywords":"0x8","SystemProcessId":4,"SystemThreadId":5,"SystemUserId":"S-1-5-18","UserData":"<UserData><Op xmlns='u'><Who>me</Who></Op></UserData>"}"#,
    ] {
        let shown = whole(&json(raw)).replace(" Guid='{1}'", "");
        for part in [
            "<System><Provider Name='p'></Provider>",
            "<Version>1</Version>",
            "<Task>2</Task>",
            "<Keywords>0x8</Keywords>",
            "<Execution ProcessID='4' ThreadID='5'></Execution>",
            "<Security UserID='S-1-5-18'></Security>",
            "<UserData><Op><Who>me</Who></Op></UserData></Event>",
        ] {
            assert!(shown.contains(part), "{part} is not in {shown}");
        }
    }
}

#[test]
fn json_keywords_are_written_as_windows_does() {
    for (value, expected) in [
        ("0", "<Keywords>0x0</Keywords>"),
        ("-9223372036854775808", "<Keywords>0x8000000000000000</Keywords>"),
        ("36028797018963968", "<Keywords>0x80000000000000</Keywords>"),
        ("1.5", "<Keywords>1.5</Keywords>"),
        ("-1e19", "<Keywords>-1e+19</Keywords>"),
        ("18446744073709551615", "<Keywords>0xffffffffffffffff</Keywords>"),
        (r#""0x8010000000000000""#, "<Keywords>0x8010000000000000</Keywords>"),
        (r#""0x+1""#, "<Keywords>0x+1</Keywords>"),
        (r#""Classic""#, "<Keywords>0x80000000000000</Keywords>"),
        (r#""a, b""#, "<Keywords>a, b</Keywords>"),
        (r#"["a","b"]"#, "<Keywords>b</Keywords>"),
        (r#"["a","Classic"]"#, "<Keywords>0x80000000000000</Keywords>"),
        ("[]", ""),
    ] {
        let shown = whole(&json(&format!("{{\"Keywords\":{value},\"EventData\":{{}}}}")));
        assert_eq!(shown, format!("<Event><System>{expected}</System><EventData></EventData></Event>"), "{value}");
    }
}

#[test]
fn queries_see_numbers_that_they_can_compare_and_rows_see_them_as_written() {
    let raw = r#"{"EventData":{"a":1e3,"b":12345678901234567890123,"c":1.50}}"#;
    let data = |a: &str| {
        let rest = "<Data Name='b'>12345678901234567890123</Data><Data Name='c'>1.50</Data>";
        format!("<Event><System></System><EventData><Data Name='a'>{a}</Data>{rest}</EventData></Event>")
    };
    let event = json(raw);
    let mut document = Document::default();
    document.read_record(&event, &record::Json::read(raw).expect("JSON"));
    assert_eq!(shown(&document), data("1e3"));
    document.clear();
    document.read_all(&event);
    assert_eq!(shown(&document), data("1000.0"));
}

#[test]
fn system_holds_the_fields_exactly() {
    let raw = r#"{"System":{"EventID":"none","TimeCreated":"yesterday"},"EventId":7,"timestamp":1714979289,"Computer":"a<b"}"#;
    assert_eq!(
        whole(&json(raw)),
        "<Event><System><EventID>7</EventID><TimeCreated SystemTime='2024-05-06T07:08:09.0000000Z'></TimeCreated>\
         <Computer>a<b</Computer></System><EventData></EventData></Event>"
    );
}

#[test]
fn fragments_cannot_close_what_is_around_them() {
    let raw = r#"{"EventData":"<EventData></EventData></Event></x><Data>lost</Data>","UserData":"</a></b>text"}"#;
    assert_eq!(whole(&json(raw)), "<Event><System></System><UserData></UserData><EventData></EventData></Event>");
    for raw in ["[]", "{}", "\"x\"", r#"{"Event":[],"EventData":"<"}"#] {
        assert!(whole(&json(raw)).starts_with("<Event><System></System>"), "{raw}");
    }
}

#[test]
fn what_follows_system_can_be_read_without_it_and_it_can_still_be_read_later() {
    let raw = "<Event><!-- <System> --><System><EventID>1</EventID></System><EventData><Data Name='a'>x</Data></EventData></Event>";
    let (fields, _) = from_xml::scan(raw.as_bytes()).expect("an event");
    let event = Event { format: Format::Xml, raw: raw.as_bytes(), fields };
    let shown = |read: &[fn(&mut Document, &Event<'_>)]| {
        let mut document = Document::default();
        read.iter().for_each(|read| read(&mut document, &event));
        shown_children(&document, Node::ROOT)
    };
    let body = "Event(System() EventData(Data(@Name=a x)))";
    let whole = "Event(System(EventID(1)) EventData(Data(@Name=a x)))";
    assert_eq!(shown(&[Document::read_body]), body);
    assert_eq!(shown(&[Document::read_body, Document::read_body]), body);
    assert_eq!(shown(&[Document::read_body, Document::read_all]), whole);
    assert_eq!(shown(&[Document::read_system, Document::read_body]), whole);
    assert_eq!(shown(&[Document::read_body, Document::read_system]), "Event(System(EventID(1)))");
}

fn shown_children(document: &Document, node: Node) -> String {
    let attributes = document
        .attributes(node)
        .map(|node| format!("@{}={}", document.name(node).unwrap_or_default(), document.value(node)));
    let children = document.children(node).map(|child| match document.name(child) {
        Some(name) => format!("{name}({})", shown_children(document, child)),
        None => document.value(child).to_owned(),
    });
    attributes.chain(children).collect::<Vec<_>>().join(" ")
}
