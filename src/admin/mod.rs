//! The admin plane: health, readiness, metrics, status, control. Plain HTTP/1.1, on loopback by default.
//!
//! Reading health and metrics needs nothing, so that load balancers and Prometheus just work. Everything that changes
//! something or shows events goes through [`guard`]: a token when one is configured, nothing at all beyond loopback
//! without one, and only under a name of our own, so that a web page in an operator's browser cannot reach it.
//!
//! The plane knows nothing of what it shows: `app` hands down a [`StatusSource`], a [`Control`] and an [`azure::RuleBook`].

pub mod azure;
mod control;
mod guard;
mod health;
mod scrape;
mod serve;
mod status;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use control::{Control, ControlError, Page, Selection};
pub use guard::Guard;
pub use health::{Latch, Readiness};
pub use scrape::{InstallError, Scrape};
pub use serve::{bind, serve};
pub use status::StatusSource;

use crate::values::Secret;

/// Settings of the admin plane.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port. The default is reachable from this machine only. `/livez`, `/readyz`, `/metrics` and `/status`
    /// answer everybody who reaches it.
    pub listen: SocketAddr,
    /// Bearer token for reload, drain, dead letters and rules. Without one they work only while `listen` is a loopback address.
    pub token: Option<Secret>,
    /// Host names, without port, under which reload, drain, dead letters and rules may be called, beside `localhost`,
    /// `127.0.0.1` and `[::1]`. Other names are refused, so that a web page cannot make an operator's browser call them.
    pub allowed_hosts: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8449)), token: None, allowed_hosts: Vec::new() }
    }
}

impl Config {
    /// What is wrong beyond the types of the values: (key, what would be right).
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        if let Some(token) = &self.token
            && token.reveal().len() < 16
        {
            problems.push(("token".to_owned(), "is too short; `gatepost token` makes a good one".to_owned()));
        }
        for (n, host) in self.allowed_hosts.iter().enumerate() {
            if host.is_empty() || host.contains(['/', ' ', '*']) || (host.contains(':') && !host.starts_with('[')) {
                let message = "is not a host name; write the name alone, such as \"gatepost.example.com\"";
                problems.push((format!("allowed_hosts[{n}]"), message.to_owned()));
            }
        }
        problems
    }
}

/// What the admin plane shows and moves; made by `app`.
#[derive(Clone)]
pub struct Parts {
    /// Whether uploads are welcome.
    pub readiness: Readiness,
    /// The metrics.
    pub scrape: Scrape,
    /// What `/status` shows.
    pub status: Arc<dyn StatusSource>,
    /// What can be asked of the gateway.
    pub control: Arc<dyn Control>,
    /// The rules and associations that Azure's interface works on.
    pub rules: Arc<dyn azure::RuleBook>,
}

/// Every route. `bound` is the address that the listener really has: it decides what needs a token.
pub fn router(config: &Config, bound: SocketAddr, parts: Parts) -> Router {
    let guard = Guard::new(config, bound);
    azure::routes(parts.rules, guard.clone())
        .merge(control::routes(parts.control, guard))
        .merge(health::routes(parts.readiness))
        .merge(scrape::routes(parts.scrape))
        .merge(status::routes(parts.status))
}

#[cfg(test)]
mod tests;
