//! Who may come with a ticket, and for which computers it speaks.

use std::sync::Arc;

use super::config::{Config, Principal};
use crate::event::names::{first_label, fits};
use crate::event::{Binding, Client};
use crate::inputs::http::auth::client;
use crate::net::gss::keytab;

/// The principals that are let in.
#[derive(Debug)]
pub(super) struct Names {
    /// Whose computers are let in where nobody is named.
    pub(super) realms: Vec<String>,
    pub(super) principals: Vec<Principal>,
    pub(super) domains: Vec<String>,
}

impl Names {
    /// Those of a configuration, with the realms of its keytab.
    ///
    /// # Errors
    ///
    /// When the keytab cannot be read.
    pub(super) fn of(config: &Config) -> Result<Self, String> {
        let Config { principals, domains, keytab, .. } = config.clone();
        let path = keytab.unwrap_or_default();
        let entries = keytab::load(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut realms: Vec<String> = entries.into_iter().map(|entry| entry.realm).collect();
        realms.sort_unstable();
        realms.dedup();
        Ok(Self { realms, principals, domains })
    }

    /// The client that a principal is, if it is let in.
    pub(super) fn client(&self, principal: &str) -> Option<Client> {
        let (account, realm) = principal.rsplit_once('@')?;
        let entry = self.principals.iter().find(|entry| fits(&entry.name, principal));
        let is_computer = account.ends_with('$') && !account.contains('/');
        let is_default = self.principals.is_empty() && is_computer && self.realms.iter().any(|known| known == realm);
        if entry.is_none() && !is_default {
            return None;
        }
        let names: Arc<[String]> = self.computers(account, realm).into();
        let (hosts, resource_ids) = entry.map(|entry| (&entry.hosts[..], &entry.resource_ids[..])).unwrap_or_default();
        let own = if hosts.is_empty() { Arc::clone(&names) } else { Arc::default() };
        let binding =
            Binding { hosts: hosts.into(), names: own, resource_ids: resource_ids.into(), ..Binding::default() };
        let group = entry.and_then(|entry| entry.group.as_deref());
        // Subscriptions and relays may name it either way.
        let identities = names.iter().cloned().chain([principal.to_owned()]).collect();
        Some(Client { binding, identities, ..client(principal, group, "kerberos") })
    }

    /// The names of an account's computer. An account has none of DNS: in a domain of Windows, the realm is the domain.
    fn computers(&self, account: &str, realm: &str) -> Vec<String> {
        let computer = account.strip_suffix('$').unwrap_or(account);
        let of_realm = [realm.to_lowercase()];
        let domains = if self.domains.is_empty() { &of_realm[..] } else { &self.domains };
        let whole = domains.iter().map(|domain| format!("{computer}.{domain}"));
        whole.chain([computer.to_owned()]).collect()
    }
}

impl Config {
    /// Who a host would be with the ticket of a principal, and why it would not be let in, for people who ask before it comes.
    /// Default for the principal: the account that a computer of this name has.
    pub fn client(&self, host: &str, principal: Option<&str>) -> (Client, Option<String>) {
        let names = match Names::of(self) {
            Ok(names) => names,
            Err(reason) => return (Client { name: host.into(), ..Client::default() }, Some(reason)),
        };
        let realm = names.realms.first().map_or("", String::as_str);
        let usual = || format!("{}$@{realm}", first_label(host).to_uppercase());
        let principal = principal.map_or_else(usual, str::to_owned);
        match names.client(&principal) {
            Some(client) => (client, None),
            None => {
                let reason = format!("{principal:?} is not let in; see wef.kerberos.principals");
                (Client { name: principal.into(), ..Client::default() }, Some(reason))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::wef::relays;

    fn names(principals: &[(&str, &[&str])], domains: &[&str]) -> Names {
        let principal = |(name, hosts): &(&str, &[&str])| Principal {
            name: (*name).to_owned(),
            group: None,
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            resource_ids: Vec::new(),
        };
        Names {
            realms: vec!["EXAMPLE.TEST".to_owned()],
            principals: principals.iter().map(principal).collect(),
            domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
        }
    }

    #[test]
    fn computers_of_the_realm_are_let_in_and_speak_for_themselves() {
        let names = names(&[], &[]);
        let client = names.client("PC1$@EXAMPLE.TEST").expect("a computer");
        assert_eq!(&*client.name, "PC1$@EXAMPLE.TEST");
        for own in ["pc1.example.test", "PC1", "pc1"] {
            assert!(client.binding.speaks_for(own), "{own}");
        }
        for other in ["pc2.example.test", "pc1.other.test", "pc1.sub.example.test", "pc2", ""] {
            assert!(!client.binding.speaks_for(other), "{other}");
        }
        for stranger in ["someone@EXAMPLE.TEST", "PC1$@OTHER.TEST", "host/PC1$@EXAMPLE.TEST", "PC1$", "@"] {
            assert!(names.client(stranger).is_none(), "{stranger}");
        }
    }

    #[test]
    fn a_relay_is_known_by_its_computers_name_and_by_its_principal() {
        let names = names(&[], &[]);
        for relay in ["wec1.example.test", "WEC1", "WEC1$@EXAMPLE.TEST"] {
            let relays = [relays::Config { certificate: relay.to_owned(), hosts: vec!["*.plant.test".to_owned()] }];
            let speaks = |principal: &str, host: &str| {
                let mut client = names.client(principal).expect("a computer");
                relays::bind(&relays, &mut client);
                client.binding.speaks_for(host)
            };
            assert!(
                speaks("WEC1$@EXAMPLE.TEST", "pc7.plant.test") && speaks("WEC1$@EXAMPLE.TEST", "wec1.example.test")
            );
            assert!(!speaks("WEC1$@EXAMPLE.TEST", "pc7.office.test") && !speaks("PC1$@EXAMPLE.TEST", "pc7.plant.test"));
        }
    }

    #[test]
    fn who_is_named_is_let_in_alone_and_may_speak_for_others() {
        let names = names(&[("WEC1$@*", &["*.plant.test"]), ("*$@OTHER.TEST", &[])], &["plant.test"]);
        let relay = names.client("WEC1$@EXAMPLE.TEST").expect("it is named");
        assert!(relay.binding.speaks_for("pc7.plant.test") && !relay.binding.speaks_for("wec1.example.test"));
        let host = names.client("PC1$@OTHER.TEST").expect("it is named");
        assert!(host.binding.speaks_for("pc1.plant.test") && !host.binding.speaks_for("pc1.other.test"));
        assert!(names.client("PC1$@EXAMPLE.TEST").is_none());
    }
}
