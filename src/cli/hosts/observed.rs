//! `gatepost hosts observed`: what the running gateway has refused, and the rule that would allow it.
//!
//! Clients chose these names. What is printed as a rule has been parsed as a host again, and nothing is suggested for
//! refusals that another rule could not cure.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use comfy_table::Table;
use serde::{Deserialize, Serialize};

use super::super::admin_plane::{AdminPlane, At};
use super::super::{Global, counted, json_lines, print};
use super::senders::ago;
use crate::clock;
use crate::tunnel::Reason;
use crate::tunnel::allow_list::Pattern;
use crate::tunnel::refused::RefusedHost;

/// Reading a table of a thousand lines from memory takes no longer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// List hosts that the running gateway has refused.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    at: At,
}

#[derive(Debug, Deserialize, Serialize)]
struct Answer {
    refused: Vec<RefusedHost>,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let said = AdminPlane::at(&args.at, &global.load()?)?.get("tunnel/refused", TIMEOUT)?;
    let answer: Answer = serde_json::from_value(said).context("the gateway does not tell what it refused")?;
    let now = clock::wall_s();
    print(&if global.json { json_lines(&answer.refused)? } else { shown(&answer.refused, now) })?;
    Ok(ExitCode::SUCCESS)
}

fn shown(refused: &[RefusedHost], now: u64) -> String {
    if refused.is_empty() {
        return "nothing was refused\n".to_owned();
    }
    let mut table = Table::new();
    table.set_header(["host", "port", "count", "reason", "last client", "last seen"]);
    for host in refused {
        table.add_row([
            host.host.escape_default().to_string(),
            host.port.to_string(),
            host.count.to_string(),
            host.reason.escape_default().to_string(),
            host.last_client.to_string(),
            ago(now.saturating_sub(host.last_seen)),
        ]);
    }
    format!("{table}\n{}\n{}", counted(refused.len(), "host"), rule(refused))
}

/// The rule that would allow what no rule names; empty when there is nothing.
fn rule(refused: &[RefusedHost]) -> String {
    let named_by_none = refused.iter().filter(|host| host.reason == Reason::HOST.code);
    let patterns: BTreeSet<String> = named_by_none.filter_map(pattern).collect();
    if patterns.is_empty() {
        return String::new();
    }
    let hosts: String = patterns.iter().map(|host| format!("    \"{host}\",\n")).collect();
    format!("\n# Take out what should stay refused.\n[[tunnel.allow]]\nname = \"observed\"\nhosts = [\n{hosts}]\n")
}

fn pattern(host: &RefusedHost) -> Option<String> {
    let pattern = Pattern::parse(&format!("{}:{}", host.host, host.port)).ok().filter(Pattern::is_exact)?;
    Some(Pattern { port: pattern.port.filter(|port| *port != 443), ..pattern }.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(host: &str, port: u16, reason: Reason) -> RefusedHost {
        RefusedHost {
            host: host.to_owned(),
            port,
            count: 7,
            reason: reason.code.to_owned(),
            last_client: "10.0.0.9".parse().expect("an address"),
            first_seen: 1_000,
            last_seen: 2_000,
        }
    }

    #[test]
    fn what_no_rule_names_becomes_a_rule_that_can_be_loaded() {
        let refused = [
            host("b.example.com", 443, Reason::HOST),
            host("a.example.com", 8443, Reason::HOST),
            host("[2001:db8::1]", 443, Reason::HOST),
            host("known.example.com", 22, Reason::PORT),
            host("x\"]\nevil = [\"", 443, Reason::HOST),
            host("\u{1b}[31mred", 443, Reason::HOST),
            host("*.com", 443, Reason::HOST),
        ];
        let text = shown(&refused, 2_090);
        assert!(text.contains("90 s ago") && !text.contains('\u{1b}'), "{text}");
        let rule = rule(&refused);
        let config = crate::config::parse("rule", &rule, std::path::Path::new("."), &|_| None).expect("a rule");
        assert_eq!(config.tunnel.allow[0].hosts, ["[2001:db8::1]", "a.example.com:8443", "b.example.com"]);
    }

    #[test]
    fn what_a_rule_cannot_cure_makes_none() {
        assert_eq!(rule(&[host("a.example.com", 443, Reason::ADDRESS)]), "");
        assert_eq!(shown(&[], 0), "nothing was refused\n");
    }

    #[test]
    fn the_answer_of_the_admin_plane_is_understood() {
        let said = r#"{"refused":[{"host":"a.example.com","port":443,"count":2,"reason":"host_not_allowed",
            "last_client":"10.0.0.9","first_seen":1,"last_seen":2}]}"#;
        let answer: Answer = serde_json::from_str(said).expect("an answer");
        assert_eq!((answer.refused[0].count, ago(7_300)), (2, "2 h ago".to_owned()));
    }
}
