//! The client's side of a tunnel as it is handed on: what it has sent already comes first, and what moves is counted.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::net::stream::Stream;

/// A stream that was taken over.
#[derive(Debug)]
pub(in crate::tunnel) struct Taken {
    early: BytesMut,
    stream: Stream,
    moved: Arc<Moved>,
    _ended: DropGuard,
}

/// What went through a [`Taken`], and whether it is there still.
#[derive(Debug, Default)]
pub(in crate::tunnel) struct Moved {
    up: AtomicU64,
    down: AtomicU64,
    ended: CancellationToken,
}

impl Moved {
    /// Bytes from and to the client.
    pub(in crate::tunnel) fn bytes(&self) -> (u64, u64) {
        (self.up.load(Ordering::Relaxed), self.down.load(Ordering::Relaxed))
    }

    /// Resolves when the stream is used no more.
    pub(in crate::tunnel) async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

impl Taken {
    /// Begins with `early`.
    pub(in crate::tunnel) fn new(stream: Stream, early: BytesMut) -> (Self, Arc<Moved>) {
        let moved = Arc::new(Moved::default());
        let taken = Self { early, stream, moved: Arc::clone(&moved), _ended: moved.ended.clone().drop_guard() };
        (taken, moved)
    }
}

impl AsyncRead for Taken {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.early.is_empty() {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        } else {
            let some = self.early.len().min(buf.remaining());
            buf.put_slice(&self.early[..some]);
            self.early.advance(some);
            if self.early.is_empty() {
                self.early = BytesMut::new();
            }
        }
        self.moved.up.fetch_add((buf.filled().len() - before) as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Taken {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.moved.down.fetch_add(written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn what_was_sent_before_comes_first_and_all_is_counted_until_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (mut client, (near, _)) = (client.expect("connected"), accepted.expect("accepted"));
        let (mut taken, moved) = Taken::new(Stream::Plain(near), BytesMut::from(&b"first "[..]));
        client.write_all(b"second").await.expect("sent");
        client.shutdown().await.expect("half-closed");
        let mut came = String::new();
        let mut little = [0; 4];
        taken.read_exact(&mut little).await.expect("a part of what was sent before");
        taken.read_to_string(&mut came).await.expect("the rest");
        assert_eq!((&little, came.as_str()), (b"firs", "t second"));
        taken.write_all(b"answer").await.expect("sent");
        assert_eq!(moved.bytes(), (12, 6));
        assert!(!moved.ended.is_cancelled());
        drop(taken);
        moved.ended().await;
    }
}
