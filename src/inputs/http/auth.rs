//! Who may use a listener, and who that is.
//!
//! Everything starts denied: a listener that other machines reach and that names no token, certificate authority or
//! network lets nobody in. Networks always must match when there are any. Of token and certificate, one is enough when
//! both are configured, unless `require` says otherwise.

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::{constant_time, digest};
use http::{HeaderMap, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::Client;
use crate::values::Network;

/// Who may use a listener. With nothing configured, only clients of a listener on a loopback address are let in.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Bearer tokens that are let in.
    pub tokens: Vec<Token>,
    /// Names of client certificates that are let in: the common name or a DNS name of the subject. Empty means every
    /// certificate of `tls.client_ca`.
    pub client_certificates: Vec<Certificate>,
    /// Networks that requests may come from, such as `"10.1.0.0/16"`. Empty means any, if a token or a certificate is
    /// asked for.
    pub networks: Vec<Network>,
    /// What each request must have: any of `"token"`, `"certificate"`, `"network"`. Empty means: a network of `networks`
    /// if there are any, and a token or a certificate if either is configured.
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
}

/// A client certificate that is let in.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// The common name or a DNS name of the certificate's subject.
    pub name: String,
    /// Clients of one group share duplicate detection. Default: each certificate name is on its own.
    #[serde(default)]
    pub group: Option<String>,
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

/// Where a request comes from, as the listener knows it. An extension of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The source address.
    pub address: IpAddr,
    /// The names in the client's verified certificate, common name first; empty without one.
    pub certificate: Arc<[String]>,
}

/// Why a request is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No token, or one that is not known: 401.
    #[error("a known bearer token is needed in the Authorization header")]
    Token,
    /// No certificate, or one that is not named: 403.
    #[error("a client certificate that this gateway knows is needed")]
    Certificate,
    /// The source address: 403.
    #[error("this address may not upload here")]
    Network,
}

/// A listener's `auth`, ready to decide.
#[derive(Debug)]
pub struct Gate {
    config: Config,
    tokens: Vec<[u8; 32]>,
    asks_certificates: bool,
    open: bool,
}

impl Config {
    /// The agent groups that clients can belong to.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        let tokens = self.tokens.iter().map(|token| &token.group);
        let certificates = self.client_certificates.iter().map(|certificate| &certificate.group);
        tokens.chain(certificates).chain([&self.group]).flatten().map(String::as_str)
    }

    /// What cannot work, with the key and what would be right. `loopback`: the listener's address is one;
    /// `client_ca`: `tls.client_ca` is set.
    pub fn problems(&self, loopback: bool, client_ca: bool) -> Vec<String> {
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
            Kind::Token => self.tokens.is_empty().then_some("auth.require names \"token\"; add auth.tokens"),
            Kind::Certificate => (!client_ca).then_some("auth.require names \"certificate\"; set tls.client_ca"),
            Kind::Network => self.networks.is_empty().then_some("auth.require names \"network\"; add auth.networks"),
        };
        problems.extend(self.require.iter().filter_map(|kind| missing(*kind)).map(str::to_owned));
        if !self.client_certificates.is_empty() && !client_ca {
            problems
                .push("auth.client_certificates needs the authority that signed them; set tls.client_ca".to_owned());
        }
        if !loopback && self.tokens.is_empty() && self.networks.is_empty() && !client_ca {
            problems.push(
                "auth names no token, certificate authority or network, so nobody could upload; \
                 add auth.tokens, tls.client_ca or auth.networks, or listen on a loopback address"
                    .to_owned(),
            );
        }
        problems
    }
}

impl Gate {
    /// From a configuration without problems; a token whose hash cannot be read lets nobody in.
    pub fn new(config: &Config, loopback: bool, client_ca: bool) -> Self {
        let nothing = config.tokens.is_empty() && config.networks.is_empty() && !client_ca;
        let mut config = config.clone();
        config.tokens.retain(|token| parse_hex(&token.sha256).is_some());
        let tokens = config.tokens.iter().filter_map(|token| parse_hex(&token.sha256)).collect();
        let open = nothing && loopback && config.require.is_empty();
        Self { config, tokens, asks_certificates: client_ca, open }
    }

    /// Decides about one request.
    pub fn admit(&self, peer: &Peer, headers: &HeaderMap) -> Result<Client, Denied> {
        let client = self.known(peer, headers)?;
        Ok(Client { address: Some(peer.address.to_canonical()), identities: Arc::clone(&peer.certificate), ..client })
    }

    fn known(&self, peer: &Peer, headers: &HeaderMap) -> Result<Client, Denied> {
        let address = peer.address.to_canonical();
        let by_address = || client(&address.to_string(), self.config.group.as_deref(), "address");
        if self.open {
            return Ok(by_address());
        }
        let wants = |kind| self.config.require.contains(&kind);
        let network = self.config.networks.iter().any(|network| network.contains(address));
        if !network && (wants(Kind::Network) || !self.config.networks.is_empty()) {
            return Err(Denied::Network);
        }
        let (token, certificate) = (self.token(headers), self.certificate(peer));
        let asks_tokens = !self.config.tokens.is_empty();
        if wants(Kind::Token) && token.is_none() {
            return Err(Denied::Token);
        }
        if wants(Kind::Certificate) && certificate.is_none() {
            return Err(Denied::Certificate);
        }
        match certificate.or(token) {
            Some(known) => Ok(known),
            None if self.config.require == [Kind::Network] => Ok(by_address()),
            None if asks_tokens => Err(Denied::Token),
            None if self.asks_certificates => Err(Denied::Certificate),
            None if network => Ok(by_address()),
            None => Err(Denied::Network),
        }
    }

    /// Compares with every token in constant time, so that timing tells nothing about any of them.
    fn token(&self, headers: &HeaderMap) -> Option<Client> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        let (scheme, shown) = value.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let shown = digest::digest(&digest::SHA256, shown.trim().as_bytes());
        let mut found = None;
        for (token, hash) in self.config.tokens.iter().zip(&self.tokens) {
            if constant_time::verify_slices_are_equal(shown.as_ref(), hash).is_ok() {
                found = Some(client(&token.name, token.group.as_deref(), "token"));
            }
        }
        found
    }

    fn certificate(&self, peer: &Peer) -> Option<Client> {
        if !self.asks_certificates {
            return None;
        }
        let listed = &self.config.client_certificates;
        if listed.is_empty() {
            return peer.certificate.first().map(|name| client(name, None, "certificate"));
        }
        let known = |name: &String| listed.iter().find(|entry| entry.name.eq_ignore_ascii_case(name));
        let entry = peer.certificate.iter().find_map(known)?;
        Some(client(&entry.name, entry.group.as_deref(), "certificate"))
    }
}

fn client(name: &str, group: Option<&str>, kind: &str) -> Client {
    let scope = match group {
        Some(group) => format!("group:{group}"),
        None => format!("{kind}:{name}"),
    };
    Client { name: name.into(), scope: scope.into(), group: group.map(Arc::from), ..Client::default() }
}

fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    let digits = text.as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha256_hex(text: &str) -> String {
        digest::digest(&digest::SHA256, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn peer(address: &str, certificate: &[&str]) -> Peer {
        Peer {
            address: address.parse().expect("an address"),
            certificate: certificate.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn bearer(token: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, format!("Bearer {token}").parse().expect("a header"))])
    }

    fn config(tokens: &[(&str, &str)], networks: &[&str], require: &[Kind]) -> Config {
        let token =
            |(name, token): &(&str, &str)| Token { name: (*name).to_owned(), sha256: sha256_hex(token), group: None };
        Config {
            tokens: tokens.iter().map(token).collect(),
            networks: networks.iter().map(|text| Network::try_from((*text).to_owned()).expect("a network")).collect(),
            require: require.to_vec(),
            ..Config::default()
        }
    }

    fn scope(gate: &Gate, peer: &Peer, headers: &HeaderMap) -> Result<String, Denied> {
        gate.admit(peer, headers).map(|client| client.scope.to_string())
    }

    #[test]
    fn nothing_configured_lets_in_only_on_loopback() {
        let nothing = Config::default();
        let here = peer("127.0.0.1", &[]);
        let open = Gate::new(&nothing, true, false);
        assert_eq!(scope(&open, &here, &HeaderMap::new()), Ok("address:127.0.0.1".to_owned()));
        let closed = Gate::new(&nothing, false, false);
        assert_eq!(scope(&closed, &here, &HeaderMap::new()), Err(Denied::Network));
        assert_eq!(nothing.problems(false, false).len(), 1);
        assert!(nothing.problems(true, false).is_empty());
    }

    #[test]
    fn a_token_or_a_certificate_is_enough_but_the_network_must_match() {
        let gate = Gate::new(&config(&[("plant", "sesame")], &["10.0.0.0/8"], &[]), false, true);
        let inside = peer("::ffff:10.1.2.3", &[]);
        assert_eq!(scope(&gate, &inside, &bearer("sesame")), Ok("token:plant".to_owned()));
        assert_eq!(scope(&gate, &inside, &bearer("Sesame")), Err(Denied::Token));
        assert_eq!(scope(&gate, &inside, &HeaderMap::new()), Err(Denied::Token));
        let with_certificate = peer("10.1.2.3", &["host-a"]);
        assert_eq!(scope(&gate, &with_certificate, &HeaderMap::new()), Ok("certificate:host-a".to_owned()));
        assert_eq!(scope(&gate, &peer("192.0.2.1", &["host-a"]), &bearer("sesame")), Err(Denied::Network));
    }

    #[test]
    fn require_asks_for_each_kind() {
        let both = [Kind::Token, Kind::Certificate];
        let gate = Gate::new(&config(&[("plant", "sesame")], &[], &both), false, true);
        assert_eq!(scope(&gate, &peer("10.0.0.1", &[]), &bearer("sesame")), Err(Denied::Certificate));
        assert_eq!(scope(&gate, &peer("10.0.0.1", &["a"]), &HeaderMap::new()), Err(Denied::Token));
        assert!(scope(&gate, &peer("10.0.0.1", &["a"]), &bearer("sesame")).is_ok());
    }

    #[test]
    fn only_listed_certificates_pass_and_a_group_is_the_scope() {
        let listed = Certificate { name: "host-a.plant".to_owned(), group: Some("plant".to_owned()) };
        let config = Config { client_certificates: vec![listed], ..Config::default() };
        let gate = Gate::new(&config, false, true);
        let none = HeaderMap::new();
        assert_eq!(scope(&gate, &peer("10.0.0.1", &["x", "HOST-A.plant"]), &none), Ok("group:plant".to_owned()));
        assert_eq!(scope(&gate, &peer("10.0.0.1", &["host-b"]), &none), Err(Denied::Certificate));
        assert_eq!(config.problems(false, false).len(), 2);
    }

    #[test]
    fn a_client_tells_all_that_rules_may_ask_for() {
        let listed = Certificate { name: "host-a.plant".to_owned(), group: Some("plant".to_owned()) };
        let gate = Gate::new(&Config { client_certificates: vec![listed], ..Config::default() }, false, true);
        let named = peer("::ffff:10.1.2.3", &["cn", "host-a.plant"]);
        let client = gate.admit(&named, &HeaderMap::new()).expect("it is listed");
        assert_eq!(client.address, Some("10.1.2.3".parse().expect("an address")), "mapped addresses are unmapped");
        assert_eq!(*client.identities, ["cn".to_owned(), "host-a.plant".to_owned()]);
        assert_eq!(client.group.as_deref(), Some("plant"));

        let open = Gate::new(&Config { group: Some("lab".to_owned()), ..Config::default() }, true, false);
        let client = open.admit(&peer("::1", &[]), &HeaderMap::new()).expect("nothing is configured");
        assert_eq!((client.address, client.group.as_deref()), (Some("::1".parse().expect("an address")), Some("lab")));
        assert!(client.identities.is_empty());

        let gate = Gate::new(&config(&[("plant", "sesame")], &[], &[]), false, false);
        let client = gate.admit(&peer("10.0.0.1", &[]), &bearer("sesame")).expect("the token is right");
        assert_eq!((&*client.name, client.group), ("plant", None));
    }

    #[test]
    fn hashes_must_be_hashes_and_repeated_headers_are_no_token() {
        assert!(parse_hex(&sha256_hex("sesame")).is_some());
        assert!(parse_hex("+1".repeat(32).as_str()).is_none());
        let gate = Gate::new(&config(&[("plant", "sesame")], &[], &[]), false, false);
        let mut twice = bearer("sesame");
        twice.append(header::AUTHORIZATION, "Bearer other".parse().expect("a header"));
        assert_eq!(scope(&gate, &peer("10.0.0.1", &[]), &twice), Err(Denied::Token));
    }
}
