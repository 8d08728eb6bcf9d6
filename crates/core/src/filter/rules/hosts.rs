//! Which rules apply to which host.
//!
//! Part of the answer is known when an upload comes (its network, its certificate, its agent group), the rest with each
//! event: one collector uploads for many computers. Plain names are looked up, so that ten thousand of them cost as much as
//! one; only names with wildcards, and associations that name no host, are tried one by one.

use std::collections::HashMap;

use crate::event::Client;
use crate::event::names::{first_label, fits, host_fits};
use crate::values::Network;

/// One association: what a host must fit. What is empty is not asked for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Association {
    /// Names of computers, with wildcards.
    pub hosts: Vec<String>,
    /// Where it uploads from.
    pub networks: Vec<Network>,
    /// Names in its certificate, with wildcards.
    pub identities: Vec<String>,
    /// Its agent group.
    pub groups: Vec<String>,
}

impl Association {
    /// Everything about the sender that can be known before the first event is seen.
    fn fits(&self, client: &Client) -> bool {
        let network = self.networks.is_empty()
            || client.address.is_some_and(|address| self.networks.iter().any(|network| network.contains(address)));
        let identity = self.identities.is_empty()
            || client.identities.iter().any(|name| self.identities.iter().any(|pattern| fits(pattern, name)));
        let group = self.groups.is_empty()
            || client.group.as_deref().is_some_and(|group| self.groups.iter().any(|known| known == group));
        network && identity && group
    }
}

/// The associations of all rules.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    associations: Vec<(usize, Association)>,
    /// Associations by the host names that they give without wildcards, in lower case.
    named: HashMap<Box<str>, Vec<usize>>,
    /// Associations that give a host name with wildcards.
    wild: Vec<usize>,
    /// Associations that give no host name.
    any: Vec<usize>,
    /// Rules for the rest.
    rest: Mask,
    rules: usize,
}

/// A set of rules.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Mask(Vec<u64>);

impl Mask {
    fn with(rules: usize) -> Self {
        Self(vec![0; rules.div_ceil(64)])
    }

    /// These of so many rules.
    pub(super) fn of(rules: usize, these: impl IntoIterator<Item = usize>) -> Self {
        let mut mask = Self::with(rules);
        these.into_iter().for_each(|rule| mask.add(rule));
        mask
    }

    fn add(&mut self, rule: usize) {
        self.0[rule / 64] |= 1 << (rule % 64);
    }

    pub(super) fn has(&self, rule: usize) -> bool {
        self.0[rule / 64] >> (rule % 64) & 1 == 1
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    fn copy(&mut self, other: &Self) {
        self.0.clone_from(&other.0);
    }
}

impl Hosts {
    /// For so many rules. `associations` are rule numbers with what they ask for; `rest` the rules for other hosts.
    pub(super) fn new(
        rules: usize,
        associations: Vec<(usize, Association)>,
        rest: impl IntoIterator<Item = usize>,
    ) -> Self {
        let mut hosts = Self { rest: Mask::of(rules, rest), rules, ..Self::default() };
        for (n, (_, association)) in associations.iter().enumerate() {
            if association.hosts.is_empty() {
                hosts.any.push(n);
            }
            if association.hosts.iter().any(|host| host.contains('*')) {
                hosts.wild.push(n);
            }
            for host in association.hosts.iter().filter(|host| !host.contains('*')) {
                hosts.named.entry(host.to_ascii_lowercase().into()).or_default().push(n);
            }
        }
        hosts.associations = associations;
        hosts
    }

    /// What is known of an upload before its events are.
    pub(super) fn of_sender(&self, client: &Client) -> Sender {
        let mut base = Mask::with(self.rules);
        for (rule, association) in self.any.iter().map(|&n| &self.associations[n]) {
            if association.fits(client) {
                base.add(*rule);
            }
        }
        let computers_matter = !self.wild.is_empty() || !self.named.is_empty();
        let mut sender = Sender {
            client: client.clone(),
            base,
            computers_matter,
            computer: None,
            lower: String::new(),
            mask: Mask::default(),
        };
        sender.mask.copy(if sender.base.is_empty() { &self.rest } else { &sender.base });
        sender
    }
}

/// An upload's sender, and the rules for the computer that was asked for last.
#[derive(Debug)]
pub(super) struct Sender {
    client: Client,
    base: Mask,
    computers_matter: bool,
    /// The computer that was asked for last; nothing before the first.
    computer: Option<String>,
    lower: String,
    mask: Mask,
}

impl Sender {
    /// The rules that apply to this computer's events.
    pub(super) fn rules_for(&mut self, hosts: &Hosts, computer: &str) -> &Mask {
        if self.computers_matter && self.computer.as_deref() != Some(computer) {
            let known = self.computer.get_or_insert_default();
            known.clear();
            known.push_str(computer);
            self.look_up(hosts, computer);
        }
        &self.mask
    }

    fn look_up(&mut self, hosts: &Hosts, computer: &str) {
        self.mask.copy(&self.base);
        self.lower.clear();
        self.lower.push_str(computer);
        self.lower.make_ascii_lowercase();
        let short = first_label(&self.lower);
        let by_name = |name: &str| hosts.named.get(name).into_iter().flatten();
        let full = by_name(&self.lower);
        let shortened = by_name(short).filter(|_| short.len() < self.lower.len());
        let wild = hosts.wild.iter().filter(|&&n| {
            let patterns = hosts.associations[n].1.hosts.iter().filter(|pattern| pattern.contains('*'));
            patterns.into_iter().any(|pattern| host_fits(pattern, computer))
        });
        for (rule, association) in full.chain(shortened).chain(wild).map(|&n| &hosts.associations[n]) {
            if association.fits(&self.client) {
                self.mask.add(*rule);
            }
        }
        if self.mask.is_empty() {
            self.mask.copy(&hosts.rest);
        }
    }
}

#[cfg(test)]
#[path = "hosts_tests.rs"]
mod tests;
