//! The workspaces of a listener, opened: who signs a registration, and what its agents may do.
//!
//! Guessing is of no use: who fails too often in the name of a workspace at one address waits, and so does an address that fails
//! too often at all.

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::{digest, hmac};
use http::{HeaderMap, header};

use super::config::Workspace;
use super::registry::Agent;
use super::signature::{Shown, is_by, shown, unix_seconds};
use super::{CONTENT_HASH, DATE, text};
use crate::clock;
use crate::event::names::host_fits;
use crate::event::{Binding, Client};
use crate::inputs::data_collector::config::key_bytes;
use crate::inputs::entra::memory::Memory;
use crate::inputs::http::auth::{self, Peer};
use crate::inputs::reason::{Failure, Reason};

/// Those of one listener.
pub(super) struct Workspaces {
    all: Vec<Open>,
    date_window: u64,
}

pub(super) struct Open {
    pub(super) config: Workspace,
    keys: Vec<Key>,
}

struct Key {
    hmac: hmac::Key,
    /// What it is remembered by where it was right.
    hash: [u8; 32],
}

/// A registration whose signature is right.
#[derive(Debug, Clone)]
pub(super) struct Signed {
    /// Whose key signed it.
    pub(super) workspace: usize,
    /// The hash that the body must have.
    pub(super) content: String,
}

impl Key {
    fn new(bytes: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
        Self { hmac: hmac::Key::new(hmac::HMAC_SHA256, bytes), hash }
    }
}

impl Open {
    fn new(config: Workspace) -> Self {
        let keys = config.keys.iter().filter_map(key_bytes).map(|bytes| Key::new(&bytes)).collect();
        Self { config, keys }
    }

    /// Whether a computer may register.
    pub(super) fn takes(&self, computer: &str) -> bool {
        self.config.hosts.is_empty() || self.config.hosts.iter().any(|host| host_fits(host, computer))
    }

    /// What an agent of it is to the rest of the gateway.
    pub(super) fn client(&self, agent: &Agent, peer: &Peer) -> Client {
        let Workspace { group, .. } = &self.config;
        let known = auth::client(&agent.own_name(), group.as_deref(), "agent");
        Client {
            name: format!("agent:{}", agent.computer).into(),
            address: Some(peer.address.to_canonical()),
            identities: [agent.computer.to_string()].into(),
            binding: self.binding(agent),
            exact_by_content: true,
            ..known
        }
    }

    /// An agent speaks for the computer that it registered, and for the resource that agents outside of Azure name for it.
    fn binding(&self, agent: &Agent) -> Binding {
        let computer = [agent.computer.to_string()];
        let has_domain = agent.computer.contains('.');
        let own = format!(
            "/subscriptions/{}/resourceGroups/none/providers/computer/physical/{}",
            agent.workspace, agent.computer
        );
        let resource_ids = self.config.resource_ids.iter().cloned().chain([own]).collect();
        // Without a domain a name stands for itself only, and not for a computer of that name in any domain.
        let (hosts, names) =
            if has_domain { (computer.into(), Arc::default()) } else { (Arc::default(), computer.into()) };
        Binding { hosts, names, resource_ids, also: None }
    }

    /// Whoever has a key of it, before anything else is known.
    pub(super) fn signer(&self, peer: &Peer) -> Client {
        let known = auth::client(&self.config.id.to_ascii_lowercase(), None, "workspace");
        Client { name: self.config.shown_name().into(), address: Some(peer.address.to_canonical()), ..known }
    }
}

impl Workspaces {
    /// From a configuration without problems.
    pub(super) fn new(all: Vec<Workspace>, date_window: u64) -> Self {
        Self { all: all.into_iter().map(Open::new).collect(), date_window }
    }

    pub(super) fn at(&self, at: usize) -> &Open {
        &self.all[at]
    }

    /// The workspace of this id.
    pub(super) fn of_id(&self, id: &str) -> Option<&Open> {
        self.all.iter().find(|open| open.config.id.eq_ignore_ascii_case(id))
    }

    /// Who signed a registration.
    ///
    /// # Errors
    ///
    /// When nobody did, or who says so failed too often.
    pub(super) fn signed(&self, headers: &HeaderMap, peer: &Peer, failures: &Memory) -> Result<Signed, Failure> {
        let shown = text(headers, header::AUTHORIZATION.as_str()).and_then(shown);
        let shown =
            shown.ok_or_else(|| invalid("the Authorization header is not a workspace id, \";\" and a signature"))?;
        let address = peer.address.to_canonical();
        let known = self.all.iter().position(|open| open.config.id.eq_ignore_ascii_case(shown.workspace));
        let proved = match known {
            Some(at) => self.key(at, &shown, headers).map(|key| (at, key)),
            None => Err(invalid("the workspace is not configured here")),
        };
        let (workspace, content) = self.throttled(proved, known, &shown, address, failures)?;
        Ok(Signed { workspace, content })
    }

    /// The key that signed, and the hash that the body must have.
    fn key<'w>(&'w self, at: usize, shown: &Shown<'_>, headers: &HeaderMap) -> Result<(&'w Key, String), Failure> {
        let missing = |name: &str| invalid(&format!("the header {name} is missing"));
        let date = text(headers, DATE).ok_or_else(|| missing("x-ms-Date"))?;
        let content = text(headers, CONTENT_HASH).ok_or_else(|| missing("x-ms-SHA256_Content"))?;
        let time = unix_seconds(date).ok_or_else(|| invalid("x-ms-Date is no time in ISO 8601"))?;
        let keys = &self.all[at].keys;
        let key = keys.iter().find(|key| is_by(&key.hmac, date, content, &shown.signature));
        let key = key.ok_or_else(|| invalid("none of the workspace's keys made the signature"))?;
        let off = i64::try_from(clock::wall_s()).unwrap_or(i64::MAX).abs_diff(time);
        if off > self.date_window {
            return Err(invalid(&format!("x-ms-Date is {off} s off; see that both clocks are right")));
        }
        Ok((key, content.to_owned()))
    }

    /// Counts failures as the local Entra does.
    fn throttled(
        &self,
        proved: Result<(usize, (&Key, String)), Failure>,
        known: Option<usize>,
        shown: &Shown<'_>,
        address: IpAddr,
        failures: &Memory,
    ) -> Result<(usize, String), Failure> {
        let id = known.map(|at| &*self.all[at].config.id);
        let is_looked_at = id.is_none_or(|id| failures.may_guess(address, id));
        let failure = match proved {
            Ok((at, (key, content))) if is_looked_at || failures.was_proven(address, key.hash) => {
                failures.proved(address, key.hash);
                return Ok((at, content));
            }
            Ok(_) => invalid("too many wrong signatures came from this address"),
            Err(failure) => failure,
        };
        if let Some(id) = id.filter(|_| is_looked_at) {
            failures.guessed(address, id);
        }
        failures.failed(address, shown.workspace).map_err(|after| {
            Failure::later(Reason::CLIENT_RATE, "too many wrong signatures from this address; come back later", after)
        })?;
        Err(failure)
    }
}

pub(super) fn invalid(text: &str) -> Failure {
    Failure::new(Reason::CREDENTIALS, text)
}
