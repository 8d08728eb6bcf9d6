use super::*;
use proptest::prelude::*;

fn raws<'a>(decoded: &Decoded<'a>) -> Vec<&'a str> {
    decoded.events.iter().map(|event| std::str::from_utf8(event.raw).expect("UTF-8")).collect()
}

fn sniff(body: &str) -> Decoded<'_> {
    decode(Syntax::Sniff, body.as_bytes()).expect(body)
}

fn refusal(syntax: Syntax, body: &[u8]) -> DecodeError {
    decode(syntax, body).expect_err("must be refused")
}

#[test]
fn empty_bodies_and_arrays_hold_no_events() {
    for body in ["", " \n", "\u{feff}", "[]", "\u{feff}[ ]\n"] {
        for syntax in [Syntax::Sniff, Syntax::JsonArray] {
            assert_eq!(decode(syntax, body.as_bytes()), Ok(Decoded::default()), "{body:?}");
        }
    }
}

#[test]
fn an_array_yields_its_objects_and_sets_the_rest_aside() {
    let decoded = sniff("\u{feff}[ {\"EventID\": 1} ,2,[{}], {\"a\":\"\\ud800\"},null,{}\n]");
    assert_eq!(raws(&decoded), ["{\"EventID\": 1}", "{}"]);
    assert_eq!(decoded.events[0].fields.event_id, Some(1));
    let aside: Vec<_> = decoded.unreadable.iter().map(|u| u.raw).collect();
    assert_eq!(aside, [&b"2"[..], b"[{}]", b"{\"a\":\"\\ud800\"}", b"null"]);
    assert!(decoded.unreadable[2].reason.contains("surrogate"));
}

#[test]
fn a_broken_array_is_refused_with_its_place_and_a_remedy() {
    for (body, offset, part) in [
        ("{\"a\":1}", 0, "the body is one JSON object; send an array of objects"),
        ("<Event/>", 0, "XML"),
        ("null", 0, "array"),
        ("[{}", 3, "cut off"),
        ("[{},]", 4, "expected a JSON value"),
        ("[{} {}]", 4, "expected \",\""),
        ("[{\"a\":tru}]", 6, "true"),
        ("[{}]x", 4, "follows"),
    ] {
        let error = refusal(Syntax::JsonArray, body.as_bytes());
        assert_eq!(error.offset, offset, "{body}: {error}");
        assert!(error.to_string().contains(part), "{body}: {error}");
    }
    assert_eq!(refusal(Syntax::JsonArray, b"[{\"a\":\"\xff\"}]").offset, 7);
    assert_eq!(refusal(Syntax::JsonArray, "[".repeat(100_000).as_bytes()).offset, 1 + MAX_DEPTH);
}

const MAX_DEPTH: usize = crate::event::MAX_JSON_DEPTH;

#[test]
fn lines_may_be_json_and_xml_mixed_and_bad_ones_are_set_aside() {
    let decoded = sniff(
        "{\"EventID\":1}\r\n\n<Event><System><EventID>2</EventID></System></Event>\nnonsense\n{\"EventID\":3} 4\n[1]\n<Event>\n<System>\n\
         <EventID>4</EventID></System>\n</Event><Event/><x>\n{\"EventID\":5}",
    );
    let ids: Vec<_> = decoded.events.iter().map(|event| event.fields.event_id).collect();
    assert_eq!(ids, [Some(1), Some(2), Some(4), None, Some(5)]);
    let aside: Vec<_> = decoded.unreadable.iter().map(|u| std::str::from_utf8(u.raw).expect("UTF-8")).collect();
    assert_eq!(aside, ["nonsense", "{\"EventID\":3} 4", "[1]", "<x>"]);
}

#[test]
fn a_wrapper_and_declarations_are_tolerated() {
    let decoded = sniff(
        "<?xml version='1.0'?>\n<Events xmlns='x'><!-- one -->\n<Event/>\n<?xml version='1.0'?><Event></Event>\n</Events>\n\u{feff}<Event/>",
    );
    assert_eq!(raws(&decoded), ["<Event/>", "<Event></Event>", "<Event/>"]);
    assert_eq!(decoded.unreadable, []);
}

#[test]
fn a_record_that_is_cut_off_does_not_take_the_next_with_it() {
    let decoded = sniff(
        "<Event><System><EventID>1</EventID></System><EventData><Data>cu\n<Event><System/></Event>\n<Event><System>\n{\"a\":1}",
    );
    assert_eq!(raws(&decoded), ["<Event><System/></Event>"]);
    assert_eq!(decoded.unreadable.len(), 2, "{decoded:?}");
    let reasons: Vec<_> = decoded.unreadable.iter().map(|u| &u.reason[..]).collect();
    assert!(reasons[0].contains("another <Event>"), "{reasons:?}");
}

#[test]
fn large_and_undecodable_records_are_set_aside() {
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_RECORD_BYTES));
    for body in [format!("[{large},{{}}]"), format!("{large}\n{{}}"), format!("<Event>{large}</Event>\n{{}}")] {
        let decoded = sniff(&body);
        assert_eq!(raws(&decoded), ["{}"]);
        assert!(decoded.unreadable[0].reason.contains("1 MiB"), "{}", decoded.unreadable[0].reason);
    }
    let decoded = decode(Syntax::Sniff, b"{\"a\":\"\xff\"}\n<Event><a>\xff</a></Event>\n{}").expect("decodes");
    assert_eq!((raws(&decoded), decoded.unreadable.len()), (vec!["{}"], 2));
}

#[test]
fn objects_may_stand_back_to_back_on_a_line() {
    let decoded = sniff("{\"a\":1}{\"b\":2} {\"c\":3}\n{\"d\":4}x");
    assert_eq!(raws(&decoded), ["{\"a\":1}", "{\"b\":2}", "{\"c\":3}"]);
    assert_eq!(decoded.unreadable.len(), 1, "{:?}", decoded.unreadable);
    assert!(refusal(Syntax::Lines, "{}".repeat(MAX_EVENTS + 1).as_bytes()).message.contains("several"));
}

#[test]
fn an_object_may_span_lines_and_is_one_record() {
    let pretty = "{\n  \"EventID\": 7,\r\n  \"EventData\": {\n    \"a\": [\n      1\n    ]\n  }\n}";
    let body = format!("\u{feff}{pretty}\n{{\"EventID\":8}}\n{pretty}{pretty}\n<Event/>");
    let decoded = sniff(&body);
    assert_eq!(raws(&decoded), [pretty, "{\"EventID\":8}", pretty, pretty, "<Event/>"]);
    assert_eq!((decoded.events[0].fields.event_id, decoded.unreadable.len()), (Some(7), 0));

    // One that is cut does not take the next with it, be it on one line or on several.
    let body = format!("{{\n  \"a\": 1,\n{pretty}\n{{\"b\":\n{{\"EventID\":9}}\n{pretty}");
    let decoded = sniff(&body);
    assert_eq!(raws(&decoded), [pretty, "{\"EventID\":9}", pretty], "{:?}", decoded.unreadable);
    assert_eq!(decoded.unreadable.len(), 3, "{:?}", decoded.unreadable);
}

#[test]
fn an_event_behind_text_on_its_line_is_kept() {
    let event = "<Event><System><EventID>1</EventID></System></Event>";
    let heading = "2026 Nov 29 08:00:00 (srv) any->WinEvtLog ";
    let body = format!("{heading}{event}\n<13>Nov 29 08:00:00 srv {event}\n{heading}\n{event}");
    let decoded = sniff(&body);
    assert_eq!(raws(&decoded), [event, event, event]);
    // Text without an event is a record that nobody understands, and so is a tag that is none of ours.
    let aside: Vec<_> = decoded.unreadable.iter().map(|record| String::from_utf8_lossy(record.raw)).collect();
    assert_eq!(aside, ["<13>Nov 29 08:00:00 srv", heading.trim_end()]);

    // What stands before may be the end of an event that was cut, or too much for a heading: then it is kept apart.
    for before in ["</Data></EventData></Event>", &"x".repeat(2000), "tail</Event> "] {
        let body = format!("{before}{event}");
        let decoded = sniff(&body);
        assert_eq!((raws(&decoded), decoded.unreadable.len()), (vec![event], 1), "{before}");
    }
}

#[test]
fn an_upload_of_which_nothing_was_understood_is_no_upload() {
    let understood =
        |body: &'static str| decode(Syntax::Sniff, body.as_bytes()).and_then(|all| all.understood(body.as_bytes()));
    for (body, offset, part) in [
        (" nonsense", 1, "its one record was not understood, and nothing was kept: the line is no valid JSON"),
        ("[\n1,[]]", 2, "none of its 2 records was understood, and nothing was kept; the first: the record is JSON"),
        ("<x>\n<Event>", 0, "none of its 2 records"),
    ] {
        let error = understood(body).expect_err(body);
        assert_eq!(error.offset, offset, "{error}");
        assert!(error.message.contains(part), "{error}");
    }
    for body in ["", "[]", "{}", "[1,{}]", "nonsense\n{}"] {
        assert!(understood(body).is_ok(), "{body}");
    }
}

#[test]
fn a_record_that_is_cut_inside_system_does_not_take_the_next_with_it() {
    let event = "<Event><System><EventID>1</EventID></System></Event>";
    for cut in ["<Event><System><EventID>46", "<Event><System><Execution><a>", "<Event><System><Computer>a<b>c"] {
        let body = format!("{cut}\n{event}");
        let decoded = sniff(&body);
        assert_eq!((raws(&decoded), decoded.unreadable.len()), (vec![event], 1), "{cut}");
    }
}

#[test]
fn the_number_of_records_has_a_limit() {
    let body = format!("[{}{{}}]", "{},".repeat(MAX_EVENTS));
    assert!(refusal(Syntax::Sniff, body.as_bytes()).message.contains(&MAX_EVENTS.to_string()));
    assert!(refusal(Syntax::Lines, "1\n".repeat(MAX_EVENTS + 1).as_bytes()).message.contains(&MAX_EVENTS.to_string()));
}

/// A byte may be looked at so often: to find the end of its line, to check its text, and by each scanner that tries it.
const VISITS_MAX: usize = 12;

/// How often each byte of a body is looked at, rounded up.
fn visits_per_byte(body: &[u8]) -> usize {
    let of = |syntax| work::visits(|| decode(syntax, body).is_ok()).1.div_ceil(body.len().max(1));
    of(Syntax::Sniff).max(of(Syntax::JsonArray))
}

#[test]
fn work_is_linear_in_the_bytes() {
    // Each of these would be searched to the end of the body, or of its window, again and again if reading went back.
    let repeated = [
        "<Event>",
        "<Event><![CDATA[",
        "<Event><!--",
        "<x",
        "<?",
        "<!--",
        "<Event a='",
        "<Events ",
        "<Events>",
        "<Event><System>",
        "<Event><?",
        "<Event><?x?>",
        "<Event><!---->",
        "<Event></Event ",
        "<Event><System><EventID>",
        "<Event><System><a b=\"",
        "<Event><System><?",
        "<Event/>x ",
        "x<Event",
        "{",
        "{\"a\":",
        "{\"a\":[",
        "{}",
        "{} ",
        "{},",
        "[",
        "\"",
        "7 {}",
        "\u{feff}",
        " ",
        "x",
        "<",
        "<![CDATA[",
        "</Event>",
        "<!",
        "Event",
        "<Event><a>Event",
        "<Event>&",
        "{\"Event\":\"<Event>",
        "\u{e4}",
    ];
    for part in repeated {
        for end in ["", "\n", "\r\n\r\n"] {
            let body = format!("{part}{end}").repeat(400_000 / (part.len() + end.len()));
            let visits = visits_per_byte(body.as_bytes());
            assert!(visits <= VISITS_MAX, "{part:?}{end:?}: {visits} visits of each byte");
        }
    }
    // What is far apart: a window of a megabyte and more.
    for (head, part, tail) in [
        ("<Event>", "<!---->", "</Event>"),
        ("<Event><System>", "<EventID>1</EventID>", "</System></Event>"),
        ("", "<Event><?", "?>"),
        ("", "<Event><!--", "-->"),
        ("", "<Event><a b=\"", "\">"),
        ("{\"a\":[", "{},\n", "{}]}"),
        ("{\"a\":[\n", "{\n\"b\":[1],\n", "x"),
        ("{}", " ", "{}"),
        ("[", "{},", "{}]"),
        ("<x", " ", ">"),
    ] {
        let body = format!("{head}{}{tail}", part.repeat((5 << 19) / part.len()));
        let visits = visits_per_byte(body.as_bytes());
        assert!(visits <= VISITS_MAX, "{head}{part}…{tail}: {visits} visits of each byte");
    }
}

proptest! {
    #[test]
    fn work_is_linear_in_the_bytes_whatever_is_repeated(parts in proptest::collection::vec(prop::sample::select(vec![
        "<Event>", "</Event>", "<System>", "</System>", "<EventID>1</EventID>", "{\"a\":1}", "\n", "<Events>", "<!--", "-->", "<![CDATA[", "]]>", "x", "\"", "'", "<?", "?>", "{", "}", "[", "]", ",", "\"a\":", "<", ">", " ", "\u{feff}", "&amp;", "<a b=",
    ]), 1..8)) {
        let part = parts.concat();
        let body = part.repeat(100_000 / part.len());
        let visits = visits_per_byte(body.as_bytes());
        prop_assert!(visits <= VISITS_MAX, "{:?}: {} visits of each byte", part, visits);
    }
}

proptest! {
    #[test]
    fn every_byte_is_in_a_record_or_between_records(parts in proptest::collection::vec(prop::sample::select(vec![
        "<Event>", "</Event>", "<System>", "</System>", "<EventID>1</EventID>", "{\"a\":1}", "\n", "<Events>", "</Events>", "<!--", "-->", "<![CDATA[", "]]>", "x", "\"", "'", "<?", "?>", "{", "}", "<", "\u{feff}", "&amp;",
    ]), 0..25)) {
        let body = parts.concat();
        for syntax in [Syntax::Lines, Syntax::JsonArray, Syntax::Sniff] {
            let Ok(decoded) = decode(syntax, body.as_bytes()) else { continue };
            let size: usize = decoded.events.iter().map(|e| e.raw.len()).chain(decoded.unreadable.iter().map(|u| u.raw.len())).sum();
            prop_assert!(size <= body.len());
            for event in &decoded.events {
                // What was accepted stands on its own: it decodes to itself.
                let again = decode(Syntax::Lines, event.raw);
                if event.format == Format::Xml {
                    prop_assert_eq!(&again.expect("decodes").events, std::slice::from_ref(event));
                } else {
                    prop_assert!(serde_json::from_slice::<serde::de::IgnoredAny>(event.raw).is_ok());
                }
            }
        }
    }
}

proptest! {
    /// In pieces or as a whole: the same events.
    #[test]
    fn a_text_in_pieces_holds_what_it_holds_as_a_whole(parts in proptest::collection::vec(prop::sample::select(vec![
        "<Event/>", "{\"a\":1}", "\n", "{\n\"a\":\n[1]}", "x", "\u{feff}", "<Event>\n</Event>", "7", "\u{e4}",
    ]), 0..25), array: bool, most in 1usize..5) {
        let body = if array { format!("[{}]", parts.iter().map(|_| "{\"\u{e4}\":[1]}").collect::<Vec<_>>().join(" , ")) } else { parts.concat() };
        let whole = decode(Syntax::Sniff, body.as_bytes()).expect("it is sound");
        let (mut pieces, mut at, mut found) = (Pieces::default(), 0, Vec::new());
        for end in 0..=body.len() {
            loop {
                let (decoded, used) = pieces.read(&body.as_bytes()[at..end], end == body.len(), most).expect("it is sound");
                found.extend(decoded.events.iter().map(|event| event.raw.to_vec()));
                at += used;
                if used == 0 || at == end {
                    break;
                }
            }
        }
        prop_assert_eq!(found, whole.events.iter().map(|event| event.raw.to_vec()).collect::<Vec<_>>());
    }
}
