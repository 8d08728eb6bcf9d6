//! `gatepost clock`: how the running gateway's clock stands to the wall clock, and to accept a jump that it holds.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use clap::Subcommand;

use super::admin_plane::AdminPlane;
use super::{Global, print};
use crate::clock::Standing;

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
    let admin = AdminPlane::of(&global.load()?)?;
    let said = match args.command {
        Command::Show => admin.get("status", TIMEOUT)?,
        Command::Accept => admin.post("clock/accept", Bytes::new(), TIMEOUT)?,
    };
    let standing: Standing = serde_json::from_value(said["clock"].clone()).context("the gateway tells of no clock")?;
    print(&if global.json { format!("{}\n", said["clock"]) } else { shown(&standing) })?;
    Ok(if standing.held { ExitCode::FAILURE } else { ExitCode::SUCCESS })
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
