//! Whom a listener is told to let in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::Network;

/// Who may use a listener. With nothing configured, only clients of a listener on a loopback address are let in.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Bearer tokens that are let in.
    pub tokens: Vec<Token>,
    /// Client certificates that are let in, by the common name or a DNS name of the subject. Empty means every certificate of
    /// `tls.client_ca`. The first that fits counts.
    pub client_certificates: Vec<Certificate>,
    /// Networks that requests may come from, such as `"10.1.0.0/16"`. Empty means any, if a token or a certificate is
    /// asked for.
    pub networks: Vec<Network>,
    /// What each request must have: any of `"token"`, `"certificate"`, `"network"`. Empty means: a network of `networks`
    /// if there are any, and a token or a certificate if either is configured. Who must show both a token and a certificate speaks
    /// only for the computers that both allow.
    pub require: Vec<Kind>,
    /// Clients that are known only by their address share duplicate detection under this name. Default: each address
    /// is on its own, so that a stranger cannot make another host's coming event look like a duplicate.
    pub group: Option<String>,
}

/// A bearer token that is let in.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// A name for logs and the status page.
    pub name: String,
    /// The SHA-256 of the token in hexadecimal, as `printf %s TOKEN | sha256sum` prints it. The token itself is stored
    /// nowhere.
    pub sha256: String,
    /// Clients of one group share duplicate detection. Default: each token is on its own.
    #[serde(default)]
    pub group: Option<String>,
    /// Computers that it may speak for, with `*` for any part; see `identity.policy`. A name without a dot stands for that
    /// computer in any domain: write the full name where several domains share one.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Azure resource ids that it may name, with `*` for any part; see `identity.policy`.
    #[serde(default)]
    pub resource_ids: Vec<String>,
}

/// A client certificate that is let in.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// The common name or a DNS name of the certificate's subject, with `*` for any part, such as `"*.plant.example"`.
    pub name: String,
    /// Clients of one group share duplicate detection. Default: each certificate name is on its own.
    #[serde(default)]
    pub group: Option<String>,
    /// Computers that it may speak for, with `*` for any part, and a name without a dot in any domain; see `identity.policy`.
    /// Default: the names in the certificate, to the letter: a `*` in one stands for nothing, and a name without a dot for no
    /// computer in a domain.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Azure resource ids that it may name, with `*` for any part; see `identity.policy`.
    #[serde(default)]
    pub resource_ids: Vec<String>,
}

/// What a request can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A bearer token of `tokens`.
    Token,
    /// A client certificate.
    Certificate,
    /// A source address in `networks`.
    Network,
}

impl Config {
    /// The agent groups that clients can belong to.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        let tokens = self.tokens.iter().map(|token| &token.group);
        let certificates = self.client_certificates.iter().map(|certificate| &certificate.group);
        tokens.chain(certificates).chain([&self.group]).flatten().map(String::as_str)
    }

    /// What cannot work, with the key and what would be right. `loopback`: the listener's address is one;
    /// `client_ca`: `tls.client_ca` is set; `issues`: the listener's `entra` gives tokens.
    pub fn problems(&self, loopback: bool, client_ca: bool, issues: bool) -> Vec<String> {
        let mut problems: Vec<String> = self
            .tokens
            .iter()
            .filter(|token| parse_hex(&token.sha256).is_none())
            .map(|token| {
                let name = &token.name;
                format!("auth.tokens: sha256 of {name:?} is not 64 hexadecimal digits; write what sha256sum prints")
            })
            .collect();
        let missing = |kind| match kind {
            Kind::Token => {
                let none = self.tokens.is_empty() && !issues;
                none.then_some("auth.require names \"token\"; add auth.tokens or entra.clients")
            }
            Kind::Certificate => (!client_ca).then_some("auth.require names \"certificate\"; set tls.client_ca"),
            Kind::Network => self.networks.is_empty().then_some("auth.require names \"network\"; add auth.networks"),
        };
        problems.extend(self.require.iter().filter_map(|kind| missing(*kind)).map(str::to_owned));
        if !self.client_certificates.is_empty() && !client_ca {
            problems
                .push("auth.client_certificates needs the authority that signed them; set tls.client_ca".to_owned());
        }
        if !loopback && !issues && self.tokens.is_empty() && self.networks.is_empty() && !client_ca {
            problems.push(
                "auth names no token, certificate authority or network, so nobody could upload; \
                 add auth.tokens, entra.clients, tls.client_ca or auth.networks, or listen on a loopback address without proxy_protocol_from"
                    .to_owned(),
            );
        }
        problems
    }
}

/// The 32 bytes of a SHA-256 in hexadecimal.
pub(in crate::inputs) fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    hex::decode_to_slice(text, &mut hash).ok().map(|()| hash)
}
