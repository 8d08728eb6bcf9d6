//! A port that closes and opens on request, whose connections can be reset: what every stand-in for the far end listens on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::{Response, StatusCode, header};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Listens while it is not `down`, and serves each connection in a task of its own; while it is down, the port is closed and what
/// was open is cut.
pub(crate) async fn listen<S, F>(listener: TcpListener, address: SocketAddr, mut down: watch::Receiver<bool>, serve: S)
where
    S: Fn(TcpStream) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let mut listener = Some(listener);
    loop {
        let up = match listener.take() {
            Some(listener) => listener,
            // Somebody may hold the port for a moment.
            None => match TcpListener::bind(address).await {
                Ok(listener) => listener,
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            },
        };
        let connections = CancellationToken::new();
        let cut = connections.clone().drop_guard();
        loop {
            tokio::select! {
                accepted = up.accept() => if let Ok((stream, _)) = accepted {
                    tokio::spawn(connections.clone().run_until_cancelled_owned(serve(stream)));
                },
                _ = down.wait_for(|down| *down) => break,
            }
        }
        drop((up, cut));
        if down.wait_for(|down| !*down).await.is_err() {
            return;
        }
    }
}

/// Why a connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is closed on purpose")]
pub(crate) struct OnPurpose;

/// A second handle on a connection's socket, so that who answers its requests can turn its close into a reset.
#[derive(Debug, Clone)]
pub(crate) struct Socket(Arc<std::net::TcpStream>);

impl Socket {
    /// Of a connection, which goes on. None when the system gives no handle.
    pub(crate) fn beside(stream: TcpStream) -> Option<(TcpStream, Self)> {
        let stream = stream.into_std().ok()?;
        let handle = stream.try_clone().ok()?;
        Some((TcpStream::from_std(stream).ok()?, Self(Arc::new(handle))))
    }

    /// Resets the connection when it closes, which it does now.
    pub(crate) fn reset(&self) -> OnPurpose {
        _ = socket2::SockRef::from(&*self.0).set_linger(Some(Duration::ZERO));
        OnPurpose
    }
}

/// A status that somebody asked for.
pub(crate) fn status(asked: u16) -> StatusCode {
    StatusCode::from_u16(asked).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// An answer that says when to come back, if that is to be said.
pub(crate) fn after<B>(mut answer: Response<B>, retry_after: Option<u32>) -> Response<B> {
    if let Some(seconds) = retry_after {
        answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    answer
}
