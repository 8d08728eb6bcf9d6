//! `gatepost clock`: how the running gateway's clock stands to the wall clock, and to accept a jump that it holds.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Subcommand;
use serde_json::Value;

use super::check::reachable;
use super::send::client::{Answer, Client};
use super::{Global, print};
use crate::clock::Standing;
use crate::config::Config;

/// Looking at a clock takes no longer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Show how the running gateway's clock stands to the wall clock, or accept a jump that it holds.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show whether a jump of the wall clock is held
    Show,
    /// Take what the wall clock shows for right from now on. Nothing is forgotten or expires by it
    Accept,
}

/// Runs the command. `show` exits with 1 while a jump is held.
pub fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let config = global.load()?;
    let said = match args.command {
        Command::Show => ask(&config, "status")?,
        Command::Accept => ask(&config, "clock/accept")?,
    };
    let standing: Standing = serde_json::from_value(said["clock"].clone()).context("the gateway tells of no clock")?;
    print(&if global.json { format!("{}\n", said["clock"]) } else { shown(&standing) })?;
    Ok(if standing.held { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn ask(config: &Config, what: &str) -> anyhow::Result<Value> {
    let url = format!("http://{}/{what}", reachable(config.admin.listen));
    let bearer = config.admin.token.as_ref().map(|token| format!("Bearer {}", token.reveal()));
    let headers: Vec<(&str, &str)> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = Client::new(None)?;
    let answer: Answer = runtime.block_on(async {
        match what {
            "status" => client.get_with(&url, &headers, TIMEOUT).await,
            _ => client.post(&url, &headers, Bytes::new(), TIMEOUT).await,
        }
    })?;
    let said = String::from_utf8_lossy(&answer.body);
    if answer.status != 200 {
        bail!("{url} answers {}: {}", answer.status, said.trim());
    }
    serde_json::from_str(&said).with_context(|| format!("{url} does not answer as a gateway"))
}

fn shown(standing: &Standing) -> String {
    let Standing { held, difference_seconds, accepted_seconds, .. } = *standing;
    let mut text = if held {
        format!(
            "held: the wall clock is {} what was believed\nWindows and ages go on by the time since boot. If the wall clock \
             is right, run `gatepost clock accept`; else set it.\n",
            away(difference_seconds)
        )
    } else {
        "the wall clock is believed\n".to_owned()
    };
    if accepted_seconds.abs() >= 1.0 {
        text += &format!("accepted: windows count in a time that the wall clock is {}\n", away(accepted_seconds));
    }
    text
}

fn away(seconds: f64) -> String {
    let direction = if seconds < 0.0 { "behind" } else { "ahead of" };
    match seconds.abs() {
        seconds if seconds < 7_200.0 => format!("{seconds:.0} s {direction}"),
        seconds if seconds < 172_800.0 => format!("{:.1} h {direction}", seconds / 3_600.0),
        seconds => format!("{:.1} days {direction}", seconds / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_jump_is_told_with_what_to_do() {
        let fine = Standing { held: false, difference_seconds: 0.2, accepted_seconds: 0.0, jumps: 0 };
        assert_eq!(shown(&fine), "the wall clock is believed\n");
        let held = shown(&Standing { held: true, difference_seconds: 108_000.0, ..fine });
        assert!(held.contains("30.0 h ahead of") && held.contains("gatepost clock accept"), "{held}");
        let accepted = shown(&Standing { accepted_seconds: -315_360_000.0, ..fine });
        assert!(accepted.contains("3650.0 days behind"), "{accepted}");
    }
}
