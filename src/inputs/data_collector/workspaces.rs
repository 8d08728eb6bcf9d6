//! The workspaces of a listener, opened: who signs a request, and where its records go.
//!
//! Guessing is of no use: who fails too often in the name of a workspace at one address waits, and so does an address that fails
//! too often at all. A key that was right at an address before is never kept waiting by what others do there.

use std::sync::Arc;

use aws_lc_rs::{digest, hmac};
use http::{HeaderMap, header};

use super::answer::INVALID_AUTHORIZATION;
use super::config::{self, LogType};
use super::signature::{Shown, Signed, is_workspace_id, shown, unix_seconds};
use super::{Columns, Config, DATE, Repeats, Workspace, text};
use crate::clock;
use crate::event::{Binding, Client};
use crate::inputs::entra::memory::Memory;
use crate::inputs::http::auth::{self, Peer};
use crate::inputs::intake::content_length;
use crate::inputs::reason::{Failure, Reason};

/// Those of one listener.
pub(super) struct Workspaces {
    all: Vec<Open>,
    date_window: u64,
    failures: Arc<Memory>,
}

struct Open {
    config: Workspace,
    keys: Vec<Key>,
    log_types: Vec<Arc<Type>>,
}

struct Key {
    hmac: hmac::Key,
    /// What it is remembered by where it was right.
    hash: [u8; 32],
}

/// A record type, ready for its records.
#[derive(Debug)]
pub(super) struct Type {
    pub(super) name: String,
    pub(super) stream: Arc<str>,
    /// Columns that its table has; `None` where records stay as they are.
    pub(super) columns: Option<Arc<Columns>>,
    pub(super) repeats: Repeats,
}

impl Type {
    fn new(config: &LogType) -> Self {
        Self {
            name: config.name.clone(),
            stream: config.stream().into(),
            columns: config.suffixes.then(|| Arc::new(Columns::new(&config.columns))),
            repeats: config.repeats,
        }
    }
}

impl Key {
    fn new(bytes: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
        Self { hmac: hmac::Key::new(hmac::HMAC_SHA256, bytes), hash }
    }
}

impl Open {
    fn new(config: &Workspace) -> Self {
        let keys = config.keys.iter().filter_map(config::key_bytes).map(|bytes| Key::new(&bytes)).collect();
        let log_types = config.log_types.iter().map(|log_type| Arc::new(Type::new(log_type))).collect();
        Self { config: config.clone(), keys, log_types }
    }

    fn client(&self, peer: &Peer) -> Client {
        let Workspace { id, group, hosts, resource_ids, .. } = &self.config;
        let binding = Binding {
            hosts: hosts.as_slice().into(),
            resource_ids: resource_ids.as_slice().into(),
            ..Binding::default()
        };
        let known = auth::client(&id.to_ascii_lowercase(), group.as_deref(), "workspace");
        let (name, address) = (self.config.client_name().into(), Some(peer.address.to_canonical()));
        Client { name, address, identities: Arc::clone(&peer.certificate), binding, ..known }
    }
}

impl Workspaces {
    /// From a configuration without problems. `failures` are those that are remembered from before.
    pub(super) fn new(config: &Config, failures: Arc<Memory>) -> Self {
        let all = config.workspaces.iter().map(Open::new).collect();
        Self { all, date_window: config.date_window.get().as_secs(), failures }
    }

    /// What is remembered of failures.
    pub(super) fn failures(&self) -> Arc<Memory> {
        Arc::clone(&self.failures)
    }

    /// The workspace whose key signed a request, and its client.
    ///
    /// # Errors
    ///
    /// When none did, or who says so failed too often.
    pub(super) fn signer(&self, headers: &HeaderMap, peer: &Peer) -> Result<(usize, Client), Failure> {
        let shown = one(headers).and_then(shown).ok_or_else(|| {
            invalid("the Authorization header is missing, or is not SharedKey with a workspace id and a signature")
        })?;
        if !is_workspace_id(shown.workspace) {
            let text = "the workspace id in the Authorization header is not a GUID";
            return Err(Failure::named(Reason::PARAMETER, "InvalidCustomerId", text));
        }
        let known = self.all.iter().position(|open| open.config.id.eq_ignore_ascii_case(shown.workspace));
        let proved = known
            .ok_or_else(|| invalid("the workspace is not configured here"))
            .and_then(|at| self.key(&self.all[at], &shown, headers).map(|key| (at, key)));
        let (at, _) = self.throttled(proved, &shown, known, peer)?;
        Ok((at, self.all[at].client(peer)))
    }

    /// The key of a workspace that signed a request, if its date is right.
    fn key<'w>(&self, open: &'w Open, shown: &Shown<'_>, headers: &HeaderMap) -> Result<&'w Key, Failure> {
        let length = content_length(headers)
            .ok_or_else(|| invalid("the Content-Length is missing, without which no signature can be checked"))?;
        let date = text(headers, DATE).ok_or_else(|| invalid("the header x-ms-date is missing"))?;
        let time = unix_seconds(date).ok_or_else(|| invalid("x-ms-date is not a date of RFC 1123"))?;
        let off = i64::try_from(clock::wall_s()).unwrap_or(i64::MAX).abs_diff(time);
        let content_type = text(headers, header::CONTENT_TYPE.as_str());
        let key = Signed { length, content_type, date }.by(&open.keys, &shown.signature, |key| &key.hmac).ok_or_else(
            || invalid("none of the workspace's keys made the signature over this length, date and type"),
        )?;
        if off > self.date_window {
            let text = format!("x-ms-date is {off} s off, more than date_window; see that both clocks are right");
            return Err(invalid(&text));
        }
        Ok(key)
    }

    /// Counts failures as the local Entra does: who fails too often is told to come back, and is not looked at any more long before
    /// a key could be guessed.
    fn throttled<'w>(
        &self,
        proved: Result<(usize, &'w Key), Failure>,
        shown: &Shown<'_>,
        known: Option<usize>,
        peer: &Peer,
    ) -> Result<(usize, &'w Key), Failure> {
        let address = peer.address.to_canonical();
        if proved.as_ref().is_ok_and(|(_, key)| self.failures.was_proven(address, key.hash)) {
            return proved;
        }
        let id = known.map(|at| &*self.all[at].config.id);
        let is_looked_at = id.is_none_or(|id| self.failures.may_guess(address, id));
        let failure = match proved {
            Ok((at, key)) if is_looked_at => {
                self.failures.proved(address, key.hash);
                return Ok((at, key));
            }
            Ok(_) => invalid("too many wrong signatures came from this address"),
            Err(failure) => failure,
        };
        if let Some(id) = id.filter(|_| is_looked_at) {
            self.failures.guessed(address, id);
        }
        let too_often = |after| {
            Failure::later(Reason::CLIENT_RATE, "too many wrong signatures from this address; come back later", after)
        };
        self.failures.failed(address, shown.workspace).map_err(too_often)?;
        Err(failure)
    }

    /// What is known of a record type.
    ///
    /// # Errors
    ///
    /// When the workspace is closed, or takes only others.
    pub(super) fn log_type(&self, workspace: usize, name: &str) -> Result<Arc<Type>, Failure> {
        let Open { config, log_types, .. } = &self.all[workspace];
        if config.closed {
            return Err(Failure::named(Reason::DESTINATION, "InactiveCustomer", "the workspace is closed"));
        }
        match log_types.iter().find(|listed| listed.name.eq_ignore_ascii_case(name)) {
            Some(listed) => Ok(Arc::clone(listed)),
            None if config.only_listed => {
                Err(Failure::new(Reason::DESTINATION, "this record type is not one that the workspace takes here"))
            }
            None => Ok(Arc::new(Type::new(&LogType::unlisted(name)))),
        }
    }
}

/// The one `Authorization` header.
fn one(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    value.to_str().ok()
}

fn invalid(text: &str) -> Failure {
    Failure::named(Reason::CREDENTIALS, INVALID_AUTHORIZATION, text)
}
