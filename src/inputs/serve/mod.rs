//! One listener for uploads: bind, accept, and an end in [`Stages`]. What a connection goes through stands in `door.rs`.
//!
//! `axum::serve` has no TLS, no deadline for a head, no limit of connections and no way to end one connection; hence an
//! accept loop of our own. It never ends because of an error: what fails is one connection, or one attempt to accept.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::access_log::Requests;
use super::http::limits;
use super::{Config, entra};
use crate::memory::Shares;
use crate::net::handed::Handed;
use crate::net::handed_over;
use crate::net::listen::{self, Admission};
use crate::net::tls_server::{self, Asked, Mode, ServerTls, TlsError};
use crate::telemetry::Repeats;
use crate::values::Network;

mod admit;
mod conversation;
mod door;
mod stages;
mod turned_away;
mod versions;

use conversation::Conversation;
use door::Door;
pub use stages::Stages;
pub use turned_away::{ShownTurnedAway, TurnedAway};
use versions::Versions;

/// How long to wait when the system cannot accept, for example because it is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a client that cannot connect for the same reason is not told of again.
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(600);

/// Connections that were handed here and wait to be taken. They wait no longer than the loop needs to come by.
const HANDED_WAITING_MAX: usize = 64;

/// Why a listener cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address is taken, not ours, or needs rights that we lack.
    #[error("listener {name:?} cannot listen on {address}: {source}")]
    Address {
        /// The listener's name.
        name: String,
        /// Its configured address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Its certificate or key cannot be used.
    #[error("listener {name:?}: {source}")]
    Tls {
        /// The listener's name.
        name: String,
        /// What is wrong.
        source: TlsError,
    },
    /// Its local Entra cannot start.
    #[error("listener {name:?}: {source}")]
    Entra {
        /// The listener's name.
        name: String,
        /// What is wrong.
        source: entra::IssuerError,
    },
    /// One of its protocols cannot be opened.
    #[error("listener {name:?}: {source}")]
    Protocol {
        /// The listener's name.
        name: String,
        /// What is wrong.
        source: super::protocol::OpenError,
    },
    /// It would speak plain HTTP where that was not allowed.
    #[error("listener {name:?}: plain HTTP on {address} needs tls.allow_plain_http = true")]
    PlainHttp {
        /// The listener's name.
        name: String,
        /// Its configured address.
        address: SocketAddr,
    },
}

/// A bound listener: clients can connect, and wait until [`serve`] takes them.
#[derive(Debug)]
pub struct Listener {
    name: Arc<str>,
    socket: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<ServerTls>>,
    limits: limits::Config,
    balancers: Arc<ArcSwap<Vec<Network>>>,
    requests: Option<Requests>,
    turned_away: Arc<TurnedAway>,
    offered: &'static [&'static [u8]],
    /// Connections that others began.
    handed: (mpsc::Sender<Handed>, mpsc::Receiver<Handed>),
    takes_tickets: bool,
}

impl Listener {
    /// Loads the certificates and binds. Call it inside a tokio runtime.
    pub fn bind(config: &Config, state_dir: &Path) -> Result<Self, BindError> {
        let (name, address) = (config.name.clone(), config.listen);
        let tls = match config.tls.mode {
            Mode::On => Some(Arc::new(load_tls(config, state_dir)?)),
            Mode::Off if config.may_be_plain() => None,
            Mode::Off => return Err(BindError::PlainHttp { name, address }),
        };
        let bound = listen::bind(address).and_then(|socket| Ok((socket.local_addr()?, socket)));
        let (local, socket) = bound.map_err(|source| BindError::Address { name, address, source })?;
        let (name, limits) = (config.name.as_str().into(), config.limits.clone());
        let balancers = Arc::new(ArcSwap::from_pointee(config.proxy_protocol_from.clone()));
        let (offered, handed) = (offered(config), mpsc::channel(HANDED_WAITING_MAX));
        let turned_away = Arc::default();
        let takes_tickets = config.protocols.wef.kerberos.is_enabled();
        Ok(Self {
            name,
            socket,
            address: local,
            tls,
            limits,
            balancers,
            requests: None,
            turned_away,
            offered,
            handed,
            takes_tickets,
        })
    }

    /// Tells its requests there.
    pub fn telling(self, requests: Requests) -> Self {
        Self { requests: Some(requests), ..self }
    }

    /// Notes there whose certificates were not taken.
    pub fn noting(self, turned_away: Arc<TurnedAway>) -> Self {
        Self { turned_away, ..self }
    }

    /// The address it listens on, with the port that the system chose where 0 was configured.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its TLS, to reload the certificates while it runs; `None` for plain HTTP.
    pub fn tls(&self) -> Option<Arc<ServerTls>> {
        self.tls.clone()
    }

    /// Where connections are handed to it that others began.
    pub fn handed(&self) -> mpsc::Sender<Handed> {
        self.handed.0.clone()
    }

    /// From where PROXY protocol headers are demanded and believed, to change while it runs.
    pub fn balancers(&self) -> Arc<ArcSwap<Vec<Network>>> {
        Arc::clone(&self.balancers)
    }
}

/// The certificates of a listener.
pub fn load_tls(config: &Config, state_dir: &Path) -> Result<ServerTls, BindError> {
    let name = &config.name;
    let asked = if config.takes_any_certificate() { Asked::Any } else { Asked::ByAuthority };
    let loaded = ServerTls::load_asking(asked, &config.tls, state_dir, offered(config));
    loaded.map_err(|source| BindError::Tls { name: name.clone(), source })
}

/// What a listener offers by ALPN: hosts that forward events speak HTTP/1.1 only, and so do proxies between that would else choose HTTP/2.
fn offered(config: &Config) -> &'static [&'static [u8]] {
    if config.protocols.wef.enabled { tls_server::ONLY_HTTP1 } else { tls_server::HTTP }
}

/// Serves connections as far as `stages` are; at their end waits for requests in flight up to `drain_timeout`, then cuts.
/// As long as `is_unready`, clients are told with each answer to connect anew.
pub async fn serve(listener: Listener, router: Router, stages: Stages, is_unready: Arc<AtomicBool>) {
    let Listener {
        name,
        socket,
        address,
        tls,
        limits,
        balancers,
        requests,
        turned_away,
        offered,
        handed,
        takes_tickets,
    } = listener;
    let outlives_us = handed_over::outlives_us(address);
    let (_, mut handed) = handed;
    let drain_timeout = limits.drain_timeout.get();
    let cut = CancellationToken::new();
    let tracker = TaskTracker::new();
    let door = Arc::new(Door {
        admission: Admission::default(),
        places: Arc::default(),
        versions: Versions::new(&limits, door::head_max(takes_tickets)),
        name,
        tls,
        max_connections: limits.max_connections(1, &Shares::here()),
        limits,
        router,
        stages: stages.clone(),
        is_unready,
        balancers,
        handshakes: Repeats::new(TOLD_AGAIN_AFTER),
        headerless: Repeats::new(TOLD_AGAIN_AFTER),
        requests,
        turned_away,
        offered,
        takes_tickets,
    });
    let mut next = async || {
        tokio::select! {
            accepted = socket.accept() => Arrival::Accepted(accepted),
            Some(handed) = handed.recv() => Arrival::Handed(handed),
        }
    };
    let admit = |stream: TcpStream, peer: SocketAddr| {
        let conversation = Conversation::new();
        match door.admit(peer.ip(), &conversation) {
            Ok(places) => {
                let connection = Arc::clone(&door).connection(stream, peer.ip(), places, conversation);
                tracker.spawn(cut.clone().run_until_cancelled_owned(Box::pin(connection)));
            }
            Err(reason) => door.refused(reason),
        }
    };
    while let Some(arrival) = stages.while_open(next()).await {
        match arrival {
            Arrival::Handed(handed) => {
                let conversation = Conversation::new();
                match door.admit_handed(handed.client.ip(), &conversation) {
                    Ok(places) => {
                        let connection = Arc::clone(&door).handed(handed, places, conversation);
                        tracker.spawn(cut.clone().run_until_cancelled_owned(Box::pin(connection)));
                    }
                    Err(reason) => door.refused(reason),
                }
            }
            Arrival::Accepted(Ok((stream, peer))) => admit(stream, peer),
            Arrival::Accepted(Err(error)) => {
                tracing::warn!(listener = &*door.name, %error, "cannot accept a connection");
                door.refused("accept_error");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // A socket that outlives this process keeps its queue for the next one.
    let last = if outlives_us { Vec::new() } else { listen::close(socket) };
    last.into_iter().for_each(|(stream, peer)| admit(stream, peer));
    drop(handed);
    tracker.close();
    tokio::select! {
        () = tracker.wait() => return,
        () = stages.ended() => {}
    }
    if timeout(drain_timeout, tracker.wait()).await.is_err() {
        tracing::warn!(listener = &*door.name, connections = tracker.len(), "closing connections that did not drain");
        cut.cancel();
        tracker.wait().await;
    }
}

/// How a connection came.
enum Arrival {
    Accepted(io::Result<(TcpStream, SocketAddr)>),
    Handed(Handed),
}

#[cfg(test)]
mod tests;
