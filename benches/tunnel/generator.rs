//! Clients and destination of the tunnel run. What they say inside a tunnel: a real ClientHello, answered by one byte;
//! then any number of blocks, each a length and so many bytes, each answered by one byte.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The name that every proxy is asked for.
const HOST: &str = "localhost";

/// Bytes of one write of a client: large ones for bulk, TLS records for agents.
pub(crate) const BULK_WRITE: usize = 256 << 10;
pub(crate) const RECORD_WRITE: usize = 16 << 10;

/// Accepts tunnels until it is dropped.
pub(crate) struct Destination {
    port: u16,
    hello: Arc<[u8]>,
    _serving: JoinSet<()>,
}

impl Destination {
    /// On both loopback addresses, because a proxy may try either first.
    pub(crate) async fn start() -> Result<Self> {
        let hello: Arc<[u8]> = client_hello()?.into();
        let four = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = four.local_addr()?.port();
        let mut serving = JoinSet::new();
        serving.spawn(serve(four, hello.len()));
        if let Ok(six) = TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await {
            serving.spawn(serve(six, hello.len()));
        }
        Ok(Self { port, hello, _serving: serving })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A tunnel through the proxy, after its ClientHello was answered.
    pub(crate) async fn tunnel(&self, proxy: u16) -> Result<Tunnel> {
        open(proxy, self.port, &self.hello).await
    }

    /// What [`Self::tunnel`] does, for tasks of their own.
    pub(crate) fn opener(&self, proxy: u16) -> Opener {
        Opener { proxy, destination: self.port, hello: Arc::clone(&self.hello) }
    }
}

/// Opens tunnels.
#[derive(Clone)]
pub(crate) struct Opener {
    proxy: u16,
    destination: u16,
    hello: Arc<[u8]>,
}

impl Opener {
    pub(crate) async fn tunnel(&self) -> Result<Tunnel> {
        open(self.proxy, self.destination, &self.hello).await
    }
}

/// The client's end of a tunnel.
pub(crate) struct Tunnel(TcpStream);

impl Tunnel {
    /// Sends a block of `len` bytes and waits until the destination has read all of it.
    pub(crate) async fn upload(&mut self, len: u64, write: usize) -> Result<()> {
        self.0.write_all(&len.to_be_bytes()).await?;
        let block = vec![0x17; write];
        let mut left = len;
        while left > 0 {
            let now = usize::try_from(left).unwrap_or(usize::MAX).min(write);
            self.0.write_all(&block[..now]).await?;
            left -= now as u64;
        }
        self.0.read_u8().await.context("the upload was not answered")?;
        Ok(())
    }
}

async fn open(proxy: u16, destination: u16, hello: &[u8]) -> Result<Tunnel> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy)).await.context("connecting to the proxy")?;
    stream.set_nodelay(true)?;
    let head = format!("CONNECT {HOST}:{destination} HTTP/1.1\r\nHost: {HOST}:{destination}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut answer = [0; 1_024];
    let mut have = 0;
    while !answer[..have].ends_with(b"\r\n\r\n") {
        let read = stream.read(&mut answer[have..]).await?;
        ensure!(read > 0, "the proxy closed: {:?}", String::from_utf8_lossy(&answer[..have]));
        have += read;
    }
    ensure!(
        answer.starts_with(b"HTTP/1.1 200") || answer.starts_with(b"HTTP/1.0 200"),
        "the proxy refused: {:?}",
        String::from_utf8_lossy(&answer[..have])
    );
    stream.write_all(hello).await?;
    stream.read_u8().await.context("the ClientHello was not answered")?;
    Ok(Tunnel(stream))
}

async fn serve(listener: TcpListener, hello: usize) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(async move {
                        // A client that has seen enough closes: that is how every connection ends.
                        answer(stream, hello).await.ok();
                    });
                }
                Err(error) => eprintln!("destination: {error}"),
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer(mut stream: TcpStream, hello: usize) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut first = vec![0; hello];
    stream.read_exact(&mut first).await?;
    drop(first);
    stream.write_all(b"h").await?;
    loop {
        let mut left = usize::try_from(stream.read_u64().await?).unwrap_or(usize::MAX);
        let mut buffer = vec![0; left.min(BULK_WRITE)];
        while left > 0 {
            let most = left.min(buffer.len());
            let read = stream.read(&mut buffer[..most]).await?;
            if read == 0 {
                return Ok(());
            }
            left -= read;
        }
        stream.write_all(b"b").await?;
    }
}

/// The first bytes of a real TLS client that wants to reach [`HOST`].
fn client_hello() -> Result<Vec<u8>> {
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let mut client = rustls::ClientConnection::new(Arc::new(config), ServerName::try_from(HOST)?)?;
    let mut hello = Vec::new();
    client.write_tls(&mut hello)?;
    Ok(hello)
}
