//! Trust in a server whose own certificate is at hand: a command that asks the gateway of the very configuration that it reads.
//!
//! The name in the certificate is the one that agents use, and hardly that of loopback, over which the command asks. It proves
//! nothing here either: whoever shows this very certificate and owns its key is that gateway.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

/// Believes these certificates under any name and at any time, and no others.
#[derive(Debug)]
pub struct Own {
    certificates: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Own {
    /// Of the certificates that the server was given.
    pub fn new(certificates: Vec<CertificateDer<'static>>, provider: Arc<CryptoProvider>) -> Self {
        Self { certificates, provider }
    }
}

impl ServerCertVerifier for Own {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let is_own = self.certificates.iter().any(|own| own == shown);
        let other = || Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        is_own.then(ServerCertVerified::assertion).ok_or_else(other)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, shown, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, shown, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_what_the_server_was_given_is_believed_under_any_name() {
        let made = || {
            let pair = rcgen::generate_simple_self_signed(["gate.example".to_owned()]).expect("made");
            pair.cert.der().clone()
        };
        let (ours, other) = (made(), made());
        let own = Own::new(vec![ours.clone()], Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        let verdict = |shown| own.verify_server_cert(shown, &[], &name, &[], UnixTime::now());
        assert!(verdict(&ours).is_ok() && verdict(&other).is_err());
    }
}
