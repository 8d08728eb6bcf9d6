//! A TCP relay that loses replies: it cuts connections after a request has passed and before its answer comes back.
//!
//! This is the fault that makes duplicates: the gateway has the events, the host does not know. TLS passes through
//! unread, so the relay tells a request from a handshake by its size.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// More bytes than a TLS handshake sends, and fewer than an upload.
const REQUEST_BYTES: usize = 3 << 10;

/// How long the gateway may take to finish a request whose host is cut off already.
const LINGER: Duration = Duration::from_secs(1);

/// A running relay; it stops when dropped.
pub struct LossyRelay {
    address: SocketAddr,
    lost: Arc<AtomicU64>,
    stop: CancellationToken,
}

impl LossyRelay {
    /// Relays from a free port of 127.0.0.1 to `target`, losing this share of the replies (0 to 1).
    pub async fn start(target: SocketAddr, share: f64, seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let lost = Arc::new(AtomicU64::new(0));
        let stop = CancellationToken::new();
        let (counter, connections) = (Arc::clone(&lost), stop.clone());
        let mut rng = fastrand::Rng::with_seed(seed);
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            loop {
                let Ok((host, _)) = listener.accept().await else { continue };
                let relay = relay(host, target, share, rng.fork(), Arc::clone(&counter));
                tokio::spawn(connections.clone().run_until_cancelled_owned(relay));
            }
        }));
        Ok(Self { address, lost, stop })
    }

    /// Where hosts connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Replies lost so far.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for LossyRelay {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn relay(mut host: TcpStream, target: SocketAddr, share: f64, mut rng: fastrand::Rng, lost: Arc<AtomicU64>) {
    let Ok(mut gateway) = TcpStream::connect(target).await else { return };
    let (mut up, mut down) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut since_reply = 0;
    loop {
        tokio::select! {
            read = host.read(&mut up) => match read {
                Ok(n) if n > 0 && gateway.write_all(&up[..n]).await.is_ok() => since_reply += n,
                _ => return,
            },
            read = gateway.read(&mut down) => {
                let Ok(n @ 1..) = read else { return };
                if since_reply > REQUEST_BYTES && rng.f64() < share {
                    lost.fetch_add(1, Ordering::Relaxed);
                    drop(host);
                    return drain(gateway, &mut down).await;
                }
                since_reply = 0;
                if host.write_all(&down[..n]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Lets the gateway finish in peace, so that only the reply is lost.
async fn drain(mut gateway: TcpStream, buffer: &mut [u8]) {
    _ = tokio::time::timeout(LINGER, async { while matches!(gateway.read(buffer).await, Ok(1..)) {} }).await;
}
