//! The versions of HTTP that a connection may speak: how hyper is set up for each, and a connection from its first request to its end.
//!
//! hyper has a connection only while there is something to serve. Between requests of HTTP/1 it rests, with no more than its guard.

use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::conversation::Conversation;
use crate::inputs::http::limits;
use crate::net::http1_guard::{Guard, Next};

const HEADER_LIST_MAX: u32 = 16 << 10;
/// How much more than a head hyper may hold: it takes a head that fills its buffer for one without an end.
const HEAD_SPARE: usize = 1 << 10;
/// Streams that a client opened and reset before we answered; above it the connection ends (rapid reset).
const RESETS_PENDING_MAX: usize = 20;
/// Streams that we had to reset for a client's errors; above it the connection ends.
const RESETS_LOCAL_MAX: usize = 64;
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(15);

/// What all connections of a listener are served with.
pub(super) struct Versions {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl Versions {
    /// With these limits, and heads of at most so many bytes.
    pub(super) fn new(limits: &limits::Config, head_max: usize) -> Self {
        let mut http1 = http1::Builder::new();
        // The guard holds the clocks of HTTP/1: hyper's would also cut connections that are merely idle. A connection keeps what it
        // reads into until it rests, so that is no larger than a head needs.
        http1.timer(TokioTimer::new()).header_read_timeout(None).half_close(true).max_buf_size(head_max + HEAD_SPARE);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.max_concurrent_streams)
            .max_header_list_size(HEADER_LIST_MAX)
            .max_pending_accept_reset_streams(RESETS_PENDING_MAX)
            .max_local_error_reset_streams(RESETS_LOCAL_MAX)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT);
        Self { http1, http2 }
    }

    /// Serves a connection to its end: its own, or with what it has begun when `left` resolves.
    pub(super) async fn serve<S>(
        &self,
        guard: &mut Guard<impl AsyncRead + AsyncWrite + Unpin>,
        service: &S,
        conversation: &Conversation,
        left: impl Future<Output = ()>,
    ) -> hyper::Result<()>
    where
        S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send + 'static> + Clone,
    {
        let mut left = std::pin::pin!(left);
        loop {
            let next = tokio::select! {
                next = guard.next() => next,
                () = left.as_mut() => {
                    if conversation.can_go_at_once() {
                        return Ok(());
                    }
                    Next::End
                }
            };
            let (io, service, left) = (TokioIo::new(&mut *guard), service.clone(), left.as_mut());
            // What serves it has memory of its own, which goes when it rests.
            let served = match next {
                Next::Http1 => {
                    let connection = self.http1.serve_connection(io, service);
                    Box::pin(serve(connection, http1::Connection::graceful_shutdown, left, conversation)).await
                }
                Next::Http2 => {
                    let connection = self.http2.serve_connection(io, service);
                    Box::pin(serve(connection, http2::Connection::graceful_shutdown, left, conversation)).await
                }
                Next::End => Served::Left(Ok(())),
            };
            match served {
                Served::Done(Ok(())) if guard.is_resting() => {}
                Served::Done(Ok(())) | Served::Left(Ok(())) => {
                    guard.close().await;
                    return Ok(());
                }
                Served::Done(Err(error)) | Served::Left(Err(error)) => return Err(error),
                Served::Cut => return Ok(()),
            }
        }
    }
}

/// How hyper came to the end of what it was given.
enum Served {
    /// By itself.
    Done(hyper::Result<()>),
    /// It was told to end with what it had begun.
    Left(hyper::Result<()>),
    /// Nothing more is to be done for its client.
    Cut,
}

/// Serves `connection` to its end. When `left` resolves it is told by `leave` to end with what it has begun.
async fn serve<C: Future<Output = hyper::Result<()>>>(
    connection: C,
    leave: impl FnOnce(Pin<&mut C>),
    left: Pin<&mut impl Future<Output = ()>>,
    conversation: &Conversation,
) -> Served {
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return Served::Done(ended),
        () = conversation.hung_up() => return Served::Cut,
        () = left => {}
    }
    if conversation.can_go_at_once() {
        return Served::Cut;
    }
    leave(connection.as_mut());
    tokio::select! {
        ended = connection => Served::Left(ended),
        () = conversation.hung_up() => Served::Cut,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;
    use crate::net::http1_guard::{HEAD_MAX, Timeouts};

    #[tokio::test(start_paused = true)]
    async fn hyper_has_a_connection_only_while_there_is_something_to_serve() {
        let second = Duration::from_secs(1);
        let (mut client, server) = duplex(4096);
        let conversation = Conversation::new();
        let timeouts = Timeouts { head: second, idle: 60 * second, write: second, linger: second };
        let guard = Guard::new(server, Arc::clone(&conversation.session), timeouts);
        let mut guard = guard.resting_after(second / 2);
        let held = Arc::new(());
        let in_service = Arc::clone(&held);
        let service = hyper::service::service_fn(move |_: Request<Incoming>| {
            let _held = Arc::clone(&in_service);
            std::future::ready(Ok(Response::new(Body::empty())))
        });
        let serving = tokio::spawn(async move {
            let versions = Versions::new(&limits::Config::default(), HEAD_MAX);
            versions.serve(&mut guard, &service, &conversation, std::future::pending()).await
        });
        for _ in 0..3 {
            client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("the pipe takes it");
            assert!(client.read(&mut [0; 1024]).await.expect("an answer") > 0);
            assert_eq!(Arc::strong_count(&held), 3, "hyper has a service of its own");
            tokio::time::sleep(second).await;
            assert_eq!(Arc::strong_count(&held), 2, "it rests");
        }
        drop(client);
        serving.await.expect("no panic").expect("an end like any other");
    }
}
