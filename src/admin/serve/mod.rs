//! The admin plane's own small accept loop: HTTP/1.1, alone or in TLS, few connections, deadlines.
//!
//! Health checks have to be answered whatever others do, or a load balancer takes a sound gateway for a dead one. So every
//! connection is accepted at once, and room is made for it ([`places`]); a request is heard when its head is whole, and each
//! head passes the strict guard of the uploads, because rules and dead letters deserve no weaker door.

mod places;
mod visit;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router};
use http::{HeaderValue, Request, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use self::places::Places;
use self::visit::{Arriving, Leaving, Visit};
use super::Config;
use super::guard::Arrival;
use crate::limits::{ADMIN_CONNECTION_MAX_AGE, ADMIN_HEAD_TIMEOUT, ADMIN_IDLE_TIMEOUT};
use crate::metrics;
use crate::net::http1_guard::{self, Refusal, Timeouts};
use crate::net::listen;
use crate::net::places::{Guest as _, Place};
use crate::net::tls_server::{self, ServerTls, TlsError};

/// Pause after a failed accept: out of file descriptors does not get better by asking at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Time that requests under way have to end when the gateway stops.
const GRACE: Duration = Duration::from_secs(5);

const TIMEOUTS: Timeouts = Timeouts {
    head: ADMIN_HEAD_TIMEOUT,
    idle: ADMIN_IDLE_TIMEOUT,
    write: Duration::from_secs(30),
    linger: Duration::from_secs(2),
};

/// Binds the listener; the error names the address.
///
/// # Errors
///
/// When the address is taken, is not ours, or needs rights that we lack.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("admin plane: cannot listen on {address}: {error}"));
    listen::bind(address).map_err(named)
}

/// The plane's TLS, to reload its certificates while it runs; `None` for plain HTTP.
///
/// # Errors
///
/// When a certificate or key cannot be used.
pub fn load_tls(config: &Config, state_dir: &Path) -> Result<Option<ServerTls>, TlsError> {
    config.speaks_tls().then(|| ServerTls::load(&config.tls, state_dir, tls_server::ONLY_HTTP1)).transpose()
}

/// Serves until told to stop, then lets requests under way end.
pub async fn serve(listener: TcpListener, door: Door, stop: CancellationToken) {
    let door = Arc::new(door);
    let connections = TaskTracker::new();
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, peer)) => door.clone().admit(stream, peer.ip(), &connections, &stop),
            Err(error) => {
                tracing::warn!(%error, "admin plane: accepting failed");
                refused("accept_error");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    connections.close();
    if timeout(GRACE, connections.wait()).await.is_err() {
        tracing::debug!("admin plane: requests were cut off");
    }
}

/// What all connections share.
pub struct Door {
    router: Router,
    tls: Option<Arc<ServerTls>>,
    places: Places,
    timeouts: Timeouts,
}

impl Door {
    /// A door to these routes.
    pub fn new(config: &Config, tls: Option<Arc<ServerTls>>, router: Router) -> Self {
        Self { router, tls, places: Places::new(&config.probes_from), timeouts: TIMEOUTS }
    }

    /// The same with other deadlines.
    #[cfg(test)]
    pub(super) fn with(self, timeouts: Timeouts) -> Self {
        Self { timeouts, ..self }
    }

    fn admit(self: Arc<Self>, stream: TcpStream, from: IpAddr, connections: &TaskTracker, stop: &CancellationToken) {
        let visit = Arc::new(Visit::default());
        match self.places.admit(from, &visit) {
            Ok(admitted) => {
                if admitted.made_room {
                    refused("made_room");
                }
                connections.spawn(self.connection(stream, visit, admitted.place, stop.clone()));
            }
            Err(reason) => refused(reason),
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, visit: Arc<Visit>, place: Place, stop: CancellationToken) {
        let _open = (Open::new(), place);
        // Only a hint to the kernel: answers are small and complete.
        stream.set_nodelay(true).ok();
        let Ok(local) = stream.local_addr() else { return };
        let arrival = Arrival { at: local.ip(), in_tls: self.tls.is_some() };
        let Some(tls) = &self.tls else { return Box::pin(self.http(stream, arrival, &visit, &stop)).await };
        let handshake = tokio_rustls::TlsAcceptor::from(tls.current()).accept(stream);
        let greeted = tokio::select! {
            greeted = timeout(self.timeouts.head, handshake) => greeted,
            () = visit.dismissed() => return,
            () = stop.cancelled() => return,
        };
        match greeted {
            Err(_) => refused("tls_timeout"),
            Ok(Err(error)) => {
                tracing::debug!(%error, "admin plane: TLS handshake failed");
                refused("tls_failed");
            }
            Ok(Ok(stream)) => Box::pin(self.http(stream, arrival, &visit, &stop)).await,
        }
    }

    async fn http(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        arrival: Arrival,
        visit: &Arc<Visit>,
        stop: &CancellationToken,
    ) {
        let guarded = http1_guard::Guard::new(stream, Arc::clone(visit.session()), self.timeouts);
        let service = hyper::service::service_fn(|request| answer(self.router.clone(), visit, arrival, request));
        let mut builder = http1::Builder::new();
        // The guard holds the clocks: hyper's would also cut connections that are merely idle.
        builder.timer(TokioTimer::new()).header_read_timeout(None).half_close(true);
        let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(guarded), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = enough(visit, stop) => {
                if visit.is_dismissed() && visit.quiet_since().is_some() {
                    return;
                }
                connection.as_mut().graceful_shutdown();
                timeout(GRACE, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "admin plane: connection ended");
        }
        if let Some(refusal) = visit.session().refusal() {
            tracing::debug!(%refusal, "admin plane: request refused");
            refused(if refusal.status == 408 { "slow_head" } else { "malformed" });
        }
    }
}

/// When a connection has to end, whatever it does.
async fn enough(visit: &Visit, stop: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(ADMIN_CONNECTION_MAX_AGE) => {}
        () = visit.dismissed() => {}
        () = stop.cancelled() => {}
    }
}

async fn answer(
    router: Router,
    visit: &Arc<Visit>,
    arrival: Arrival,
    request: Request<Incoming>,
) -> Result<Response, Infallible> {
    match visit.session().begin() {
        Ok(in_flight) => {
            let mut request = request.map(|body| Body::new(Arriving::new(body, Arc::clone(visit))));
            request.extensions_mut().insert(arrival);
            let answer = router.oneshot(request).await;
            // A connection is not idle while it listens to a stream.
            answer.map(|answer| answer.map(|body| Body::new(Leaving::new(body, in_flight))))
        }
        Err(refusal) => Ok(turn_away(&refusal)),
    }
}

/// The answer to a request that the guard refused.
fn turn_away(refusal: &Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
    let mut response = (status, Json(json!({ "error": refusal.message }))).into_response();
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn refused(reason: &str) {
    metrics::ADMIN_CONNECTIONS_REFUSED.add(&[reason], 1);
}

/// Counts an open connection for as long as it lives.
struct Open;

impl Open {
    fn new() -> Self {
        metrics::ADMIN_CONNECTIONS_OPEN.shift(&[], 1.0);
        Self
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        metrics::ADMIN_CONNECTIONS_OPEN.shift(&[], -1.0);
    }
}
