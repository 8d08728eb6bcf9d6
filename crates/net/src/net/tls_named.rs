//! Trust in what a file holds: its authorities, and servers that show exactly one of its certificates.
//!
//! `openssl req -x509` makes self-signed certificates that call themselves an authority (CA:TRUE). By the book such a
//! certificate is no server's. But whoever names exactly that certificate means that server; its name and its time still have
//! to be right, and it has to own the key.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Believes certificates that are named, and what the authorities among them have signed.
#[derive(Debug)]
pub struct Named {
    certificates: Vec<CertificateDer<'static>>,
    authorities: Arc<WebPkiServerVerifier>,
}

impl Named {
    /// Of at least one certificate.
    ///
    /// # Errors
    ///
    /// When there is none, or one that cannot be read.
    pub fn new(certificates: Vec<CertificateDer<'static>>, provider: Arc<CryptoProvider>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots.add(certificate.clone()).map_err(|error| error.to_string())?;
        }
        let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        Ok(Self { certificates, authorities: authorities.map_err(|error| error.to_string())? })
    }
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.certificates.iter().any(|named| named == shown) {
            return is_right_now(shown, name, now).map(|()| ServerCertVerified::assertion());
        }
        let verdict = self.authorities.verify_server_cert(shown, intermediates, name, ocsp, now);
        verdict.map_err(|error| if is_authority(shown) { Error::General(AUTHORITY.to_owned()) } else { error })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls12_signature(message, shown, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls13_signature(message, shown, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

/// What is said of an authority that poses as a server and is not named.
const AUTHORITY: &str = "the server shows a self-signed certificate (CA:TRUE) that is not in the file of trusted certificates; \
                         put exactly that certificate there, or give the server one that an authority has signed";

/// Whether a certificate is valid now, and for this name.
fn is_right_now(shown: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<(), Error> {
    verify_server_name(&ParsedCertificate::try_from(shown)?, name)?;
    let (_, certificate) = X509Certificate::from_der(shown).map_err(|_| CertificateError::BadEncoding)?;
    let (now, validity) = (i64::try_from(now.as_secs()).unwrap_or(i64::MAX), certificate.validity());
    if now < validity.not_before.timestamp() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > validity.not_after.timestamp() {
        return Err(CertificateError::Expired.into());
    }
    Ok(())
}

fn is_authority(shown: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(shown).is_ok_and(|(_, certificate)| certificate.is_ca())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn provider() -> Arc<CryptoProvider> {
        Arc::new(rustls::crypto::aws_lc_rs::default_provider())
    }

    /// As `openssl req -x509` makes it.
    fn self_signed(is_authority: bool) -> CertificateDer<'static> {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        if is_authority {
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        }
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        params.self_signed(&rcgen::KeyPair::generate().expect("entropy")).expect("signed").der().clone()
    }

    fn verdict(
        trusted: &CertificateDer<'static>,
        shown: &CertificateDer<'_>,
        name: &str,
        year: u64,
    ) -> Result<(), String> {
        let named = Named::new(vec![trusted.clone()], provider()).expect("a verifier");
        let name = ServerName::try_from(name).expect("a name");
        let now = UnixTime::since_unix_epoch(Duration::from_secs((year - 1970) * 31_557_000 + 86_400 * 100));
        named.verify_server_cert(shown, &[], &name, &[], now).map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn a_self_signed_certificate_that_is_named_is_believed_whether_it_calls_itself_an_authority_or_not() {
        for is_authority in [true, false] {
            let certificate = self_signed(is_authority);
            assert_eq!(verdict(&certificate, &certificate, "localhost", 2026), Ok(()), "{is_authority}");
            for (name, year) in [("elsewhere.example", 2026), ("localhost", 2025), ("localhost", 2028)] {
                let error = verdict(&certificate, &certificate, name, year).expect_err(name);
                assert!(!error.contains("CaUsedAsEndEntity"), "{error}");
            }
        }
    }

    #[test]
    fn one_that_is_not_named_is_refused_with_what_to_do() {
        let error = verdict(&self_signed(true), &self_signed(true), "localhost", 2026).expect_err("another one");
        assert!(error.contains("put exactly that certificate there"), "{error}");
        let error = verdict(&self_signed(true), &self_signed(false), "localhost", 2026).expect_err("another one");
        assert!(!error.contains("CA:TRUE"), "it is no authority: {error}");
    }

    #[test]
    fn what_a_named_authority_has_signed_is_believed() {
        let mut authority = rcgen::CertificateParams::new(Vec::new()).expect("no names");
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().expect("entropy");
        let authority = rcgen::CertifiedIssuer::self_signed(authority, key).expect("signed");
        let server = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let server = server.signed_by(&rcgen::KeyPair::generate().expect("entropy"), &authority).expect("signed");
        assert_eq!(verdict(authority.der(), server.der(), "localhost", 2026), Ok(()));
        assert!(verdict(authority.der(), server.der(), "elsewhere.example", 2026).is_err());
    }

    #[test]
    fn nothing_is_named_by_an_empty_list() {
        assert!(Named::new(Vec::new(), provider()).is_err());
    }
}
