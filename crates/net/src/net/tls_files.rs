//! The files of a listener's TLS: certificates and keys in PEM form, and in plain words what else a file holds.

use std::fs;
use std::path::Path;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{ASN1Time, FromDer as _, X509Certificate};

use super::tls_error::TlsError;

/// A certificate with its chain and its key.
///
/// # Errors
///
/// When a file cannot be read or does not hold what it should, or they do not belong together.
pub(crate) fn certified_key(
    certificate: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(certificate)?;
    let mismatch = |error: rustls::Error| match error {
        rustls::Error::InconsistentKeys(_) => {
            wrong(key, format!("is not the key of the certificate {}", certificate.display()))
        }
        rustls::Error::InvalidCertificate(_) => wrong(certificate, "holds a certificate that is damaged".to_owned()),
        error => wrong(key, format!("cannot be used: {error}")),
    };
    CertifiedKey::from_der(chain, private_key(key)?, provider).map_err(mismatch)
}

/// The certificates of a file; at least one.
///
/// # Errors
///
/// When it cannot be read, or holds none, or one that is damaged.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path)?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(path, format!("is not sound PEM: {error}")))?;
    if found.is_empty() {
        let from_der = format!("openssl x509 -inform der -in {} -out cert.pem", path.display());
        return Err(wrong(path, without("certificate", &bytes, &from_der)));
    }
    match found.iter().any(|der| X509Certificate::from_der(der).is_err()) {
        true => Err(wrong(path, "holds a certificate that is damaged".to_owned())),
        false => Ok(found),
    }
}

/// The private key of a file.
///
/// # Errors
///
/// When it cannot be read, or holds none in the clear.
pub(crate) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = read(path)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
        let from_der = format!("openssl pkey -inform der -in {} -out key.pem", path.display());
        let is_encrypted = memchr::memmem::find(&bytes, b"ENCRYPTED").is_some();
        let is_damaged = memchr::memmem::find(&bytes, b"PRIVATE KEY-----").is_some();
        wrong(path, match (is_encrypted, is_damaged) {
            (true, _) => format!(
                "is encrypted, and nobody is asked for a passphrase at the start; take it out: openssl pkey -in {} -out key.pem",
                path.display()
            ),
            (false, true) => format!("holds a private key that is damaged: {error}"),
            (false, false) => without("private key", &bytes, &from_der),
        })
    })
}

/// What is wrong with the time of a file's first certificate, now.
pub(crate) fn out_of_time(path: &Path) -> Option<String> {
    let certificate = certificates(path).ok()?.into_iter().next()?;
    let (_, certificate) = X509Certificate::from_der(&certificate).ok()?;
    let validity = certificate.validity();
    let now = ASN1Time::now().timestamp();
    let shown = path.display();
    if now > validity.not_after.timestamp() {
        return Some(format!("{shown} expired on {}, and clients refuse it; renew it", date(validity.not_after)));
    }
    let begins = now < validity.not_before.timestamp();
    begins.then(|| {
        format!(
            "{shown} is good from {} on, and clients refuse it until then; is the clock right?",
            date(validity.not_before)
        )
    })
}

/// A day, as people write it.
pub(crate) fn date(time: ASN1Time) -> String {
    time.to_datetime().date().to_string()
}

/// What a file holds in the place of what it should.
pub(crate) fn without(what: &str, bytes: &[u8], from_der: &str) -> String {
    let labels: Vec<&str> = std::str::from_utf8(bytes).unwrap_or_default().lines().filter_map(label).collect();
    match (bytes, labels.as_slice()) {
        ([], _) => format!("is empty; it must hold a {what} in PEM form"),
        // A sequence in DER.
        ([0x30, ..], _) => format!(
            "holds no PEM but DER or PKCS#12; make PEM of it with `{from_der}`, or with `openssl pkcs12 -nodes` of a .pfx file"
        ),
        (_, []) => format!("holds nothing in PEM form; it must hold a {what}"),
        (_, labels) => format!("holds no {what} but {}; are two files exchanged?", labels.join(", ")),
    }
}

fn label(line: &str) -> Option<&str> {
    line.strip_prefix("-----BEGIN ")?.trim_end().strip_suffix("-----")
}

fn wrong(path: &Path, reason: String) -> TlsError {
    TlsError::Content { path: path.to_owned(), reason }
}

/// Reads a file that a listener names.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Unread { path: path.to_owned(), source })
}
