//! The listeners for uploads that run, and their coming and going with the configuration.
//!
//! A listener whose address stays keeps its socket and its connections; who may upload, what is served and limits of
//! requests hold from the next request on, certificates from the next connection on. Only its limits of connections
//! wait for a restart.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::listeners::{self, BindError, Listener};
use crate::ingest::Accept;
use crate::inputs;
use crate::inputs::access_log::Requests;
use crate::inputs::entra::Issuer;
use crate::inputs::http::body::Memory;
use crate::inputs::http::limits;
use crate::memory::Shares;
use crate::net::tls_server::{Mode, ServerTls};

/// The listeners that run, by name.
pub(super) struct Uploads {
    state_dir: PathBuf,
    accept: Arc<dyn Accept>,
    /// For the bodies of all listeners that have no memory of their own. Outlives reloads, as uploads do.
    bodies: Memory,
    requests: Requests,
    running: Mutex<BTreeMap<String, Running>>,
}

struct Running {
    config: inputs::Config,
    /// What its connections are limited by until it is opened anew.
    bound: limits::Config,
    address: SocketAddr,
    tls: Option<Arc<ServerTls>>,
    router: Arc<ArcSwap<Router>>,
    issuer: Option<Arc<Issuer>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Listeners that are bound and not serving yet: what can fail of a change has not failed.
pub(super) struct Prepared {
    fresh: Vec<(inputs::Config, Listener)>,
    /// What staying listeners will use for TLS, by name: certificates may have changed, or where they are.
    renewed: BTreeMap<String, ServerTls>,
    /// The local Entras, by listener.
    issuers: BTreeMap<String, Arc<Issuer>>,
    configs: Vec<inputs::Config>,
}

impl Uploads {
    pub(super) fn new(state_dir: PathBuf, accept: Arc<dyn Accept>, requests: Requests) -> Self {
        let bodies = Memory::new(Shares::here().bodies());
        Self { state_dir, accept, bodies, requests, running: Mutex::default() }
    }

    /// Binds what the configuration has and does not run yet. Changes nothing.
    pub(super) fn prepare(&self, configs: &[inputs::Config]) -> Result<Prepared, BindError> {
        let mut fresh = Vec::new();
        let mut renewed = BTreeMap::new();
        let mut issuers = BTreeMap::new();
        for config in configs {
            let name = &config.name;
            if config.entra.enabled {
                issuers.insert(name.clone(), self.issuer(config)?);
            }
            let stays = self.running().get(name).is_some_and(|running| same_socket(&running.config, config));
            if !stays {
                fresh.push((config.clone(), self.bind(&fitted(config, configs.len()))?));
            } else if config.tls.mode == Mode::On {
                renewed.insert(name.clone(), listeners::load_tls(config, &self.state_dir)?);
            }
        }
        Ok(Prepared { fresh, renewed, issuers, configs: configs.to_vec() })
    }

    fn bind(&self, config: &inputs::Config) -> Result<Listener, BindError> {
        Ok(Listener::bind(config, &self.state_dir)?.telling(self.requests.clone()))
    }

    /// The local Entra of a listener, which remembers what the running one does.
    fn issuer(&self, config: &inputs::Config) -> Result<Arc<Issuer>, BindError> {
        let before = self.running().get(&config.name).and_then(|running| running.issuer.clone());
        let opened = Issuer::open(&config.entra, &config.name, &self.state_dir, before.as_deref());
        opened.map(Arc::new).map_err(|source| BindError::Entra { name: config.name.clone(), source })
    }

    /// Where uploads will be taken once this is applied.
    pub(super) fn addresses_after(&self, prepared: &Prepared) -> Vec<SocketAddr> {
        let fresh = prepared.fresh.iter().map(|(_, listener)| listener.address());
        let stays = |name: &String| !prepared.fresh.iter().any(|(config, _)| config.name == *name);
        let staying = self.addresses().into_iter().filter(|(name, _)| stays(name)).map(|(_, address)| address);
        fresh.chain(staying).collect()
    }

    /// Makes the running listeners those of the configuration.
    pub(super) async fn apply(&self, prepared: Prepared) {
        let Prepared { fresh, renewed, mut issuers, configs } = prepared;
        issuers.values().for_each(|issuer| issuer.tend());
        let leaving: Vec<Running> = {
            let mut running = self.running();
            let gone =
                |name: &String| fresh.iter().any(|(c, _)| c.name == *name) || !configs.iter().any(|c| c.name == *name);
            let names: Vec<String> = running.keys().filter(|name| gone(name)).cloned().collect();
            names.iter().filter_map(|name| running.remove(name)).collect()
        };
        for config in &configs {
            if let Some(running) = self.running().get_mut(&config.name) {
                running.issuer = issuers.remove(&config.name);
                let router = inputs::router(config, Arc::clone(&self.accept), running.issuer.clone(), &self.bodies);
                running.router.store(Arc::new(router));
                if let (Some(tls), Some(renewed)) = (&running.tls, renewed.get(&config.name)) {
                    tls.replace_with(renewed);
                }
                running.config = config.clone();
            }
        }
        for (config, listener) in fresh {
            let issuer = issuers.remove(&config.name);
            let running = self.serve(config, listener, issuer);
            self.running().insert(running.config.name.clone(), running);
        }
        for leaving in leaving {
            leaving.stop.cancel();
            // Its connections drain on their own time.
            drop(leaving.task);
        }
    }

    fn serve(&self, config: inputs::Config, listener: Listener, issuer: Option<Arc<Issuer>>) -> Running {
        let router = inputs::router(&config, Arc::clone(&self.accept), issuer.clone(), &self.bodies);
        let router = Arc::new(ArcSwap::from_pointee(router));
        let stop = CancellationToken::new();
        let (address, tls) = (listener.address(), listener.tls());
        let current = Router::new().fallback(with_current).with_state(Arc::clone(&router));
        let task = tokio::spawn(listeners::serve(listener, current, stop.clone()));
        let bound = config.limits.clone();
        Running { config, bound, address, tls, router, issuer, stop, task }
    }

    /// Stops all of them: no new connections; resolves when the open ones have drained.
    pub(super) async fn stop(&self) {
        let running = std::mem::take(&mut *self.running());
        for listener in running.values() {
            listener.stop.cancel();
        }
        for (name, listener) in running {
            if let Err(ended) = listener.task.await {
                tracing::error!(listener = name, %ended, "a listener ended badly");
            }
        }
    }

    /// Each listener's name and address.
    pub(super) fn addresses(&self) -> Vec<(String, SocketAddr)> {
        self.running().iter().map(|(name, running)| (name.clone(), running.address)).collect()
    }

    /// The limits that each listener was opened with: those of connections hold until a restart.
    pub(super) fn limits_since_open(&self) -> Vec<(String, limits::Config)> {
        self.running().iter().map(|(name, running)| (name.clone(), running.bound.clone())).collect()
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<String, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A listener's configuration with its share of all connections, where it names no limit of its own.
fn fitted(config: &inputs::Config, listeners: usize) -> inputs::Config {
    let mut fitted = config.clone();
    fitted.limits.max_connections = Some(config.limits.max_connections(listeners, &Shares::here()));
    fitted
}

fn same_socket(running: &inputs::Config, wanted: &inputs::Config) -> bool {
    running.listen == wanted.listen && running.tls.mode == wanted.tls.mode
}

/// Answers with the router of this moment.
async fn with_current(State(router): State<Arc<ArcSwap<Router>>>, request: Request) -> Response {
    let router = Router::clone(&router.load());
    router.oneshot(request).await.unwrap_or_else(|never| match never {})
}
