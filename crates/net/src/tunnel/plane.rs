//! All listeners for tunnels together: started, changed by a reload, drained and stopped.

use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::access_log::{self, AccessLog};
use super::addresses::Ourselves;
use super::clients::{Clients, Passwords};
use super::config::{Config, Listener};
use super::dial::{Dialer, DialerError};
use super::refused::RefusedHost;
use super::serve::{Door, Policy, Rules, Shared, begin_series};
use super::take_over::{AuthorityError, Inputs, Leaves, TakeOvers};
use crate::metrics;
use crate::net::handed_over;
use crate::net::listen;
use crate::net::stream::watch_peer;
use crate::net::tls_server::{self, Mode, ServerTls, TlsError};
use crate::values::ByteSize;

/// Why tunnels cannot be offered as configured.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken, not ours, or needs rights that we lack.
    #[error("tunnel listener {name:?} cannot listen on {address}: {source}")]
    Address {
        /// The listener's name.
        name: String,
        /// Its configured address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Its certificate or key cannot be used.
    #[error("tunnel listener {name:?}: {source}")]
    Tls {
        /// The listener's name.
        name: String,
        /// What is wrong.
        source: TlsError,
    },
    /// Destinations cannot be reached as configured.
    #[error(transparent)]
    Dialer(#[from] DialerError),
    /// The authority for hosts that are taken over cannot be used.
    #[error("tunnel.ca: {0}")]
    Authority(#[from] AuthorityError),
    /// The access log cannot be written.
    #[error("the access log cannot be opened: {0}")]
    AccessLog(#[source] io::Error),
    /// The system gives no random bytes.
    #[error("passwords cannot be checked: {0}")]
    Passwords(#[source] io::Error),
}

/// How long a listener may take to notice that it is to end.
const DOOR_PATIENCE: Duration = Duration::from_secs(2);

/// The listeners of the tunnel plane.
#[derive(Debug)]
pub struct Tunnels {
    state_dir: PathBuf,
    instance: Arc<str>,
    shared: Arc<Shared>,
    passwords: Passwords,
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    config: Config,
    own_addresses: Vec<SocketAddr>,
    dialer: Option<Arc<Dialer>>,
    leaves: Option<Arc<Leaves>>,
    probes: Option<CancellationToken>,
    doors: BTreeMap<String, OpenDoor>,
}

#[derive(Debug)]
struct OpenDoor {
    address: SocketAddr,
    configured: SocketAddr,
    door: Arc<Door>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// A configuration that was found to work and is not in force yet: everything that can fail is done.
#[derive(Debug)]
pub struct Prepared {
    config: Config,
    own_addresses: Vec<SocketAddr>,
    dialer: Option<Arc<Dialer>>,
    listeners: Vec<(Listener, Socket, Option<Arc<ServerTls>>)>,
    leaves: Option<Arc<Leaves>>,
    log: access_log::Prepared,
}

/// Where a listener gets its connections from.
#[derive(Debug)]
enum Socket {
    /// A running listener on the same address, by its name so far.
    Stays(String),
    Fresh(TcpListener),
}

impl Tunnels {
    /// No tunnels yet. Call it inside a runtime. Streams that are taken over go to `inputs`.
    pub fn new(config: &Config, state_dir: PathBuf, inputs: Arc<dyn Inputs>) -> Result<Self, StartError> {
        let log = AccessLog::open(&config.access_log).map_err(StartError::AccessLog)?;
        let instance = format!("{:016x}", fastrand::Rng::new().u64(..));
        Ok(Self {
            state_dir,
            instance: instance.into(),
            shared: Arc::new(Shared::new(log, inputs)),
            passwords: Passwords::new().map_err(StartError::Passwords)?,
            running: Mutex::default(),
        })
    }

    /// Does everything that can fail: binds, loads certificates, sets up the way out. `own_addresses` are those of the
    /// gateway's other listeners, which no tunnel may reach.
    pub fn prepare(&self, config: &Config, own_addresses: &[SocketAddr]) -> Result<Prepared, StartError> {
        let running = self.running();
        let mut listeners = Vec::new();
        for listener in &config.listeners {
            let stays = running.doors.iter().find(|(_, door)| door.configured == listener.listen);
            let socket = match stays {
                Some((name, _)) => Socket::Stays(name.clone()),
                None => Socket::Fresh(bind(listener)?),
            };
            listeners.push((listener.clone(), socket, load_tls(listener, &self.state_dir)?));
        }
        let mut own_addresses = own_addresses.to_vec();
        own_addresses.extend(listeners.iter().map(|(listener, socket, _)| match socket {
            Socket::Fresh(socket) => socket.local_addr().unwrap_or(listener.listen),
            Socket::Stays(name) => running.doors.get(name).map_or(listener.listen, |door| door.address),
        }));
        // A way out that has not changed keeps what it has learnt of names and proxies.
        let same_way_out = running.config.dns == config.dns
            && running.config.upstream_proxies == config.upstream_proxies
            && running.config.limits == config.limits
            && running.config.goes_direct() == config.goes_direct()
            && config.upstream_proxies.iter().all(|proxies| proxies.ca_file.is_none())
            && running.own_addresses == own_addresses;
        let dialer = match &running.dialer {
            Some(dialer) if same_way_out => Some(Arc::clone(dialer)),
            _ if listeners.is_empty() => None,
            _ => Some(Arc::new(Dialer::new(config, Arc::new(Ourselves::new(own_addresses.clone())), &self.instance)?)),
        };
        let leaves = match config.take_over.is_empty() || listeners.is_empty() {
            true => None,
            false => Some(Leaves::load(&config.ca, running.leaves.as_ref())?),
        };
        let log = AccessLog::prepare(&config.access_log).map_err(StartError::AccessLog)?;
        Ok(Prepared { config: config.clone(), own_addresses, dialer, listeners, leaves, log })
    }

    /// Puts a prepared configuration in force. Listeners that go are closed; their tunnels live on.
    pub fn apply(&self, prepared: Prepared) {
        let Prepared { config, own_addresses, dialer, listeners, leaves, log } = prepared;
        self.shared.log.change_to(log);
        let mut running = self.running();
        let mut before = std::mem::take(&mut running.doors);
        if let Some(dialer) = &dialer {
            let bandwidth = self.shared.throttle(config.limits.bandwidth.map(ByteSize::as_u64));
            let rules = Arc::new(Rules::new(&config, Arc::clone(dialer), bandwidth, leaves.clone()));
            rules.take_over.tell();
            for (listener, socket, tls) in listeners {
                begin_series(&listener.name);
                let clients = Clients::new(&config, &listener, &self.passwords);
                let label = listener.name.as_str().into();
                let policy = Policy { label, listener, tls, clients, rules: Arc::clone(&rules) };
                let (name, door) = match socket {
                    Socket::Fresh(socket) => (policy.name().to_owned(), self.open(policy, socket)),
                    Socket::Stays(name) => {
                        let Some(door) = before.remove(&name) else { continue };
                        let name = policy.name().to_owned();
                        door.door.policy.store(Arc::new(policy));
                        (name, door)
                    }
                };
                running.doors.insert(name, door);
            }
        }
        for door in before.into_values() {
            door.stop.cancel();
        }
        running.probe(dialer.as_ref());
        running.dialer = dialer;
        (running.config, running.own_addresses, running.leaves) = (config, own_addresses, leaves);
    }

    fn open(&self, policy: Policy, socket: TcpListener) -> OpenDoor {
        let configured = policy.listener.listen;
        let address = socket.local_addr().unwrap_or(configured);
        let door = Arc::new(Door { policy: ArcSwap::from_pointee(policy), shared: Arc::clone(&self.shared) });
        let stop = CancellationToken::new();
        let task = tokio::spawn(Arc::clone(&door).accept(socket, stop.clone()));
        OpenDoor { address, configured, door, stop, task }
    }

    /// From now on requests for a tunnel are answered 503; tunnels that stand live on.
    pub fn drain(&self) {
        self.shared.drain(true);
    }

    /// The way back from [`Tunnels::drain`].
    pub fn undrain(&self) {
        self.shared.drain(false);
    }

    /// Drains, waits for tunnels to end up to their `drain_timeout`, cuts the rest, and closes the access log.
    pub async fn stop(&self) {
        self.leave_to_the_next();
        self.drain();
        let patience = self.drain_timeout();
        self.shared.tasks.close();
        if timeout(patience, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!(tunnels = self.shared.tasks.len(), "closing tunnels that did not end in time");
        }
        let doors = {
            let mut running = self.running();
            running.probe(None);
            std::mem::take(&mut running.doors)
        };
        for door in doors.values() {
            door.stop.cancel();
        }
        self.shared.cut.cancel();
        for (name, door) in doors {
            if !matches!(timeout(DOOR_PATIENCE, door.task).await, Ok(Ok(()))) {
                tracing::error!(listener = name, "a tunnel listener failed");
            }
        }
        self.shared.tasks.wait().await;
        let log = self.shared.log.clone();
        drop(tokio::task::spawn_blocking(move || log.close()).await);
    }

    /// Takes no connection any more where the socket outlives this process: who comes now is served by the next one.
    fn leave_to_the_next(&self) {
        let running = self.running();
        running
            .doors
            .values()
            .filter(|door| handed_over::outlives_us(door.configured))
            .for_each(|door| door.stop.cancel());
    }

    /// How long [`stop`](Self::stop) may take.
    pub fn drain_timeout(&self) -> Duration {
        self.running().config.limits.drain_timeout.get()
    }

    /// Each listener's name and address.
    pub fn addresses(&self) -> Vec<(String, SocketAddr)> {
        self.running().doors.iter().map(|(name, door)| (name.clone(), door.address)).collect()
    }

    /// Names that were asked for and refused, the most frequent first.
    pub fn refused(&self) -> Vec<RefusedHost> {
        self.shared.refused.list()
    }

    /// Does what has to be done about once a second: gauges, and forgetting what has gone.
    pub fn tidy(&self) {
        metrics::TUNNEL_CONNECTIONS.set(&[], self.shared.admission.total() as f64);
        metrics::TUNNELS_LIMIT.set(&[], self.limit() as f64);
        metrics::TUNNEL_CLIENTS.set(&[], self.shared.admission.addresses() as f64);
        self.shared.tidy();
    }

    /// The most connections at once: one limit for all listeners; 0 without one.
    fn limit(&self) -> usize {
        let running = self.running();
        running.doors.values().next().map_or(0, |open| self.shared.tunnels_max(&open.door.policy.load()))
    }

    /// The state of tunnels as JSON, for the status page.
    pub fn status(&self) -> Value {
        let running = self.running();
        json!({
            "listeners": running.doors.iter().map(|(name, door)| json!({
                "name": name,
                "address": door.address,
            })).collect::<Vec<_>>(),
            "connections": self.shared.admission.total(),
            "clients": self.shared.admission.addresses(),
            "draining": self.shared.is_draining(),
            "rules": running.config.allow.iter().map(|rule| &rule.name).collect::<Vec<_>>(),
            "taken_over": self.taken_over(&running),
            "upstream_proxies": running.dialer.as_ref().map(|dialer| dialer.snapshot()),
        })
    }

    /// What is taken over, and how often it was; null where nothing is.
    fn taken_over(&self, running: &Running) -> Option<Value> {
        let leaves = running.leaves.clone()?;
        Some(TakeOvers::new(&running.config, Some(leaves)).status(|table| self.shared.taken(table)))
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock()
    }
}

impl Running {
    /// Probes the upstream proxies of this way out, and no longer those of the one before.
    fn probe(&mut self, dialer: Option<&Arc<Dialer>>) {
        if let (Some(now), Some(wanted)) = (&self.dialer, dialer)
            && Arc::ptr_eq(now, wanted)
            && self.probes.is_some()
        {
            return;
        }
        if let Some(probes) = self.probes.take() {
            probes.cancel();
        }
        if let Some(dialer) = dialer {
            let stop = CancellationToken::new();
            let (dialer, stopped) = (Arc::clone(dialer), stop.clone());
            tokio::spawn(async move { dialer.probes(stopped).await });
            self.probes = Some(stop);
        }
    }
}

fn bind(listener: &Listener) -> Result<TcpListener, StartError> {
    let (name, address) = (listener.name.clone(), listener.listen);
    let socket = listen::bind(address).map_err(|source| StartError::Address { name, address, source })?;
    watch_peer(&socket);
    Ok(socket)
}

fn load_tls(listener: &Listener, state_dir: &Path) -> Result<Option<Arc<ServerTls>>, StartError> {
    if listener.tls.mode == Mode::Off {
        return Ok(None);
    }
    let loaded = ServerTls::load(&listener.tls, state_dir, tls_server::ONLY_HTTP1);
    let wrong = |source| StartError::Tls { name: listener.name.clone(), source };
    loaded.map(|tls| Some(Arc::new(tls))).map_err(wrong)
}
