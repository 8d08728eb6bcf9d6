//! The way of one connection: whose it is, TLS, the strict front door, hyper, and its end.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use http::{HeaderValue, Request, Response, Version, header};
use hyper::body::Incoming;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::Stages;
use super::admit::Places;
use super::conversation::{Conversation, Shown};
use super::turned_away::{Met, TurnedAway};
use super::versions::Versions;
use crate::inputs::Peer;
use crate::inputs::access_log::{Record, Requests};
use crate::inputs::http::limits;
use crate::inputs::http::reply::{self, Ids};
use crate::inputs::reason::Failure;
use crate::metrics;
use crate::net::certificate_names::certificate_names;
use crate::net::client_trust;
use crate::net::gss;
use crate::net::handed::{self, Handed};
use crate::net::hang_up::{self, Watch};
use crate::net::http1_guard::{Guard, HEAD_MAX, Refusal, Timeouts};
use crate::net::listen::{AddressPlace, Admission, one_subscriber};
use crate::net::places;
use crate::net::proxy_protocol::{self, HeaderError};
use crate::net::tls_choice::HandshakeFault;
use crate::net::tls_server::{Asked, ServerTls, good_until};
use crate::telemetry::Repeats;
use crate::values::Network;

/// The longest head where hosts show tickets: those have up to 48,000 bytes, and a third more in base64.
const TICKET_HEAD_MAX: usize = 80 << 10;
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
const LINGER: Duration = Duration::from_secs(2);
/// After so long without a request a connection rests: soon, because most hosts say nothing for minutes, and not at once, because the
/// next upload of one that has more comes within it.
pub(super) const REST_AFTER: Duration = Duration::from_millis(500);
/// How long a listener that ends waits for the first request of a connection: who has just connected has one on its way.
const FIRST_REQUEST: Duration = Duration::from_secs(2);

/// What all connections of a listener share.
pub(super) struct Door {
    pub(super) name: Arc<str>,
    pub(super) tls: Option<Arc<ServerTls>>,
    pub(super) limits: limits::Config,
    pub(super) max_connections: usize,
    pub(super) admission: Admission,
    pub(super) places: Arc<places::Places>,
    pub(super) versions: Versions,
    pub(super) router: Router,
    pub(super) stages: Stages,
    /// Whether balancers are told not to send anybody here.
    pub(super) is_unready: Arc<AtomicBool>,
    /// From where PROXY protocol headers are demanded and believed.
    pub(super) balancers: Arc<ArcSwap<Vec<Network>>>,
    /// Which failed handshakes have been told.
    pub(super) handshakes: Repeats<(IpAddr, HandshakeFault)>,
    /// Which balancers have been told of that send no header.
    pub(super) headerless: Repeats<IpAddr>,
    pub(super) requests: Option<Requests>,
    /// Whose certificates were not taken.
    pub(super) turned_away: Arc<TurnedAway>,
    /// What is offered by ALPN.
    pub(super) offered: &'static [&'static [u8]],
    /// Whether hosts show tickets of Kerberos.
    pub(super) takes_tickets: bool,
}

impl Door {
    pub(super) fn refused(&self, reason: &str) {
        metrics::CONNECTIONS_REFUSED.add(&[&self.name, reason], 1);
    }

    pub(super) async fn connection(
        self: Arc<Self>,
        mut stream: TcpStream,
        peer: IpAddr,
        mut places: Places,
        conversation: Arc<Conversation>,
    ) {
        let _open = Open::new(Arc::clone(&self.name));
        // Only a hint to the kernel: answers are small and complete.
        stream.set_nodelay(true).ok();
        let mut address = peer;
        if places.of_address.is_none() {
            let behind = Box::pin(conversation.unless_dismissed(self.behind(&mut stream, peer))).await;
            let Some(behind) = behind else { return };
            match behind {
                Ok(Some((source, place))) => {
                    (address, places.of_address) = (source, Some(place));
                    places.among_all.is_of(source);
                }
                // The balancer's own, as for a health check. The limit for one address is not for it.
                Ok(None) => {}
                Err(reason) => return self.refused(reason),
            }
        }
        let (stream, watch) = hang_up::watched(stream);
        let Some(tls) = &self.tls else {
            let peer = Peer { address, certificate: Arc::default(), leaf: None };
            return Box::pin(self.http(stream, peer, watch, conversation)).await;
        };
        self.https(stream, tls.current_trust(), address, watch, conversation).await;
    }

    /// The way of a connection that was handed here, from its ClientHello on.
    pub(super) async fn handed(self: Arc<Self>, handed: Handed, _places: Places, conversation: Arc<Conversation>) {
        let _open = Open::new(Arc::clone(&self.name));
        let Handed { stream, watch, client, certificates } = handed;
        let trust = match &self.tls {
            Some(tls) => {
                let (server, trust_changed, asked) = tls.current_trust();
                (handed::with_certificates(&server, certificates), trust_changed, asked)
            }
            None => match handed::only_certificates(certificates, self.offered) {
                Ok(server) => (server, CancellationToken::new(), Asked::ByAuthority),
                Err(_) => return self.refused("tls_error"),
            },
        };
        self.https(stream, trust, client.ip().to_canonical(), watch, conversation).await;
    }

    /// TLS, and then HTTP. Each has memory of its own, so that a connection which stays does not keep what only its handshake needed.
    async fn https(
        self: &Arc<Self>,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        trust: (Arc<ServerConfig>, CancellationToken, Asked),
        address: IpAddr,
        watch: Watch,
        conversation: Arc<Conversation>,
    ) {
        let Some((stream, peer)) = Box::pin(self.greet(stream, trust, address, &conversation)).await else { return };
        Box::pin(self.http(stream, peer, watch, conversation)).await;
    }

    /// The handshake. `trust` is the server's side, and what is cancelled when its clients have to be judged again. `None` for who
    /// does not come in, which has been told.
    async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        trust: (Arc<ServerConfig>, CancellationToken, Asked),
        address: IpAddr,
        conversation: &Conversation,
    ) -> Option<(TlsStream<S>, Peer)> {
        let (server, trust_changed, asked) = trust;
        let handshake = tokio_rustls::TlsAcceptor::from(server).accept(stream);
        let greeting = client_trust::noting(timeout(self.limits.head_timeout.get(), handshake));
        let (greeted, not_taken) = conversation.unless_dismissed(greeting).await?;
        let stream = match greeted {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                self.not_greeted(address, &error, not_taken.as_deref());
                return None;
            }
            Err(_) => {
                self.refused("tls_timeout");
                return None;
            }
        };
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        // A name that nobody but its bearer has written is none.
        let is_believed = asked == Asked::ByAuthority;
        let names = chain.first().filter(|_| is_believed).map(|der| certificate_names(der));
        let (certificate, leaf) = (names.unwrap_or_default().into(), chain.first().map(|der| Arc::from(der.as_ref())));
        if !chain.is_empty() && is_believed {
            conversation.shown.set(Shown { until: good_until(chain), trust_changed }).ok();
        }
        Some((stream, Peer { address, certificate, leaf }))
    }

    /// Who is behind a balancer, if anybody is.
    async fn behind(
        &self,
        stream: &mut TcpStream,
        balancer: IpAddr,
    ) -> Result<Option<(IpAddr, AddressPlace)>, &'static str> {
        let source = match timeout(self.limits.head_timeout.get(), proxy_protocol::read(stream)).await {
            Ok(Ok(source)) => source,
            // It only looked whether the port is open.
            Ok(Err(HeaderError::Gone(_))) => return Err("proxy_header"),
            Ok(Err(HeaderError::Malformed(detail))) => return Err(self.without_header(balancer, detail)),
            Err(_) => return Err(self.without_header(balancer, "it did not arrive in time")),
        };
        let place = |source: SocketAddr| Ok((source.ip(), self.admit_from(source.ip())?));
        source.map(place).transpose()
    }

    fn without_header(&self, balancer: IpAddr, detail: &str) -> &'static str {
        const REASON: &str = "proxy_header";
        if let Some(requests) = &self.requests {
            requests.tell(Record::of_connection(&self.name, balancer, REASON, detail));
        }
        if let Some(left_out) = self.headerless.pass(balancer) {
            let remedy =
                "let it send the PROXY protocol (send-proxy-v2), or take its address out of proxy_protocol_from";
            tracing::warn!(
                listener = &*self.name, address = %balancer, reason = REASON, detail, left_out, remedy,
                "a load balancer's connection has no PROXY protocol header"
            );
        }
        REASON
    }

    fn not_greeted(&self, address: IpAddr, error: &io::Error, certificate: Option<&str>) {
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
        let (listener, reason) = (&*self.name, fault.label());
        if fault.is_of_certificate() {
            self.turned_away.note(Met { listener, address, certificate, reason, detail: &error.to_string(), remedy });
        }
        if let Some(left_out) = self.handshakes.pass((one_subscriber(address), fault)) {
            tracing::warn!(listener, %address, certificate, reason, %error, left_out, remedy, "a client cannot connect");
        }
    }

    async fn http(
        self: &Arc<Self>,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: Peer,
        watch: Watch,
        conversation: Arc<Conversation>,
    ) {
        let session = Arc::clone(&conversation.session);
        let timeouts = Timeouts {
            head: self.limits.head_timeout.get(),
            idle: self.limits.keep_alive_idle.get(),
            write: WRITE_TIMEOUT,
            linger: LINGER,
        };
        let head_max = head_max(self.takes_tickets);
        let guard = Guard::new(stream, Arc::clone(&session), timeouts);
        let mut guard = guard.with_head_max(head_max).resting_after(REST_AFTER);
        let context = self.takes_tickets.then(gss::session::Session::new);
        let (door, of_connection) = (Arc::clone(self), (Arc::clone(&conversation), watch, peer.clone()));
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            if let Some(context) = &context {
                request.extensions_mut().insert(Arc::clone(context));
            }
            let (conversation, watch, peer) = of_connection.clone();
            Arc::clone(&door).answer(conversation, watch, peer, request)
        });
        let farewell = self.farewell(&conversation);
        if let Err(error) = self.versions.serve(&mut guard, &service, &conversation, farewell).await {
            tracing::debug!(listener = &*self.name, address = %peer.address, %error, "connection ended early");
        }
        if let Some(refusal) = session.refusal() {
            tracing::debug!(listener = &*self.name, address = %peer.address, %refusal, "request refused");
            self.refused(if refusal.status == 408 { "slow_head" } else { "malformed" });
        }
    }

    /// Resolves when a connection is to end with what it has begun.
    async fn farewell(&self, conversation: &Conversation) {
        let version = || conversation.version.get();
        tokio::select! {
            () = conversation.farewell.cancelled() => {}
            () = conversation.dismissed() => {}
            () = conversation.is_believed_no_more() => {}
            // GOAWAY names the last stream that is answered, so no request is lost to it. HTTP/1 can be told with an answer only.
            () = async {
                self.stages.left().await;
                if version() != Some(&Version::HTTP_2) {
                    std::future::pending().await
                }
            } => {}
            () = async {
                self.stages.ended().await;
                if version().is_none() {
                    tokio::time::sleep(FIRST_REQUEST).await;
                }
            } => {}
        }
    }

    async fn answer(
        self: Arc<Self>,
        conversation: Arc<Conversation>,
        watch: Watch,
        peer: Peer,
        mut request: Request<Incoming>,
    ) -> Result<Response<Body>, std::convert::Infallible> {
        let version = *conversation.version.get_or_init(|| request.version());
        let mut response = match conversation.session.begin() {
            Ok(_in_flight) => {
                request.extensions_mut().insert(peer);
                if let Some(requests) = &self.requests {
                    request.extensions_mut().insert(requests.clone());
                }
                conversation.while_waited_for(&watch, self.router.clone().oneshot(request)).await?
            }
            Err(refusal) => self.turn_away(&refusal, &peer, &request),
        };
        if self.sends_away() {
            if version == Version::HTTP_2 {
                conversation.farewell.cancel();
            } else {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
        }
        Ok(response)
    }

    /// Whether clients are told to connect anew, so that a balancer can bring them to another gateway.
    fn sends_away(&self) -> bool {
        self.stages.is_leaving() || self.is_unready.load(Ordering::Relaxed)
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
            record.end(response.status(), Some((reply::code(&failure), &failure)), Duration::ZERO);
            requests.tell(record);
        }
        ids.put_on(&mut response);
        response
    }
}

/// The longest head of a listener.
pub(super) fn head_max(takes_tickets: bool) -> usize {
    if takes_tickets { TICKET_HEAD_MAX } else { HEAD_MAX }
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
