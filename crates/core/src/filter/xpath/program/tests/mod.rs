//! Programs against a reference, and what they say about themselves.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;

use super::*;
use crate::event::document::Document;
use crate::event::{Event, Format, Timestamp, from_json, from_xml};
use crate::filter::xpath::parse::xpath;

mod generator;
mod published;
mod reference;
mod shapes;

const NOW: &str = "2025-01-01T00:00:00Z";

fn now() -> Timestamp {
    Timestamp::parse(NOW).expect("a time")
}

fn xml(raw: &str) -> Event<'_> {
    let (fields, _) = from_xml::scan(raw.as_bytes()).expect(raw);
    Event { format: Format::Xml, raw: raw.as_bytes(), fields }
}

fn matches(program: &Program, event: &Event<'_>) -> bool {
    program.matches(&mut View::new(event, now(), &mut Document::default()))
}

fn program(query: &str) -> Program {
    Program::compile(&xpath(query).unwrap_or_else(|error| panic!("{}", error.pointed(query))))
}

/// Cases of a run; `PROPTEST_CASES` asks for more.
fn cases() -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: default.cases.max(3000), ..default }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_program_decides_as_plain_xpath_does(query in generator::query(), raw in generator::event()) {
        let event = xml(&raw);
        let expected = reference::holds(&query, &reference::parse(&raw), 1, now());
        let program = Program::compile(&query);
        let mut document = Document::default();
        let mut view = View::new(&event, now(), &mut document);
        prop_assert_eq!(program.matches(&mut view), expected, "{} of {}: {:#?}", query, raw, program.explain());

        let id = event.fields.event_id;
        let among = |id| program.event_ids().is_none_or(|ids| ids.contains(id));
        if let Some(id) = id {
            prop_assert!(among(id) || !expected, "{} takes {} outside of its ids", query, raw);
            if program.asks_only_ids() {
                prop_assert_eq!(among(id), expected, "{} asks more of {} than its id", query, raw);
            }
        }
        let has_all = |fields: &crate::event::Fields<'_>| {
            id.is_some() && fields.level.is_some() && fields.record_id.is_some() && fields.time.is_some()
                && fields.provider.is_some() && fields.channel.is_some() && fields.computer.is_some()
        };
        if has_all(&event.fields) && program.reach() < Reach::Body {
            // What it does not reach cannot change the answer.
            let system_end = raw.find("</System>").expect("it has fields") + "</System>".len();
            let cut = if program.reach() == Reach::Fields { "" } else { &raw[..system_end] };
            let part = Event { format: Format::Xml, raw: cut.as_bytes(), fields: event.fields.clone() };
            prop_assert_eq!(matches(&program, &part), expected, "{} reaches further in {}", query, raw);
        }
    }
}

#[test]
fn the_random_queries_hit_often_enough_to_mean_something() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = (generator::query(), generator::event());
    let hits = (0..1000).filter(|_| {
        let (query, raw) = strategy.new_tree(&mut runner).expect("a case").current();
        reference::holds(&query, &reference::parse(&raw), 1, now())
    });
    let hits = hits.count();
    assert!((100..900).contains(&hits), "{hits} of 1000 queries take their event");
}

#[test]
fn ids_and_reach_are_found_through_and_and_or() {
    let ids = |program: &Program| program.event_ids().map(ToString::to_string);
    for (query, expected_ids, only_ids, reach) in [
        ("*", None, true, Reach::Fields),
        ("*[System[EventID=4624]]", Some("4624"), true, Reach::Fields),
        ("*[System[EventID='0x1210' or EventID=1]]", Some("1, 4624"), true, Reach::Fields),
        ("*[System[(EventID >= 4 and EventID <= 9)]]", Some("4-9"), true, Reach::Fields),
        ("*[System[EventID > 3.5 and EventID < 5]]", Some("4"), true, Reach::Fields),
        ("*[System[EventID != 6]]", Some("0-5, 7-4294967295"), true, Reach::Fields),
        ("*[System[EventID = 1 and EventID = 2]]", Some("none"), true, Reach::Fields),
        ("*[System[EventID = -1 or EventID = 4294967296]]", Some("none"), true, Reach::Fields),
        ("*[System/EventID=4104] and *[System/Level=3]", Some("4104"), false, Reach::Fields),
        ("*/System/EventID=4104", Some("4104"), true, Reach::Fields),
        ("*[System[EventID=1 or Level=2]]", None, false, Reach::Fields),
        ("*[System[Provider[@Name='p'] and (EventID=1 or EventID=2)]]", Some("1-2"), false, Reach::Fields),
        ("*[System[TimeCreated[timediff(@SystemTime) <= 86400000] and Channel='c']]", None, false, Reach::Fields),
        ("*[System[EventID=1 and band(Keywords,1)]]", Some("1"), false, Reach::Fields),
        ("*[System[EventID=1]][System[Task=3]]", Some("1"), false, Reach::System),
        ("*[System[EventID=1] or EventData[Data='x']]", None, false, Reach::Body),
        ("*[System[EventID=1] and EventData[Data[@Name='a']='x']]", Some("1"), false, Reach::Body),
        ("*[System[EventID='x']]", None, false, Reach::System),
        ("*[UserData/LowOnMemory]", None, false, Reach::Body),
    ] {
        let program = program(query);
        assert_eq!(
            (ids(&program).as_deref(), program.asks_only_ids(), program.reach()),
            (expected_ids, only_ids, reach),
            "{query}: {:#?}",
            program.explain()
        );
    }
}

#[test]
fn nested_predicates_and_positions_keep_their_meaning() {
    let raw = "<Event><System><EventID>1</EventID><Keywords>0x8020000000000000</Keywords></System>\
               <EventData><Data Name='a'>x</Data><Data Name='b'>1</Data></EventData>\
               <EventData><Data Name='b'>2</Data><Data Name='c'>3</Data><Data>4</Data></EventData></Event>";
    let event = xml(raw);
    for (query, expected) in [
        ("*[EventData[Data[@Name='a']='x' and Data[@Name='b']='1']]", true),
        ("*[EventData[Data[@Name='a']='x' and Data[@Name='b']='2']]", false),
        ("*[EventData[Data[@Name='a']='x']] and *[EventData[Data[@Name='b']='2']]", true),
        ("*[EventData[Data[@Name='b']!='1']]", true),
        ("*[EventData[Data[@Name='z']!='1']]", false),
        ("*[EventData[Data[3]='4']]", true),
        ("*[EventData[Data[1]='3']]", false),
        ("*[EventData/Data[@Name='c'][1]='3']", true),
        ("*[EventData/Data[2][@Name='c']]", true),
        ("*[EventData/Data[1][@Name='c']]", false),
        ("*[EventData[Data[@Name] and (Data='3')]]", true),
        ("*[System[band(Keywords,9007199254740992)]]", true),
        ("*[System[band(Keywords,4503599627370496)]]", false),
        ("*[System[band(EventID, 1)]]", true),
        ("*[System[Level=0]]", false),
    ] {
        assert_eq!(matches(&program(query), &event), expected, "{query}");
    }
}

#[test]
fn unreadable_fields_are_decided_by_their_text() {
    for (system, query, expected) in [
        ("<EventID>0x1210</EventID>", "*[System[EventID=4624]]", true),
        ("<EventID>many</EventID>", "*[System[EventID='many']]", true),
        ("<EventID>many</EventID>", "*[System[EventID!=3]]", true),
        ("<Level>300</Level>", "*[System[Level > 5]]", true),
        ("<Level/>", "*[System[Level]]", true),
        ("<Computer></Computer>", "*[System[Computer='']]", true),
        ("", "*[System[Level!=3]]", false),
        ("", "*[System[Level!=3] or System]", true),
    ] {
        let raw = format!("<Event><System>{system}</System></Event>");
        assert_eq!(matches(&program(query), &xml(&raw)), expected, "{query} of {raw}");
    }
}

#[test]
fn an_event_in_json_is_asked_like_the_same_in_xml() {
    let raw = r#"{"EventID":4624,"Channel":"Security","EventLevel":"0","Keywords":"0x8020000000000000","EventData":{"LogonType":"3","User":"bob"}}"#;
    let event =
        Event { format: Format::Json, raw: raw.as_bytes(), fields: from_json::scan(raw, 0).expect("JSON").fields };
    for (query, expected) in [
        ("*[System[EventID=4624 and Level=0 and Channel='Security']]", true),
        ("*[System[band(Keywords,9007199254740992)]] and *[EventData[Data[@Name='LogonType']=3]]", true),
        ("*[EventData[Data[2]='bob']]", true),
        ("*[System[Provider]]", false),
        ("*[System[Computer!='x']]", false),
    ] {
        assert_eq!(matches(&program(query), &event), expected, "{query}");
    }
}

#[test]
fn an_explanation_shows_what_is_asked_in_which_order() {
    let lines = program("*[EventData[Data='x']] and *[System[Provider[@Name=\"it's\"] and (EventID=1 or EventID=2)]]")
        .explain();
    assert_eq!(
        lines,
        [
            "reads the whole event",
            "takes only events with these ids: 1-2",
            "all of",
            "  event id in 1-2",
            "  provider = \"it's\"",
            "  in the tree: Event[EventData[Data='x']]",
        ]
    );
    assert_eq!(
        program("*").explain(),
        ["reads the fields that every event brings along", "takes events of any id", "every event"]
    );
}
