//! What rules cost: `cargo bench --bench rules`.
//!
//! `decide` takes extracted events of simulated hosts; `published` takes the real events and the published queries of
//! the shared data (GATEPOST_SHARED, or ../shared), and says so when they are not there. The item count makes divan print
//! events per second.

#![expect(clippy::print_stderr, reason = "a benchmark tells what it leaves out")]

use std::hint::black_box;
use std::io;
use std::path::{Path, PathBuf};

use divan::Bencher;
use divan::counter::ItemsCount;
use evtx::{EvtxParser, ParserSettings};
use gatepost::event::{Client, Event, Syntax, Timestamp, decode};
use gatepost::filter::rules::{Managed, Material, Text};
use gatepost::filter::{Config, EventSet, RuleConfig, Rules};
use gatepost::lab::events::{Host, Shape};

/// 2025-01-01T00:00:00Z.
const NOW: Timestamp = Timestamp::from_ticks(17_356_896_000_000_000);

fn main() {
    divan::main();
}

fn rules(config: &Config, outputs: usize, read: &dyn Fn(&Path) -> io::Result<Vec<Text>>) -> Rules {
    let outputs: Vec<String> = (0..outputs).map(|n| format!("workspace-{n}")).collect();
    let material = Material { config, outputs: &outputs, read, managed: &Managed::default() };
    Rules::build(&material).expect("the rules are sound")
}

fn no_files(_: &Path) -> io::Result<Vec<Text>> {
    Ok(Vec::new())
}

fn decide(bencher: Bencher<'_, '_>, rules: &Rules, events: &[Event<'_>]) {
    let client = Client::default();
    bencher.counter(ItemsCount::new(events.len())).bench_local(|| {
        let mut session = rules.session(&client, "", NOW);
        events.iter().for_each(|event| _ = black_box(session.decide(event)));
    });
}

/// Five hosts, a third of the events outside the Security channel.
fn mixed() -> Vec<u8> {
    let hosts = (0..5).map(|n| Host::new(format!("SRV-000{n}.plant.example"), n).with_system_share(0.33));
    let records: Vec<Vec<u8>> = hosts.flat_map(|host| host.take(400)).map(|event| event.render(Shape::Xml)).collect();
    records.join(&b'\n')
}

#[divan::bench(args = ["event set", "rule", "rule for hosts"])]
fn common(bencher: Bencher<'_, '_>, form: &str) {
    let rule = RuleConfig {
        name: Some("common".to_owned()),
        event_set: Some(EventSet::Common),
        outputs: vec!["workspace-0".to_owned()],
        hosts: if form == "rule for hosts" { vec!["SRV-*".to_owned()] } else { Vec::new() },
        ..RuleConfig::default()
    };
    let config = match form {
        "event set" => Config { event_set: EventSet::Common, ..Config::default() },
        _ => Config { rules: vec![rule], ..Config::default() },
    };
    let body = mixed();
    let decoded = decode(Syntax::Lines, &body).expect("it is sound");
    decide(bencher, &rules(&config, 1, &no_files), &decoded.events);
}

/// Ten workspaces that all want the common set.
#[divan::bench]
fn common_to_ten_workspaces(bencher: Bencher<'_, '_>) {
    let rule = |n: usize| RuleConfig {
        name: Some(format!("rule-{n}")),
        event_set: Some(EventSet::Common),
        outputs: vec![format!("workspace-{n}")],
        ..RuleConfig::default()
    };
    let config = Config { rules: (0..10).map(rule).collect(), ..Config::default() };
    let body = mixed();
    let decoded = decode(Syntax::Lines, &body).expect("it is sound");
    decide(bencher, &rules(&config, 10, &no_files), &decoded.events);
}

/// Every published query at once, spread over so many outputs: with one, most are not asked once an event is taken; with 64
/// nearly all are.
#[divan::bench(args = [1, 64])]
fn published(bencher: Bencher<'_, '_>, outputs: usize) {
    let Some((queries, body)) = shared() else {
        eprintln!("skipped: there is no shared data beside this checkout");
        return;
    };
    let rule = |n: usize| RuleConfig {
        name: Some(format!("rule-{n}")),
        query_list: Some(n.to_string().into()),
        outputs: vec![format!("workspace-{}", n % outputs)],
        ..RuleConfig::default()
    };
    let config = Config { rules: (0..queries.len()).map(rule).collect(), ..Config::default() };
    let read = |path: &Path| {
        let number: usize = path.to_string_lossy().parse().expect("rules name their query");
        Ok(vec![Text { path: String::new(), stem: String::new(), text: structured(&queries[number]) }])
    };
    let decoded = decode(Syntax::Lines, &body).expect("it is sound");
    decide(bencher, &rules(&config, outputs, &read), &decoded.events);
}

/// A published query: `…#Select@Security` in its source tells the channel of a structured query's part.
fn query_of(source: &str, query: &str) -> Query {
    let bare = query.starts_with(['*', '(']) || query.starts_with("Event");
    let channel = source.split_once("#Select@").or(source.split_once("#Suppress@")).map(|(_, channel)| channel);
    let (channel, xpath) = query.split_once('!').filter(|_| !bare).map_or((channel, query), |(c, x)| (Some(c), x));
    Query { channel: channel.map(str::to_owned), xpath: xpath.to_owned() }
}

struct Query {
    channel: Option<String>,
    xpath: String,
}

/// A query as a structured one, which also takes queries without a channel.
fn structured(query: &Query) -> String {
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    let path = query.channel.as_deref().map(|channel| format!(" Path=\"{}\"", escape(channel))).unwrap_or_default();
    format!("<QueryList><Query Id=\"0\"{path}><Select>{}</Select></Query></QueryList>", escape(&query.xpath))
}

/// The valid queries and all events of the shared data.
fn shared() -> Option<(Vec<Query>, Vec<u8>)> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let folder = std::env::var_os("GATEPOST_SHARED").map_or(beside, PathBuf::from).join("data");
    let table = std::fs::read_to_string(folder.join("xpath/queries.tsv")).ok()?;
    let lines = table.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let queries = lines.filter(|line| line.get(1) == Some(&"valid")).map(|line| query_of(line[0], line[3])).collect();
    let files = std::fs::read_dir(folder.join("evtx")).ok()?.flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = files.filter(|file| file.extension().is_some_and(|kind| kind == "evtx")).collect();
    files.sort();
    let mut body = Vec::new();
    for file in files {
        // As Windows renders them: without indentation.
        let settings = ParserSettings::new().indent(false).num_threads(1);
        for record in EvtxParser::from_path(file).ok()?.with_configuration(settings).records().flatten() {
            let xml = record.data;
            body.extend_from_slice(xml.as_bytes());
            body.push(b'\n');
        }
    }
    Some((queries, body))
}
