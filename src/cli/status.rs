//! `gatepost status`: how the running gateway is, in a few lines for people, whole for scripts, and as an exit code.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use super::admin_plane::{AdminPlane, At};
use super::{Global, json_line, print};

/// It is made in memory.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The exit code when nobody can say how it is.
const NOT_ASKED: u8 = 2;

/// Show how the running gateway is. Exit code 1 when it takes no uploads, 2 when it could not be asked
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    at: At,
}

/// Runs the command.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let config = if args.at.is_given() { crate::config::Config::default() } else { global.load()? };
    let status = match AdminPlane::at(&args.at, &config)?.get("status", TIMEOUT) {
        Ok(status) => status,
        Err(error) => {
            super::complain(&error, global.json);
            return Ok(ExitCode::from(NOT_ASKED));
        }
    };
    print(&if global.json { json_line(&status)? } else { shown(&status) })?;
    Ok(if status["ready"] == true { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn shown(status: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let reasons: Vec<String> = status["not_ready_because"].as_array().into_iter().flatten().map(text).collect();
    let ready = if reasons.is_empty() { "ready".to_owned() } else { format!("not ready: {}", reasons.join(", ")) };
    let total = &status["account"]["total"];
    let mut lines = vec![
        format!("{ready} (version {}, up for {} s)", text(&status["version"]), status["uptime_seconds"]),
        format!(
            "received {}, filtered {}, duplicate {}, set aside {}, spooled {}",
            total["received"], total["filtered"], total["duplicate"], total["set_aside"], total["spooled"]
        ),
        format!(
            "spool {} of {} bytes, dead letters {}",
            status["spool"]["bytes"], status["spool"]["limit_bytes"], status["dead_letters"]["count"]
        ),
    ];
    lines.extend(status["outputs"].as_array().into_iter().flatten().map(|output| match output["state"] == "running" {
        true => format!(
            "output {}: forwarded {}, pending {}",
            text(&output["name"]),
            output["forwarded"],
            output["pending"]
        ),
        false => format!("output {}: {}", text(&output["name"]), text(&output["state"])),
    }));
    lines.extend(shared(&status["sharing"]));
    lines.extend(status["needs"].as_array().into_iter().flatten().map(|need| {
        let mark = if need["weight"] == "bad" { "!!" } else { " !" };
        format!("{mark} {}", super::printable(&text(&need["text"])))
    }));
    lines.join("\n") + "\n"
}

/// The engine and the other gateways, where there are any.
fn shared(sharing: &Value) -> Vec<String> {
    let text = |value: &Value| super::printable(value.as_str().unwrap_or_default());
    let engine = &sharing["engine"];
    let mut lines = match engine["state"].as_str() {
        None => return Vec::new(),
        Some("connected") => vec![format!("shared through {} {}", text(&engine["address"]), text(&engine["version"]))],
        Some(_) => vec![format!("shared through nothing: {}", text(&engine["because"]))],
    };
    lines.extend(sharing["gateways"].as_array().into_iter().flatten().map(|other| {
        let differs = if other["agrees"] == false { ", configured differently" } else { "" };
        format!(
            "gateway {}: version {}, seen {} s ago, pending {}{differs}",
            text(&other["name"]),
            text(&other["version"]),
            other["seen_seconds_ago"],
            other["pending"]
        )
    }));
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_needs_a_person_stands_in_it_and_moves_no_cursor() {
        let status = json!({
            "version": "0.1.0", "uptime_seconds": 7, "ready": false, "not_ready_because": ["the spool is at its watermark"],
            "account": { "total": { "received": 9, "filtered": 1, "duplicate": 2, "set_aside": 0, "spooled": 6 } },
            "spool": { "bytes": 5, "limit_bytes": 6 }, "dead_letters": { "count": 0 },
            "outputs": [{ "name": "soc", "state": "running", "forwarded": 5, "pending": 1 }, { "name": "lake", "state": "cannot start" }],
            "needs": [{ "weight": "bad", "text": "Output soc: \u{1b}[31m" }],
        });
        let text = shown(&status);
        assert!(text.starts_with("not ready: the spool is at its watermark (version 0.1.0, up for 7 s)\n"), "{text}");
        assert!(
            text.contains("output soc: forwarded 5, pending 1\noutput lake: cannot start\n!! Output soc: "),
            "{text}"
        );
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn the_other_gateways_stand_in_it() {
        let sharing = json!({
            "engine": { "state": "connected", "address": "redis-1:6379", "version": "7.0.15" },
            "gateways": [
                { "name": "two\u{1b}", "version": "0.1.0", "seen_seconds_ago": 1, "pending": 7, "agrees": true },
                { "name": "three", "version": "0.2.0", "seen_seconds_ago": 90, "pending": 0, "agrees": false },
            ],
        });
        let lines = shared(&sharing).join("\n");
        assert!(lines.starts_with("shared through redis-1:6379 7.0.15\ngateway two"), "{lines}");
        assert!(lines.contains(
            "seen 1 s ago, pending 7\ngateway three: version 0.2.0, seen 90 s ago, pending 0, configured differently"
        ));
        assert!(!lines.contains('\u{1b}'));
        assert_eq!(shared(&serde_json::Value::Null), Vec::<String>::new());
    }
}
