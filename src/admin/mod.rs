//! The admin plane: health, readiness, metrics, status, control. HTTP/1.1, in TLS where that is configured, on loopback by
//! default.
//!
//! Health needs nothing and comes through whatever others do ([`mod@serve`]), so that load balancers just work; nor do metrics and
//! status, unless the configuration says so. Everything that changes something or shows events goes through [`guard`]: a token
//! when one is configured, nothing at all beyond loopback without one, and only under a name of our own, so that a web page in
//! an operator's browser cannot reach it.
//!
//! The plane knows nothing of what it shows: `app` hands down a [`StatusSource`], a [`Control`] and an [`azure::RuleBook`].

pub mod azure;
mod config;
mod control;
mod guard;
mod health;
mod live;
mod runtime;
mod scrape;
mod serve;
mod status;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::{Router, middleware};
use tokio_util::sync::CancellationToken;

pub use config::{Config, Scope};
pub use control::{AgentOrder, Control, ControlError, Page, Selection};
pub use guard::{Arrival, Guard};
pub use health::{Facts, Latch, Readiness, Reason, SETTLES, Standing, codes, texts};
pub use scrape::{InstallError, REVISION, Scrape};
pub use serve::{Door, bind, load_tls, serve};
pub use status::StatusSource;

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
    /// The gateway stops: whoever follows it is told so and let go.
    pub stopping: CancellationToken,
}

/// Every route. `bound` is the address that the listener really has: it decides what needs a token.
pub fn router(config: &Config, bound: SocketAddr, parts: Parts) -> Router {
    let guard = Guard::new(config, bound);
    let look = scrape::routes(parts.scrape)
        .merge(live::routes(Arc::clone(&parts.status), parts.stopping))
        .merge(status::routes(parts.status))
        .route_layer(middleware::from_fn_with_state(guard.clone(), guard::check_look));
    azure::routes(parts.rules, guard.clone())
        .merge(control::routes(parts.control, guard))
        .merge(health::routes(parts.readiness))
        .merge(look)
}

#[cfg(test)]
mod tests;
