//! What the owner of a token may do.

use std::sync::Arc;

use super::Issuer;
use super::config::ClientEntry;
use super::memory::Rate;
use crate::event::{Binding, Client};
use crate::inputs::http::auth;
use crate::inputs::reason::{Failure, Reason};

/// What the owner of a token may do.
#[derive(Debug, Clone)]
pub struct Grant {
    /// Who issued the token.
    pub(super) issuer: Arc<Issuer>,
    /// Which of its clients that is.
    pub(super) at: usize,
}

impl Grant {
    fn entry(&self) -> &ClientEntry {
        &self.issuer.clients[self.at].entry
    }

    /// The client as uploads carry it.
    pub fn client(&self) -> Client {
        let entry = self.entry();
        let client = auth::client(&entry.id.to_ascii_lowercase(), entry.group.as_deref(), "client");
        let (hosts, resource_ids) = (entry.hosts.clone().into(), entry.resource_ids.clone().into());
        let binding = Binding { hosts, resource_ids, ..Binding::default() };
        Client { name: self.issuer.clients[self.at].name().into(), binding, ..client }
    }

    /// Whether its owner may upload there. Doors without rules and streams name none: they are closed to who is restricted.
    pub fn allows(&self, rule: &str, stream: &str) -> Result<(), Failure> {
        let entry = self.entry();
        let known = |list: &[String], name: &str| list.is_empty() || list.iter().any(|n| n.eq_ignore_ascii_case(name));
        let refused = |what: &str| {
            let message = if rule.is_empty() {
                "this client may upload to certain rules or streams only, and this path names none; use \
                 /dataCollectionRules/…/streams/…, or see entra.clients of the listener"
                    .to_owned()
            } else {
                format!("this client may not upload to this {what}; see entra.clients of the listener")
            };
            Err(Failure::new(Reason::RESTRICTED, message))
        };
        if !known(&entry.rules, rule) {
            refused("data collection rule")
        } else if !known(&entry.streams, stream) {
            refused("stream")
        } else {
            Ok(())
        }
    }

    /// Counts one request, unless its owner had too many or sent too much.
    pub fn take_request(&self) -> Result<(), Failure> {
        let entry = self.entry();
        if let Some(rate) = entry.requests_per_second.map(f64::from) {
            self.take(Rate::Requests, rate, rate, 1.0, "requests_per_second")?;
        }
        self.take_bytes(0)
    }

    /// Counts the bytes of a request.
    pub fn take_bytes(&self, bytes: usize) -> Result<(), Failure> {
        let Some(rate) = self.entry().bytes_per_minute else { return Ok(()) };
        let size = rate.as_u64() as f64;
        self.take(Rate::Bytes, size, size / 60.0, bytes as f64, "bytes_per_minute")
    }

    fn take(&self, rate: Rate, size: f64, per_second: f64, much: f64, key: &str) -> Result<(), Failure> {
        let taken = self.issuer.memory.take(&self.entry().id, rate, size, per_second, much);
        taken.map_err(|after| {
            let message = format!("this client has used up its {key}; come back later");
            Failure::later(Reason::CLIENT_RATE, message, after)
        })
    }
}
