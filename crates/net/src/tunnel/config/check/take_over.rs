//! Problems of what is taken over. Whoever takes over a host reads what its clients send, so nothing here is guessed.

use super::super::{Authority, Config, TakeOver};
use super::{Problems, names};
use crate::tunnel::allow_list::{Covers, Pattern, agent_of};

pub(super) fn check(config: &Config, problems: &mut Problems) {
    problems.names("take_over", config.take_over.iter().map(|it| it.name.as_str()));
    authority(&config.ca, config.take_over.is_empty(), problems);
    for (n, take_over) in config.take_over.iter().enumerate() {
        let at = format!("take_over[{n}]");
        let rule = config.allow.iter().position(|rule| rule.name == take_over.name);
        if let Some(rule) = rule {
            problems.add(format!("{at}.name"), format!("is taken by allow[{rule}]; metrics could not tell them apart"));
        }
        groups(&at, take_over, config, problems);
        hosts(&at, take_over, problems);
    }
}

fn authority(ca: &Authority, nothing_to_sign: bool, problems: &mut Problems) {
    for (given, other, key, missing) in [
        (&ca.certificate, &ca.key, "ca.certificate", "ca.key"),
        (&ca.key, &ca.certificate, "ca.key", "ca.certificate"),
        (&ca.second_certificate, &ca.second_key, "ca.second_certificate", "ca.second_key"),
        (&ca.second_key, &ca.second_certificate, "ca.second_key", "ca.second_certificate"),
    ] {
        problems.when(given.is_some() && other.is_none(), key, format!("needs tunnel.{missing} beside it"));
    }
    problems.when(
        ca.certificate.is_none() && ca.key.is_none() && (!nothing_to_sign || ca.second_certificate.is_some()),
        "ca.certificate",
        "is missing; `gatepost ca init` makes an authority and says what to write here",
    );
}

fn groups(at: &str, take_over: &TakeOver, config: &Config, problems: &mut Problems) {
    let key = format!("{at}.groups");
    problems.when(
        take_over.groups.is_empty(),
        &key,
        "is empty, so nobody would be taken over; name groups of [[tunnel.groups]], with nobody in them but the agents and \
         scripts that cannot be given another address",
    );
    problems.references(&key, &take_over.groups, "group", &names(&config.groups));
}

fn hosts(at: &str, take_over: &TakeOver, problems: &mut Problems) {
    problems.when(take_over.hosts.is_empty(), format!("{at}.hosts"), "is empty, so nothing would be taken over");
    let mut forced = false;
    for (n, host) in take_over.hosts.iter().enumerate() {
        let key = format!("{at}.hosts[{n}]");
        match Pattern::parse(host) {
            Err(message) => problems.add(key, message),
            Ok(Pattern { host: Covers::Address(_), .. }) => {
                problems.add(key, "is an address, for which clients name no server in TLS; write the host's name");
            }
            Ok(pattern) => {
                let agent = agent_of(&pattern.host);
                forced |= agent.is_some();
                if let Some((agent, theirs)) = agent.filter(|_| !take_over.force) {
                    problems.add(key, refused(agent, &theirs));
                }
            }
        }
    }
    problems.when(
        take_over.force && !forced && !take_over.hosts.is_empty(),
        format!("{at}.force"),
        "forces nothing: no host here is one of the Azure Monitor Agent or of Arc; remove it",
    );
}

fn refused(agent: &str, theirs: &str) -> String {
    format!(
        "covers {theirs}, which {agent} uses; its vendor supports no inspection of its TLS, and what it asks there no input can \
         answer: choose hosts of old agents and scripts only, or set force = true beside it"
    )
}
