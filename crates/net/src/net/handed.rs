//! A connection that one plane has begun and another one serves: what tunnels hand to inputs.
//!
//! Who hands it on has let the client in and knows whose it is. Who takes it goes on as with a connection of its own, only with other
//! certificates.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::ResolvesServerCert;
use tokio::io::{AsyncRead, AsyncWrite};

use super::hang_up::Watch;

/// Both directions of a connection.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection on which the client is about to begin TLS.
pub struct Handed {
    /// From the first byte of its ClientHello on.
    pub stream: Box<dyn Duplex>,
    /// Looks whether the client is still there.
    pub watch: Watch,
    /// The client.
    pub client: SocketAddr,
    /// What is shown to it.
    pub certificates: Arc<dyn ResolvesServerCert>,
}

impl fmt::Debug for Handed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handed").field("client", &self.client).finish_non_exhaustive()
    }
}

/// The TLS of a listener with other certificates: what it asks of clients, and what it remembers of them, stays.
pub fn with_certificates(listener: &ServerConfig, certificates: Arc<dyn ResolvesServerCert>) -> Arc<ServerConfig> {
    let mut server = listener.clone();
    server.cert_resolver = certificates;
    Arc::new(server)
}

/// The same for a listener without TLS, which asks for no certificates. `protocols` are what it offers by ALPN.
///
/// # Errors
///
/// When the provider serves no version of TLS, which it does.
pub fn only_certificates(
    certificates: Arc<dyn ResolvesServerCert>,
    protocols: &[&[u8]],
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut server = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    server.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(server))
}
