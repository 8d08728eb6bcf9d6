//! A peer that hangs up while nobody reads from it.
//!
//! An HTTP/1 server reads nothing while it works at a request, so it would learn with its answer only that nobody is there for
//! it. Here the system's word is looked at beside the reading. A connection that was reset is over. One that only ended its
//! own half may wait for an answer (some clients send a request that way), and looks no different from one that was closed: it
//! has [`HALF_CLOSED_MAX`].

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt as _;
use rustix::net::{Shutdown, shutdown};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// How long a peer that has ended its half is taken for one that waits for its answer.
const HALF_CLOSED_MAX: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A connection that can be looked at while it is used.
#[derive(Debug)]
pub struct Watched(Arc<TcpStream>);

/// Looks at a [`Watched`] connection.
#[derive(Debug, Clone)]
pub struct Watch(Arc<TcpStream>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    Here,
    /// It sends nothing more.
    HalfClosed,
    Gone,
}

/// The same connection, and the look at it.
pub fn watched(stream: TcpStream) -> (Watched, Watch) {
    let stream = Arc::new(stream);
    (Watched(Arc::clone(&stream)), Watch(stream))
}

impl Watch {
    /// Resolves when nobody waits for an answer there any more.
    pub async fn hung_up(&self) {
        let mut half_closed = None;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            match self.look() {
                Peer::Here => {}
                Peer::HalfClosed if half_closed.get_or_insert_with(Instant::now).elapsed() < HALF_CLOSED_MAX => {}
                Peer::HalfClosed | Peer::Gone => return,
            }
        }
    }

    /// What the system has noticed so far.
    fn look(&self) -> Peer {
        match self.0.ready(Interest::READABLE | Interest::ERROR).now_or_never() {
            Some(Ok(ready)) if ready.is_error() => Peer::Gone,
            Some(Ok(ready)) if ready.is_read_closed() => Peer::HalfClosed,
            Some(Err(_)) => Peer::Gone,
            _ => Peer::Here,
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read(buf.initialize_unfilled()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(bytes) => {
                    buf.advance(bytes);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl Watched {
    /// Once the system takes bytes, whatever comes of `write`.
    fn poll_writing(
        &self,
        cx: &mut Context<'_>,
        mut write: impl FnMut() -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match write() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_writing(cx, || self.0.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_writing(cx, || self.0.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Who has gone already needs not be told.
        Poll::Ready(match shutdown(&*self.0, Shutdown::Write) {
            Err(rustix::io::Errno::NOTCONN) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn pair() -> (TcpStream, Watched, Watch) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (near, watch) = watched(accepted.expect("accepted").0);
        (client.expect("connected"), near, watch)
    }

    async fn settled(watch: &Watch, wanted: Peer) -> bool {
        let comes = async {
            while watch.look() != wanted {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), comes).await.is_ok()
    }

    #[tokio::test]
    async fn a_reset_is_seen_although_nobody_reads_and_bytes_wait() {
        let (mut client, _near, watch) = pair().await;
        client.write_all(b"more").await.expect("sent");
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(watch.look(), Peer::Here);
        socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("set");
        drop(client);
        tokio::time::timeout(Duration::from_secs(5), watch.hung_up()).await.expect("it is seen");
        assert_eq!(watch.look(), Peer::Gone);
    }

    #[tokio::test]
    async fn who_ends_his_half_gets_an_answer_for_a_while() {
        let (mut client, mut near, watch) = pair().await;
        client.write_all(b"ask").await.expect("sent");
        client.shutdown().await.expect("half-closed");
        assert!(settled(&watch, Peer::HalfClosed).await);
        let waiting = tokio::time::timeout(HALF_CLOSED_MAX / 5, watch.hung_up()).await;
        assert!(waiting.is_err(), "he may wait for his answer");
        let mut asked = Vec::new();
        near.read_to_end(&mut asked).await.expect("read");
        near.write_all(b"answer").await.expect("written");
        near.shutdown().await.expect("ended");
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.expect("read");
        assert_eq!((&*asked, &*answer), (&b"ask"[..], "answer"));
        tokio::time::timeout(HALF_CLOSED_MAX * 2, watch.hung_up()).await.expect("not for ever");
    }
}
