//! `gatepost hosts seen` and `gatepost hosts silent`: who sends events to the running gateway, and who does not any more.
//!
//! Computers and clients chose these names, so nothing of them reaches the terminal but as text.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use comfy_table::Table;
use serde::{Deserialize, Serialize};

use super::super::admin_plane::{AdminPlane, At};
use super::super::{Global, print};
use crate::hosts::Host;

/// Making a list of ten thousand lines takes no longer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// List who sends events to the running gateway.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only those whose computer, client, address or agent has this text in it
    search: Option<String>,
    /// Most of them
    #[arg(long, default_value_t = 100)]
    limit: usize,
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
    show(&hosts, "nobody has sent anything yet\n", global)?;
    Ok(ExitCode::SUCCESS)
}

/// Lists those that should have sent something by now. Exit code 1 when there are any.
pub(super) fn silent(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let hosts = ask(args, true, global)?;
    show(&hosts, "nobody is silent\n", global)?;
    Ok(if hosts.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
        (true, _) => format!("{}\n", serde_json::to_string(&serde_json::json!({ "hosts": hosts }))?),
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
            host.lag_seconds.map(|lag| format!("{lag:.0} s")).unwrap_or_default(),
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

/// Without what would move a cursor or colour a terminal.
fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// How long ago something was.
pub(super) fn ago(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7_200 => format!("{} min ago", seconds / 60),
        7_200..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
