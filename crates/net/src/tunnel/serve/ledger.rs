//! What is known of a connection when it ends, and where that is told: access log, metrics, the table of refused names.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

use super::Shared;
use crate::metrics;
use crate::tunnel::Reason;
use crate::tunnel::access_log::Record;
use crate::tunnel::allow_list::Rule;
use crate::tunnel::client_hello::{ClientHello, ServerName};
use crate::tunnel::dial::Connected;
use crate::tunnel::request::{Authority, Request};

/// Why a connection gets no tunnel.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) reason: Reason,
    /// What exactly happened, for the log.
    pub(super) detail: String,
}

impl Refusal {
    pub(super) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self { reason, detail: String::new() }
    }
}

/// The facts of one connection. Told once, when it ends.
#[derive(Debug)]
pub(super) struct Ledger {
    shared: Arc<Shared>,
    asked: Option<Authority>,
    /// The reason of a refusal that the client was told, and after which it may come again.
    told: Option<Reason>,
    began: Instant,
    record: Record,
}

/// The facts of a tunnel that stands: counted as open until it has ended, also when it is cut.
#[derive(Debug)]
pub(super) struct Standing {
    ledger: Box<Ledger>,
    ended: bool,
}

impl Ledger {
    pub(super) fn new(shared: Arc<Shared>, listener: Arc<str>, client: SocketAddr) -> Self {
        let record = Record::new(listener, client, Reason::CLOSED);
        Self { shared, asked: None, told: None, began: Instant::now(), record }
    }

    pub(super) fn client(&mut self, client: SocketAddr) {
        self.record.client = client;
    }

    pub(super) fn identity(&mut self, name: Option<&Arc<str>>) {
        self.record.identity = name.cloned();
    }

    pub(super) fn request(&mut self, request: &Request) {
        self.record.destination = Some(request.authority().to_string());
        self.record.user_agent = request.sender().user_agent.clone();
        self.asked = Some(request.authority().clone());
    }

    pub(super) fn rule(&mut self, rule: &Arc<Rule>) {
        self.record.rule = Some(Arc::clone(&rule.name));
    }

    pub(super) fn address(&mut self, address: Option<SocketAddr>) {
        self.record.address = address;
    }

    pub(super) fn dialled(&mut self, connected: &Connected) {
        let took = connected.dns + connected.connect;
        self.record.address = connected.address;
        self.record.via = connected.via.clone();
        self.record.dial = Some(took);
        metrics::TUNNEL_DIAL_SECONDS.observe(&[self.rule_name()], took.as_secs_f64());
    }

    pub(super) fn hello(&mut self, hello: &ClientHello) {
        if let ServerName::Name(name) = &hello.server_name {
            self.record.sni = Some(name.as_str().to_owned());
        }
        self.record.tls_version = hello.version_max;
    }

    fn rule_name(&self) -> &str {
        self.record.rule.as_deref().unwrap_or_default()
    }

    /// The tunnel stands.
    pub(super) fn stands(self) -> Standing {
        metrics::TUNNELS_OPEN.shift(&[&self.record.listener], 1.0);
        Standing { ledger: Box::new(self), ended: false }
    }

    /// The client was refused and may come again on the same connection.
    pub(super) fn challenged(&mut self, reason: Reason) {
        metrics::TUNNELS_REFUSED.add(&[&self.record.listener, reason.code], 1);
        self.told = Some(reason);
    }

    /// It got no tunnel.
    pub(super) fn refused(mut self, refusal: Refusal) {
        let reason = match self.told {
            // That it did not come again is no other reason.
            Some(told) if matches!(refusal.reason, Reason::CLIENT_GONE | Reason::HEAD_TIMEOUT) => told,
            _ => {
                metrics::TUNNELS_REFUSED.add(&[&self.record.listener, refusal.reason.code], 1);
                refusal.reason
            }
        };
        if let Some(asked) = &self.asked
            && matches!(reason, Reason::HOST | Reason::PORT | Reason::ADDRESS)
        {
            self.shared.refused.note(&asked.host.to_string(), asked.port, reason, self.record.client.ip());
        }
        self.record.status = (reason.status > 0).then_some(reason.status);
        self.record.detail = (!refusal.detail.is_empty()).then_some(refusal.detail);
        self.tell(reason, 0, 0);
    }

    fn tell(&mut self, reason: Reason, up: u64, down: u64) {
        if is_error(reason) {
            metrics::TUNNEL_ERRORS.add(&[reason.code], 1);
        }
        self.record.time = SystemTime::now();
        self.record.duration = self.began.elapsed();
        (self.record.bytes_up, self.record.bytes_down) = (up, down);
        self.record.reason = reason;
        let next = Record::new(Arc::clone(&self.record.listener), self.record.client, reason);
        self.shared.log.write(std::mem::replace(&mut self.record, next));
    }
}

impl Standing {
    /// The tunnel has ended.
    pub(super) fn ended(mut self, reason: Reason, up: u64, down: u64) {
        self.close(reason, up, down);
    }

    fn close(&mut self, reason: Reason, up: u64, down: u64) {
        self.ended = true;
        let ledger = &mut self.ledger;
        let (listener, rule) = (&*ledger.record.listener, ledger.rule_name());
        metrics::TUNNELS_OPEN.shift(&[listener], -1.0);
        metrics::TUNNELS_ENDED.add(&[listener, rule, reason.code], 1);
        metrics::TUNNEL_BYTES.add(&[rule, "up"], up);
        metrics::TUNNEL_BYTES.add(&[rule, "down"], down);
        metrics::TUNNEL_SECONDS.observe(&[rule], ledger.began.elapsed().as_secs_f64());
        ledger.tell(reason, up, down);
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        if !self.ended {
            self.close(Reason::STOPPED, 0, 0);
        }
    }
}

/// Whether the network, a name server or an upstream proxy is at fault.
/// Makes the counters of a listener exist before their first hit, which would else be no increase.
pub(in crate::tunnel) fn begin_series(listener: &str) {
    for reason in Reason::ALL {
        if !reason.only_ends() {
            metrics::TUNNELS_REFUSED.begin(&[listener, reason.code]);
        }
        if is_error(*reason) {
            metrics::TUNNEL_ERRORS.begin(&[reason.code]);
        }
    }
}

fn is_error(reason: Reason) -> bool {
    matches!(reason.status, 502 | 504)
        || matches!(reason, Reason::DESTINATION_RESET | Reason::STALLED | Reason::DESCRIPTORS | Reason::LOOP)
}
