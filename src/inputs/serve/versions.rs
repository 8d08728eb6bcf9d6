//! The versions of HTTP that a connection may speak: how hyper is set up for each, and one connection as hyper serves it.

use std::pin::Pin;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::conversation::Conversation;
use crate::inputs::http::limits;

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
    pub(super) http1: http1::Builder,
    pub(super) http2: http2::Builder<TokioExecutor>,
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
}

/// How hyper came to the end of what it was given.
pub(super) enum Served {
    /// By itself.
    Done(hyper::Result<()>),
    /// It was told to end with what it had begun.
    Left(hyper::Result<()>),
    /// Nothing more is to be done for its client.
    Cut,
}

/// Serves `connection` to its end. When `left` resolves it is told by `leave` to end with what it has begun.
pub(super) async fn serve<C: Future<Output = hyper::Result<()>>>(
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
