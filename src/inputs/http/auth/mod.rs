//! Who may use a listener, and who that is.
//!
//! Everything starts denied: a listener that other machines reach and that names no token, certificate authority or
//! network lets nobody in. Networks always must match when there are any. Of token and certificate, one is enough when
//! both are configured, unless `require` says otherwise.

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::{constant_time, digest};
use http::{HeaderMap, header};

use crate::event::names::fits;
use crate::event::{Binding, Client};
use crate::inputs::entra::{Grant, Issuer};

mod config;

pub(in crate::inputs) use config::parse_hex;
pub use config::{Certificate, Config, Kind, Token};

/// Most that is kept of what a client calls itself.
const AGENT_MAX: usize = 128;

/// Where a request comes from, as the listener knows it. An extension of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The source address.
    pub address: IpAddr,
    /// The names in the client's verified certificate, common name first; empty without one.
    pub certificate: Arc<[String]>,
    /// The certificate that it showed, encoded: some protocols ask for more than its names. On a listener that takes any
    /// certificate it proves nothing but that the client has its key.
    pub leaf: Option<Arc<[u8]>>,
}

/// Why a request is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No token, or one that is not known: 401.
    #[error("a known bearer token is needed in the Authorization header")]
    Token,
    /// A token in the form of an issued one that is not to be taken, and why: 401.
    #[error("{0}; ask for another one")]
    Issued(&'static str),
    /// No certificate, or one that is not named: 403.
    #[error("a client certificate that this gateway knows is needed")]
    Certificate,
    /// The source address: 403.
    #[error("this address may not upload here")]
    Network,
}

/// Who is let in.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// Who it is.
    pub client: Client,
    /// What it may do, if it showed an issued token.
    pub grant: Option<Grant>,
}

/// A listener's `auth`, ready to decide.
#[derive(Debug)]
pub struct Gate {
    config: Config,
    tokens: Vec<[u8; 32]>,
    issuer: Option<Arc<Issuer>>,
    asks_certificates: bool,
    open: bool,
}

impl Gate {
    /// From a configuration without problems; a token whose hash cannot be read lets nobody in. Tokens of `issuer` are taken
    /// beside those of the configuration.
    pub fn new(config: &Config, loopback: bool, client_ca: bool, issuer: Option<Arc<Issuer>>) -> Self {
        let nothing = config.tokens.is_empty() && config.networks.is_empty() && !client_ca && issuer.is_none();
        let mut config = config.clone();
        config.tokens.retain(|token| parse_hex(&token.sha256).is_some());
        let tokens = config.tokens.iter().filter_map(|token| parse_hex(&token.sha256)).collect();
        let open = nothing && loopback && config.require.is_empty();
        Self { config, tokens, issuer, asks_certificates: client_ca, open }
    }

    /// Decides about one request.
    pub fn admit(&self, peer: &Peer, headers: &HeaderMap) -> Result<Admitted, Denied> {
        // Nothing that a stranger's address sends is looked at.
        let network = self.network(peer)?;
        let grant = self.issued(headers, peer.address);
        let client = self.known(peer, headers, grant.as_ref(), network)?;
        let address = Some(peer.address.to_canonical());
        let client = Client { address, agent: agent(headers), identities: Arc::clone(&peer.certificate), ..client };
        Ok(Admitted { client, grant: grant.and_then(Result::ok) })
    }

    /// Decides about the address alone: for protocols that have credentials of their own, and for who asks for some.
    pub fn admit_address(&self, peer: &Peer) -> Result<(), Denied> {
        self.network(peer).map(drop)
    }

    /// Whether an address is in one of the networks; an error when it must be and is not.
    fn network(&self, peer: &Peer) -> Result<bool, Denied> {
        let networks = &self.config.networks;
        let address = peer.address.to_canonical();
        let inside = networks.iter().any(|network| network.contains(address));
        let must = !networks.is_empty() || self.config.require.contains(&Kind::Network);
        if inside || !must { Ok(inside) } else { Err(Denied::Network) }
    }

    fn known(
        &self,
        peer: &Peer,
        headers: &HeaderMap,
        grant: Option<&Result<Grant, &'static str>>,
        network: bool,
    ) -> Result<Client, Denied> {
        let address = peer.address.to_canonical();
        let by_address = || client(&address.to_string(), self.config.group.as_deref(), "address");
        // A tunnel that is taken over brings others to a listener that only this host reaches.
        if self.open && address.is_loopback() {
            return Ok(by_address());
        }
        let wants = |kind| self.config.require.contains(&kind);
        if let Some(Err(reason)) = grant {
            return Err(Denied::Issued(reason));
        }
        let issued = grant.and_then(|grant| grant.as_ref().ok()).map(Grant::client);
        let is_issued = issued.is_some();
        let (token, certificate) = (issued.or_else(|| self.token(headers)), self.certificate(peer));
        let asks_tokens = !self.config.tokens.is_empty() || self.issuer.is_some();
        if wants(Kind::Token) && token.is_none() {
            return Err(Denied::Token);
        }
        if wants(Kind::Certificate) && certificate.is_none() {
            return Err(Denied::Certificate);
        }
        // What an issued token restricts must not be undone by a certificate beside it.
        let (first, second) = if is_issued { (token, certificate) } else { (certificate, token) };
        let both = [Kind::Token, Kind::Certificate].into_iter().all(wants);
        let known = match (first, second) {
            (Some(first), Some(second)) if both => Some(bound_by_both(first, second)),
            (None, second) if !is_issued => second,
            (first, _) => first,
        };
        match known {
            Some(known) => Ok(known),
            None if self.config.require == [Kind::Network] => Ok(by_address()),
            None if asks_tokens => Err(Denied::Token),
            None if self.asks_certificates => Err(Denied::Certificate),
            None if network => Ok(by_address()),
            None => Err(Denied::Network),
        }
    }

    /// The owner of an issued token; a token of the configuration may have the form of one, too.
    fn issued(&self, headers: &HeaderMap, address: IpAddr) -> Option<Result<Grant, &'static str>> {
        let issuer = self.issuer.as_ref()?;
        if self.token(headers).is_some() {
            return None;
        }
        issuer.known(bearer(headers)?, address)
    }

    /// Compares with every token in constant time, so that timing tells nothing about any of them.
    fn token(&self, headers: &HeaderMap) -> Option<Client> {
        let shown = digest::digest(&digest::SHA256, bearer(headers)?.as_bytes());
        let mut found = None;
        for (token, hash) in self.config.tokens.iter().zip(&self.tokens) {
            if constant_time::verify_slices_are_equal(shown.as_ref(), hash).is_ok() {
                let known = client(&token.name, token.group.as_deref(), "token");
                found = Some(Client { binding: binding(&token.hosts, &token.resource_ids), ..known });
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
            let binding = Binding { names: Arc::clone(&peer.certificate), ..Binding::default() };
            return peer.certificate.first().map(|name| Client { binding, ..client(name, None, "certificate") });
        }
        let listed_as = |name: &str| listed.iter().find(|entry| fits(&entry.name, name));
        let (entry, own) = peer.certificate.iter().find_map(|name| Some((listed_as(name)?, name)))?;
        // Many clients can fit one pattern: each is known by its own name.
        let name = if entry.name.contains('*') { own } else { &entry.name };
        let names = if entry.hosts.is_empty() { Arc::clone(&peer.certificate) } else { Arc::default() };
        let binding = Binding { names, ..binding(&entry.hosts, &entry.resource_ids) };
        Some(Client { binding, ..client(name, entry.group.as_deref(), "certificate") })
    }
}

/// The one bearer token of a request.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, shown) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| shown.trim())
}

/// Who had to show two things speaks only for what both allow.
fn bound_by_both(client: Client, other: Client) -> Client {
    let also = (!other.binding.is_empty()).then(|| Arc::new(other.binding));
    Client { binding: Binding { also, ..client.binding }, ..client }
}

fn binding(hosts: &[String], resource_ids: &[String]) -> Binding {
    Binding { hosts: hosts.into(), resource_ids: resource_ids.into(), ..Binding::default() }
}

/// What a client calls itself, as far as it can be shown.
pub(in crate::inputs) fn agent(headers: &HeaderMap) -> Option<Arc<str>> {
    let told = headers.get(header::USER_AGENT)?.as_bytes();
    let printable = |byte: &u8| if matches!(byte, 0x20..=0x7e) { char::from(*byte) } else { '?' };
    Some(told.iter().take(AGENT_MAX).map(printable).collect::<String>().into())
}

/// A client by the kind of what it showed; without a group it is its own scope.
pub(in crate::inputs) fn client(name: &str, group: Option<&str>, kind: &str) -> Client {
    let scope = match group {
        Some(group) => format!("group:{group}"),
        None => format!("{kind}:{name}"),
    };
    Client { name: name.into(), scope: scope.into(), group: group.map(Arc::from), ..Client::default() }
}

#[cfg(test)]
mod tests;
