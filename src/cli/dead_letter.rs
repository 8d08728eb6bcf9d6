//! `gatepost dead-letter`: what no endpoint would take.
//!
//! Listing and showing read the state directory, with or without a gateway. Replaying and purging are asked of the
//! running gateway over its admin plane; purging also works without one.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use comfy_table::Table;
use serde_json::{Value, json};

use super::send::client::Client;
use super::{Global, print};
use crate::app::state::StateDir;
use crate::config::Config;
use crate::spool::dead_letter::{DeadLetters, Filter, Letter, Page};
use crate::spool::fs::{Fs, RealFs};

/// List, show, replay or purge dead letters.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List them, oldest first
    List {
        /// Only those of this output or input
        #[arg(long)]
        source: Option<String>,
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
    /// Send them again, each to the output that refused it
    Replay(Selection),
    /// Delete them for good
    Purge(Selection),
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
struct Selection {
    /// Ids
    ids: Vec<u64>,
    /// Every one, or with --source every one of an output or input
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    /// Only those of this output or input
    #[arg(long, requires = "all")]
    source: Option<String>,
}

/// Runs the command.
pub fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let config = global.load()?;
    let text = match args.command {
        Command::List { source, after, limit } => {
            let letters = list(&open(&config)?, source, after.unwrap_or(0), limit)?;
            if global.json { lines(&letters)? } else { table(&letters) }
        }
        Command::Show { id } => {
            let letter = open(&config)?.get(id)?.with_context(|| format!("there is no dead letter {id}"))?;
            if global.json { lines(&[letter])? } else { shown(&letter) }
        }
        Command::Replay(selection) => ask(&config, "replay", &selection)?,
        Command::Purge(selection) if StateDir::is_in_use(&config.state_dir) => ask(&config, "purge", &selection)?,
        Command::Purge(selection) => purge(&config, &selection)?,
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn fs() -> Arc<dyn Fs> {
    Arc::new(RealFs)
}

fn dir(config: &Config) -> std::path::PathBuf {
    config.state_dir.join("dead-letters")
}

fn open(config: &Config) -> anyhow::Result<DeadLetters> {
    let dir = dir(config);
    DeadLetters::open_read_only(fs(), &dir).with_context(|| format!("the dead letters in {}", dir.display()))
}

fn list(letters: &DeadLetters, source: Option<String>, after: u64, limit: usize) -> anyhow::Result<Vec<Letter>> {
    let filter = Filter { source, ..Filter::default() };
    Ok(letters.list(&filter, Page { after, limit })?)
}

fn lines(letters: &[Letter]) -> anyhow::Result<String> {
    let mut text = String::new();
    for letter in letters {
        text += &serde_json::to_string(&crate::app::shown_dead_letter(letter))?;
        text.push('\n');
    }
    Ok(text)
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
    let status = letter.status.map(|status| status.to_string()).unwrap_or_default();
    format!(
        "id       {}\nfrom     {}\nreason   {}\nstatus   {status}\ndetail   {}\nstream   {}\n\n{}\n",
        letter.id,
        letter.source.name(),
        letter.reason,
        letter.detail,
        letter.stream,
        String::from_utf8_lossy(&letter.raw)
    )
}

/// Purges in the directory itself: nobody else uses it.
fn purge(config: &Config, selection: &Selection) -> anyhow::Result<String> {
    let _lock = StateDir::open(&config.state_dir)?;
    let mut letters = DeadLetters::open(fs(), &dir(config), u64::MAX)?;
    let ids = if selection.all {
        list(&letters, selection.source.clone(), 0, usize::MAX)?.iter().map(|letter| letter.id).collect()
    } else {
        selection.ids.clone()
    };
    letters.remove(&ids)?;
    Ok(format!("{} purged\n", ids.len()))
}

/// Asks the running gateway.
fn ask(config: &Config, what: &str, selection: &Selection) -> anyhow::Result<String> {
    if !StateDir::is_in_use(&config.state_dir) {
        bail!("no gateway runs on {}; start it, then {what}", config.state_dir.display());
    }
    let body = json!({ "ids": selection.ids, "all": selection.all, "source": selection.source });
    let url = format!("http://{}/dead-letters/{what}", config.admin.listen);
    let bearer = config.admin.token.as_ref().map(|token| format!("Bearer {}", token.reveal()));
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = Client::new(None)?;
    let answer = runtime.block_on(client.post(&url, &headers, body.to_string().into(), Duration::from_secs(300)))?;
    let said = String::from_utf8_lossy(&answer.body);
    if answer.status != 200 {
        bail!("the gateway refuses ({}): {said}", answer.status);
    }
    let said: Value = serde_json::from_slice(&answer.body).with_context(|| format!("the gateway said: {said}"))?;
    Ok(format!("{said}\n"))
}
