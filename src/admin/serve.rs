//! The admin plane's own small accept loop: HTTP/1.1, few connections, deadlines.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::limits::{ADMIN_CONNECTION_MAX_AGE, ADMIN_CONNECTIONS_MAX, ADMIN_HEAD_TIMEOUT};

/// Pause after a failed accept: out of file descriptors does not get better by asking at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Time that requests under way have to end when the gateway stops.
const GRACE: Duration = Duration::from_secs(5);

/// Binds the listener; the error names the address.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("admin plane: cannot listen on {address}: {error}"));
    TcpListener::bind(address).await.map_err(named)
}

/// Serves until told to stop, then lets requests under way end.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(ADMIN_CONNECTIONS_MAX));
    let connections = TaskTracker::new();
    while let Some(Ok(slot)) = stop.run_until_cancelled(Arc::clone(&slots).acquire_owned()).await {
        match stop.run_until_cancelled(listener.accept()).await {
            None => break,
            Some(Ok((stream, _))) => {
                let life = connection(stream, router.clone(), stop.clone());
                connections.spawn(async move {
                    life.await;
                    drop(slot);
                });
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "admin plane: accepting failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    connections.close();
    if tokio::time::timeout(GRACE, connections.wait()).await.is_err() {
        tracing::debug!("admin plane: requests were cut off");
    }
}

async fn connection(stream: TcpStream, router: Router, stop: CancellationToken) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(ADMIN_HEAD_TIMEOUT);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let enough = tokio::time::timeout(ADMIN_CONNECTION_MAX_AGE, stop.cancelled());
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = enough => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(GRACE, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "admin plane: connection ended");
    }
}
