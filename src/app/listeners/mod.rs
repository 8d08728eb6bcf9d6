//! Listeners for uploads: bind, accept, limit, TLS, the strict front door, hyper, graceful end.
//!
//! `axum::serve` has no TLS, no deadline for a head, no limit of connections and no way to end one connection; hence an
//! accept loop of our own. It never ends because of an error: what fails is one connection, or one attempt to accept.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::inputs::access_log::{Record, Requests};
use crate::inputs::http::limits;
use crate::inputs::http::reply::{self, Failure, Ids};
use crate::inputs::{self, Peer};
use crate::memory::Shares;
use crate::metrics;
use crate::net::http1_guard::{Guard, Refusal, Session, Timeouts};
use crate::net::listen::{self, AddressPlace, Admission, Place};
use crate::net::tls_choice::HandshakeFault;
use crate::net::tls_server::{self, Mode, ServerTls, TlsError, certificate_names};
use crate::telemetry::Repeats;

/// How long to wait when the system cannot accept, for example because it is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const HEADER_LIST_MAX: u32 = 16 << 10;
/// Streams that a client opened and reset before we answered; above it the connection ends (rapid reset).
const RESETS_PENDING_MAX: usize = 20;
/// Streams that we had to reset for a client's errors; above it the connection ends.
const RESETS_LOCAL_MAX: usize = 64;
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(15);
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
const LINGER: Duration = Duration::from_secs(2);
/// How long a client that cannot connect for the same reason is not told of again.
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(600);

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
        source: inputs::entra::IssuerError,
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
    requests: Option<Requests>,
}

impl Listener {
    /// Loads the certificates and binds. Call it inside a tokio runtime.
    pub fn bind(config: &inputs::Config, state_dir: &Path) -> Result<Self, BindError> {
        let (name, address) = (config.name.clone(), config.listen);
        let tls = match config.tls.mode {
            Mode::On => Some(Arc::new(load_tls(config, state_dir)?)),
            Mode::Off if address.ip().to_canonical().is_loopback() || config.tls.allow_plain_http => None,
            Mode::Off => return Err(BindError::PlainHttp { name, address }),
        };
        let bound = listen::bind(address).and_then(|socket| Ok((socket.local_addr()?, socket)));
        let (local, socket) = bound.map_err(|source| BindError::Address { name, address, source })?;
        let (name, limits) = (config.name.as_str().into(), config.limits.clone());
        Ok(Self { name, socket, address: local, tls, limits, requests: None })
    }

    /// Tells its requests there.
    pub fn telling(self, requests: Requests) -> Self {
        Self { requests: Some(requests), ..self }
    }

    /// The address it listens on, with the port that the system chose where 0 was configured.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its TLS, to reload the certificates while it runs; `None` for plain HTTP.
    pub fn tls(&self) -> Option<Arc<ServerTls>> {
        self.tls.clone()
    }
}

/// The certificates of a listener.
pub fn load_tls(config: &inputs::Config, state_dir: &Path) -> Result<ServerTls, BindError> {
    let name = &config.name;
    let loaded = ServerTls::load(&config.tls, state_dir, tls_server::HTTP);
    loaded.map_err(|source| BindError::Tls { name: name.clone(), source })
}

/// Serves connections until `shutdown`, then waits for requests in flight up to `drain_timeout`, then cuts.
pub async fn serve(listener: Listener, router: Router, shutdown: CancellationToken) {
    let Listener { name, socket, tls, limits, requests, .. } = listener;
    let drain_timeout = limits.drain_timeout.get();
    let cut = CancellationToken::new();
    let tracker = TaskTracker::new();
    let door = Arc::new(Door {
        admission: Admission::default(),
        builder: builder(&limits),
        name,
        tls,
        max_connections: limits.max_connections(1, &Shares::here()),
        limits,
        router,
        shutdown: shutdown.clone(),
        handshakes: Repeats::new(TOLD_AGAIN_AFTER),
        requests,
    });
    while let Some(accepted) = shutdown.run_until_cancelled(socket.accept()).await {
        match accepted {
            Ok((stream, peer)) => match door.admit(peer.ip()) {
                Ok(places) => {
                    let connection = Arc::clone(&door).connection(stream, peer.ip(), places);
                    tracker.spawn(cut.clone().run_until_cancelled_owned(connection));
                }
                Err(reason) => door.refused(reason),
            },
            Err(error) => {
                tracing::warn!(listener = &*door.name, %error, "cannot accept a connection");
                door.refused("accept_error");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(socket);
    tracker.close();
    if timeout(drain_timeout, tracker.wait()).await.is_err() {
        tracing::warn!(listener = &*door.name, connections = tracker.len(), "cutting connections that did not drain");
        cut.cancel();
        tracker.wait().await;
    }
}

/// What all connections of a listener share.
struct Door {
    name: Arc<str>,
    tls: Option<Arc<ServerTls>>,
    limits: limits::Config,
    max_connections: usize,
    admission: Admission,
    builder: auto::Builder<TokioExecutor>,
    router: Router,
    shutdown: CancellationToken,
    /// Which failed handshakes have been told.
    handshakes: Repeats<(IpAddr, HandshakeFault)>,
    requests: Option<Requests>,
}

/// Where a connection is counted for as long as it lives.
type Places = (Place, AddressPlace);

impl Door {
    fn admit(&self, address: IpAddr) -> Result<Places, &'static str> {
        let place = self.admission.admit(self.max_connections).ok_or("too_many_connections")?;
        let from = self.admission.admit_from(address, self.limits.max_connections_per_address);
        Ok((place, from.ok_or("too_many_from_address")?))
    }

    fn refused(&self, reason: &str) {
        metrics::CONNECTIONS_REFUSED.add(&[&self.name, reason], 1);
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, address: IpAddr, places: Places) {
        let _open = Open::new(Arc::clone(&self.name));
        let _places = places;
        // Only a hint to the kernel: answers are small and complete.
        stream.set_nodelay(true).ok();
        let Some(tls) = &self.tls else {
            let peer = Peer { address, certificate: Arc::default() };
            return Box::pin(self.http(stream, peer)).await;
        };
        let handshake = tokio_rustls::TlsAcceptor::from(tls.current()).accept(stream);
        match timeout(self.limits.head_timeout.get(), handshake).await {
            Err(_) => self.refused("tls_timeout"),
            Ok(Err(error)) => self.not_greeted(address, &error),
            Ok(Ok(stream)) => {
                let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
                let certificate = chain.first().map(|der| certificate_names(der)).unwrap_or_default().into();
                Box::pin(self.http(stream, Peer { address, certificate })).await;
            }
        }
    }

    fn not_greeted(&self, address: IpAddr, error: &io::Error) {
        let fault = HandshakeFault::of(error);
        self.refused(fault.label());
        // Whoever only looks whether the port is open goes without a word.
        let has_left = matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset);
        if let Some(requests) = self.requests.as_ref().filter(|_| !has_left) {
            requests.tell(Record::of_connection(&self.name, address, fault.label(), &error.to_string()));
        }
        let Some(remedy) = fault.remedy() else {
            return tracing::debug!(listener = &*self.name, %address, %error, "TLS handshake failed");
        };
        if let Some(left_out) = self.handshakes.pass((address, fault)) {
            let reason = fault.label();
            tracing::warn!(listener = &*self.name, %address, reason, %error, left_out, remedy, "a client cannot connect");
        }
    }

    async fn http(self: &Arc<Self>, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: Peer) {
        let session = Session::new();
        let timeouts = Timeouts {
            head: self.limits.head_timeout.get(),
            idle: self.limits.keep_alive_idle.get(),
            write: WRITE_TIMEOUT,
            linger: LINGER,
        };
        let io = TokioIo::new(Guard::new(stream, Arc::clone(&session), timeouts));
        let (door, of_connection) = (Arc::clone(self), (Arc::clone(&session), peer.clone()));
        let service = hyper::service::service_fn(move |request| {
            let (session, peer) = of_connection.clone();
            Arc::clone(&door).answer(session, peer, request)
        });
        let mut connection = std::pin::pin!(self.builder.serve_connection(io, service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(listener = &*self.name, address = %peer.address, %error, "connection ended early");
        }
        if let Some(refusal) = session.refusal() {
            tracing::debug!(listener = &*self.name, address = %peer.address, %refusal, "request refused");
            self.refused(if refusal.status == 408 { "slow_head" } else { "malformed" });
        }
    }

    async fn answer(
        self: Arc<Self>,
        session: Arc<Session>,
        peer: Peer,
        mut request: Request<Incoming>,
    ) -> Result<Response<Body>, std::convert::Infallible> {
        match session.begin() {
            Ok(_in_flight) => {
                request.extensions_mut().insert(peer);
                if let Some(requests) = &self.requests {
                    request.extensions_mut().insert(requests.clone());
                }
                self.router.clone().oneshot(request).await
            }
            Err(refusal) => Ok(self.turn_away(&refusal, &peer, &request)),
        }
    }

    /// The answer to a request that the front door refused.
    fn turn_away(&self, refusal: &Refusal, peer: &Peer, request: &Request<Incoming>) -> Response<Body> {
        let failure = Failure::front_door(refusal.status, refusal.message.clone());
        let mut response = reply::failure(&failure);
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        let ids = Ids::of(request.headers());
        if let Some(requests) = &self.requests {
            let path = request.uri().path();
            let mut record = Record::of_request(&self.name, peer.address, path, request.headers(), &ids);
            record.end(response.status(), Some(&failure), Duration::ZERO);
            requests.tell(record);
        }
        ids.put_on(&mut response);
        response
    }
}

fn builder(limits: &limits::Config) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // The guard holds the clocks of HTTP/1: hyper's would also cut connections that are merely idle.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).half_close(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_concurrent_streams)
        .max_header_list_size(HEADER_LIST_MAX)
        .max_pending_accept_reset_streams(RESETS_PENDING_MAX)
        .max_local_error_reset_streams(RESETS_LOCAL_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// Counts an open connection for as long as it lives.
struct Open(Arc<str>);

impl Open {
    fn new(listener: Arc<str>) -> Self {
        metrics::CONNECTIONS_OPEN.shift(&[&listener], 1.0);
        Self(listener)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        metrics::CONNECTIONS_OPEN.shift(&[&self.0], -1.0);
    }
}

#[cfg(test)]
mod tests;
