//! The stream that hyper reads through.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::{Framing, Refusal, Session};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Stands in for a refused request, so that hyper answers in order; see the module's header.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n";
const READ_SIZE: usize = 8 << 10;
/// Most bytes of a body that go to hyper at once: what a record of TLS holds. hyper makes its buffer as large as the most that it was
/// given, and keeps that for as long as the connection lives.
const READ_SIZE_MAX: usize = 16 << 10;
/// What a peer may still send after we closed: enough for one upload at the default limits to end, so that the answer
/// is not lost to a connection reset.
const LINGER_BYTES_MAX: usize = 64 << 20;
/// The same with HTTP/2, whose windows bound what of bodies is on its way.
const LINGER_HTTP2_BYTES_MAX: usize = 8 << 20;

/// The clocks of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// From the first byte of a head (or the start of the connection) to its end.
    pub head: Duration,
    /// How long a connection may be open with no request in flight.
    pub idle: Duration,
    /// How long the peer may take no byte of an answer.
    pub write: Duration,
    /// How long to wait, after closing, for a peer that still sends.
    pub linger: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Unknown,
    Http1,
    Http2,
}

/// What comes next on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// A request of HTTP/1, or what stands in for one that was refused.
    Http1,
    /// HTTP/2.
    Http2,
    /// Nothing: the peer has closed it, or was silent for too long.
    End,
}

/// Wraps the decrypted stream of a connection; see the module's header.
#[derive(Debug)]
pub struct Guard<S> {
    io: S,
    session: Arc<Session>,
    timeouts: Timeouts,
    rest_after: Option<Duration>,
    /// Whether nobody reads requests until the next one comes.
    is_resting: bool,
    protocol: Protocol,
    framing: Framing,
    held: BytesMut,
    verified: BytesMut,
    head_since: Option<Instant>,
    clock: Pin<Box<Sleep>>,
    write_clock: Option<Pin<Box<Sleep>>>,
    input_ended: bool,
    broken: Option<String>,
    refused: bool,
    lingering: Option<usize>,
}

impl<S> Guard<S> {
    /// Guards a stream from its first byte on.
    pub fn new(io: S, session: Arc<Session>, timeouts: Timeouts) -> Self {
        let now = Instant::now();
        Self {
            io,
            session,
            timeouts,
            rest_after: None,
            is_resting: false,
            protocol: Protocol::Unknown,
            framing: Framing::default(),
            held: BytesMut::new(),
            verified: BytesMut::new(),
            head_since: Some(now),
            clock: Box::pin(tokio::time::sleep_until(now + timeouts.head)),
            write_clock: None,
            input_ended: false,
            broken: None,
            refused: false,
            lingering: None,
        }
    }

    /// The same with heads of at most so many bytes.
    #[must_use]
    pub fn with_head_max(self, head_max: usize) -> Self {
        Self { framing: Framing::with_head_max(head_max), ..self }
    }

    /// The same, and a connection rests when it had no request for so long: the stream ends for its reader, who gives it back, and
    /// [`Guard::next`] says when there is something to read again. Its peer notices nothing.
    #[must_use]
    pub fn resting_after(self, rest_after: Duration) -> Self {
        Self { rest_after: Some(rest_after), ..self }
    }

    /// Whether the stream has ended for its reader only.
    pub fn is_resting(&self) -> bool {
        self.is_resting
    }

    /// Judges what was read; afterwards `verified` holds what hyper may see.
    fn judge(&mut self) {
        if self.protocol == Protocol::Unknown {
            if self.held.len() < PREFACE.len() && PREFACE.starts_with(&self.held) {
                return;
            }
            let http2 = self.held.starts_with(PREFACE);
            self.protocol = if http2 { Protocol::Http2 } else { Protocol::Http1 };
        }
        if self.protocol == Protocol::Http2 {
            self.verified.extend_from_slice(&self.held.split());
            self.head_since = None;
            return;
        }
        let heads_before = self.framing.heads();
        if let Err(refusal) = self.framing.advance(&mut self.held, &mut self.verified) {
            return self.refuse(refusal);
        }
        let inside_head = self.framing.in_head() && !self.held.is_empty();
        if !inside_head {
            self.head_since = None;
        } else if self.head_since.is_none() || self.framing.heads() > heads_before {
            self.head_since = Some(Instant::now());
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.refused = true;
        self.held.clear();
        if self.framing.in_head() {
            self.session.refuse(self.framing.heads() + 1, refusal);
            self.verified.extend_from_slice(STAND_IN);
            self.input_ended = true;
        } else {
            self.broken = Some(refusal.message.clone());
            self.session.refuse(Session::NO_REQUEST, refusal);
        }
    }

    /// Whether the peer may still send something after we closed: the rest of a request, or with HTTP/2 a stream that it began before
    /// it read that none is taken any more, or that its connection was idle for too long.
    fn may_be_sent_more(&self) -> bool {
        match self.protocol {
            Protocol::Unknown => false,
            Protocol::Http1 => self.refused || !self.framing.in_head(),
            Protocol::Http2 => true,
        }
    }

    /// What must happen at the latest when.
    fn due(&self) -> Instant {
        if let Some(since) = self.head_since {
            return since + self.timeouts.head;
        }
        match self.session.quiet_since() {
            Some(quiet) if self.protocol == Protocol::Http2 || self.framing.in_head() => quiet + self.timeouts.idle,
            // Work is in flight or a body is on its way: others watch those; look again later.
            _ => Instant::now() + self.timeouts.idle,
        }
    }

    /// When its reader is told that the stream has ended, though it has not.
    fn rest_due(&self) -> Option<Instant> {
        let after = self.rest_after.filter(|_| !self.is_resting)?;
        let is_between = self.protocol == Protocol::Http1 && self.framing.in_head() && self.held.is_empty();
        let quiet = self.session.quiet_since().filter(|_| is_between)?;
        Some(quiet + after)
    }

    /// Nothing can be read now: waits for the clock. `Ready` when the input was ended by it, or the connection rests.
    fn poll_clock(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let (due, rest) = (self.due(), self.rest_due());
            let now = Instant::now();
            if due <= now {
                break;
            }
            if rest.is_some_and(|rest| rest <= now) {
                self.is_resting = true;
                return Poll::Ready(());
            }
            self.clock.as_mut().reset(rest.map_or(due, |rest| rest.min(due)));
            ready!(self.clock.as_mut().poll(cx));
        }
        if self.held.is_empty() || self.protocol == Protocol::Http2 {
            self.input_ended = true;
        } else {
            self.refuse(Refusal::slow());
        }
        Poll::Ready(())
    }

    /// A peer that reads nothing must not hold a connection for ever.
    fn watch_write<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.write_clock = None;
            return result;
        }
        let write = self.timeouts.write;
        let clock = self.write_clock.get_or_insert_with(|| Box::pin(tokio::time::sleep(write)));
        ready!(clock.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read its answers")))
    }
}

impl<S: AsyncRead + Unpin> Guard<S> {
    /// How many of the next bytes may go to hyper without being looked at.
    fn unseen(&self) -> usize {
        match self.protocol {
            _ if !self.held.is_empty() => 0,
            Protocol::Http2 => READ_SIZE_MAX,
            _ => usize::try_from(self.framing.unseen()).unwrap_or(READ_SIZE_MAX).min(READ_SIZE_MAX),
        }
    }

    /// Reads straight into hyper's buffer, where only the number of bytes matters.
    fn poll_unseen(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>, room: usize) -> Poll<io::Result<()>> {
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(room.min(buf.remaining())));
        let result = Pin::new(&mut self.io).poll_read(cx, &mut part);
        let got = part.filled().len();
        if result.is_pending() {
            return self.poll_clock(cx).map(Ok);
        }
        buf.advance(got);
        self.input_ended = got == 0;
        if self.protocol == Protocol::Http1 {
            self.framing.pass(got as u64);
        }
        result
    }

    /// Whoever only waits for a request keeps no memory for it: thousands of hosts do, nearly all the time.
    fn rest(&mut self) {
        for buffer in [&mut self.held, &mut self.verified] {
            if buffer.is_empty() {
                *buffer = BytesMut::new();
            }
        }
    }

    /// Reads into `held` and judges it.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut space = [0u8; READ_SIZE];
        let mut buf = ReadBuf::new(&mut space);
        match Pin::new(&mut self.io).poll_read(cx, &mut buf) {
            Poll::Pending => {
                self.rest();
                self.poll_clock(cx).map(Ok)
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) if buf.filled().is_empty() => {
                self.input_ended = true;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(())) => {
                self.held.extend_from_slice(buf.filled());
                self.judge();
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Waits for a request, with no more memory than the connection has, and says of which protocol it is. Call it before the stream
    /// is read for the first time, and when it rests.
    pub async fn next(&mut self) -> Next {
        self.is_resting = true;
        let next = std::future::poll_fn(|cx| self.poll_next(cx)).await;
        self.is_resting = false;
        next
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        loop {
            if !self.verified.is_empty() {
                let is_http2 = self.protocol == Protocol::Http2;
                return Poll::Ready(if is_http2 { Next::Http2 } else { Next::Http1 });
            }
            // An error is told to whoever reads or writes next, and there is nobody.
            if self.input_ended || ready!(self.poll_held(cx)).is_err() {
                return Poll::Ready(Next::End);
            }
        }
    }

    /// Reads and forgets what the peer still sends: closing with unread bytes would reset the connection and could take the
    /// answer with it, or the GOAWAY that says which streams may be tried anew.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut space = [0u8; READ_SIZE];
        let most = if self.protocol == Protocol::Http2 { LINGER_HTTP2_BYTES_MAX } else { LINGER_BYTES_MAX };
        while self.lingering.is_some_and(|taken| taken < most) {
            let mut buf = ReadBuf::new(&mut space);
            match Pin::new(&mut self.io).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    self.lingering = self.lingering.map(|taken| taken + buf.filled().len());
                }
                Poll::Ready(_) => break,
                Poll::Pending => return self.clock.as_mut().poll(cx),
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if !this.verified.is_empty() {
                let bytes = this.verified.len().min(buf.remaining());
                buf.put_slice(&this.verified[..bytes]);
                this.verified.advance(bytes);
                return Poll::Ready(Ok(()));
            }
            if let Some(message) = &this.broken {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, message.clone())));
            }
            if this.input_ended || this.is_resting {
                return Poll::Ready(Ok(()));
            }
            match this.unseen() {
                0 => ready!(this.poll_held(cx))?,
                room => return this.poll_unseen(cx, buf, room),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guard<S> {
    /// Closes the connection, unless its reader has done so. A peer that is gone needs no goodbye.
    pub async fn close(&mut self) {
        self.is_resting = false;
        self.shutdown().await.ok();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.session.writing(true);
        let result = Pin::new(&mut this.io).poll_write(cx, bytes);
        this.watch_write(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.session.writing(true);
        let result = Pin::new(&mut this.io).poll_write_vectored(cx, slices);
        this.watch_write(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_flush(cx);
        if result.is_ready() {
            this.session.writing(false);
        }
        this.watch_write(cx, result)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_resting {
            return Poll::Ready(Ok(()));
        }
        if this.lingering.is_none() {
            let result = Pin::new(&mut this.io).poll_shutdown(cx);
            ready!(this.watch_write(cx, result))?;
            this.lingering = Some(0);
            this.clock.as_mut().reset(Instant::now() + this.timeouts.linger);
        }
        if this.may_be_sent_more() {
            ready!(this.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}
