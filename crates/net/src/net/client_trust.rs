//! Which client certificates a listener takes: what `client_ca` signed, and no list in `client_crl` is against.
//!
//! The library takes the first list that has the authority's name. An authority that renewed its key keeps its name (so does
//! Windows' by default) and signs a list with each of its keys, and a list of the other key says nothing about a certificate.
//! So each choice of one key for each name is asked, and the one whose lists the authority's own key signed has the word.

use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertRevocationListError, CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};

use super::revocation::{self, List};
use super::tls_files::certificates;
use super::tls_server::{ClientCertificates, Config, TlsError};

/// Whom a listener believes.
pub(super) struct Trust {
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    /// Of everything that decides: another one means that somebody may not be believed any more.
    pub(super) fingerprint: Vec<u8>,
}

impl Trust {
    /// That of the authorities in this file.
    pub(super) fn load(path: &Path, config: &Config, provider: &Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let content = |reason: String| TlsError::Content { path: path.to_owned(), reason };
        let mut fingerprint = digest::Context::new(&digest::SHA256);
        fingerprint.update(format!("{:?}", config.client_certificates).as_bytes());
        let mut roots = RootCertStore::empty();
        for certificate in certificates(path)? {
            fingerprint.update(&certificate);
            roots.add(certificate).map_err(|error| content(error.to_string()))?;
        }
        let roots = Arc::new(roots);
        let mut verifiers = Vec::new();
        for lists in revocation::choices(&config.client_crl)? {
            lists.iter().for_each(|list| fingerprint.update(list));
            verifiers.push(verifier(&roots, lists, config, provider).map_err(content)?);
        }
        let verifier: Arc<dyn ClientCertVerifier> = match <[_; 1]>::try_from(verifiers) {
            Ok([only]) => only,
            Err(verifiers) => Arc::new(AnyOf(verifiers)),
        };
        Ok(Self { verifier, fingerprint: fingerprint.finish().as_ref().to_vec() })
    }
}

fn verifier(
    roots: &Arc<RootCertStore>,
    lists: Vec<List>,
    config: &Config,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(provider))
        .with_crls(lists)
        .enforce_revocation_expiration();
    let builder = match config.client_certificates {
        ClientCertificates::Optional => builder.allow_unauthenticated(),
        ClientCertificates::Required => builder,
    };
    builder.build().map_err(|error| error.to_string())
}

/// Verifiers that differ in their lists only. There are two at least.
#[derive(Debug)]
struct AnyOf(Vec<Arc<dyn ClientCertVerifier>>);

/// What a verdict is worth: a list of another key knows nothing, and a list that names a certificate is never overruled.
fn weight(verdict: &Result<ClientCertVerified, Error>) -> u8 {
    match verdict {
        Err(Error::InvalidCertificate(CertificateError::Revoked)) => 3,
        Ok(_) => 2,
        Err(Error::InvalidCertRevocationList(CertRevocationListError::BadSignature)) => 0,
        Err(_) => 1,
    }
}

impl ClientCertVerifier for AnyOf {
    fn offer_client_auth(&self) -> bool {
        self.0[0].offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0[0].client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0[0].root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verdicts = self.0.iter().map(|verifier| verifier.verify_client_cert(end_entity, intermediates, now));
        verdicts.max_by_key(weight).unwrap_or(Err(CertificateError::UnknownRevocationStatus.into()))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0[0].verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0[0].verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0[0].supported_verify_schemes()
    }
}
