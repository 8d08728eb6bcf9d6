//! A connection that says exactly the bytes it is given: raw TLS, as smugglers and broken agents use it.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::Site;

/// Longer than any deadline of the gateway in these tests.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came back, and whether the gateway closed the connection by itself.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) closed: bool,
}

impl Said {
    /// The status of the first answer; 0 without one.
    pub(crate) fn status(&self) -> u16 {
        self.text.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    pub(crate) fn answers(&self) -> usize {
        self.text.lines().filter(|line| line.starts_with("HTTP/1.")).count()
    }
}

/// An open HTTP/1.1 connection over TLS to the uploads of a site.
pub(crate) struct Raw(TlsStream<TcpStream>);

impl Raw {
    pub(crate) async fn connect(site: &Site) -> Self {
        let pem = std::fs::read(site.state().join("tls/cert.pem")).expect("the certificate of the first start");
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            roots.add(certificate.expect("PEM")).expect("a certificate");
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tcp = TcpStream::connect(("127.0.0.1", site.uploads)).await.expect("the gateway listens");
        let name = ServerName::try_from("localhost").expect("a name");
        Self(TlsConnector::from(Arc::new(config)).connect(name, tcp).await.expect("the handshake succeeds"))
    }

    /// Says this; a gateway that has hung up meanwhile is no failure here.
    pub(crate) async fn say(&mut self, bytes: &[u8]) {
        if self.0.write_all(bytes).await.is_ok() {
            self.0.flush().await.ok();
        }
    }

    /// Says that nothing more comes.
    pub(crate) async fn end(&mut self) {
        self.0.shutdown().await.ok();
    }

    /// Everything until the gateway closes.
    pub(crate) async fn hear(mut self) -> Said {
        let mut heard = Vec::new();
        let closed = tokio::time::timeout(PATIENCE, self.0.read_to_end(&mut heard)).await.is_ok();
        Said { text: String::from_utf8_lossy(&heard).into_owned(), closed }
    }
}

/// Says this on a connection of its own, without hanging up, and hears the rest.
pub(crate) async fn exchange(site: &Site, bytes: &[u8]) -> Said {
    let mut raw = Raw::connect(site).await;
    raw.say(bytes).await;
    raw.hear().await
}
