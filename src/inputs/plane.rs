//! The upload plane: the listeners that run, and their coming and going with the configuration.
//!
//! A listener whose address stays keeps its socket and its connections; who may upload, what is served and limits of
//! requests hold from the next request on, certificates from the next connection on. Only its limits of connections
//! wait for a restart.
//!
//! A listener that goes, and all of them at a stop or a drain, end in [`Stages`], so that no upload is lost to it.

use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::access_log::Requests;
use super::entra::Issuer;
use super::http::body::Memory;
use super::http::limits;
use super::protocol::Shared;
use super::serve::{self, BindError, Listener, ShownTurnedAway, Stages, TurnedAway};
use super::{Config, Opened, ods, router, wef};
use crate::ingest::Accept;
use crate::memory::Shares;
use crate::net::handed::Handed;
use crate::net::handed_over;
use crate::net::tls_server::{Mode, ServerTls};
use crate::values::Network;

/// The listeners that run, by name.
pub struct Uploads {
    shared: Shared,
    accept: Arc<dyn Accept>,
    /// For the bodies of all listeners that have no memory of their own. Outlives reloads, as uploads do.
    bodies: Memory,
    requests: Requests,
    turned_away: Arc<TurnedAway>,
    running: Mutex<BTreeMap<String, Running>>,
    /// Of all listeners, also of those that are yet to come.
    stages: ArcSwap<Stages>,
    is_unready: Arc<AtomicBool>,
    tasks: TaskTracker,
}

struct Running {
    config: Config,
    /// What its connections are limited by until it is opened anew.
    bound: limits::Config,
    address: SocketAddr,
    tls: Option<Arc<ServerTls>>,
    balancers: Arc<ArcSwap<Vec<Network>>>,
    router: Arc<ArcSwap<Router>>,
    opened: Opened,
    handed: mpsc::Sender<Handed>,
    stages: Stages,
}

/// Listeners that are bound and not serving yet: what can fail of a change has not failed.
pub struct Prepared {
    fresh: Vec<(Config, Listener)>,
    /// What staying listeners will use for TLS, by name: certificates may have changed, or where they are.
    renewed: BTreeMap<String, ServerTls>,
    /// What each listener speaks, by name.
    opened: BTreeMap<String, Opened>,
    configs: Vec<Config>,
}

impl Prepared {
    /// Whether there is a new one whose socket was handed over, and stays when this process goes.
    pub fn outlive_us(&self) -> bool {
        self.fresh.iter().any(|(config, _)| handed_over::outlives_us(config.listen))
    }
}

impl Uploads {
    /// None yet. What they take goes to `accept`, and each request is told to `requests`.
    pub fn new(shared: Shared, accept: Arc<dyn Accept>, requests: Requests) -> Self {
        let bodies = Memory::new(Shares::here().bodies());
        Self {
            shared,
            accept,
            bodies,
            requests,
            turned_away: Arc::default(),
            running: Mutex::default(),
            stages: ArcSwap::default(),
            is_unready: Arc::default(),
            tasks: TaskTracker::new(),
        }
    }

    /// Binds what the configuration has and does not run yet, inside a runtime. Changes nothing.
    pub fn prepare(&self, configs: &[Config]) -> Result<Prepared, BindError> {
        self.prepare_where(configs, |config| {
            self.running().get(&config.name).is_some_and(|running| same_socket(&running.config, config))
        })
    }

    /// The same, where `stays` tells which of them have their socket.
    fn prepare_where(&self, configs: &[Config], stays: impl Fn(&Config) -> bool) -> Result<Prepared, BindError> {
        let mut fresh = Vec::new();
        let mut renewed = BTreeMap::new();
        let mut opened = BTreeMap::new();
        for config in configs {
            let name = &config.name;
            opened.insert(name.clone(), self.open(config)?);
            if !stays(config) {
                fresh.push((config.clone(), self.bind(&fitted(config, configs.len()))?));
            } else if config.tls.mode == Mode::On {
                renewed.insert(name.clone(), serve::load_tls(config, &self.shared.state_dir)?);
            }
        }
        Ok(Prepared { fresh, renewed, opened, configs: configs.to_vec() })
    }

    fn bind(&self, config: &Config) -> Result<Listener, BindError> {
        Ok(Listener::bind(config, &self.shared.state_dir)?
            .telling(self.requests.clone())
            .noting(Arc::clone(&self.turned_away)))
    }

    /// What a listener speaks.
    fn open(&self, config: &Config) -> Result<Opened, BindError> {
        let running = self.running().get(&config.name).map(|running| running.opened.clone()).unwrap_or_default();
        let issuer = if config.entra.enabled { Some(self.issuer(config, running.issuer.as_deref())?) } else { None };
        let opened = Opened::new(config, issuer, &self.shared, &running);
        opened.map_err(|source| BindError::Protocol { name: config.name.clone(), source })
    }

    /// The local Entra of a listener, which remembers what the running one does.
    fn issuer(&self, config: &Config, before: Option<&Issuer>) -> Result<Arc<Issuer>, BindError> {
        let opened = Issuer::open(&config.entra, &config.name, &self.shared.state_dir, before);
        opened.map(Arc::new).map_err(|source| BindError::Entra { name: config.name.clone(), source })
    }

    /// Where uploads will be taken once this is applied.
    pub fn addresses_after(&self, prepared: &Prepared) -> Vec<SocketAddr> {
        let fresh = prepared.fresh.iter().map(|(_, listener)| listener.address());
        let stays = |name: &String| !prepared.fresh.iter().any(|(config, _)| config.name == *name);
        let staying = self.addresses().into_iter().filter(|(name, _)| stays(name)).map(|(_, address)| address);
        fresh.chain(staying).collect()
    }

    /// Makes the running listeners those of the configuration. One that goes takes no new connection, and serves those that it
    /// has for `grace`.
    pub fn apply(&self, prepared: Prepared, grace: Duration) {
        let Prepared { fresh, renewed, mut opened, configs } = prepared;
        opened
            .values()
            .filter_map(|opened| opened.issuer.as_ref())
            .for_each(|issuer| issuer.tend(self.shared.documents.clone()));
        let leaving: Vec<Running> = {
            let mut running = self.running();
            let gone =
                |name: &String| fresh.iter().any(|(c, _)| c.name == *name) || !configs.iter().any(|c| c.name == *name);
            let names: Vec<String> = running.keys().filter(|name| gone(name)).cloned().collect();
            names.iter().filter_map(|name| running.remove(name)).collect()
        };
        for config in &configs {
            if let Some(running) = self.running().get_mut(&config.name) {
                running.opened = opened.remove(&config.name).unwrap_or_default();
                let router = router(config, Arc::clone(&self.accept), running.opened.clone(), &self.bodies);
                running.router.store(Arc::new(router));
                if let (Some(tls), Some(renewed)) = (&running.tls, renewed.get(&config.name)) {
                    tls.replace_with(renewed);
                }
                running.balancers.store(Arc::new(config.proxy_protocol_from.clone()));
                running.config = config.clone();
            }
        }
        for (config, listener) in fresh {
            let opened = opened.remove(&config.name).unwrap_or_default();
            let running = self.serve(config, listener, opened);
            self.running().insert(running.config.name.clone(), running);
        }
        for leaving in leaving {
            leaving.stages.close();
            tokio::spawn(async move {
                tokio::time::sleep(grace).await;
                leaving.stages.end();
            });
        }
    }

    fn serve(&self, config: Config, listener: Listener, opened: Opened) -> Running {
        let router = router(&config, Arc::clone(&self.accept), opened.clone(), &self.bodies);
        let router = Arc::new(ArcSwap::from_pointee(router));
        let stages = self.stages.load().child();
        let (address, tls, balancers) = (listener.address(), listener.tls(), listener.balancers());
        let handed = listener.handed();
        let current = Router::new().fallback(with_current).with_state(Arc::clone(&router));
        let serving = tokio::spawn(serve::serve(listener, current, stages.clone(), Arc::clone(&self.is_unready)));
        let name = config.name.clone();
        self.tasks.spawn(async move {
            if let Err(ended) = serving.await {
                tracing::error!(listener = name, %ended, "a listener failed");
            }
        });
        let bound = config.limits.clone();
        Running { config, bound, address, tls, balancers, router, opened, handed, stages }
    }

    /// Whether balancers are told to send nobody here. As long as they are, clients are told with each answer to connect anew:
    /// a connection that is kept would bring each upload here again.
    pub fn set_ready(&self, ready: bool) {
        self.is_unready.store(!ready, Ordering::Relaxed);
    }

    /// From now on clients are told to close their connections. New ones are still served.
    pub fn leave(&self) {
        self.stages.load().leave();
    }

    /// The way back from [`Uploads::leave`], and from [`Uploads::stop`] when that has ended: then listeners of this configuration are
    /// opened anew.
    ///
    /// # Errors
    ///
    /// When one cannot be opened. Then none is.
    pub fn come_back(&self, configs: &[Config]) -> Result<(), BindError> {
        if !self.stages.load().are_closed() {
            self.stages.load().stay();
            return Ok(());
        }
        let prepared = self.prepare_where(configs, |_| false)?;
        self.stages.store(Arc::default());
        self.tasks.reopen();
        self.apply(prepared, Duration::ZERO);
        Ok(())
    }

    /// Stops all of them: no new connections; resolves when the open ones have drained.
    pub async fn stop(&self) {
        self.stages.load().end();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// The hosts that forward events, where a listener takes those.
    pub fn forwarding_hosts(&self) -> Option<wef::Shown> {
        self.shared.wef.hosts()
    }

    /// At most so many of those that have a text in a name or their address.
    pub fn forwarding_hosts_with(&self, search: Option<&str>, most: usize) -> wef::Shown {
        self.shared.wef.hosts_with(search, most)
    }

    /// The clients whose certificates were not taken; `None` where there is none.
    pub fn turned_away(&self) -> Option<ShownTurnedAway> {
        self.turned_away.shown()
    }

    /// What is known of OMS and Microsoft Monitoring agents.
    pub fn agents(&self) -> &Arc<ods::Memory> {
        &self.shared.ods
    }

    /// Each listener's name and address.
    pub fn addresses(&self) -> Vec<(String, SocketAddr)> {
        self.running().iter().map(|(name, running)| (name.clone(), running.address)).collect()
    }

    /// Where connections are handed to the listener of this name that others began; none when it takes no connection.
    pub fn handed_to(&self, listener: &str) -> Option<mpsc::Sender<Handed>> {
        let running = self.running();
        Some(running.get(listener)?.handed.clone()).filter(|handed| !handed.is_closed())
    }

    /// The limits that each listener was opened with: those of connections hold until a restart.
    pub fn limits_since_open(&self) -> Vec<(String, limits::Config)> {
        self.running().iter().map(|(name, running)| (name.clone(), running.bound.clone())).collect()
    }

    /// How long [`Uploads::stop`] may take: the longest `drain_timeout` that a running listener was opened with.
    pub fn longest_drain(&self) -> Duration {
        let limits = self.limits_since_open();
        limits.iter().map(|(_, limits)| limits.drain_timeout.get()).max().unwrap_or_default()
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<String, Running>> {
        self.running.lock()
    }
}

/// A listener's configuration with its share of all connections, where it names no limit of its own.
fn fitted(config: &Config, listeners: usize) -> Config {
    let mut fitted = config.clone();
    fitted.limits.max_connections = Some(config.limits.max_connections(listeners, &Shares::here()));
    fitted
}

fn same_socket(running: &Config, wanted: &Config) -> bool {
    let takes_tickets = |config: &Config| config.protocols.wef.kerberos.is_enabled();
    running.listen == wanted.listen
        && running.tls.mode == wanted.tls.mode
        && takes_tickets(running) == takes_tickets(wanted)
}

/// Answers with the router of this moment.
async fn with_current(State(router): State<Arc<ArcSwap<Router>>>, request: Request) -> Response {
    let router = Router::clone(&router.load());
    router.oneshot(request).await.unwrap_or_else(|never| match never {})
}
