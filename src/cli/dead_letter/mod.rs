//! `gatepost dead-letter`: what no endpoint would take.
//!
//! Listing, showing and exporting read the state directory, with or without a gateway. Replaying and purging are asked of
//! the running gateway over its admin plane; purging also works without one.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use comfy_table::Table;
use serde_json::json;

use super::admin_plane::AdminPlane;
use super::{Global, json_line, json_lines, print};
use crate::app::state::StateDir;
use crate::clock;
use crate::config::Config;
use crate::fs::{Fs, RealFs};
use crate::spool::dead_letter::{DeadLetters, Filter, Letter, Page};
use crate::values::Span;

mod export;

use export::rfc3339;

/// How long the gateway may take to replay: there may be a million letters.
const REPLAY_MAX: Duration = Duration::from_secs(3600);

/// List, show, export, replay or purge dead letters.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List them, oldest first
    List {
        #[command(flatten)]
        filters: Filters,
        /// Only those with a greater id
        #[arg(long)]
        after: Option<u64>,
        /// Most of them
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Show one, with its event and what the endpoint said
    Show {
        /// Its id
        id: u64,
    },
    /// Write them as NDJSON: a JSON object a line, with the event and why it is here. They stay
    Export {
        /// A file that does not exist yet [default: standard output]
        file: Option<PathBuf>,
        #[command(flatten)]
        filters: Filters,
    },
    /// Send them again, each to the output that refused it
    Replay(Selection),
    /// Delete them for good
    Purge(Selection),
}

#[derive(Debug, Clone, Default, clap::Args)]
struct Filters {
    /// Only those of this output or input
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only those for this reason, such as `rejected`; `not_understood` for those of inputs
    #[arg(long)]
    reason: Option<String>,
    /// Only those first set aside longer ago, such as 30d
    #[arg(long, value_name = "SPAN")]
    older_than: Option<Span>,
    /// Only those first set aside since then, such as 1h
    #[arg(long, value_name = "SPAN")]
    newer_than: Option<Span>,
}

impl Filters {
    fn filter(&self) -> Filter {
        Filter {
            source: self.source.clone(),
            reason: self.reason.clone(),
            since_ms: self.newer_than.map(ago),
            before_ms: self.older_than.map(ago),
            until: None,
        }
    }
}

/// That long ago, in milliseconds since 1970.
fn ago(span: Span) -> u64 {
    u64::try_from(clock::wall().saturating_sub(span.get()).as_millis()).unwrap_or(u64::MAX)
}

#[derive(Debug, clap::Args)]
struct Selection {
    /// Ids
    #[arg(
        required_unless_present_any = ["all", "source", "reason", "older_than", "newer_than"],
        conflicts_with_all = ["all", "source", "reason", "older_than", "newer_than"]
    )]
    ids: Vec<u64>,
    /// Every one; not needed with a filter
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filters: Filters,
}

/// Runs the command.
pub fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let config = global.load()?;
    let text = match args.command {
        Command::List { filters, after, limit } => {
            let page = Page { after: after.unwrap_or(0), limit };
            let letters = open(&config)?.list(&filters.filter(), page)?;
            if global.json { lines(&letters)? } else { table(&letters) }
        }
        Command::Show { id } => {
            let letter = open(&config)?.get(id)?.with_context(|| format!("there is no dead letter {id}"))?;
            if global.json { json_line(&crate::app::shown_dead_letter(&letter))? } else { shown(&letter) }
        }
        Command::Export { file, filters } => {
            let count = export::export(&open(&config)?, &filters.filter(), file.as_deref())?;
            match file {
                Some(file) if global.json => json_line(&json!({ "exported": count, "file": file }))?,
                Some(file) => format!("{count} exported to {}\n", file.display()),
                None => String::new(),
            }
        }
        Command::Replay(selection) => ask(&config, "replay", &selection)?,
        Command::Purge(selection) if StateDir::is_in_use(&config.state_dir) => ask(&config, "purge", &selection)?,
        Command::Purge(selection) => purge(&config, &selection, global)?,
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn fs() -> Arc<dyn Fs> {
    Arc::new(RealFs)
}

fn dir(config: &Config) -> PathBuf {
    config.state_dir.join("dead-letters")
}

fn open(config: &Config) -> anyhow::Result<DeadLetters> {
    let dir = dir(config);
    DeadLetters::open_read_only(fs(), &dir).with_context(|| format!("the dead letters in {}", dir.display()))
}

fn lines(letters: &[Letter]) -> anyhow::Result<String> {
    json_lines(&letters.iter().map(crate::app::shown_dead_letter).collect::<Vec<_>>())
}

fn table(letters: &[Letter]) -> String {
    let mut table = Table::new();
    table.set_header(["id", "from", "reason", "status", "bytes", "detail"]);
    for letter in letters {
        table.add_row([
            letter.id.to_string(),
            letter.source.name().to_owned(),
            letter.reason.clone(),
            letter.status.map(|status| status.to_string()).unwrap_or_default(),
            letter.raw.len().to_string(),
            letter.detail.chars().take(60).collect(),
        ]);
    }
    format!("{table}\n{} shown\n", letters.len())
}

fn shown(letter: &Letter) -> String {
    let rows = [
        ("id", letter.id.to_string()),
        ("from", letter.source.name().to_owned()),
        ("reason", letter.reason.clone()),
        ("status", letter.status.map(|status| status.to_string()).unwrap_or_default()),
        ("detail", letter.detail.clone()),
        ("answer", letter.answer.clone().unwrap_or_default()),
        ("first", rfc3339(letter.first_seen_ms)),
        ("last", rfc3339(letter.last_seen_ms)),
        ("tries", letter.tries.to_string()),
        ("stream", letter.stream.clone()),
        ("client", letter.client.clone().unwrap_or_default()),
    ];
    let head: String = rows.iter().map(|(key, value)| format!("{key:<8} {value}\n")).collect();
    format!("{head}\n{}\n", String::from_utf8_lossy(&letter.raw))
}

/// Purges in the directory itself: nobody else uses it.
fn purge(config: &Config, selection: &Selection, global: &Global) -> anyhow::Result<String> {
    let _lock = StateDir::open(&config.state_dir)?;
    let mut letters = DeadLetters::open(fs(), &dir(config), u64::MAX)?;
    let purged = if selection.ids.is_empty() {
        letters.purge(&selection.filters.filter())?
    } else {
        letters.remove(&selection.ids)?
    };
    if global.json { json_line(&json!({ "purged": purged })) } else { Ok(format!("{purged} purged\n")) }
}

/// Asks the running gateway.
fn ask(config: &Config, what: &str, selection: &Selection) -> anyhow::Result<String> {
    if !StateDir::is_in_use(&config.state_dir) {
        bail!("no gateway runs on {}; start it, then {what}", config.state_dir.display());
    }
    let Filter { source, reason, since_ms, before_ms, .. } = selection.filters.filter();
    let body = json!({
        "ids": selection.ids,
        "all": selection.ids.is_empty(),
        "source": source,
        "reason": reason,
        "since_ms": since_ms,
        "before_ms": before_ms,
    });
    let path = format!("dead-letters/{what}");
    let said = AdminPlane::of(config)?.post(&path, body.to_string().into(), REPLAY_MAX)?;
    Ok(format!("{said}\n"))
}
