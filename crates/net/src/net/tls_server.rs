//! TLS for listeners: the certificate, the client certificates that are asked for, and their replacement at run time.
//!
//! TLS 1.2 and 1.3 with the aws-lc-rs provider, chosen explicitly and not through process-wide state. With no
//! certificate configured a self-signed one is made once and kept, so that a first start needs no preparation and a
//! restart changes nothing for clients that pinned it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::NoServerSessionStorage;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::client_trust::Trust;
use super::own_certificate;
use super::revocation;
use super::tls_choice::{Choice, FOR_OLD_WINDOWS, is_rsa};
use super::tls_files::{certificates, certified_key, out_of_time, private_key};
use crate::faults::{Fault, unread};
use crate::values::FileToRead;

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
    #[schemars(with = "Option<FileToRead>")]
    pub certificate: Option<PathBuf>,
    /// PEM file with the private key of `certificate`. The two are given together.
    #[schemars(with = "Option<FileToRead>")]
    pub key: Option<PathBuf>,
    /// PEM file with a second certificate, whose key is of another kind: ECDSA beside RSA. Each client gets the one that it
    /// can use; Windows Server 2012 R2 and older can use ECDSA only. Default: none.
    #[schemars(with = "Option<FileToRead>")]
    pub second_certificate: Option<PathBuf>,
    /// PEM file with the private key of `second_certificate`. The two are given together.
    #[schemars(with = "Option<FileToRead>")]
    pub second_key: Option<PathBuf>,
    /// PEM file with the authorities whose client certificates are accepted. Default: none is asked for.
    #[schemars(with = "Option<FileToRead>")]
    pub client_ca: Option<PathBuf>,
    /// Files with the revocation lists (CRL) of these authorities, in PEM or DER form. A client certificate is then taken only
    /// if a list of its authority, not past its time, says nothing against it; so a list is needed for each authority between
    /// the client and `client_ca`, and for each key of an authority that renewed its key. A reload reads them again, and ends
    /// connections that showed a certificate when what decides about them has changed. Default: nothing is compared.
    #[schemars(with = "Vec<FileToRead>")]
    pub client_crl: Vec<PathBuf>,
    /// Whether a client must show a certificate of `client_ca` to connect at all (`"required"`), or whether `auth`
    /// decides for each request (`"optional"`). Default `"optional"`: the refusal is then a readable 403.
    pub client_certificates: ClientCertificates,
}

impl Config {
    /// Keys that are given without the other that they need, and what they need.
    pub fn half_given(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let given = [&self.certificate, &self.key, &self.second_certificate, &self.second_key].map(Option::is_some);
        let [certificate, key, second, second_key] = given;
        let halves = [
            (certificate && !key, "tls.certificate", "needs tls.key beside it"),
            (key && !certificate, "tls.key", "needs tls.certificate beside it"),
            (second && !second_key, "tls.second_certificate", "needs tls.second_key beside it"),
            (second_key && !second, "tls.second_key", "needs tls.second_certificate beside it"),
            (second && second_key && !certificate, "tls.second_certificate", "needs tls.certificate beside it"),
            (
                !self.client_crl.is_empty() && self.client_ca.is_none(),
                "tls.client_crl",
                "needs tls.client_ca, whose lists these are",
            ),
        ];
        halves.into_iter().filter(|(wrong, ..)| *wrong).map(|(_, key, needs)| (key, needs))
    }

    /// Everything that is wrong with the files that it names. Makes nothing.
    pub fn faults(&self) -> Vec<Fault> {
        if self.mode == Mode::Off {
            return Vec::new();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let stops = |key: &str, error: &TlsError| Fault::stops(key, error.to_string());
        let mut found = Vec::new();
        for (certificate, key) in [("certificate", "key"), ("second_certificate", "second_key")] {
            // Each is judged alone first, so that what is wrong with one hides nothing of the other.
            let [of_certificate, of_key] = [self.file(certificate), self.file(key)];
            let chain = of_certificate.and_then(|path| certificates(path).err());
            let private = of_key.and_then(|path| private_key(path).err());
            if let (Some(of_certificate), Some(of_key), None, None) = (of_certificate, of_key, &chain, &private)
                && let Err(error) = certified_key(of_certificate, of_key, &provider)
            {
                let blamed = if error.path() == Some(of_certificate) { certificate } else { key };
                found.push(stops(blamed, &error));
            }
            found.extend(chain.iter().map(|error| stops(certificate, error)));
            found.extend(private.iter().map(|error| stops(key, error)));
            let ended = of_certificate.and_then(out_of_time);
            found.extend(ended.map(|reason| Fault::fails(certificate, reason)));
        }
        found.extend(self.client_faults(provider));
        found.extend(self.warnings().into_iter().map(|(key, warning)| Fault::warns(key, warning)));
        found
    }

    /// What is wrong with the authorities of clients, and with their lists.
    fn client_faults(&self, provider: Arc<rustls::crypto::CryptoProvider>) -> Vec<Fault> {
        let mut found = Vec::new();
        for (n, list) in self.client_crl.iter().enumerate() {
            let error = revocation::lists(std::slice::from_ref(list)).err();
            found.extend(error.map(|error| Fault::stops(format!("client_crl[{n}]"), error.to_string())));
        }
        let Some(authorities) = &self.client_ca else { return found };
        let error = match certificates(authorities) {
            Ok(_) if found.is_empty() => Trust::load(authorities, self, &provider).err(),
            judged => judged.err(),
        };
        found.extend(error.map(|error| Fault::stops("client_ca", error.to_string())));
        found
    }

    /// The file that a key names.
    fn file(&self, key: &str) -> Option<&Path> {
        let named = match key {
            "certificate" => &self.certificate,
            "key" => &self.key,
            "second_certificate" => &self.second_certificate,
            _ => &self.second_key,
        };
        named.as_deref()
    }

    fn pairs(&self) -> impl Iterator<Item = (&Path, &Path)> {
        let pairs = [(&self.certificate, &self.key), (&self.second_certificate, &self.second_key)];
        pairs.into_iter().filter_map(|(certificate, key)| Some((certificate.as_deref()?, key.as_deref()?)))
    }

    /// The files with the certificates that it shows: those that are named, or the one that is made in the state folder.
    pub fn certificate_files(&self, state_dir: &Path) -> Vec<PathBuf> {
        let named: Vec<PathBuf> =
            [&self.certificate, &self.second_certificate].into_iter().flatten().cloned().collect();
        if named.is_empty() { vec![own_certificate::path_in(&state_dir.join("tls"))] } else { named }
    }

    /// What works and yet keeps some clients out, each with its key. Reads the certificates that are named.
    pub fn warnings(&self) -> Vec<(String, String)> {
        if self.mode == Mode::Off {
            return Vec::new();
        }
        let named = [&self.certificate, &self.second_certificate].into_iter().flatten();
        let rsa: Vec<bool> = named.filter_map(|path| is_rsa(path)).collect();
        let only_rsa = !rsa.is_empty() && rsa.iter().all(|is_rsa| *is_rsa);
        let of_keys = only_rsa.then(|| format!("the certificate has an RSA key; {FOR_OLD_WINDOWS}"));
        let mut told: Vec<_> = of_keys.map(|warning| ("certificate".to_owned(), warning)).into_iter().collect();
        for (n, list) in self.client_crl.iter().enumerate() {
            told.extend(revocation::out_of_time(list).map(|warning| (format!("client_crl[{n}]"), warning)));
        }
        let authorities = self.client_ca.as_deref().and_then(|path| certificates(path).ok()).unwrap_or_default();
        let unlisted = revocation::unlisted(&self.client_crl, &authorities);
        told.extend(unlisted.into_iter().map(|warning| ("client_crl".to_owned(), warning)));
        told
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
    /// A file cannot be read.
    #[error("{} {}", path.display(), unread(source))]
    Unread {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file cannot be written.
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

impl TlsError {
    /// The file that it is about.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Unread { path, .. } | Self::File { path, .. } | Self::Content { path, .. } => Some(path),
            Self::Mismatch(_) => None,
        }
    }
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
}

impl ServerTls {
    /// Loads everything that `config` names; makes the self-signed certificate when it names none and none is there.
    /// `protocols` are what it offers by ALPN, the best first.
    pub fn load(config: &Config, state_dir: &Path, protocols: &[&[u8]]) -> Result<Self, TlsError> {
        let (mut server, trust) = build(config, state_dir)?;
        server.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let loaded = Loaded { server: Arc::new(server), trust, trust_changed: CancellationToken::new() };
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

    /// The same, and what is cancelled once a certificate that was shown to it may be worth nothing.
    pub fn current_trust(&self) -> (Arc<ServerConfig>, CancellationToken) {
        let loaded = self.current.load();
        (Arc::clone(&loaded.server), loaded.trust_changed.clone())
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

fn build(config: &Config, state_dir: &Path) -> Result<(ServerConfig, Vec<u8>), TlsError> {
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
    let Some(path) = &config.client_ca else {
        return Ok((builder.with_no_client_auth().with_cert_resolver(choice), Vec::new()));
    };
    let Trust { verifier, fingerprint } = Trust::load(path, config, &provider)?;
    let mut server = builder.with_client_cert_verifier(verifier).with_cert_resolver(choice);
    // Whoever resumes a session shows no certificate, and nobody would look whether it has been revoked since.
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    Ok((server, fingerprint))
}
