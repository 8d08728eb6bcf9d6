//! An upload as trees: reading one never panics and stays within its limits, `System` holds what the fields hold, and queries
//! decide about every event, alone and in a table of rules, in the same way.
#![no_main]

use std::sync::LazyLock;

use gatepost::event::document::{Document, MAX_NODES, Node};
use gatepost::event::{Client, Syntax, Timestamp, decode};
use gatepost::filter::rules::{Managed, Material};
use gatepost::filter::xpath::{Program, View, channel_query};
use gatepost::filter::{Config, Decision, RuleConfig, Rules};
use libfuzzer_sys::fuzz_target;

const NOW: Timestamp = Timestamp::from_ticks(17_356_896_000_000_000);

const QUERIES: [&str; 6] = [
    "Security!*[System[(EventID=4624) or (EventID=4688)]]",
    "Security!*[System[band(Keywords,0x8020000000000000) and TimeCreated[timediff(@SystemTime) >= 0]]]",
    "Security!*[EventData[Data[@Name='a']='1' or Data[2]!='x']]",
    "System!*[System[Provider[@Name='p' or @Guid] and Level<=3]] and *[UserData/*/*]",
    "System!*[System/Task>1 or System/Version=1]",
    "System!*/*/text()='x'",
];

static PROGRAMS: LazyLock<Vec<(String, Program)>> = LazyLock::new(|| {
    let read = |query: &&str| {
        let query = channel_query(query).expect("sound");
        (query.channel.to_string(), Program::compile(&query.expr))
    };
    QUERIES.iter().map(read).collect()
});

static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let rule = RuleConfig {
        name: Some("all".to_owned()),
        queries: QUERIES.iter().map(|query| (*query).to_owned()).collect(),
        outputs: vec!["out".to_owned()],
        ..RuleConfig::default()
    };
    let config = Config { rules: vec![rule], ..Config::default() };
    let outputs = ["out".to_owned()];
    let material =
        Material { config: &config, outputs: &outputs, read: &|_| Ok(Vec::new()), managed: &Managed::default() };
    Rules::build(&material).expect("sound")
});

fn count(document: &Document, node: Node, depth: usize) -> usize {
    assert!(depth < 100);
    let below: usize = document.children(node).map(|child| count(document, child, depth + 1)).sum();
    1 + document.attributes(node).count() + below
}

fuzz_target!(|body: &[u8]| {
    let Ok(decoded) = decode(Syntax::Sniff, body) else { return };
    let mut document = Document::default();
    let mut session = RULES.session(&Client::default(), "", NOW);
    for event in decoded.events.iter().take(64) {
        let mut view = View::new(event, NOW, &mut document);
        let channel = event.fields.channel.as_deref().unwrap_or_default();
        let sees = |name: &str| name.eq_ignore_ascii_case(channel);
        let taken = PROGRAMS.iter().any(|(name, program)| sees(name) && program.matches(&mut view));
        assert_eq!(matches!(session.decide(event), Decision::Keep(_)), taken);
        document.clear();
        document.read_all(event);
        assert!(count(&document, Node::ROOT, 0) <= MAX_NODES + 2);
    }
    session.finish();
});
