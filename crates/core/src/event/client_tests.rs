use super::*;
use crate::event::{Syntax, decode};

fn binding(hosts: &[&str], resource_ids: &[&str]) -> Binding {
    let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    Binding { hosts: own(hosts), resource_ids: own(resource_ids), ..Binding::default() }
}

/// The binding that the names in a certificate make.
fn certified(names: &[&str]) -> Binding {
    Binding { names: names.iter().map(|text| (*text).to_owned()).collect(), ..Binding::default() }
}

fn foreign(binding: &Binding, row: &str) -> Option<Foreign> {
    let body = format!("[{row}]");
    let decoded = decode(Syntax::JsonArray, body.as_bytes()).expect("a JSON array");
    assert_eq!(decoded.events.len(), 1, "{row}");
    binding.foreign(&decoded.events[0])
}

fn computer(name: &str) -> String {
    format!(r#"{{"Computer":"{name}","EventID":1}}"#)
}

#[test]
fn a_computer_fits_by_its_short_or_full_name_and_by_wildcards() {
    let bound = binding(&["web01.corp.example", "DB*"], &[]);
    for name in ["WEB01.corp.EXAMPLE", "web01", "db7", "db7.corp.example"] {
        assert_eq!(foreign(&bound, &computer(name)), None, "{name}");
    }
    for name in ["web01.evil.example", "web0", "xdb7"] {
        assert_eq!(foreign(&bound, &computer(name)), Some(Foreign::Computer(name.to_owned())), "{name}");
    }
    assert!(foreign(&Binding::default(), &computer("a")).is_some(), "an empty list fits nothing");
    assert_eq!(foreign(&bound, r#"{"EventID":1}"#), None, "what names nobody says nothing wrong");
}

#[test]
fn a_name_in_a_certificate_is_no_pattern() {
    for (name, own, others) in [
        ("*", "*", &["DC01", "dc01.plant.example", "a"][..]),
        ("*.plant.example", "*.plant.example", &["dc01.plant.example", "dc01"]),
        ("web*", "web*", &["web01", "web", "web01.plant.example"]),
        ("web01", "WEB01", &["web01.plant.example", "web02"]),
        ("web01.plant.example", "WEB01.Plant.example", &["web01.other.example", "web0", "plant"]),
        ("web01.plant.example", "web01", &["web01.plant", "web01.plant.example.evil"]),
    ] {
        let bound = certified(&[name]);
        assert_eq!(foreign(&bound, &computer(own)), None, "{name} is {own}");
        for other in others {
            let named = Some(Foreign::Computer((*other).to_owned()));
            assert_eq!(foreign(&bound, &computer(other)), named, "{name} is not {other}");
        }
    }
}

#[test]
fn a_name_without_a_dot_in_hosts_stands_for_that_computer_in_every_domain() {
    let bound = binding(&["web01"], &[]);
    for name in ["web01", "WEB01.plant.example", "web01.other.example"] {
        assert_eq!(foreign(&bound, &computer(name)), None, "{name}");
    }
    let full = binding(&["web01.plant.example"], &[]);
    let other = Some(Foreign::Computer("web01.other.example".to_owned()));
    assert_eq!(foreign(&full, &computer("web01.other.example")), other, "a full name says the domain");
}

#[test]
fn white_space_around_a_computer_is_no_part_of_its_name() {
    let bound = binding(&["web01"], &[]);
    let xml = |name: &str| {
        let body = format!("<Event><System><Computer>\n  {name}\n</Computer></System></Event>");
        bound.foreign(&decode(Syntax::Lines, body.as_bytes()).expect("XML").events[0])
    };
    assert_eq!((foreign(&bound, &computer(" web01 ")), xml("web01")), (None, None));
    let named = Some(Foreign::Computer("web02".to_owned()));
    assert_eq!((foreign(&bound, &computer("\\tweb02")), xml("web02")), (named.clone(), named));
    assert_eq!(foreign(&bound, &computer("  ")), None, "nobody is named");
}

#[test]
fn a_resource_id_is_found_however_its_key_is_written() {
    let bound = binding(&["*"], &["/subscriptions/s1/*"]);
    for row in [
        r#"{"_ResourceId":"/SUBSCRIPTIONS/S1/vm"}"#,
        r#"{"_ResourceId":null}"#,
        r#"{"_ResourceId":""}"#,
        r#"{"inner":{"_ResourceId":"/subscriptions/s2/vm"}}"#,
    ] {
        assert_eq!(foreign(&bound, row), None, "{row}");
    }
    for row in [
        r#"{"Computer":"web01","_ResourceId":"/subscriptions/s2/vm","_resourceid":1e999}"#,
        r#"{"_ResourceId":"/subscriptions/s2/vm","x":1e999}"#,
        r#"{"_RESOURCE\u0049d":"/subscriptions/s\u0032/vm"}"#,
        r#"{"_ResourceId":["/subscriptions/s1/vm"]}"#,
        r#"{"_ResourceId":"/subscriptions/s2/vm"}"#,
        r#"{"_resourceid":"/subscriptions/s2/vm"}"#,
        r#"{"\u005fResourceId":"/subscriptions/s2/vm"}"#,
        r#"{"_ResourceId":"/subscriptions/s1/vm","_ResourceId":"/subscriptions/s2/vm"}"#,
        r#"{"_ResourceId":7}"#,
    ] {
        assert!(matches!(foreign(&bound, row), Some(Foreign::Resource(_))), "{row}");
    }
}

#[test]
fn every_computer_that_a_record_names_must_fit() {
    let bound = binding(&["web01"], &[]);
    for row in [
        r#"{"winlog":{"computer_name":"web01"},"Computer":"DC01","EventID":4625.0,"Channel":"Security"}"#,
        r#"{"winlog.computer_name":"web01","Computer":"DC01","Message":"x"}"#,
        r#"{"System":{"Computer":"web01"},"Computer":"DC01"}"#,
        r#"{"Computer":"DC01","Computer":"web01"}"#,
        r#"{"Computer":"web01","COMPUTER":"DC01"}"#,
        r#"{"Computer":"web01","\u0043omputer":"DC01"}"#,
        r#"{"Computer":"web01","Hostname":"DC01"}"#,
        r#"{"Computer":"web01","body":{"body":{"MachineName":"DC01"}}}"#,
        r##"{"Event":{"System":{"Computer":{"#text":"DC01"}}},"Computer":"web01"}"##,
        r#"{"Computer":"web01","System":"<Event><System><Computer>DC01</Computer></System></Event>"}"#,
        r#"{"Computer":"web01","RawXml":" <Event>\n<System><Computer>DC01</Computer></System></Event>"}"#,
        r#"{"Event":"<Event><System><Computer>DC01</Computer><Computer>web01</Computer></System></Event>"}"#,
    ] {
        assert_eq!(foreign(&bound, row), Some(Foreign::Computer("DC01".to_owned())), "{row}");
    }
    let quoted = "<Event><System><EventID>1</EventID><Channel>x</Channel><Computer>DC01</Computer></System></Event>";
    for (name, before) in [
        ("Event", ""),
        ("_raw", " "),
        ("event", "\\ufeff"),
        ("any", "\\u00a0"),
        ("System", "\u{feff}\u{2003}"),
        ("EventXml", "\u{a0}"),
        ("EventXml", "\\u2028\\uFEFF\u{3000}"),
        ("log", "\\r\\n<?xml version='1.0'?>"),
    ] {
        for xml in [quoted.to_owned(), quoted.replace('<', "\\u003c"), quoted.replace('<', "\\u003C")] {
            for row in [
                format!(r#"{{"Computer":"web01","{name}":"{before}{xml}"}}"#),
                format!(r#"{{"{name}":"{before}{xml}","body":{{"Hostname":"web01"}}}}"#),
                format!(r#"{{"event":{{"original":"{before}{xml}"}},"{name}":"","message":"<Event/>"}}"#),
            ] {
                assert_eq!(foreign(&bound, &row), Some(Foreign::Computer("DC01".to_owned())), "{row}");
            }
        }
    }
    for value in ["7", "1e999", "true", "[\"web01\"]", "{\"x\":\"DC01\"}"] {
        for row in [
            format!(r#"{{"Computer":{value}}}"#),
            format!(r#"{{"Computer":"web01","winlog":{{"computer_name":{value}}}}}"#),
        ] {
            assert_eq!(foreign(&bound, &row), Some(Foreign::NoText), "{row}");
        }
    }
    for row in [
        r#"{"winlog":{"computer_name":"web01"},"Computer":"WEB01.corp","host":{"name":"DC01"},"EventData":{"Computer":"DC01"}}"#,
        r#"{"Computer":null,"Hostname":""}"#,
        r##"{"System":{"Computer":{"#text":"web01"}},"Message":"<DC01>"}"##,
    ] {
        assert_eq!(foreign(&bound, row), None, "{row}");
    }
}

#[test]
fn every_computer_of_an_event_in_xml_must_fit() {
    let bound = binding(&["web01"], &[]);
    let of = |inner: &str| {
        let xml = format!("<Event>{inner}</Event>");
        let decoded = decode(Syntax::Lines, xml.as_bytes()).expect("lines");
        bound.foreign(&decoded.events[0])
    };
    for inner in [
        "<System><Computer>DC01</Computer><Computer>web01</Computer></System>",
        "<System><Computer>web01</Computer><x:Computer>DC01</x:Computer></System>",
        "<EventData/><System><Computer><![CDATA[DC01]]></Computer></System>",
        "<System><Computer>web01</Computer></System><System><Computer>DC0&#x31;</Computer></System>",
    ] {
        assert_eq!(of(inner), Some(Foreign::Computer("DC01".to_owned())), "{inner}");
    }
    let own = "<System><Computer>web01</Computer></System><UserData><Computer>DC01</Computer></UserData>";
    assert_eq!(of(own), None, "what an event tells is no claim");
}

#[test]
fn a_pattern_for_a_domain_needs_another_entry_for_short_names() {
    for pattern in ["*.dmz.example", "**.dmz.example"] {
        let bound = binding(&[pattern], &[]);
        assert_eq!(foreign(&bound, &computer("web01.dmz.example")), None);
        assert_eq!(foreign(&bound, &computer("DC01")), Some(Foreign::Computer("DC01".to_owned())), "{pattern}");
    }
    assert_eq!(foreign(&binding(&["web*.dmz.example"], &[]), &computer("web01")), None);
}
