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
fn the_number_of_records_has_a_limit() {
    let body = format!("[{}{{}}]", "{},".repeat(MAX_EVENTS));
    assert!(refusal(Syntax::Sniff, body.as_bytes()).message.contains(&MAX_EVENTS.to_string()));
    assert!(refusal(Syntax::Lines, "1\n".repeat(MAX_EVENTS + 1).as_bytes()).message.contains(&MAX_EVENTS.to_string()));
}

#[test]
fn hostile_lines_cost_linear_time() {
    // Each of these would be scanned to the end of the body for every line if reading went back.
    for line in [
        "<Event>\n",
        "<Event><![CDATA[\n",
        "<Event><!--\n",
        "<x\n",
        "<?\n",
        "<!--\n",
        "<Event a='\n",
        "<Events\n",
        "<Event><System>\n",
    ] {
        let body = line.repeat(MAX_EVENTS);
        assert!(sniff(&body).events.is_empty(), "{line}");
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
