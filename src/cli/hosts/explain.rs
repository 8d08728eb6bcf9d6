//! `gatepost hosts explain`: the decision on one host, step by step as the gateway makes it, without DNS.

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;

use anyhow::anyhow;
use serde::Serialize;

use super::super::{Global, json_line, print};
use super::via;
use crate::config::Config;
use crate::tunnel::Reason;
use crate::tunnel::addresses::{self, Ourselves};
use crate::tunnel::allow_list::{AllowList, Asked, Covers, Entry, Found, Pattern};
use crate::tunnel::config::{Group, TakeOver};

/// Say which rule decides on a host, and why.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Host name or address; port 443 unless one is given
    #[arg(value_name = "NAME[:PORT]")]
    target: String,
    /// Only what a client with this address may use
    #[arg(long, value_name = "IP")]
    client: Option<IpAddr>,
}

/// Runs the command. Exit code 1 when the tunnel would be refused.
pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let target = Pattern::parse(&args.target).map_err(|wrong| anyhow!("{:?} {wrong}", args.target))?;
    anyhow::ensure!(target.is_exact(), "{:?} is a wildcard; write one whole name", args.target);
    let decision = Decision::on(&global.load()?, &target, args.client);
    print(&if global.json { json_line(&decision)? } else { decision.shown() })?;
    Ok(if decision.allowed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What would happen to a CONNECT.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Decision {
    host: String,
    port: u16,
    allowed: bool,
    /// What the client must do to be allowed; nothing when it need do nothing.
    condition: Option<String>,
    rule: Option<String>,
    pattern: Option<String>,
    via: Option<String>,
    /// The code of the refusal.
    reason: Option<&'static str>,
    why: String,
    remarks: Vec<String>,
}

/// Who asks: the groups that count for sure, and those that count if the client proves something.
struct Who<'c> {
    everybody: bool,
    sure: Vec<&'c Group>,
    perhaps: Vec<&'c Group>,
}

impl Decision {
    fn on(config: &Config, target: &Pattern, client: Option<IpAddr>) -> Self {
        let list = AllowList::new(&config.tunnel.allow, &config.tunnel.via);
        let port = target.port.unwrap_or(443);
        let mut decision = Self { host: target.host.to_string(), port, ..Self::default() };
        let asked = match &target.host {
            Covers::Address(address) => Asked::Address(*address),
            Covers::Name(name) | Covers::Below(name) | Covers::Label { parent: name, .. } => Asked::Name(name),
        };
        let who = Who::of(config, client);
        if !who.everybody && who.sure.is_empty() && who.perhaps.is_empty() {
            return decision.refused(Reason::CLIENT, "no group takes this client address; add its network to a group");
        }
        if let Some(taken) = TakenOver::find(config, asked, port, &who) {
            if taken.for_sure {
                return decision.taken_over(&taken);
            }
            decision.remarks.push(taken.remark());
        }
        let find = |groups: &[&Group]| list.find(asked, port, |rule| who.everybody || may_use(config, groups, rule));
        let mut found = find(&who.sure);
        if !matches!(found, Found::Allowed(_)) {
            for group in &who.perhaps {
                let with = find(&[*group]);
                if matches!(with, Found::Allowed(_)) || found == Found::Host {
                    found = with;
                }
                if matches!(with, Found::Allowed(_)) {
                    decision.condition = Some(condition(group));
                    break;
                }
            }
        }
        match found {
            Found::Host => {
                let others = list.find(asked, port, |_| true);
                let why = match others {
                    Found::Host => "no rule names this host".to_owned(),
                    Found::Allowed(entry) | Found::Port(entry) => {
                        format!(
                            "only rule {:?} names this host, and no group of this client may use it",
                            &*entry.rule.name
                        )
                    }
                };
                decision.refused(Reason::HOST, &why)
            }
            Found::Port(entry) => {
                let ports: Vec<String> = entry.ports.iter().map(u16::to_string).collect();
                let why = format!("{} names this host with port {} only", named(entry), ports.join(", "));
                let plain = list.find_plain(asked, port, |rule| who.everybody || may_use(config, &who.sure, rule));
                if let Found::Allowed(entry) = plain {
                    let remark =
                        format!("plain HTTP (GET, HEAD) is allowed by {}, on listeners with plain_http", named(entry));
                    decision.remarks.push(remark);
                }
                decision.refused(Reason::PORT, &why)
            }
            Found::Allowed(entry) => decision.allowed(config, entry, asked),
        }
    }

    fn refused(mut self, reason: Reason, why: &str) -> Self {
        self.allowed = false;
        self.condition = None;
        self.reason = Some(reason.code);
        why.clone_into(&mut self.why);
        self
    }

    fn taken_over(mut self, taken: &TakenOver<'_>) -> Self {
        self.allowed = true;
        self.rule = Some(taken.table.name.clone());
        self.why = taken.remark();
        self
    }

    fn allowed(mut self, config: &Config, entry: &Entry, asked: Asked<'_>) -> Self {
        self.allowed = true;
        self.rule = Some(entry.rule.name.to_string());
        self.pattern = Some(entry.host.to_string());
        self.via = Some(via(entry).to_owned());
        self.why = format!("{} is the first that allows this host and port", named(entry));
        let Asked::Address(address) = asked else {
            let remark = match &entry.rule.via {
                Some(proxy) => format!("the upstream proxy {proxy:?} resolves the name"),
                None => "each address that the name has is checked when a tunnel is opened".to_owned(),
            };
            self.remarks.push(remark);
            return self;
        };
        let ourselves = Ourselves::new(listeners(config));
        if ourselves.is_ours(SocketAddr::new(address, self.port)) {
            return self.refused(Reason::OURSELVES, "this gateway listens there itself, which no rule can open");
        }
        let networks = &entry.rule.addresses;
        let checked = addresses::check(address, networks).and_then(|_| ourselves.check(address, networks));
        match checked {
            Ok(()) => self,
            Err(what) => {
                let why = format!(
                    "{} allows it, but the address is {what}; set addresses in the rule to open it",
                    named(entry)
                );
                self.refused(Reason::ADDRESS, &why)
            }
        }
    }

    fn shown(&self) -> String {
        let verdict = match (self.allowed, &self.condition) {
            (true, None) => "allowed".to_owned(),
            (true, Some(condition)) => format!("allowed {condition}"),
            (false, _) => format!("refused ({})", self.reason.unwrap_or_default()),
        };
        let mut text = format!("{}:{}  {verdict}\n  {}\n", self.host, self.port, self.why);
        if let Some(via) = &self.via {
            text += &format!("  via {via}\n");
        }
        for remark in &self.remarks {
            text += &format!("  {remark}\n");
        }
        text
    }
}

/// A host that is taken over for some groups.
struct TakenOver<'c> {
    table: &'c TakeOver,
    /// The client is in one of them, whatever it does.
    for_sure: bool,
}

impl<'c> TakenOver<'c> {
    /// The table that takes a host over for a client, or for somebody where none is named.
    fn find(config: &'c Config, asked: Asked<'_>, port: u16, who: &Who<'_>) -> Option<Self> {
        let tables = &config.tunnel.take_over;
        let hosts = AllowList::new(&tables.iter().map(TakeOver::as_rule).collect::<Vec<_>>(), "");
        let first = |groups: &[&Group], anybody: bool| {
            let is_in = |at: usize| groups.iter().any(|group| tables[at].groups.contains(&group.name));
            match hosts.find(asked, port, |at| anybody || is_in(at)) {
                Found::Allowed(entry) => Some(&tables[entry.rule.index]),
                _ => None,
            }
        };
        let sure = first(&who.sure, false).map(|table| Self { table, for_sure: true });
        sure.or_else(|| first(&who.perhaps, who.everybody).map(|table| Self { table, for_sure: false }))
    }

    fn remark(&self) -> String {
        let TakeOver { name, groups, input, .. } = self.table;
        format!(
            "take_over {name:?}: for clients of {} the tunnel ends at this gateway, and input {input:?} gets its stream",
            groups.join(", ")
        )
    }
}

impl<'c> Who<'c> {
    fn of(config: &'c Config, client: Option<IpAddr>) -> Self {
        let tunnel = &config.tunnel;
        let Some(client) = client else { return Self { everybody: true, sure: Vec::new(), perhaps: Vec::new() } };
        if tunnel.groups.is_empty() {
            // Without groups only listeners on loopback serve, and those serve everybody who reaches them.
            let everybody = client.to_canonical().is_loopback();
            return Self { everybody, sure: Vec::new(), perhaps: Vec::new() };
        }
        let here = |group: &&Group| group.networks.is_empty() || group.networks.iter().any(|n| n.contains(client));
        let asks = |group: &&Group| !group.users.is_empty() || !group.certificates.is_empty();
        let (perhaps, sure) = tunnel.groups.iter().filter(here).partition(asks);
        Self { everybody: false, sure, perhaps }
    }
}

fn may_use(config: &Config, groups: &[&Group], rule: usize) -> bool {
    let name = config.tunnel.allow.get(rule).map(|rule| &rule.name);
    groups.iter().any(|group| group.allow.is_empty() || name.is_some_and(|name| group.allow.contains(name)))
}

fn named(entry: &Entry) -> String {
    format!("rule {:?} ({})", &*entry.rule.name, entry.host)
}

fn condition(group: &Group) -> String {
    let mut asked = Vec::new();
    if !group.users.is_empty() {
        asked.push(format!("authenticates as {}", group.users.join(" or ")));
    }
    if !group.certificates.is_empty() {
        let any = group.certificates.iter().any(|name| name == "*");
        let names = if any { "tls.client_ca".to_owned() } else { group.certificates.join(" or ") };
        asked.push(format!("shows a certificate of {names}"));
    }
    format!("if it {} (group {:?})", asked.join(" and "), group.name)
}

/// Where this gateway listens.
fn listeners(config: &Config) -> Vec<SocketAddr> {
    let uploads = config.listeners.iter().map(|listener| listener.listen);
    let tunnels = config.tunnel.listeners.iter().map(|listener| listener.listen);
    uploads.chain(tunnels).chain([config.admin.listen]).collect()
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
