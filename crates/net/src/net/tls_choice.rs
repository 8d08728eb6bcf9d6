//! Which of a listener's certificates a client gets, and why a client gets no connection at all.
//!
//! Windows before 10 and Server 2016 has no cipher in common with us for an RSA certificate: its suites for RSA encrypt in CBC
//! mode or without forward secrecy, and we offer neither. For an ECDSA certificate it has AES-GCM. Clients that know RSA only
//! are as old in another way. So a listener can have one of each, and a client gets the one that it can use.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CertRevocationListError, CertificateError, Error, PeerIncompatible, SignatureAlgorithm};
use x509_parser::oid_registry::OID_PKCS1_RSAENCRYPTION;
use x509_parser::prelude::{FromDer, X509Certificate};

/// What an operator can do for clients of old Windows.
pub const FOR_OLD_WINDOWS: &str = "Windows Server 2012 R2, 2012 and 2008 R2, Windows 8.1 and 7 connect with an ECDSA \
                                   certificate only: add one as tls.second_certificate and tls.second_key";

/// The certificates of a listener. A client gets the first that it can use.
#[derive(Debug)]
pub(super) struct Choice(Vec<Arc<CertifiedKey>>);

impl Choice {
    /// Of these, in any order: what is not RSA comes first, because it costs both sides less.
    pub(super) fn new(keys: Vec<CertifiedKey>) -> Self {
        let mut keys: Vec<_> = keys.into_iter().map(Arc::new).collect();
        keys.sort_by_key(|key| key.key.algorithm() == SignatureAlgorithm::RSA);
        Self(keys)
    }
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // Schemes for which no cipher suite is in common are left out already.
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        // With one that does not fit the handshake fails with the right reason.
        self.0.iter().find(fits).or(self.0.first()).cloned()
    }
}

/// Whether the first certificate of a PEM file has an RSA key; `None` when there is none to be read.
pub(super) fn is_rsa(path: &Path) -> Option<bool> {
    let certificate = CertificateDer::from_pem_slice(&fs::read(path).ok()?).ok()?;
    let (_, certificate) = X509Certificate::from_der(&certificate).ok()?;
    Some(certificate.public_key().algorithm.algorithm == OID_PKCS1_RSAENCRYPTION)
}

/// Why a handshake with a client failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HandshakeFault {
    /// Nothing that it offers goes with our certificates.
    NoCommonCipher,
    /// It offers no TLS 1.2.
    OldVersion,
    /// Its certificate, or that of an authority on the way, has been revoked.
    ClientRevoked,
    /// The revocation list that would tell is past its time.
    RevocationListExpired,
    /// No revocation list tells.
    RevocationListMissing,
    /// The revocation list that would tell is signed with another key than its certificate.
    RevocationListOfOtherKey,
    /// Anything else: it does not trust us, it went away, it speaks no TLS.
    Other,
}

impl HandshakeFault {
    /// Of what a handshake ended with.
    pub fn of(error: &io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(Error::PeerIncompatible(
                PeerIncompatible::NoCipherSuitesInCommon
                | PeerIncompatible::NoSignatureSchemesInCommon,
            )) => Self::NoCommonCipher,
            Some(Error::PeerIncompatible(
                PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::SupportedVersionsExtensionRequired
                // TLS 1.2 brought it, and it is looked for first.
                | PeerIncompatible::SignatureAlgorithmsExtensionRequired,
            )) => Self::OldVersion,
            Some(Error::InvalidCertificate(error)) => Self::of_certificate(error),
            Some(Error::InvalidCertRevocationList(CertRevocationListError::BadSignature)) => Self::RevocationListOfOtherKey,
            _ => Self::Other,
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::Revoked => Self::ClientRevoked,
            CertificateError::ExpiredRevocationList | CertificateError::ExpiredRevocationListContext { .. } => {
                Self::RevocationListExpired
            }
            CertificateError::UnknownRevocationStatus => Self::RevocationListMissing,
            _ => Self::Other,
        }
    }

    /// As a label of metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::NoCommonCipher => "tls_no_common_cipher",
            Self::OldVersion => "tls_old_version",
            Self::ClientRevoked => "tls_client_revoked",
            Self::RevocationListExpired => "tls_client_crl_expired",
            Self::RevocationListMissing => "tls_client_crl_missing",
            Self::RevocationListOfOtherKey => "tls_client_crl_other_key",
            Self::Other => "tls_error",
        }
    }

    /// What an operator can do about it, where that is known.
    pub fn remedy(self) -> Option<&'static str> {
        match self {
            Self::NoCommonCipher => Some(FOR_OLD_WINDOWS),
            Self::OldVersion => Some(
                "the client offers TLS 1.1 or older: switch TLS 1.2 on there (docs/clients.md tells how on old Windows)",
            ),
            Self::ClientRevoked => Some(
                "the client's certificate is on the revocation list of its authority: if the client is to connect, give it \
                 another certificate",
            ),
            Self::RevocationListExpired => Some(
                "a list in tls.client_crl is past its time: put the authority's current list in its place and reload",
            ),
            Self::RevocationListMissing => Some(
                "no list in tls.client_crl is of the authority that signed the client's certificate: add one for each \
                 authority between the client and tls.client_ca, and reload",
            ),
            Self::RevocationListOfOtherKey => Some(
                "the lists in tls.client_crl of the client's authority are signed with another of its keys: an authority that \
                 renewed its key has a list for each; add the one of the key that signed the client's certificate, and reload",
            ),
            Self::Other => None,
        }
    }
}

#[cfg(test)]
#[path = "tls_choice_tests.rs"]
mod tests;
