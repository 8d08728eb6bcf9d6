//! `gatepost hosts seen` and `gatepost hosts silent`: who sends events to the running gateway, and who does not any more.
//!
//! Computers and clients chose these names, so nothing of them reaches the terminal but as text.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use comfy_table::Table;
use serde::{Deserialize, Serialize};

use super::super::admin_plane::{AdminPlane, At};
use super::super::{Global, complain, json_lines, print, printable};
use crate::config::LoadError;
use crate::hosts::Host;

/// The exit code when nobody can say who is silent.
const NOT_ASKED: u8 = 2;

/// Making a list of ten thousand lines takes no longer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// List who sends events to the running gateway.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only those whose computer, client, address or agent has this text in it
    search: Option<String>,
    /// Most of them
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, Deserialize, Serialize)]
struct Answer {
    hosts: Vec<Host>,
}

/// Lists everybody, the silent first, then the busiest.
pub(super) fn seen(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let hosts = ask(args, false, global)?;
    show(&hosts, &nobody(args, "nobody has sent anything yet\n"), global)?;
    Ok(ExitCode::SUCCESS)
}

/// Lists those that should have sent something by now. Exit code 1 when there are any; 2 when the gateway could not be asked, so
/// that whoever watches can tell the two apart.
pub(super) fn silent(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let hosts = match ask(args, true, global) {
        Ok(hosts) => hosts,
        Err(error) if error.is::<LoadError>() => return Err(error),
        Err(error) => {
            complain(&error, global.json);
            return Ok(ExitCode::from(NOT_ASKED));
        }
    };
    show(&hosts, &nobody(args, "nobody is silent\n"), global)?;
    Ok(if hosts.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What an empty list says.
fn nobody(args: &Args, otherwise: &str) -> String {
    match &args.search {
        Some(search) => format!("nobody matches {search:?}\n"),
        None => otherwise.to_owned(),
    }
}

fn ask(args: &Args, silent: bool, global: &Global) -> anyhow::Result<Vec<Host>> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("silent", &silent.to_string()).append_pair("limit", &args.limit.to_string());
    if let Some(search) = &args.search {
        query.append_pair("search", search);
    }
    let said = AdminPlane::at(&args.at, &global.load()?)?.get(&format!("hosts?{}", query.finish()), TIMEOUT)?;
    let answer: Answer = serde_json::from_value(said).context("the gateway does not tell who sends")?;
    Ok(answer.hosts)
}

fn show(hosts: &[Host], none: &str, global: &Global) -> anyhow::Result<()> {
    let text = match (global.json, hosts.is_empty()) {
        (true, _) => json_lines(hosts)?,
        (false, true) => none.to_owned(),
        (false, false) => table(hosts),
    };
    Ok(print(&text)?)
}

fn table(hosts: &[Host]) -> String {
    let mut table = Table::new();
    table.set_header([
        "computer",
        "group",
        "last seen",
        "events/s",
        "lag",
        "missing",
        "set aside",
        "refused",
        "input",
        "client",
        "address",
        "agent",
    ]);
    for host in hosts {
        let seen = ago(host.quiet_seconds);
        table.add_row([
            host.computer.as_deref().map_or("(none)".to_owned(), printable),
            host.group.clone(),
            if host.silent { format!("SILENT, {seen}") } else { seen },
            format!("{:.1}", host.events_per_second),
            host.lag_seconds.map(lag).unwrap_or_default(),
            host.missing_records.map(|missing| missing.to_string()).unwrap_or_default(),
            host.set_aside.to_string(),
            host.refused_uploads.to_string(),
            host.input.to_string(),
            printable(&host.client),
            host.address.map(|address| address.to_string()).unwrap_or_default(),
            host.agent.as_deref().map(printable).unwrap_or_default(),
        ]);
    }
    format!("{table}\n{} shown\n", hosts.len())
}

/// How long ago something was.
pub(in crate::cli) fn ago(seconds: u64) -> String {
    format!("{} ago", span(seconds))
}

/// How far the events of a computer are behind; ahead, where its clock is.
fn lag(seconds: f64) -> String {
    let sign = if seconds <= -1.0 { "-" } else { "" };
    format!("{sign}{}", span(Duration::try_from_secs_f64(seconds.abs().round()).unwrap_or_default().as_secs()))
}

/// In the unit that people would take.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_is_told_in_the_unit_that_people_would_take() {
        for (seconds, shown) in [(2.4, "2 s"), (-0.3, "0 s"), (-90.0, "-90 s"), (823_138.0, "9 d"), (10_000.0, "2 h")] {
            assert_eq!(lag(seconds), shown);
        }
    }

    #[test]
    fn a_search_that_finds_nobody_does_not_say_that_nobody_sends() {
        let args = |search: Option<&str>| Args { search: search.map(str::to_owned), limit: 1, at: At::default() };
        assert_eq!(nobody(&args(Some("zzz")), "none"), "nobody matches \"zzz\"\n");
        assert_eq!(nobody(&args(None), "none"), "none");
    }

    #[test]
    fn what_senders_call_themselves_stays_text() {
        let said = r#"{"hosts":[{"computer":"web\u001b[31m01","group":"other","silent":true,"quiet_seconds":7300,"last_seen_ms":1,
            "first_seen_ms":1,"events":9,"events_per_second":0.1,"lag_seconds":2.4,"missing_records":null,"set_aside":0,
            "refused_uploads":3,"input":"agents","client":"plant","address":"192.0.2.7","agent":"curl/8\u0007"}]}"#;
        let answer: Answer = serde_json::from_str(said).expect("an answer");
        let text = table(&answer.hosts);
        assert!(text.contains("SILENT, 2 h ago") && text.contains("curl/8") && text.contains("plant"), "{text}");
        assert!(!text.contains('\u{1b}') && !text.contains('\u{7}'), "{text}");
    }
}
