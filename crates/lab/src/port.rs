//! A port that closes and opens on request, whose connections can be reset: what every stand-in for the far end listens on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::{Response, StatusCode, header};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// Listens while it is not `down`, and serves each connection in a task of its own; while it is down, connections are refused and
/// what was open is cut. The port stays its own all the time: another process would else be given it, and be sent what is not its.
pub(crate) async fn listen<S, F>(listener: TcpListener, address: SocketAddr, mut down: watch::Receiver<bool>, serve: S)
where
    S: Fn(TcpStream) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let mut listener = listener;
    loop {
        let connections = CancellationToken::new();
        let cut = connections.clone().drop_guard();
        loop {
            tokio::select! {
                accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                    tokio::spawn(connections.clone().run_until_cancelled_owned(serve(stream)));
                },
                _ = down.wait_for(|down| *down) => break,
            }
        }
        drop((listener, cut));
        let kept = keep(address).await;
        if down.wait_for(|down| !*down).await.is_err() {
            return;
        }
        let Ok(again) = kept.listen(BACKLOG) else { return };
        listener = again;
    }
}

/// Takes a port that was listened on until now, without listening.
async fn keep(address: SocketAddr) -> TcpSocket {
    loop {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        // What was cut may hold the port for a moment.
        match socket.and_then(|socket| socket.set_reuseaddr(true).and(socket.bind(address)).map(|()| socket)) {
            Ok(socket) => return socket,
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
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
