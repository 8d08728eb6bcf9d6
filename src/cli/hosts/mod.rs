//! `gatepost hosts`: what tunnels may reach, by this configuration and by what the running gateway has refused; and who sends
//! events to it.
//!
//! Listing and explaining need the configuration only: no gateway, no DNS, no connection, so that a change can be judged
//! before it is made.

mod explain;
mod observed;
mod senders;

pub(super) use senders::ago;

use std::process::ExitCode;

use comfy_table::Table;
use serde::Serialize;

use super::{Global, counted, json_lines, print};
use crate::tunnel::Config;
use crate::tunnel::allow_list::{AllowList, Entry};

/// Show what tunnels may reach, explain a decision, list what was refused, or who sends events and who has gone silent.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Say which rule decides on a host, and why. Exit code 1 when it is refused
    Explain(explain::Args),
    /// List hosts that the running gateway has refused, ready to paste as a rule
    Observed(observed::Args),
    /// List who sends events to the running gateway: the silent first, then the busiest
    Seen(senders::Args),
    /// List computers that should have sent events by now. Exit code 1 when there are any, 2 when the gateway could not be asked
    Silent(senders::Args),
}

/// Runs the command.
pub fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    match args.command {
        None => {
            let config = global.load()?;
            let lines = lines(&config.tunnel);
            print(&if global.json { json_lines(&lines)? } else { table(&lines, config.tunnel.groups.is_empty()) })?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Explain(args)) => explain::run(&args, global),
        Some(Command::Observed(args)) => observed::run(&args, global),
        Some(Command::Seen(args)) => senders::seen(&args, global),
        Some(Command::Silent(args)) => senders::silent(&args, global),
    }
}

/// One host pattern of one rule.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Line {
    rule: String,
    host: String,
    ports: Vec<u16>,
    plain_http: bool,
    via: String,
    groups: Vec<String>,
}

fn lines(config: &Config) -> Vec<Line> {
    let list = AllowList::new(&config.allow, &config.via);
    let line = |entry: &Entry| Line {
        rule: entry.rule.name.to_string(),
        host: entry.host.to_string(),
        ports: entry.ports.clone(),
        plain_http: entry.plain_http,
        via: via(entry).to_owned(),
        groups: groups(config, &entry.rule.name),
    };
    list.entries().iter().map(line).collect()
}

/// Groups whose clients may use a rule.
fn groups(config: &Config, rule: &str) -> Vec<String> {
    let may_use = |allow: &[String]| allow.is_empty() || allow.iter().any(|name| name == rule);
    config.groups.iter().filter(|group| may_use(&group.allow)).map(|group| group.name.clone()).collect()
}

fn via(entry: &Entry) -> &str {
    entry.rule.via.as_deref().unwrap_or(Config::DIRECT)
}

fn table(lines: &[Line], without_groups: bool) -> String {
    let nobody = if without_groups { "(clients on loopback)" } else { "(nobody)" };
    if lines.is_empty() {
        return "no rule: every tunnel is refused; add [[tunnel.allow]]\n".to_owned();
    }
    let mut table = Table::new();
    table.set_header(["rule", "host", "ports", "via", "groups"]);
    for line in lines {
        let mut ports: Vec<String> = line.ports.iter().map(u16::to_string).collect();
        ports.extend(line.plain_http.then(|| "80 (plain HTTP)".to_owned()));
        let groups = if line.groups.is_empty() { nobody.to_owned() } else { line.groups.join(", ") };
        table.add_row([&line.rule, &line.host, &ports.join(", "), &line.via, &groups]);
    }
    format!("{table}\n{}\n", counted(lines.len(), "host"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_is_listed_with_its_ports_way_and_groups() {
        let config: Config = toml::from_str(
            r#"
            via = "relay"
            [[allow]]
            name = "arc"
            rule_set = "arc"
            plain_http = true
            via = "direct"
            [[allow]]
            name = "own"
            hosts = ["*.example.com", "host.example.org:8443"]
            ports = [443, 1433]
            [[groups]]
            name = "plant"
            networks = ["10.0.0.0/8"]
            allow = ["own"]
            [[groups]]
            name = "office"
            networks = ["10.0.0.0/8"]
            "#,
        )
        .expect("a configuration");
        let lines = lines(&config);
        let find = |host: &str| lines.iter().find(|line| line.host == host).expect(host);
        let own = find("*.example.com");
        assert_eq!(
            (own.rule.as_str(), own.via.as_str(), own.ports.as_slice()),
            ("own", "relay", [443, 1433].as_slice())
        );
        assert_eq!(own.groups, ["plant", "office"]);
        assert_eq!(find("host.example.org").ports, [8443]);
        let plain = find("www.microsoft.com");
        assert!(plain.plain_http && plain.via == "direct" && plain.groups == ["office"]);
        let text = table(&lines, false);
        assert!(text.contains("443, 80 (plain HTTP)") && text.contains("plant, office"), "{text}");
        assert!(table(&[], true).contains("[[tunnel.allow]]"));
    }
}
