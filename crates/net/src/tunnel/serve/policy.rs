//! What one listener judges new connections by. A reload makes a new one; tunnels that stand keep what they began with.

use std::sync::Arc;
use std::time::Duration;

use super::super::allow_list::AllowList;
use super::super::clients::Clients;
use super::super::config::{Config, Limits, Listener};
use super::super::dial::Dialer;
use super::super::relay::{Throttle, Timeouts};
use crate::net::tls_server::ServerTls;

/// What one listener judges new connections by.
#[derive(Debug)]
pub(in crate::tunnel) struct Policy {
    /// The listener's name.
    pub(in crate::tunnel) label: Arc<str>,
    pub(in crate::tunnel) listener: Listener,
    pub(in crate::tunnel) tls: Option<Arc<ServerTls>>,
    pub(in crate::tunnel) clients: Clients,
    pub(in crate::tunnel) rules: Arc<Rules>,
}

/// What all listeners of one configuration judge by.
#[derive(Debug)]
pub(in crate::tunnel) struct Rules {
    pub(in crate::tunnel) allow: AllowList,
    pub(in crate::tunnel) dialer: Arc<Dialer>,
    pub(in crate::tunnel) limits: Limits,
    pub(in crate::tunnel) bandwidth: Option<Arc<Throttle>>,
}

impl Rules {
    /// The rules of a configuration.
    pub(in crate::tunnel) fn new(config: &Config, dialer: Arc<Dialer>, bandwidth: Option<Arc<Throttle>>) -> Self {
        Self { allow: AllowList::new(&config.allow, &config.via), dialer, limits: config.limits.clone(), bandwidth }
    }
}

impl Policy {
    /// The listener's name.
    pub(in crate::tunnel) fn name(&self) -> &str {
        &self.listener.name
    }

    /// Whether clients speak TLS to the proxy.
    pub(in crate::tunnel) fn speaks_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Sizes, times and numbers.
    pub(in crate::tunnel) fn limits(&self) -> &Limits {
        &self.rules.limits
    }

    /// For the head of a request.
    pub(in crate::tunnel) fn head_timeout(&self) -> Duration {
        self.limits().head_timeout.get()
    }

    /// For a tunnel that stands.
    pub(in crate::tunnel) fn timeouts(&self) -> Timeouts {
        let limits = self.limits();
        Timeouts {
            idle: limits.idle_timeout.get(),
            half_closed: limits.half_closed_timeout.get(),
            stalled: limits.stalled_timeout.get(),
            lifetime: limits.max_lifetime.get(),
        }
    }
}
