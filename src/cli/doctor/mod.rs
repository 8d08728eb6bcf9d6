//! `gatepost doctor`: can this machine reach what tunnels may reach?
//!
//! For every host that the rules name, and as the gateway would do it, with the same resolver, judge of addresses and
//! dialer: resolve, connect (through an upstream proxy where the rule says so), shake hands. It reads the configuration
//! and needs no running gateway.
//!
//! And can hosts forward their events to it? What Windows looks at before it does, without saying why it does not, stands in
//! `wef.rs`.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use comfy_table::Table;
use futures_util::StreamExt;
use serde::Serialize;
use tokio::time::Instant;

use super::{Global, json_lines, print};
use crate::config::Config;
use crate::tunnel;
use crate::tunnel::addresses::Ourselves;
use crate::tunnel::allow_list::{AllowList, Covers, Rule};
use crate::tunnel::dial::Dialer;
use crate::tunnel::request::{Authority, Host};
use crate::values::Span;

mod check;
mod kerberos;
mod tls;
mod wef;

use tls::{Handshake, Judge};

/// Codes for what only this command looks at, beside those of the access log.
const NO_TLS: &str = "tls_handshake";
const UNTRUSTED: &str = "certificate_untrusted";

/// Hosts that are checked at a time: quick, and no flood that a firewall could mistake for a scan.
const AT_A_TIME: usize = 16;

/// Check from here whether everything that tunnels may reach can be reached (DNS, connection, upstream proxy, TLS), and whether
/// hosts that forward events can come (name, chain, revocation, clock, where they deliver).
#[derive(Debug, clap::Args)]
pub struct Args {
    /// For each step of each host, such as "5 s" [default: `tunnel.limits.connect_timeout`]
    #[arg(long, value_name = "SPAN")]
    timeout: Option<Span>,
    /// The name by which hosts reach the gateway to forward events [default: that of `wef.notify_to`]
    #[arg(long, value_name = "NAME")]
    gateway: Option<String>,
}

/// Runs the command. Exit code 1 when something cannot be reached.
pub fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let mut config = global.load()?;
    if let Some(timeout) = args.timeout {
        config.tunnel.limits.connect_timeout = timeout;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let findings = runtime.block_on(examine(&config))?;
    let forwarding = runtime.block_on(wef::examine(&config, args.gateway.as_deref()));
    let failed = findings.iter().filter(|finding| finding.result == Verdict::Failed).count();
    print(&if global.json { json_lines(&findings)? } else { table(&findings, failed) })?;
    print(&if global.json { json_lines(&forwarding)? } else { wef::table(&forwarding) })?;
    let failed = failed + forwarding.iter().filter(|check| check.result == Verdict::Failed).count();
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Something that tunnels may reach.
struct Target {
    rule: Arc<Rule>,
    /// As the rule says it.
    host: String,
    /// Where to connect to; a wildcard names nothing.
    authority: Option<Authority>,
    /// Whether TLS is spoken there.
    tls: bool,
}

/// What came of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    /// It works, and a person should look at it.
    Suspicious,
    Failed,
    NotChecked,
}

impl Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Suspicious => "suspicious",
            Self::Failed => "failed",
            Self::NotChecked => "not checked",
        }
    }
}

#[derive(Debug, Serialize)]
struct Finding {
    host: String,
    rule: String,
    via: Option<String>,
    result: Verdict,
    /// The code that the access log would show, or one of this command's own.
    reason: Option<&'static str>,
    detail: String,
    address: Option<String>,
    dns_ms: Option<f64>,
    connect_ms: Option<f64>,
    tls_ms: Option<f64>,
    tls_version: Option<String>,
    issuer: Option<String>,
}

async fn examine(config: &Config) -> anyhow::Result<Vec<Finding>> {
    let dialer = Dialer::new(&config.tunnel, Arc::new(ourselves(config)), "doctor")?;
    let judge = Judge::new();
    let timeout = config.tunnel.limits.connect_timeout.get();
    let checks = targets(&config.tunnel).into_iter().map(|target| check(target, &dialer, &judge, timeout));
    Ok(futures_util::stream::iter(checks).buffered(AT_A_TIME).collect().await)
}

fn ourselves(config: &Config) -> Ourselves {
    let uploads = config.listeners.iter().map(|listener| listener.listen);
    let tunnels = config.tunnel.listeners.iter().map(|listener| listener.listen);
    Ourselves::new(uploads.chain(tunnels).chain([config.admin.listen]).collect())
}

/// Every host and port of the rules, each with the first rule that names it, which is the one that decides.
fn targets(config: &tunnel::Config) -> Vec<Target> {
    let list = AllowList::new(&config.allow, &config.via);
    let mut targets: Vec<Target> = Vec::new();
    for entry in list.entries() {
        let port_80 = entry.plain_http.then_some((80, false));
        for (port, tls) in entry.ports.iter().map(|port| (*port, entry.rule.hello.require_tls)).chain(port_80) {
            let (host, authority) = match &entry.host {
                Covers::Name(name) => {
                    (format!("{name}:{port}"), Authority::parse(format!("{name}:{port}").as_bytes()).ok())
                }
                Covers::Address(address) => {
                    let authority = Authority { host: Host::Address(*address), port };
                    (authority.to_string(), Some(authority))
                }
                wildcard => (format!("{wildcard}:{port}"), None),
            };
            if !targets.iter().any(|known| known.host == host) {
                targets.push(Target { rule: Arc::clone(&entry.rule), host, authority, tls });
            }
        }
    }
    targets
}

async fn check(target: Target, dialer: &Dialer, judge: &Judge, timeout: Duration) -> Finding {
    let mut finding = Finding {
        rule: target.rule.name.to_string(),
        via: target.rule.via.as_deref().map(ToOwned::to_owned),
        host: target.host,
        result: Verdict::NotChecked,
        reason: None,
        detail: String::new(),
        address: None,
        dns_ms: None,
        connect_ms: None,
        tls_ms: None,
        tls_version: None,
        issuer: None,
    };
    let Some(authority) = target.authority else {
        "a wildcard names no host".clone_into(&mut finding.detail);
        return finding;
    };
    let connected = match dialer.dial(&authority, &target.rule, "").await {
        Ok(connected) => connected,
        Err(failure) => {
            finding.address = failure.address.map(|address| address.to_string());
            finding.fail(failure.reason.code, &failure.to_string());
            return finding;
        }
    };
    finding.result = Verdict::Ok;
    finding.address = connected.address.map(|address| address.to_string());
    // Through an upstream proxy we resolve nothing but the proxy.
    finding.dns_ms = connected.via.is_none().then(|| millis(connected.dns));
    finding.connect_ms = Some(millis(connected.connect));
    if !target.tls {
        "connected; TLS is not asked for here".clone_into(&mut finding.detail);
        return finding;
    }
    let began = Instant::now();
    match tokio::time::timeout(timeout, judge.shake_hands(connected, &authority.host)).await {
        Ok(Ok(handshake)) => {
            finding.tls_ms = Some(millis(began.elapsed()));
            finding.note(handshake);
        }
        Ok(Err(problem)) => finding.fail(NO_TLS, &format!("connected, but the TLS handshake fails: {problem}")),
        Err(_) => finding.fail(NO_TLS, "connected, but there is no TLS handshake in time"),
    }
    finding
}

impl Finding {
    fn fail(&mut self, reason: &'static str, detail: &str) {
        (self.result, self.reason) = (Verdict::Failed, Some(reason));
        detail.clone_into(&mut self.detail);
    }

    /// Says of a handshake what can be known from here, and no more.
    fn note(&mut self, handshake: Handshake) {
        let issuer = &handshake.issuer;
        if let Some(doubt) = &handshake.doubt {
            let detail = format!(
                "this machine does not trust the certificate ({doubt}); it was issued by {issuer}. Either somebody on the \
                 way inspects TLS, or the host has an authority of its own"
            );
            self.fail(UNTRUSTED, &detail);
        } else if !handshake.usual_issuer {
            self.result = Verdict::Suspicious;
            self.detail = format!(
                "trusted here, but issued by {issuer}, none of the usual public authorities: perhaps somebody on the way \
                 inspects TLS, which agents that know their certificates refuse"
            );
        }
        self.tls_version = handshake.version;
        self.issuer = Some(handshake.issuer);
    }
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}

fn table(findings: &[Finding], failed: usize) -> String {
    if findings.is_empty() {
        return "the configuration allows no host; there is nothing to check\n".to_owned();
    }
    let mut table = Table::new();
    table.set_header(["host", "rule", "via", "address", "dns ms", "connect ms", "tls ms", "result", "detail"]);
    let number = |number: Option<f64>| number.map(|number| number.to_string()).unwrap_or_default();
    for finding in findings {
        let detail = match (&finding.tls_version, &finding.issuer) {
            (Some(version), Some(issuer)) if finding.detail.is_empty() => format!("{version}, {issuer}"),
            _ => finding.detail.clone(),
        };
        table.add_row([
            finding.host.clone(),
            finding.rule.clone(),
            finding.via.clone().unwrap_or_else(|| tunnel::Config::DIRECT.to_owned()),
            finding.address.clone().unwrap_or_default(),
            number(finding.dns_ms),
            number(finding.connect_ms),
            number(finding.tls_ms),
            finding.reason.unwrap_or(finding.result.as_str()).to_owned(),
            detail,
        ]);
    }
    let checked = findings.iter().filter(|finding| finding.result != Verdict::NotChecked).count();
    format!("{table}\n{checked} checked, {failed} failed, {} not checkable\n", findings.len() - checked)
}

#[cfg(test)]
mod tests;
