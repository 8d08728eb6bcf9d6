//! Windows Event Forwarding: every Windows host can push its events without an agent, as it does to Windows' own collector.
//!
//! A host asks for its subscriptions (Enumerate), delivers to each what its query takes (Events), and says now and then that it
//! is there (Heartbeat). What it is asked for comes from the rules that apply to it, and from subscriptions of the
//! configuration. A delivery is answered when its events are durable and behind them the bookmark that came with it; until
//! then the host keeps it and sends it again. Whatever is not kept is answered with a plain status: Windows takes any but 200
//! for "not yet", while a fault of SOAP can end a subscription.
//!
//! The host is who its client certificate says. It chooses that certificate by the thumbprint of its authority, which each
//! subscription names. On a listener of their own hosts show a ticket of Kerberos instead ([`kerberos`]).

mod answer;
pub mod bookmarks;
pub mod envelope;
mod exchange;
mod forwarder;
pub mod gaps;
mod hosts;
mod ids;
mod issuer;
pub mod kerberos;
mod memory;
mod message;
mod relays;
mod settings;
pub mod sldc;
#[cfg(test)]
pub(super) mod specimen;
pub mod subscription;
mod words;

use std::sync::Arc;

use http::StatusCode;

pub use hosts::{Host, Shown, Subscribed};
pub use memory::Memory;
pub use relays::bind;
pub use settings::{Config, Explained};

use super::protocol::{Ask, Head, Protocol};
use super::reason::Reason;
use crate::event::{Client, IdentityPolicy};
use crate::filter::Rules;
use crate::net::target::decode;
use exchange::Exchange;
use issuer::Authorities;
use subscription::{Listed, Manner, Subscription, derived};

/// The first segment of every path of it.
const WSMAN: &str = "wsman";

/// It on one listener.
pub(super) struct Wef {
    listener: String,
    policy: IdentityPolicy,
    notify_to: Option<String>,
    authorities: Authorities,
    relays: Vec<relays::Config>,
    asked: Asked,
    /// The ids of the parts of what rules want; none where hosts are not asked for that.
    parts: Vec<String>,
    memory: Arc<Memory>,
    /// Where hosts show tickets in place of certificates.
    tickets: Option<Arc<kerberos::Tickets>>,
}

/// The protocol of a listener: requests keep it for as long as they last.
struct OnListener(Arc<Wef>);

impl Protocol for OnListener {
    fn ask(&self, head: &Head<'_>) -> Option<Box<dyn Ask>> {
        let first = head.segments().first().and_then(|segment| decode(segment))?;
        first.eq_ignore_ascii_case(WSMAN).then(|| Box::new(Exchange::new(Arc::clone(&self.0))) as Box<dyn Ask>)
    }
}

/// What hosts are asked for.
struct Asked {
    listed: Vec<Listed>,
    /// What subscriptions from rules are like, where there are any.
    from_rules: Option<Manner>,
}

impl Asked {
    /// The subscriptions that a host is to have.
    fn subscriptions_of(&self, listener: &str, rules: &Rules, client: &Client, machine: &str) -> Vec<Subscription> {
        let listed = self.listed.iter().filter(|listed| listed.is_for(client, machine));
        let mut subscriptions: Vec<Subscription> = listed.map(|listed| listed.subscription.clone()).collect();
        if let Some(manner) = self.from_rules {
            subscriptions.extend(derived(&rules.wanted(client, machine), listener, manner));
        }
        subscriptions
    }
}

/// The names of the authorities in a file in PEM form, each with its thumbprint.
pub fn authorities(pem: &[u8]) -> Vec<(String, String)> {
    Authorities::of_pem(pem).list()
}

impl Wef {
    fn parts(&self) -> &[String] {
        &self.parts
    }

    fn subscriptions_of(&self, client: &Client, machine: &str) -> Vec<Subscription> {
        self.asked.subscriptions_of(&self.listener, &self.memory.rules(), client, machine)
    }

    /// The subscription of an id. One that comes from rules is known by its id also when the rules do not want it any more:
    /// what a host has taken for it already must not be lost.
    fn subscription(&self, id: &str, client: &Client, machine: &str) -> Option<Known> {
        let id = id.trim_start_matches("uuid:");
        let listed = self.asked.listed.iter().map(|listed| &listed.subscription);
        if let Some(subscription) = listed.into_iter().find(|subscription| subscription.id.eq_ignore_ascii_case(id)) {
            return Some(Known::of(subscription));
        }
        let manner = self.asked.from_rules?;
        let part = self.parts.iter().position(|part| part.eq_ignore_ascii_case(id))?;
        let now = derived(&self.memory.rules().wanted(client, machine), &self.listener, manner);
        let outdated = Known { id: self.parts[part].clone(), name: "Gatepost rules".to_owned(), whole: Vec::new() };
        Some(now.get(part).map_or(outdated, Known::of))
    }
}

/// What must be known of a subscription to take what is delivered for it.
struct Known {
    id: String,
    name: String,
    whole: Vec<String>,
}

impl Known {
    fn of(subscription: &Subscription) -> Self {
        let Subscription { id, name, whole, .. } = subscription.clone();
        Self { id, name, whole }
    }
}

/// The status of a refusal, out of those that Windows' own collector has.
fn status(reason: &'static Reason) -> StatusCode {
    match reason.status {
        _ if reason.passes() => StatusCode::SERVICE_UNAVAILABLE,
        401 if [Reason::TICKET_MISSING, Reason::TICKET_REFUSED].contains(&reason) => StatusCode::UNAUTHORIZED,
        401 | 403 => StatusCode::FORBIDDEN,
        404 | 405 => StatusCode::NOT_FOUND,
        _ => StatusCode::BAD_REQUEST,
    }
}

#[cfg(test)]
mod tests;
