//! `gatepost agents`: which OMS and Microsoft Monitoring agents are registered at the running gateway, and what becomes of them.
//!
//! Agents chose their names, so nothing of them reaches the terminal but as text.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use comfy_table::Table;
use serde::Deserialize;
use serde_json::{Value, json};

use super::admin_plane::{AdminPlane, At};
use super::hosts::ago;
use super::{Global, counted, print, printable};
use crate::values::Span;

/// Making a list of twenty thousand lines takes no longer.
const TIMEOUT: Duration = Duration::from_secs(20);

/// List the agents that are registered, let them in no more, or forget them.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List them, the busiest first
    List(ListArgs),
    /// Let an agent in no more: its certificates are worth nothing from now on, and it may not register again
    Revoke(OneArgs),
    /// Let a revoked agent register again
    Restore(OneArgs),
    /// Forget agents that were not seen for long; who is there after all has to register again
    Expire(ExpireArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Only those whose computer, GUID or certificate has this text in it
    search: Option<String>,
    /// Only those that say nothing
    #[arg(long)]
    silent: bool,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, clap::Args)]
struct OneArgs {
    /// The GUID of the agent, as `gatepost agents list` shows it
    agent: String,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, clap::Args)]
struct ExpireArgs {
    /// For how long, such as "90 d". Only time counts while the gateway ran
    #[arg(long, value_name = "SPAN")]
    unseen: Span,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, Deserialize)]
struct Answer {
    agents: Option<Listed>,
}

#[derive(Debug, Deserialize)]
struct Listed {
    revoked: Vec<String>,
    first: Vec<Value>,
}

/// Runs the command.
pub fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::List(args) => list(&args, global),
        Command::Revoke(args) => order(&args.at, &json!({ "revoke": args.agent }), "revoked", global),
        Command::Restore(args) => order(&args.at, &json!({ "restore": args.agent }), "restored", global),
        Command::Expire(args) => {
            order(&args.at, &json!({ "expire_after_s": args.unseen.get().as_secs() }), "forgotten", global)
        }
    }
}

fn order(at: &At, order: &Value, done: &str, global: &Global) -> anyhow::Result<ExitCode> {
    let body = order.to_string().into();
    let said = AdminPlane::at(at, &global.load()?)?.post("agents", body, TIMEOUT)?;
    let count = said["certificates"].as_u64().context("the gateway does not answer as one")?;
    print(&if global.json { format!("{said}\n") } else { format!("{} {done}\n", counted(count, "certificate")) })?;
    Ok(ExitCode::SUCCESS)
}

fn list(args: &ListArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let said = AdminPlane::at(&args.at, &global.load()?)?.get("agents", TIMEOUT)?;
    let answer: Answer = serde_json::from_value(said).context("the gateway does not tell which agents it knows")?;
    let Some(Listed { revoked, first }) = answer.agents else {
        anyhow::bail!("no listener of the gateway speaks to agents; set ods.enabled = true at one");
    };
    let wanted: Vec<Value> = first.into_iter().filter(|agent| is_wanted(agent, args)).collect();
    print(&match (global.json, wanted.is_empty() && revoked.is_empty()) {
        (true, _) => format!("{}\n", json!({ "agents": wanted, "revoked": revoked })),
        (false, true) => "no agent is registered, or none of these\n".to_owned(),
        (false, false) => table(&wanted, &revoked),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn is_wanted(agent: &Value, args: &ListArgs) -> bool {
    let has = |search: &String| {
        let search = search.to_ascii_lowercase();
        ["computer", "agent", "certificate", "windows_thumbprint"]
            .iter()
            .any(|key| text(agent, key).to_ascii_lowercase().contains(&search))
    };
    (!args.silent || agent["silent"] == true) && args.search.as_ref().is_none_or(has)
}

fn table(agents: &[Value], revoked: &[String]) -> String {
    let mut table = Table::new();
    let now_s = crate::clock::wall_s();
    table.set_header(["computer", "agent", "last seen", "events/s", "version", "platform", "system", "thumbprint"]);
    for agent in agents {
        let seen = ago(now_s.saturating_sub(agent["last_seen_s"].as_u64().unwrap_or_default()));
        table.add_row([
            text(agent, "computer"),
            text(agent, "agent"),
            if agent["silent"] == true { format!("SILENT, {seen}") } else { seen },
            format!("{:.1}", agent["events_per_second"].as_f64().unwrap_or_default()),
            text(agent, "version"),
            text(agent, "platform"),
            text(agent, "system"),
            text(agent, "windows_thumbprint"),
        ]);
    }
    let gone = revoked.iter().map(|agent| format!("revoked: {}\n", printable(agent)));
    format!("{table}\n{}", gone.collect::<String>())
}

fn text(agent: &Value, key: &str) -> String {
    printable(agent[key].as_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_agents_chose_are_shown_as_text_and_found_by_any_part() {
        let agent = json!({ "computer": "web\u{1b}[2J01", "agent": "0F0E", "silent": true, "events_per_second": 1.5 });
        let shown = table(std::slice::from_ref(&agent), &["1a\u{7}".to_owned()]);
        assert!(
            shown.contains("web\\u{1b}[2J01") && shown.contains("SILENT") && shown.contains("revoked: 1a\\u{7}"),
            "{shown}"
        );
        let args =
            |search: Option<&str>, silent| ListArgs { search: search.map(str::to_owned), silent, at: At::default() };
        assert!(is_wanted(&agent, &args(Some("0f0"), true)) && is_wanted(&agent, &args(None, false)));
        assert!(!is_wanted(&agent, &args(Some("db"), false)));
    }
}
