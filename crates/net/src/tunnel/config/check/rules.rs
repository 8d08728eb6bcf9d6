//! Problems of one rule of the allow-list.

use std::net::{IpAddr, Ipv4Addr};

use super::super::Rule;
use super::{Problems, no_such};
use crate::tunnel::allow_list::{Pattern, built_in_problems, has_plain_host};
use crate::values::Network;

pub(super) fn check(at: &str, rule: &Rule, ways: &[&str], problems: &mut Problems) {
    let key = |name: &str| format!("{at}.{name}");
    problems.when(
        rule.rule_set.is_none() && rule.hosts.is_empty(),
        at,
        "allows nothing; set rule_set, or hosts, or remove it",
    );
    for (n, host) in rule.hosts.iter().enumerate() {
        if let Err(message) = Pattern::parse(host) {
            problems.add(format!("{at}.hosts[{n}]"), message);
        }
    }
    for (name, message) in built_in_problems(rule) {
        problems.add(key(&name), message);
    }
    for (n, _) in rule.ports.iter().enumerate().filter(|(_, port)| **port == 0) {
        problems.add(format!("{at}.ports[{n}]"), "is no port; write a number from 1 to 65535");
    }
    problems.when(
        !rule.ports.is_empty() && rule.hosts.is_empty(),
        key("ports"),
        "are those of hosts, and there are none; a rule_set has ports of its own",
    );
    for (n, network) in rule.addresses.iter().enumerate() {
        problems.when(
            is_everything(network),
            format!("{at}.addresses[{n}]"),
            "is every address, the metadata service and this machine included; name the networks that the hosts lie in",
        );
    }
    if let Some(via) = &rule.via {
        problems.when(!ways.contains(&via.as_str()), key("via"), no_such(via, "table in upstream_proxies", ways));
    }
    problems.when(
        rule.plain_http && !has_plain_host(rule),
        key("plain_http"),
        "has no host to reach: this rule_set needs no plain HTTP in this cloud; remove it, or name hosts",
    );
    certificates(at, rule, problems);
}

/// What is said about the handshake must be possible together.
fn certificates(at: &str, rule: &Rule, problems: &mut Problems) {
    let key = |name: &str| format!("{at}.{name}");
    for (n, subject) in rule.client_subjects.iter().enumerate() {
        problems.when(
            subject.trim() != subject || subject.is_empty(),
            format!("{at}.client_subjects[{n}]"),
            "is no subject; write a common name, or a whole subject such as \"CN=agent, O=Example\"",
        );
    }
    problems.when(
        rule.refuse_hidden_subjects && rule.client_subjects.is_empty(),
        key("refuse_hidden_subjects"),
        "needs client_subjects; set them, or remove it",
    );
    problems.when(
        rule.require_tls == Some(false) && !rule.client_subjects.is_empty(),
        key("require_tls"),
        "is false, so client_subjects could be passed by without TLS; remove one of them",
    );
}

fn is_everything(network: &Network) -> bool {
    let ends = |first: IpAddr, last: IpAddr| network.contains(first) && network.contains(last);
    ends(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into())
        || ends(IpAddr::from([0_u16; 8]), IpAddr::from([u16::MAX; 8]))
}
