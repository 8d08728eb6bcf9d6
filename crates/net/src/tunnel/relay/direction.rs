//! One direction of a tunnel: bytes from one connection to the other.
//!
//! An idle direction holds no buffer. Small amounts are copied through one buffer of the worker thread; what the far
//! side does not take at once, and only that, gets memory of its own until it does. When a read has filled the whole
//! buffer there is more where it came from: then the bytes stay in the kernel and move through a lent pipe.

use std::cell::RefCell;
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::pipes::{PIPES, Pipe};
use crate::net::stream::Stream;

/// The buffer of a worker thread.
const SCRATCH_BYTES: usize = 64 << 10;

/// A direction whose wake-ups move less than this goes back to copying, which takes fewer system calls.
const BULK_MIN: usize = SCRATCH_BYTES / 2;

/// Bytes that one turn may move before other tunnels get theirs.
const TURN_BYTES: usize = 1 << 20;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice());
}

/// Which side failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failed {
    /// The one that is read from.
    From,
    /// The one that is written to.
    To,
}

/// What a turn came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing more to do until a side is ready; the task will be woken.
    Waiting,
    /// There may be more, but others are due.
    Yield,
    /// The reader's end of stream was passed on: this direction is over.
    Over,
}

/// Bytes read and not yet written.
#[derive(Debug, Default)]
enum Held {
    #[default]
    Nothing,
    Bytes {
        bytes: Box<[u8]>,
        written: usize,
    },
    Pipe(Pipe),
}

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Direction {
    /// Bytes that reached the far side.
    pub(super) moved: u64,
    held: Held,
    bulk: bool,
    unflushed: bool,
    ended: bool,
    over: bool,
}

impl Direction {
    /// A direction in which nothing moves.
    pub(super) fn closed() -> Self {
        Self { over: true, ..Self::default() }
    }

    /// Puts bytes that were read before at the beginning.
    pub(super) fn begin_with(&mut self, bytes: &[u8]) {
        self.held = Held::of(bytes);
    }

    /// Whether it is over.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Whether the far side still has to take bytes, or the end of the stream.
    pub(super) fn is_waiting_for_writer(&self) -> bool {
        !self.over && (self.unflushed || self.ended || !matches!(self.held, Held::Nothing))
    }

    /// Moves what can be moved now. Adds the bytes to `moved` as the far side takes them.
    ///
    /// `last`: the other direction is over. Then the connections are closed next, which passes the end of stream on.
    pub(super) fn turn(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
        last: bool,
    ) -> Result<Turn, Failed> {
        if self.over {
            return Ok(Turn::Waiting);
        }
        let mut budget = TURN_BYTES;
        loop {
            match self.write_held(cx, to) {
                Poll::Pending => return Ok(Turn::Waiting),
                Poll::Ready(Err(_)) => return Err(Failed::To),
                Poll::Ready(Ok(())) => {}
            }
            if self.ended && last && matches!(to, Stream::Plain(_)) {
                self.over = true;
                return Ok(Turn::Over);
            }
            if self.ended {
                return match Pin::new(&mut *to).poll_shutdown(cx) {
                    Poll::Pending => Ok(Turn::Waiting),
                    // The far side may have gone meanwhile: it needs no end of stream then.
                    Poll::Ready(_) => {
                        self.over = true;
                        Ok(Turn::Over)
                    }
                };
            }
            if budget == 0 {
                return Ok(Turn::Yield);
            }
            match self.read(cx, from, to) {
                Poll::Pending => {
                    self.bulk &= TURN_BYTES - budget >= BULK_MIN;
                    return Ok(Turn::Waiting);
                }
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => self.ended = true,
                Poll::Ready(Err(_)) => return Err(Failed::From),
                Poll::Ready(Ok(0)) => self.ended = true,
                Poll::Ready(Ok(read)) => budget = budget.saturating_sub(read),
            }
        }
    }

    fn write_held(&mut self, cx: &mut Context<'_>, to: &mut Stream) -> Poll<io::Result<()>> {
        loop {
            let written = match &mut self.held {
                Held::Nothing => break,
                Held::Bytes { bytes, written } => {
                    let n = ready!(Pin::new(&mut *to).poll_write(cx, &bytes[*written..]))?;
                    *written += n;
                    if *written == bytes.len() {
                        self.held = Held::Nothing;
                    }
                    n
                }
                Held::Pipe(pipe) => {
                    let n = ready!(poll_drain(cx, pipe, to))?;
                    if pipe.held() == 0 {
                        self.held = Held::Nothing;
                    }
                    n
                }
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.moved += written as u64;
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(to).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once and keeps what the far side does not take at once. The number of bytes read; 0 at the end.
    fn read(&mut self, cx: &mut Context<'_>, from: &mut Stream, to: &mut Stream) -> Poll<io::Result<usize>> {
        if self.bulk
            && let (Stream::Plain(source), Stream::Plain(_)) = (&*from, &*to)
        {
            ready!(source.poll_read_ready(cx))?;
            if let Some(mut pipe) = PIPES.lend() {
                let filled = ready!(poll_fill(cx, &mut pipe, source))?;
                if filled > 0 {
                    self.held = Held::Pipe(pipe);
                }
                return Poll::Ready(Ok(filled));
            }
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(from).poll_read(cx, &mut buffer))?;
            let read = buffer.filled();
            self.bulk = read.len() == SCRATCH_BYTES;
            if read.is_empty() {
                return Poll::Ready(Ok(0));
            }
            let taken = match Pin::new(to).poll_write(cx, read) {
                Poll::Ready(Ok(taken)) => taken,
                // The next write meets the error again, or is woken when there is room.
                Poll::Ready(Err(_)) | Poll::Pending => 0,
            };
            self.moved += taken as u64;
            self.unflushed |= taken > 0;
            self.held = Held::of(&read[taken..]);
            Poll::Ready(Ok(read.len()))
        })
    }
}

impl Held {
    fn of(bytes: &[u8]) -> Self {
        if bytes.is_empty() { Self::Nothing } else { Self::Bytes { bytes: bytes.into(), written: 0 } }
    }
}

fn poll_fill(cx: &mut Context<'_>, pipe: &mut Pipe, from: &TcpStream) -> Poll<io::Result<usize>> {
    loop {
        ready!(from.poll_read_ready(cx))?;
        match from.try_io(Interest::READABLE, || pipe.fill(from.as_fd())) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return Poll::Ready(result),
        }
    }
}

fn poll_drain(cx: &mut Context<'_>, pipe: &mut Pipe, to: &Stream) -> Poll<io::Result<usize>> {
    let to = to.tcp();
    loop {
        ready!(to.poll_write_ready(cx))?;
        match to.try_io(Interest::WRITABLE, || pipe.drain(to.as_fd())) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return Poll::Ready(result),
        }
    }
}
