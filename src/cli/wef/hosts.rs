//! The hosts that forward to the running gateway, and those whose certificates it did not take.
//!
//! Hosts chose their names and reasons, so nothing of them reaches the terminal but as text.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use comfy_table::Table;
use serde::{Deserialize, Serialize};

use super::Global;
use crate::cli::admin_plane::{AdminPlane, At};
use crate::cli::hosts::ago;
use crate::cli::{json_line, print, printable};
use crate::inputs::serve::ShownTurnedAway;
use crate::inputs::wef::kerberos::TurnedAwayHost;
use crate::inputs::wef::{Host, Shown, Subscribed};

/// Making a list of ten thousand lines takes no longer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only those that have this text in a name or their address
    search: Option<String>,
    /// Most of them
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    #[command(flatten)]
    at: At,
}

/// What the gateway says.
#[derive(Debug, Deserialize, Serialize)]
struct Answer {
    wef: Shown,
    turned_away: Option<ShownTurnedAway>,
}

pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("limit", &args.limit.to_string());
    if let Some(search) = &args.search {
        query.append_pair("search", search);
    }
    let said = AdminPlane::at(&args.at, &global.load()?)?.get(&format!("wef/hosts?{}", query.finish()), TIMEOUT)?;
    let answer: Answer = serde_json::from_value(said).context("the gateway does not tell who forwards")?;
    print(&if global.json { json_line(&answer)? } else { text(&answer) })?;
    Ok(ExitCode::SUCCESS)
}

fn text(answer: &Answer) -> String {
    let Shown { now_s, seen, left_out, hosts, tickets_refused } = &answer.wef;
    let mut text = if hosts.is_empty() {
        format!("{} of {seen} hosts shown\n", hosts.len())
    } else {
        format!("{}\n{} of {seen} hosts shown, {left_out} more left out\n", table(hosts, *now_s), hosts.len())
    };
    for (host, subscribed) in hosts.iter().flat_map(|host| host.subscriptions.iter().map(move |of| (host, of))) {
        if let Some(said) = lost(subscribed) {
            text.push_str(&format!("{}: {}: {said}\n", printable(&host.machine), printable(&subscribed.name)));
        }
    }
    if !tickets_refused.is_empty() {
        text.push_str(&without_ticket(tickets_refused, *now_s));
    }
    if let Some(turned_away) = &answer.turned_away {
        text.push_str(&strangers(turned_away, *now_s));
    }
    text
}

/// What only the gateway can tell: the host itself does not know.
fn lost(subscribed: &Subscribed) -> Option<String> {
    let Subscribed { gaps, lost_by_host, .. } = subscribed;
    let times = if *gaps == 1 { "once".to_owned() } else { format!("{gaps} times") };
    (*gaps > 0).then(|| format!("the host's log wrapped {times}: {lost_by_host} events are gone; make that log larger"))
}

fn table(hosts: &[Host], now_s: u64) -> Table {
    let mut table = Table::new();
    table.set_header([
        "host",
        "subscription",
        "heartbeat",
        "events",
        "bookmark",
        "events/s",
        "count",
        "lost",
        "refused",
        "trouble",
        "address",
    ]);
    for host in hosts {
        let unsubscribed = Subscribed::default();
        let subscriptions =
            if host.subscriptions.is_empty() { std::slice::from_ref(&unsubscribed) } else { &host.subscriptions };
        for subscribed in subscriptions {
            table.add_row(row(host, subscribed, now_s));
        }
    }
    table
}

fn row(host: &Host, of: &Subscribed, now_s: u64) -> [String; 11] {
    let since = |at: Option<u64>| at.map_or_else(|| "-".to_owned(), |at| ago(now_s.saturating_sub(at)));
    let name = if host.client.eq_ignore_ascii_case(&host.machine) {
        printable(&host.machine)
    } else {
        format!("{} ({})", printable(&host.machine), printable(&host.client))
    };
    let trouble = of.ended_because.as_ref().map(|because| format!("gave up: {because}")).or_else(|| {
        let why = host.last_refusal.as_ref()?;
        Some(format!("refused {}: {why}", since(host.last_refused_s)))
    });
    [
        name,
        printable(&of.name),
        since(of.last_heartbeat_s),
        since(of.last_events_s),
        since(of.bookmark_s),
        format!("{:.1}", of.events_per_second),
        of.events.to_string(),
        of.lost_by_host.to_string(),
        host.refused.to_string(),
        trouble.as_deref().map(printable).unwrap_or_default(),
        host.address.map(|address| address.to_string()).unwrap_or_default(),
    ]
}

fn strangers(turned_away: &ShownTurnedAway, now_s: u64) -> String {
    let mut table = Table::new();
    table.set_header(["certificate", "listener", "address", "reason", "times", "last", "what to do"]);
    for client in &turned_away.clients {
        table.add_row([
            client.certificate.as_deref().map_or("(none)".to_owned(), printable),
            client.listener.clone(),
            client.address.to_string(),
            client.reason.clone(),
            client.times.to_string(),
            ago(now_s.saturating_sub(client.last_s)),
            client.remedy.clone(),
        ]);
    }
    format!("\nNot let in, because of their certificates ({} in all):\n{table}\n", turned_away.seen)
}

fn without_ticket(refused: &[TurnedAwayHost], now_s: u64) -> String {
    let mut table = Table::new();
    table.set_header(["address", "reason", "times", "last"]);
    for host in refused {
        let since = ago(now_s.saturating_sub(host.last_s));
        table.add_row([host.address.to_string(), printable(&host.reason), host.times.to_string(), since]);
    }
    format!("\nNot let in, because of their tickets:\n{table}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_says_what_is_wrong_and_no_name_moves_the_cursor() {
        let answer: Answer = serde_json::from_value(serde_json::json!({
            "wef": { "now_s": 1000, "seen": 3, "left_out": 2, "hosts": [{
                "client": "pc1.plant.test", "machine": "PC1\u{1b}[2J", "last_heard_s": 990, "refused": 2,
                "last_refused_s": 700, "last_refusal": "no", "subscriptions": [{
                    "name": "rules", "last_events_s": 400, "bookmark_s": 400, "events": 30, "events_per_second": 0.25,
                    "gaps": 2, "lost_by_host": 40
                }]
            }]},
            "turned_away": { "seen": 1, "left_out": 0, "clients": [{
                "listener": "wef", "address": "10.0.0.7", "certificate": "pc9.plant.test", "reason": "tls_client_revoked",
                "detail": "d", "remedy": "give it another one", "times": 3, "last_s": 880
            }]}
        }))
        .expect("an answer");
        let text = text(&answer);
        for part in [
            "the host's log wrapped 2 times: 40 events are gone",
            "1 of 3 hosts shown, 2 more left out",
            "10 min ago",
            "refused 5 min ago: no",
            "pc9.plant.test",
            "tls_client_revoked",
            "give it another one",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}
