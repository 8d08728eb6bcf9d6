//! Published queries against real events: as many hits as another XPath engine had.

use std::path::{Path, PathBuf};

use evtx::{EvtxParser, ParserSettings};

use super::*;
use crate::filter::xpath::parse::channel_query;

struct Query {
    text: String,
    channel: Option<Box<str>>,
    program: Program,
    expected: usize,
    found: usize,
}

/// A file or folder of the shared data; says so when it is not there.
fn shared(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("GATEPOST_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    let path = root.join(name);
    if !path.exists() {
        println!("skipped: there is no {}; set GATEPOST_SHARED", path.display());
        return None;
    }
    Some(path)
}

fn queries(text: &str) -> Vec<Query> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let columns = lines.map(|line| line.splitn(4, '\t').collect::<Vec<_>>()).filter(|columns| columns[1] == "valid");
    columns
        .map(|columns| {
            let (source, text) = (columns[0], columns[3]);
            // `…#Select@Security`: the part of a structured query that is for this channel.
            let (channel, expr) = match (xpath(text), source.split_once("#Select@").or(source.split_once("#Suppress@")))
            {
                (Ok(expr), part) => (part.map(|(_, channel)| channel.into()), expr),
                (Err(_), _) => {
                    let query = channel_query(text).unwrap_or_else(|error| panic!("{}", error.pointed(text)));
                    (Some(query.channel), query.expr)
                }
            };
            let expected = columns[2].parse().expect("a count");
            Query { text: text.to_owned(), channel, program: Program::compile(&expr), expected, found: 0 }
        })
        .collect()
}

#[test]
fn every_published_query_takes_as_many_events_as_it_should() {
    let (Some(list), Some(folder)) = (shared("data/xpath/queries.tsv"), shared("data/evtx")) else { return };
    let mut queries = queries(&std::fs::read_to_string(list).expect("readable"));
    let mut document = Document::default();
    let mut events = 0;
    let files = std::fs::read_dir(folder).expect("readable").map(|file| file.expect("an entry").path());
    for file in files.filter(|file| file.extension().is_some_and(|extension| extension == "evtx")) {
        let settings = ParserSettings::new().indent(false).num_threads(1);
        let mut parser = EvtxParser::from_path(file).expect("an .evtx file").with_configuration(settings);
        for record in parser.records().flatten() {
            events += 1;
            let xml = &record.data.as_bytes()[record.data.find("<Event").expect("an event")..];
            let (fields, end) = from_xml::scan(xml).expect("an event");
            let event = Event { format: Format::Xml, raw: &xml[..end], fields };
            let mut view = View::new(&event, now(), &mut document);
            for query in &mut queries {
                let in_channel = match (&query.channel, &event.fields.channel) {
                    (None, _) => true,
                    (Some(wanted), Some(channel)) => wanted.eq_ignore_ascii_case(channel),
                    (Some(_), None) => false,
                };
                query.found += usize::from(in_channel && query.program.matches(&mut view));
            }
        }
    }
    let wrong = queries.iter().filter(|query| query.found != query.expected);
    let wrong: Vec<String> = wrong.map(|q| format!("{} instead of {}: {}", q.found, q.expected, q.text)).collect();
    assert!(events > 10_000 && queries.len() > 160, "{events} events, {} queries", queries.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
