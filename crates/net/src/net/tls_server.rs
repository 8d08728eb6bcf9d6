//! TLS for listeners: the certificate, the client certificates that are asked for, and their replacement at run time.
//!
//! TLS 1.2 and 1.3 with the aws-lc-rs provider, chosen explicitly and not through process-wide state. With no
//! certificate configured a self-signed one is made once and kept, so that a first start needs no preparation and a
//! restart changes nothing for clients that pinned it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::NoServerSessionStorage;
use tokio_util::sync::CancellationToken;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::any_certificate::AnyCertificate;
use super::client_trust::Trust;
use super::own_certificate;
use super::tls_choice::Choice;
use super::tls_files::certified_key;

pub use super::client_trust::ClientCertificates;
pub use super::tls_config::{Config, Mode};
pub use super::tls_error::TlsError;

/// Which certificates clients are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Those of the authorities in `client_ca`; none where there are none.
    ByAuthority,
    /// Any, whoever signed it: it proves that the client has its key, and no name in it is true.
    Any,
}

/// HTTP/2, else HTTP/1.1.
pub const HTTP: &[&[u8]] = &[b"h2", b"http/1.1"];

/// HTTP/1.1 and nothing else.
pub const ONLY_HTTP1: &[&[u8]] = &[b"http/1.1"];

/// The TLS of a running listener. New connections use what was loaded last.
#[derive(Debug)]
pub struct ServerTls {
    current: ArcSwap<Loaded>,
}

#[derive(Debug, Clone)]
struct Loaded {
    server: Arc<ServerConfig>,
    /// Of everything that decides which client certificates are taken; empty when none is asked for.
    trust: Vec<u8>,
    /// Cancelled when that is something else.
    trust_changed: CancellationToken,
    asked: Asked,
}

impl ServerTls {
    /// Loads everything that `config` names; makes the self-signed certificate when it names none and none is there.
    /// `protocols` are what it offers by ALPN, the best first.
    pub fn load(config: &Config, state_dir: &Path, protocols: &[&[u8]]) -> Result<Self, TlsError> {
        Self::load_asking(Asked::ByAuthority, config, state_dir, protocols)
    }

    /// The same, asking clients for certificates in this way.
    pub fn load_asking(asked: Asked, config: &Config, state_dir: &Path, protocols: &[&[u8]]) -> Result<Self, TlsError> {
        let (mut server, trust) = build(asked, config, state_dir)?;
        server.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let loaded = Loaded { server: Arc::new(server), trust, trust_changed: CancellationToken::new(), asked };
        Ok(Self { current: ArcSwap::from_pointee(loaded) })
    }

    /// From the next connection on what was loaded there is used here.
    pub fn replace_with(&self, other: &Self) {
        let (old, new) = (self.current.load_full(), other.current.load_full());
        if old.trust == new.trust {
            let trust_changed = old.trust_changed.clone();
            return self.current.store(Arc::new(Loaded { trust_changed, ..(*new).clone() }));
        }
        self.current.store(new);
        old.trust_changed.cancel();
    }

    /// What a new connection uses.
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().server)
    }

    /// The same, what is cancelled once a certificate that was shown to it may be worth nothing, and which are taken.
    pub fn current_trust(&self) -> (Arc<ServerConfig>, CancellationToken, Asked) {
        let loaded = self.current.load();
        (Arc::clone(&loaded.server), loaded.trust_changed.clone(), loaded.asked)
    }
}

/// When the first of these certificates is past its time.
pub fn good_until(chain: &[CertificateDer<'_>]) -> Option<SystemTime> {
    let end = |der: &CertificateDer<'_>| {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let seconds = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    };
    chain.iter().filter_map(end).min()
}

fn build(asked: Asked, config: &Config, state_dir: &Path) -> Result<(ServerConfig, Vec<u8>), TlsError> {
    if let Some((key, needs)) = config.half_given().next() {
        return Err(TlsError::Mismatch(format!("{key} {needs}")));
    }
    let mut pairs: Vec<_> = config.pairs().map(|(certificate, key)| (certificate.to_owned(), key.to_owned())).collect();
    if pairs.is_empty() {
        pairs.push(own_certificate::in_dir(&state_dir.join("tls"))?);
    }
    let mismatch = |error: rustls::Error| TlsError::Mismatch(error.to_string());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(mismatch)?;
    let keys = pairs.iter().map(|(certificate, key)| certified_key(certificate, key, &provider));
    let keys = keys.collect::<Result<_, _>>()?;
    let choice = Arc::new(Choice::new(keys));
    let Trust { verifier, fingerprint } = match (asked, &config.client_ca) {
        (Asked::Any, _) => Trust { verifier: Arc::new(AnyCertificate::new(&provider)), fingerprint: Vec::new() },
        (Asked::ByAuthority, Some(path)) => {
            Trust::load(path, &config.client_crl, config.client_certificates, &provider)?
        }
        (Asked::ByAuthority, None) => {
            return Ok((builder.with_no_client_auth().with_cert_resolver(choice), Vec::new()));
        }
    };
    let mut server = builder.with_client_cert_verifier(verifier).with_cert_resolver(choice);
    // Whoever resumes a session shows no certificate, and nobody would look whether it has been revoked since.
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    Ok((server, fingerprint))
}
