//! `gatepost rules diff`: what a change of rules would add and remove, before anybody pays for it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use comfy_table::Table;
use serde::Serialize;

use super::super::event_files::{self, now, time};
use super::super::send::reader::Form;
use super::super::{Global, json_line, print};
use super::test::Sender;
use crate::app::rules;
use crate::config::{self, rule_files};
use crate::event::{Client, Event, Timestamp};
use crate::filter::dcr::{self, Given};
use crate::filter::rules::{Managed, Material, Problem, paired};
use crate::filter::xpath::QueryList;
use crate::filter::{self, Decision, RouteSet, Rules};

/// Say what a change of rules would add and remove, in events and bytes a day.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The rules as they are: a configuration (.toml), a data collection rule (.json) or a folder of them, a structured
    /// query (.xml). For a template that needs parameters, a configuration that names both
    old: PathBuf,
    /// The rules as they would be
    new: PathBuf,
    /// Events to try both on: .evtx files, folders of them, NDJSON or event XML
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// How many days of one host the files hold [default: the days on which their events happened]
    #[arg(long, value_name = "NUMBER")]
    days: Option<f64>,
    #[command(flatten)]
    sender: Sender,
    /// What counts as now, for queries that ask how old an event is [default: now]
    #[arg(long, value_name = "TIME", value_parser = time)]
    now: Option<Timestamp>,
}

/// Events and their bytes, as they were uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
struct Amount {
    events: u64,
    bytes: u64,
}

impl Amount {
    fn add(&mut self, event: &Event<'_>) {
        self.events += 1;
        self.bytes += event.raw.len() as u64;
    }
}

/// What one output gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
struct Change {
    old: Amount,
    new: Amount,
    added: Amount,
    removed: Amount,
}

/// Everything that the files bring to light.
#[derive(Debug, Default)]
struct Changes {
    all: Amount,
    outputs: BTreeMap<String, Change>,
    /// By output, channel and event id; only where something changes.
    kinds: BTreeMap<(String, String, Option<u32>), Change>,
    days: BTreeSet<i64>,
}

pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let (old, new) = (side(&args.old)?, side(&args.new)?);
    let (client, now) = (args.sender.client(), args.now.unwrap_or_else(now));
    let stream = args.sender.stream.as_str();
    let mut changes = Changes::default();
    let damage = event_files::for_each(&args.files, Form::Xml, |_, event| {
        changes.add(event, &old.outputs_of(&client, stream, now, event), &new.outputs_of(&client, stream, now, event));
        Ok(())
    })?;
    let days = args.days.unwrap_or(changes.days.len().max(1) as f64);
    if days <= 0.0 {
        bail!("--days must be above 0");
    }
    print(&if global.json { changes.json(days)? } else { changes.tables(days) })?;
    Ok(event_files::complain(&damage))
}

/// One of the two sets of rules.
struct Side {
    rules: Rules,
    outputs: Vec<String>,
}

fn side(path: &Path) -> anyhow::Result<Side> {
    if path.extension() == Some(OsStr::new("toml")) {
        let config = config::load(path)?;
        return Ok(Side { rules: rules::look(&config)?, outputs: config.output_names() });
    }
    of_file(path).with_context(|| format!("{} cannot be used", path.display()))
}

/// Rules of a file, without a configuration: every workspace that it names counts as an output of that name.
fn of_file(path: &Path) -> anyhow::Result<Side> {
    let structured = path.is_file() && QueryList::is_meant(&rule_files::read_text(path)?);
    let (outputs, rule) = if structured {
        let rule = filter::RuleConfig {
            name: Some("query list".to_owned()),
            query_list: Some(path.to_owned()),
            outputs: vec!["taken".to_owned()],
            ..filter::RuleConfig::default()
        };
        (vec!["taken".to_owned()], rule)
    } else {
        (workspaces(path)?, filter::RuleConfig { file: Some(path.to_owned()), ..filter::RuleConfig::default() })
    };
    let config = filter::Config { rules: vec![rule], ..filter::Config::default() };
    let material =
        Material { config: &config, outputs: &outputs, read: &rule_files::read, managed: &Managed::default() };
    let rules = Rules::build(&material).map_err(|problems| {
        anyhow::anyhow!(problems.iter().map(|Problem { message, .. }| message.clone()).collect::<Vec<_>>().join("\n"))
    })?;
    Ok(Side { rules, outputs })
}

fn workspaces(path: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = BTreeSet::new();
    // What is wrong is told when the rules are made.
    for (text, given) in paired(rule_files::read(path)?, &Given::default(), drop) {
        let (rules, _) = dcr::read(&text.text, &text.stem, &given);
        for destination in rules.iter().flat_map(|rule| &rule.destinations) {
            let workspace = destination.workspace_resource_id.as_deref().and_then(|id| id.rsplit('/').next());
            names.insert(workspace.unwrap_or(&destination.name).to_ascii_lowercase());
        }
    }
    Ok(names.into_iter().collect())
}

impl Side {
    fn outputs_of(&self, client: &Client, stream: &str, now: Timestamp, event: &Event<'_>) -> BTreeSet<String> {
        let mut session = self.rules.session(client, stream, now);
        match session.decide(event) {
            Decision::Drop(_) => BTreeSet::new(),
            Decision::Keep(RouteSet::EVERYWHERE) => self.outputs.iter().cloned().collect(),
            Decision::Keep(_) => session.finish().sets.iter().flatten().map(|route| route.output.to_string()).collect(),
        }
    }
}

impl Changes {
    fn add(&mut self, event: &Event<'_>, old: &BTreeSet<String>, new: &BTreeSet<String>) {
        self.all.add(event);
        self.days.extend(event.fields.time.map(|time| time.unix_seconds().div_euclid(86_400)));
        for output in old.union(new) {
            let (was, is) = (old.contains(output), new.contains(output));
            note(self.outputs.entry(output.clone()).or_default(), event, was, is);
            if was != is {
                let channel = event.fields.channel.as_deref().unwrap_or_default().to_owned();
                let kind = (output.clone(), channel, event.fields.event_id);
                note(self.kinds.entry(kind).or_default(), event, was, is);
            }
        }
    }

    fn json(&self, days: f64) -> anyhow::Result<String> {
        let kinds: Vec<_> = (self.kinds.iter())
            .map(|((output, channel, id), change)| {
                serde_json::json!({ "output": output, "channel": channel, "event_id": id, "added": change.added, "removed": change.removed })
            })
            .collect();
        let value = serde_json::json!({ "days": days, "events": self.all, "outputs": self.outputs, "changes": kinds });
        json_line(&value)
    }

    fn tables(&self, days: f64) -> String {
        let a_day = |amount: Amount| per_day(amount.bytes, days);
        let mut outputs = Table::new();
        outputs.set_header(["output", "old events", "new events", "added", "removed", "old a day", "new a day"]);
        for (output, change) in &self.outputs {
            outputs.add_row([
                output,
                &change.old.events.to_string(),
                &change.new.events.to_string(),
                &change.added.events.to_string(),
                &change.removed.events.to_string(),
                &a_day(change.old),
                &a_day(change.new),
            ]);
        }
        let head = format!("events: {}, days: {days}\n{outputs}\n", self.all.events);
        if self.kinds.is_empty() {
            return format!("{head}no event goes another way\n");
        }
        let mut kinds = Table::new();
        kinds.set_header(["output", "channel", "event", "added", "removed", "a day"]);
        for ((output, channel, id), change) in &self.kinds {
            let more = a_day(change.added);
            let less = a_day(change.removed);
            let difference = match (change.added.events, change.removed.events) {
                (_, 0) => format!("+ {more}"),
                (0, _) => format!("- {less}"),
                _ => format!("+ {more}, - {less}"),
            };
            let id = id.map_or_else(|| "-".to_owned(), |id| id.to_string());
            let (added, removed) = (change.added.events.to_string(), change.removed.events.to_string());
            kinds.add_row([output, channel, &id, &added, &removed, &difference]);
        }
        format!("{head}{kinds}\n")
    }
}

fn note(change: &mut Change, event: &Event<'_>, was: bool, is: bool) {
    if was {
        change.old.add(event);
    }
    if is {
        change.new.add(event);
    }
    match (was, is) {
        (false, true) => change.added.add(event),
        (true, false) => change.removed.add(event),
        _ => {}
    }
}

fn per_day(bytes: u64, days: f64) -> String {
    let bytes = bytes as f64 / days;
    match bytes {
        bytes if bytes >= 1e9 => format!("{:.2} GB", bytes / 1e9),
        bytes if bytes >= 1e6 => format!("{:.1} MB", bytes / 1e6),
        bytes if bytes >= 1e3 => format!("{:.1} kB", bytes / 1e3),
        bytes => format!("{bytes:.0} B"),
    }
}
