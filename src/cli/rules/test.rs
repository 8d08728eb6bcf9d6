//! `gatepost rules test`: which rule would take an event, and where it would go.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use comfy_table::Table;
use serde::Serialize;
use serde_json::json;

use super::super::event_files::{self, now, time};
use super::super::send::reader::Form;
use super::super::{Global, json_lines, print};
use crate::app::rules;
use crate::event::{Client, Event, Timestamp};
use crate::filter::Decision;
use crate::filter::rules::Explained;

/// Say which rule would take the events of some files, and where they would go.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// .evtx files, folders of them, NDJSON or event XML; `-` is standard input
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Show every event, with every query that takes it
    #[arg(long)]
    each: bool,
    #[command(flatten)]
    sender: Sender,
    /// What counts as now, for queries that ask how old an event is [default: now]
    #[arg(long, value_name = "TIME", value_parser = time)]
    now: Option<Timestamp>,
}

/// Who is to be taken for the sender.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Sender {
    /// As if they came from this address
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,
    /// As if the client's certificate had this name
    #[arg(long, value_name = "NAME")]
    identity: Vec<String>,
    /// As if the client belonged to this agent group
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// As if they were uploaded to this stream
    #[arg(long, value_name = "STREAM", default_value = "")]
    pub(super) stream: String,
}

impl Sender {
    pub(super) fn client(&self) -> Client {
        Client {
            address: self.from,
            identities: self.identity.clone().into(),
            group: self.group.as_deref().map(Into::into),
            ..Client::default()
        }
    }
}

/// What becomes of events, to be counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Way {
    channel: String,
    event_id: Option<u32>,
    rule: String,
    goes_to: String,
}

pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let rules = rules::look(&global.load()?)?;
    let client = args.sender.client();
    let now = args.now.unwrap_or_else(now);
    let mut ways: BTreeMap<Way, u64> = BTreeMap::new();
    let damage = event_files::for_each(&args.files, Form::Xml, |source, event| {
        let explained = rules.explain(&client, &args.sender.stream, now, event);
        let decision = rules.session(&client, &args.sender.stream, now).decide(event);
        if args.each {
            print(&one(&source.to_string(), event, &explained, decision, global.json))?;
        }
        for way in ways_of(event, &explained, decision) {
            *ways.entry(way).or_default() += 1;
        }
        Ok(())
    })?;
    if !args.each {
        print(&summary(&ways, global.json)?)?;
    }
    Ok(event_files::complain(&damage))
}

fn ways_of(event: &Event<'_>, explained: &[Explained], decision: Decision) -> Vec<Way> {
    let way = |rule: &str, goes_to: String| Way {
        channel: event.fields.channel.as_deref().unwrap_or_default().to_owned(),
        event_id: event.fields.event_id,
        rule: rule.to_owned(),
        goes_to,
    };
    match decision {
        Decision::Drop(reason) => vec![way("-", format!("dropped: {reason}"))],
        Decision::Keep(_) if explained.is_empty() => vec![way("event_set", "every output".to_owned())],
        Decision::Keep(_) => {
            let mut ways: Vec<Way> =
                explained.iter().filter(|why| why.goes).map(|why| way(&why.rule, place(why))).collect();
            // Several queries of one rule may take the same event.
            ways.sort();
            ways.dedup();
            ways
        }
    }
}

fn place(why: &Explained) -> String {
    match &why.stream {
        Some(stream) => format!("{} ({stream})", why.output),
        None => why.output.clone(),
    }
}

fn one(source: &str, event: &Event<'_>, explained: &[Explained], decision: Decision, json: bool) -> String {
    let dropped = match decision {
        Decision::Drop(reason) => Some(reason),
        Decision::Keep(_) => None,
    };
    let fields = &event.fields;
    if json {
        let line = json!({
            "file": source, "computer": fields.computer, "channel": fields.channel, "event_id": fields.event_id,
            "record_id": fields.record_id, "taken_by": explained, "dropped": dropped,
        });
        return format!("{line}\n");
    }
    let text = |text: Option<&str>| text.unwrap_or("-").to_owned();
    let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let head = format!(
        "{} {} {} record {}",
        text(fields.computer.as_deref()),
        text(fields.channel.as_deref()),
        number(fields.event_id.map(u64::from)),
        number(fields.record_id)
    );
    let why = |why: &Explained| {
        let counts = if why.goes { "" } else { "   (goes there by another rule)" };
        format!("  {} -> {}: {}{counts}\n", why.rule, place(why), why.query)
    };
    match dropped {
        Some(reason) => format!("{head}\n  dropped: {reason}\n"),
        None if explained.is_empty() => format!("{head}\n  event_set -> every output\n"),
        None => format!("{head}\n{}", explained.iter().map(why).collect::<String>()),
    }
}

fn summary(ways: &BTreeMap<Way, u64>, json: bool) -> anyhow::Result<String> {
    if json {
        let line = |(way, events): (&Way, &u64)| json!({ "way": way, "events": events });
        return json_lines(&ways.iter().map(line).collect::<Vec<_>>());
    }
    let mut table = Table::new();
    table.set_header(["channel", "event", "events", "rule", "goes to"]);
    for (way, events) in ways {
        let id = way.event_id.map_or_else(|| "-".to_owned(), |id| id.to_string());
        table.add_row([&way.channel, &id, &events.to_string(), &way.rule, &way.goes_to]);
    }
    Ok(format!("{table}\n"))
}
