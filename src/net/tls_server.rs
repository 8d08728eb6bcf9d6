//! TLS for listeners: the certificate, the client certificates that are asked for, and their replacement at run time.
//!
//! TLS 1.2 and 1.3 with the aws-lc-rs provider, chosen explicitly and not through process-wide state. With no
//! certificate configured a self-signed one is made once and kept, so that a first start needs no preparation and a
//! restart changes nothing for clients that pinned it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::own_certificate;
use super::tls_choice::{Choice, FOR_OLD_WINDOWS, is_rsa};

/// TLS of one listener.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `"on"` or `"off"`. Off means plain HTTP, where tokens can be read on the wire: allowed on a loopback address, and
    /// elsewhere only together with `allow_plain_http`. Default `"on"`: agents refuse plain HTTP anyway.
    pub mode: Mode,
    /// Allows `mode = "off"` on an address that other machines reach. Default false.
    pub allow_plain_http: bool,
    /// PEM file with the server's certificate, followed by its intermediates. Default: a self-signed certificate for
    /// this host is made in `state_dir/tls` and kept.
    pub certificate: Option<PathBuf>,
    /// PEM file with the private key of `certificate`. The two are given together.
    pub key: Option<PathBuf>,
    /// PEM file with a second certificate, whose key is of another kind: ECDSA beside RSA. Each client gets the one that it
    /// can use; Windows Server 2012 R2 and older can use ECDSA only. Default: none.
    pub second_certificate: Option<PathBuf>,
    /// PEM file with the private key of `second_certificate`. The two are given together.
    pub second_key: Option<PathBuf>,
    /// PEM file with the authorities whose client certificates are accepted. Default: none is asked for.
    pub client_ca: Option<PathBuf>,
    /// Whether a client must show a certificate of `client_ca` to connect at all (`"required"`), or whether `auth`
    /// decides for each request (`"optional"`). Default `"optional"`: the refusal is then a readable 403.
    pub client_certificates: ClientCertificates,
}

impl Config {
    /// Keys of which one is given without the other that it needs, and that other.
    pub fn half_given(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let given = [&self.certificate, &self.key, &self.second_certificate, &self.second_key].map(Option::is_some);
        let [certificate, key, second, second_key] = given;
        let halves = [
            (certificate != key, "tls.certificate", "tls.key"),
            (second != second_key, "tls.second_certificate", "tls.second_key"),
            (second && !certificate, "tls.second_certificate", "tls.certificate"),
        ];
        halves.into_iter().filter(|(wrong, ..)| *wrong).map(|(_, key, other)| (key, other))
    }

    /// The files with the certificates that it shows: those that are named, or the one that is made in the state folder.
    pub fn certificate_files(&self, state_dir: &Path) -> Vec<PathBuf> {
        let named: Vec<PathBuf> =
            [&self.certificate, &self.second_certificate].into_iter().flatten().cloned().collect();
        if named.is_empty() { vec![own_certificate::path_in(&state_dir.join("tls"))] } else { named }
    }

    /// What works and yet keeps some clients out. Reads the certificates that are named.
    pub fn warning(&self) -> Option<String> {
        let named = [&self.certificate, &self.second_certificate].into_iter().flatten();
        let rsa: Vec<bool> = named.filter_map(|path| is_rsa(path)).collect();
        let only_rsa = self.mode == Mode::On && !rsa.is_empty() && rsa.iter().all(|is_rsa| *is_rsa);
        only_rsa.then(|| format!("the certificate has an RSA key; {FOR_OLD_WINDOWS}"))
    }
}

/// Whether a listener speaks TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// HTTPS.
    #[default]
    On,
    /// Plain HTTP.
    Off,
}

/// Whether clients must show a certificate to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// They may.
    #[default]
    Optional,
    /// They must.
    Required,
}

/// Why a listener's TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{}: {reason}", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong in it.
        reason: String,
    },
    /// Certificate, key and authorities do not fit together.
    #[error("TLS: {0}")]
    Mismatch(String),
}

/// HTTP/2, else HTTP/1.1.
pub const HTTP: &[&[u8]] = &[b"h2", b"http/1.1"];

/// HTTP/1.1 and nothing else.
pub const ONLY_HTTP1: &[&[u8]] = &[b"http/1.1"];

/// The TLS of a running listener. New connections use what was loaded last.
#[derive(Debug)]
pub struct ServerTls {
    current: ArcSwap<ServerConfig>,
}

impl ServerTls {
    /// Loads everything that `config` names; makes the self-signed certificate when it names none and none is there.
    /// `protocols` are what it offers by ALPN, the best first.
    pub fn load(config: &Config, state_dir: &Path, protocols: &[&[u8]]) -> Result<Self, TlsError> {
        let mut server = build(config, state_dir)?;
        server.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Self { current: ArcSwap::new(Arc::new(server)) })
    }

    /// From the next connection on what was loaded there is used here.
    pub fn replace_with(&self, other: &Self) {
        self.current.store(other.current());
    }

    /// What a new connection uses.
    pub fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }
}

/// The names in a verified client certificate, common name first. Other kinds of names are left out.
pub fn certificate_names(der: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return Vec::new() };
    let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok()).map(str::to_owned);
    let mut names: Vec<String> = common.collect();
    if let Ok(Some(alternatives)) = certificate.subject_alternative_name() {
        names.extend(alternatives.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        }));
    }
    names
}

fn build(config: &Config, state_dir: &Path) -> Result<ServerConfig, TlsError> {
    if let Some((key, other)) = config.half_given().next() {
        return Err(TlsError::Mismatch(format!("{key} and {other} must be given together")));
    }
    let mut pairs: Vec<_> = [(&config.certificate, &config.key), (&config.second_certificate, &config.second_key)]
        .into_iter()
        .filter_map(|(certificate, key)| Some((certificate.clone()?, key.clone()?)))
        .collect();
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
    let builder = match &config.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => builder.with_client_cert_verifier(client_verifier(path, config.client_certificates, provider)?),
    };
    Ok(builder.with_cert_resolver(Arc::new(Choice::new(keys))))
}

fn certified_key(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(certificate)?;
    let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| TlsError::Content {
        path: key.to_owned(),
        reason: format!("no private key in PEM form: {error}"),
    })?;
    let mismatch = |error: rustls::Error| TlsError::Mismatch(format!("{}: {error}", certificate.display()));
    CertifiedKey::from_der(chain, private, provider).map_err(mismatch)
}

fn client_verifier(
    path: &Path,
    need: ClientCertificates,
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let content = |reason: String| TlsError::Content { path: path.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| content(error.to_string()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = match need {
        ClientCertificates::Optional => builder.allow_unauthenticated(),
        ClientCertificates::Required => builder,
    };
    builder.build().map_err(|error| content(error.to_string()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let content = |reason: String| TlsError::Content { path: path.to_owned(), reason };
    let found: Vec<_> = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<_, _>>()
        .map_err(|error| content(format!("not a certificate in PEM form: {error}")))?;
    if found.is_empty() { Err(content("no certificate in PEM form".to_owned())) } else { Ok(found) }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::File { path: path.to_owned(), source })
}
