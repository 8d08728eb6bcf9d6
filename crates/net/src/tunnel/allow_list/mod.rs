//! Which hosts tunnels may reach: the rules of the configuration, compiled.
//!
//! Default deny: what no rule names is refused. The first rule that names host and port, and that the client may use,
//! decides. Hosts are looked up by their text (a name, then each name above it, then the address), so thousands of rules
//! cost no more than a few, and the order of the rules still counts: each pattern has a place, and the lowest wins.

mod built_in;
mod pattern;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

pub use pattern::{Covers, Pattern};

pub(super) use built_in::problems as built_in_problems;

use super::config::{self, EncryptedHello, MissingName, TlsVersion};
use super::request::{Authority, Host};
use crate::values::Network;

/// The port of TLS, which rules mean when they name none.
const TLS_PORT: u16 = 443;
/// The port of plain HTTP.
const PLAIN_PORT: u16 = 80;

/// A rule, compiled: what it allows beyond host and port, which [`AllowList::decide`] has matched.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Its place in the configuration, from 0.
    pub index: usize,
    /// Networks outside the public internet that addresses may lie in.
    pub addresses: Vec<Network>,
    /// The upstream proxies to go through; none for direct.
    pub via: Option<Arc<str>>,
    /// Plain HTTP on port 80 is allowed to some of its hosts; [`AllowList::decide_plain`] knows to which.
    pub plain_http: bool,
    /// What the ClientHello must be.
    pub hello: HelloPolicy,
}

/// What the ClientHello inside a tunnel must be.
#[derive(Debug, Clone, PartialEq)]
pub struct HelloPolicy {
    /// Something that is no TLS is refused.
    pub require_tls: bool,
    /// The lowest version that the client must be able to speak.
    pub version_min: TlsVersion,
    /// No server name.
    pub missing_name: MissingName,
    /// ECH.
    pub encrypted: EncryptedHello,
    /// Subjects of client certificates that may pass; empty when nobody looks.
    pub client_subjects: Vec<String>,
    /// TLS 1.3 is refused where `client_subjects` are given.
    pub refuse_hidden_subjects: bool,
}

/// The rules, in their order.
#[derive(Debug, Default)]
pub struct AllowList {
    entries: Vec<Entry>,
    /// Places in `entries`, ascending, by what must be equal for a pattern to match.
    names: HashMap<String, Vec<usize>>,
    below: HashMap<String, Vec<usize>>,
    labels: HashMap<String, Vec<usize>>,
    addresses: HashMap<IpAddr, Vec<usize>>,
}

/// One host pattern of one rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Whose it is.
    pub rule: Arc<Rule>,
    /// What it covers.
    pub host: Covers,
    /// Ports that tunnels may reach there.
    pub ports: Vec<u16>,
    /// Plain HTTP on port 80 is allowed there.
    pub plain_http: bool,
}

/// What the rules say of a host and port.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// This rule allows it: the first that matches.
    Allowed(Arc<Rule>),
    /// A rule names the host, none this port.
    Port,
    /// No rule names the host.
    Host,
}

/// What the rules say, with the pattern that says so.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Found<'a> {
    /// This pattern allows it: the first that matches.
    Allowed(&'a Entry),
    /// This is the first pattern that names the host; none names this port.
    Port(&'a Entry),
    /// No pattern names the host.
    Host,
}

/// A host that is asked for. Names are in normal form: lower case, without a trailing dot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked<'a> {
    /// A name.
    Name(&'a str),
    /// An address.
    Address(IpAddr),
}

impl<'a> From<&'a Host> for Asked<'a> {
    fn from(host: &'a Host) -> Self {
        match host {
            Host::Name(name) => Self::Name(name.as_str()),
            Host::Address(address) => Self::Address(*address),
        }
    }
}

impl AllowList {
    /// Compiles rules. Patterns that are none are left out: the configuration's own check has told about them.
    pub fn new(rules: &[config::Rule], default_via: &str) -> Self {
        let mut list = Self::default();
        for (index, rule) in rules.iter().enumerate() {
            let compiled = Arc::new(compile(index, rule, default_via));
            for host in built_in::hosts(rule) {
                if let Ok(pattern) = Pattern::parse(&host.pattern) {
                    let plain_http = rule.plain_http && host.plain_http;
                    list.add(Entry {
                        rule: Arc::clone(&compiled),
                        host: pattern.host,
                        ports: vec![TLS_PORT],
                        plain_http,
                    });
                }
            }
            for pattern in rule.hosts.iter().filter_map(|host| Pattern::parse(host).ok()) {
                let ports = match (pattern.port, rule.ports.is_empty()) {
                    (Some(port), _) => vec![port],
                    (None, true) => vec![TLS_PORT],
                    (None, false) => rule.ports.clone(),
                };
                list.add(Entry { rule: Arc::clone(&compiled), host: pattern.host, ports, plain_http: rule.plain_http });
            }
        }
        list
    }

    /// Every pattern, in the order of the rules.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Decides on a tunnel. `may_use` says whether the client may use the rule with this place in the configuration.
    pub fn decide(&self, authority: &Authority, may_use: impl Fn(usize) -> bool) -> Verdict {
        self.find(Asked::from(&authority.host), authority.port, may_use).into()
    }

    /// Decides on a plain HTTP request: only port 80, only hosts of rules with `plain_http`.
    pub fn decide_plain(&self, authority: &Authority, may_use: impl Fn(usize) -> bool) -> Verdict {
        self.find_plain(Asked::from(&authority.host), authority.port, may_use).into()
    }

    /// As [`AllowList::decide`], with the pattern that decides.
    pub fn find(&self, host: Asked<'_>, port: u16, may_use: impl Fn(usize) -> bool) -> Found<'_> {
        self.first(host, &may_use, |entry| entry.ports.contains(&port))
    }

    /// As [`AllowList::decide_plain`], with the pattern that decides.
    pub fn find_plain(&self, host: Asked<'_>, port: u16, may_use: impl Fn(usize) -> bool) -> Found<'_> {
        self.first(host, &may_use, |entry| entry.plain_http && port == PLAIN_PORT)
    }

    fn add(&mut self, entry: Entry) {
        let place = self.entries.len();
        match &entry.host {
            Covers::Name(name) => self.names.entry(name.clone()).or_default(),
            Covers::Below(parent) => self.below.entry(parent.clone()).or_default(),
            Covers::Label { parent, .. } => self.labels.entry(parent.clone()).or_default(),
            Covers::Address(address) => self.addresses.entry(*address).or_default(),
        }
        .push(place);
        self.entries.push(entry);
    }

    fn first(
        &self,
        host: Asked<'_>,
        may_use: &impl Fn(usize) -> bool,
        port_is_right: impl Fn(&Entry) -> bool,
    ) -> Found<'_> {
        let (mut allowed, mut named): (Option<usize>, Option<usize>) = (None, None);
        let mut look = |places: Option<&Vec<usize>>, covers: &dyn Fn(&Covers) -> bool| {
            for place in places.into_iter().flatten().copied() {
                if allowed.is_some_and(|found| found <= place) {
                    return;
                }
                let entry = &self.entries[place];
                if !may_use(entry.rule.index) || !covers(&entry.host) {
                    continue;
                }
                named = Some(named.map_or(place, |found| found.min(place)));
                if port_is_right(entry) {
                    allowed = Some(place);
                    return;
                }
            }
        };
        match host {
            Asked::Address(address) => look(self.addresses.get(&address), &|_| true),
            Asked::Name(name) => {
                look(self.names.get(name), &|_| true);
                if let Some((label, parent)) = name.split_once('.') {
                    look(self.labels.get(parent), &|covers| label_fits(covers, label));
                }
                let mut rest = name;
                while let Some((_, parent)) = rest.split_once('.') {
                    look(self.below.get(parent), &|_| true);
                    rest = parent;
                }
            }
        }
        match (allowed, named) {
            (Some(place), _) => Found::Allowed(&self.entries[place]),
            (None, Some(place)) => Found::Port(&self.entries[place]),
            (None, None) => Found::Host,
        }
    }
}

impl From<Found<'_>> for Verdict {
    fn from(found: Found<'_>) -> Self {
        match found {
            Found::Allowed(entry) => Self::Allowed(Arc::clone(&entry.rule)),
            Found::Port(_) => Self::Port,
            Found::Host => Self::Host,
        }
    }
}

fn label_fits(covers: &Covers, label: &str) -> bool {
    match covers {
        Covers::Label { begins, ends, .. } => {
            label.strip_prefix(begins.as_str()).is_some_and(|rest| rest.ends_with(ends.as_str()))
        }
        _ => false,
    }
}

fn compile(index: usize, rule: &config::Rule, default_via: &str) -> Rule {
    let via = rule.via.as_deref().unwrap_or(default_via);
    Rule {
        name: Arc::from(rule.name.as_str()),
        index,
        addresses: rule.addresses.clone(),
        via: (via != config::Config::DIRECT).then(|| Arc::from(via)),
        plain_http: rule.plain_http,
        hello: HelloPolicy {
            require_tls: rule.require_tls.unwrap_or(true),
            version_min: rule.tls_version_min,
            missing_name: rule.missing_server_name,
            encrypted: rule.encrypted_hello,
            client_subjects: rule.client_subjects.clone(),
            refuse_hidden_subjects: rule.refuse_hidden_subjects,
        },
    }
}

/// Whether plain HTTP has a host that it could go to.
pub(super) fn has_plain_host(rule: &config::Rule) -> bool {
    !rule.hosts.is_empty() || built_in::hosts(rule).iter().any(|host| host.plain_http)
}

#[cfg(test)]
mod tests;
