//! Which client certificates a listener takes: what `client_ca` signed, and no list in `client_crl` is against.
//!
//! The library takes the first list that has the authority's name. An authority that renewed its key keeps its name (so does
//! Windows' by default) and signs a list with each of its keys, and a list of the other key says nothing about a certificate.
//! So each choice of one key for each name is asked, and the one whose lists the authority's own key signed has the word.
//!
//! A certificate that is not taken ends the handshake, and its error does not say whose it was. Whoever waits for that handshake
//! within [`noting`] learns it.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
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
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::certificate_names::certificate_names;
use super::revocation::{self, List};
use super::tls_error::TlsError;
use super::tls_files::certificates;

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

/// Whom a listener believes.
pub(super) struct Trust {
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    /// Of everything that decides: another one means that somebody may not be believed any more.
    pub(super) fingerprint: Vec<u8>,
}

impl Trust {
    /// That of the authorities in this file.
    pub(super) fn load(
        path: &Path,
        lists: &[PathBuf],
        asked: ClientCertificates,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let content = |reason: String| TlsError::Content { path: path.to_owned(), reason };
        let mut fingerprint = digest::Context::new(&digest::SHA256);
        fingerprint.update(format!("{asked:?}").as_bytes());
        let mut roots = RootCertStore::empty();
        for certificate in certificates(path)? {
            fingerprint.update(&certificate);
            roots.add(certificate).map_err(|error| content(error.to_string()))?;
        }
        let roots = Arc::new(roots);
        let mut verifiers = Vec::new();
        for lists in revocation::choices(lists)? {
            lists.iter().for_each(|list| fingerprint.update(list));
            verifiers.push(verifier(&roots, lists, asked, provider).map_err(content)?);
        }
        let verifier: Arc<dyn ClientCertVerifier> = Arc::new(AnyOf(verifiers));
        Ok(Self { verifier, fingerprint: fingerprint.finish().as_ref().to_vec() })
    }
}

fn verifier(
    roots: &Arc<RootCertStore>,
    lists: Vec<List>,
    asked: ClientCertificates,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(provider))
        .with_crls(lists)
        .enforce_revocation_expiration();
    let builder = match asked {
        ClientCertificates::Optional => builder.allow_unauthenticated(),
        ClientCertificates::Required => builder,
    };
    builder.build().map_err(|error| error.to_string())
}

tokio::task_local! {
    /// The first name in the last certificate that was not taken.
    static NOT_TAKEN: RefCell<Option<String>>;
}

/// What a handshake ended with, and the first name in the certificate that was not taken, where that ended it. Nobody has
/// verified that name.
pub async fn noting<T>(handshake: impl Future<Output = T>) -> (T, Option<String>) {
    let with_name = async {
        let ended = handshake.await;
        (ended, NOT_TAKEN.with(RefCell::take))
    };
    NOT_TAKEN.scope(RefCell::default(), with_name).await
}

fn note(certificate: &CertificateDer<'_>) {
    let name = certificate_names(certificate).into_iter().next();
    // Where nobody waits for it, nobody wants to know.
    NOT_TAKEN.try_with(|not_taken| *not_taken.borrow_mut() = name).ok();
}

/// Verifiers that differ in their lists only. There is one at least.
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
        let verdict = verdicts.max_by_key(weight).unwrap_or(Err(CertificateError::UnknownRevocationStatus.into()));
        verdict.inspect_err(|_| note(end_entity))
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
