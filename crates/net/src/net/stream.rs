//! A connection, plain or with TLS around it.

use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

/// A connection to a client, a destination or an upstream proxy.
#[derive(Debug)]
pub enum Stream {
    /// Plain TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
}

/// A peer that vanished is noticed after so long at most, whether or not bytes are on their way to it.
const VANISHED: Duration = Duration::from_secs(120);
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_EVERY: Duration = Duration::from_secs(20);

/// Sends small amounts at once and notices a peer that has vanished. A listening socket hands this down to what it
/// accepts. None of it is worth failing for.
pub fn watch_peer(socket: impl AsFd) {
    let socket = socket.as_fd();
    sockopt::set_tcp_nodelay(socket, true).ok();
    sockopt::set_socket_keepalive(socket, true).ok();
    sockopt::set_tcp_keepidle(socket, PROBE_AFTER).ok();
    sockopt::set_tcp_keepintvl(socket, PROBE_EVERY).ok();
    #[cfg(target_os = "linux")]
    sockopt::set_tcp_user_timeout(socket, u32::try_from(VANISHED.as_millis()).unwrap_or(u32::MAX)).ok();
}

impl Stream {
    /// The TCP connection below.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_listener_accepts_notices_a_peer_that_vanished_within_two_minutes() {
        let listener = crate::net::listen::bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        watch_peer(&listener);
        let address = listener.local_addr().expect("bound");
        let (_client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (accepted, _) = accepted.expect("accepted");
        assert_eq!(sockopt::socket_keepalive(&accepted), Ok(true));
        assert_eq!(sockopt::tcp_nodelay(&accepted), Ok(true));
        assert_eq!(sockopt::tcp_keepidle(&accepted), Ok(PROBE_AFTER));
        #[cfg(target_os = "linux")]
        assert_eq!(sockopt::tcp_user_timeout(&accepted), Ok(120_000));
    }
}
