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
