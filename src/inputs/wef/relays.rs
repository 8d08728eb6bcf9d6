//! Hosts that forward what others have sent to them: for whom they may speak beside themselves.
//!
//! A Windows collector can forward on what it has collected. What it delivers names other computers, which by its certificate
//! it may not speak for; nor may anybody who only has a certificate. So who may is listed, and for which hosts.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::Client;

/// A host that forwards for others.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// A name in its certificate, to the letter; with Kerberos the name of its computer (`WEC1.example.com`), or its principal.
    pub certificate: String,
    /// Hosts that it forwards for, with `*` for any part, and a name without a dot in any domain. It may speak for these beside
    /// itself, wherever `identity.policy` asks.
    pub hosts: Vec<String>,
}

impl Config {
    /// What is wrong beyond the types of the values, with the key within this table.
    pub(super) fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if self.certificate.trim().is_empty() || self.certificate.contains('*') {
            problems
                .push(("certificate", "write one name, as it stands in the relay's certificate or ticket".to_owned()));
        }
        if self.hosts.is_empty() || self.hosts.iter().any(|host| host.trim().is_empty()) {
            problems.push(("hosts", "name the hosts that it forwards for, such as \"*.plant.example\"".to_owned()));
        }
        problems
    }
}

/// Lets a client that is a relay speak for its hosts too.
pub fn bind(relays: &[Config], client: &mut Client) {
    let is_it = |relay: &&Config| client.identities.iter().any(|name| name.eq_ignore_ascii_case(&relay.certificate));
    let hosts: Vec<String> = relays.iter().filter(is_it).flat_map(|relay| relay.hosts.clone()).collect();
    if hosts.is_empty() {
        return;
    }
    // It is still itself: by its certificate, or by what the listener says of that.
    let before = client.binding.hosts.iter().cloned();
    client.binding.hosts = before.chain(hosts).collect::<Vec<_>>().into();
    if client.binding.names.is_empty() {
        client.binding.names = Arc::clone(&client.identities);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Binding;

    fn client(name: &str) -> Client {
        let names: Arc<[String]> = [name.to_owned()].into();
        let binding = Binding { names: Arc::clone(&names), ..Binding::default() };
        Client { identities: names, binding, ..Client::default() }
    }

    #[test]
    fn a_relay_speaks_for_itself_and_its_hosts_and_everybody_else_for_himself() {
        let relays = [Config { certificate: "WEC.plant.test".to_owned(), hosts: vec!["*.plant.test".to_owned()] }];
        let speaks = |certificate: &str, machine: &str| {
            let mut client = client(certificate);
            bind(&relays, &mut client);
            client.binding.speaks_for(machine)
        };
        assert!(speaks("wec.plant.test", "wec.plant.test") && speaks("wec.plant.test", "pc1.plant.test"));
        assert!(!speaks("wec.plant.test", "pc1.office.test"), "not for these");
        assert!(speaks("pc1.plant.test", "pc1.plant.test") && !speaks("pc1.plant.test", "pc2.plant.test"));
        assert!(!speaks("*", "pc2.plant.test"), "a name in a certificate is no pattern");
    }
}
