//! Whose events a client may send: what is done on one listener.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{entra, http::auth};
use crate::event::IdentityPolicy;

/// Whose events a client may send. A client is bound to computers by the `hosts` of its token, its certificate or its entra
/// client; a certificate without `hosts` by its own names, which are taken to the letter.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `"off"`: anybody who may upload may name any computer. `"tag"`: events are kept with the name of their client, and
    /// those of computers that are not its own are counted. `"enforce"`: an upload with such an event is refused whole with
    /// 403. Events that name no computer pass. Default `"off"`.
    pub policy: IdentityPolicy,
}

impl Config {
    /// What is configured of clients and yet does nothing, with its key. `others` are the bound clients of protocols.
    pub(super) fn warning(
        &self,
        auth: &auth::Config,
        entra: &entra::Config,
        others: &[String],
    ) -> Option<(String, String)> {
        let bound = |hosts: &[String], resource_ids: &[String]| !(hosts.is_empty() && resource_ids.is_empty());
        let first = |list: &str, n: Option<usize>| n.map(|n| format!("{list}[{n}]"));
        let token = auth.tokens.iter().position(|token| bound(&token.hosts, &token.resource_ids));
        let named = auth.client_certificates.iter().position(|named| bound(&named.hosts, &named.resource_ids));
        let client = entra.clients.iter().position(|client| bound(&client.hosts, &client.resource_ids));
        let key = first("auth.tokens", token)
            .or_else(|| first("auth.client_certificates", named))
            .or_else(|| first("entra.clients", client))
            .or_else(|| (!others.is_empty()).then(|| "identity.policy".to_owned()))
            .filter(|_| self.policy == IdentityPolicy::Off)?;
        let tokens = auth.tokens.iter().filter(|token| bound(&token.hosts, &token.resource_ids));
        let certificates = auth.client_certificates.iter().filter(|named| bound(&named.hosts, &named.resource_ids));
        let clients = entra.clients.iter().filter(|client| bound(&client.hosts, &client.resource_ids));
        let names = tokens.map(|token| &token.name).chain(certificates.map(|certificate| &certificate.name));
        let names: Vec<String> = names
            .chain(clients.map(|client| client.name.as_ref().unwrap_or(&client.id)))
            .chain(others)
            .map(|name| format!("{name:?}"))
            .collect();
        let told = format!(
            "hosts and resource_ids of {} do nothing while identity.policy is \"off\": any client may send events of any \
             computer; set identity.policy to \"enforce\", or to \"tag\" to see first what would be refused",
            names.join(", ")
        );
        Some((key, told))
    }

    /// What cannot work, with the key and what would be right.
    pub(super) fn problems(&self, auth: &auth::Config, entra: &entra::Config, client_ca: bool) -> Vec<String> {
        let bound = client_ca
            || auth.tokens.iter().any(|token| !token.hosts.is_empty() || !token.resource_ids.is_empty())
            || entra.clients.iter().any(|client| !client.hosts.is_empty() || !client.resource_ids.is_empty());
        if bound || self.policy != IdentityPolicy::Enforce {
            return Vec::new();
        }
        let message = "identity.policy is \"enforce\" and no client is bound to computers, so every upload would be refused; \
                       add hosts to auth.tokens or entra.clients, or set tls.client_ca";
        vec![message.to_owned()]
    }
}

#[cfg(test)]
mod tests {
    use crate::inputs;

    fn warnings(text: &str) -> Vec<String> {
        let told = toml::from_str::<inputs::Config>(text).expect("it can be read").warnings();
        told.into_iter().map(|(key, warning)| format!("{key}: {warning}")).collect()
    }

    #[test]
    fn hosts_that_do_nothing_are_told_with_whose_they_are() {
        let token = |rest: &str| format!("auth.tokens = [{{ name = \"plant\", sha256 = \"00\"{rest} }}]");
        let workspace =
            "data_collector = { enabled = true, workspaces = [{ id = \"x\", keys = [], hosts = [\"web01\"] }] }";
        let certificate = "auth.client_certificates = [{ name = \"web\", hosts = [\"web01\"] }]";
        for bound in [&token(", hosts = [\"web01\"]"), &token(", resource_ids = [\"/x\"]"), certificate, workspace] {
            let found = warnings(bound);
            assert!(found.len() == 1 && found[0].contains("do nothing while identity.policy"), "{bound}: {found:?}");
            let is_at_its_entry = found[0].starts_with("auth.") && found[0].contains("[0]: ");
            assert!(is_at_its_entry || found[0].starts_with("identity.policy: "), "the place is named: {found:?}");
            for policy in ["tag", "enforce"] {
                let found = warnings(&format!("{bound}\nidentity.policy = \"{policy}\""));
                assert_eq!(found, Vec::<String>::new(), "{bound} {policy}");
            }
        }
        assert_eq!(warnings(&token("")), Vec::<String>::new());
        assert!(warnings(certificate)[0].contains("\"web\""));
    }
}
