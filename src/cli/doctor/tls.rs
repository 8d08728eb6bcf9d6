//! A handshake that is let through whatever the certificate says, so that it can be told what the certificate says.
//!
//! Nothing is sent over such a connection. The verdict is the verifier's of the TLS library with the system's
//! authorities; that the server owns its certificate is checked as always.

use parking_lot::Mutex;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

use crate::net::tls_client::system_roots;
use crate::tunnel::dial::Connected;
use crate::tunnel::request::Host;

/// Words in the names of authorities that certificates of public services come from, in lower case. Not a list of trust:
/// it only tells the usual from what a person should look at.
const USUAL: &[&str] = &[
    "microsoft",
    "digicert",
    "globalsign",
    "entrust",
    "sectigo",
    "let's encrypt",
    "amazon",
    "google trust services",
    "godaddy",
    "go daddy",
    "certum",
    "geotrust",
    "thawte",
    "rapidssl",
    "cloudflare",
    "identrust",
    "ssl.com",
    "ssl corporation",
    "d-trust",
    "cfca",
    "wotrus",
    "trustasia",
];

/// What a handshake showed.
pub(super) struct Handshake {
    /// Who has issued the certificate, as it says.
    pub(super) issuer: String,
    /// Whether that is one of the usual public authorities, by name.
    pub(super) usual_issuer: bool,
    /// Why this machine does not trust the certificate; none when it does.
    pub(super) doubt: Option<String>,
    /// The version of TLS.
    pub(super) version: Option<String>,
}

/// What a certificate said.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// Who has issued it and those above it, as they say.
    issuers: Vec<String>,
    /// Why this machine does not trust it; none when it does.
    doubt: Option<String>,
    /// The version of TLS.
    version: Option<String>,
    /// The certificate itself.
    pub(super) leaf: Vec<u8>,
}

/// Judges certificates by the system's authorities.
pub(super) struct Judge {
    provider: Arc<CryptoProvider>,
    /// Or why there is none.
    verifier: Result<Arc<WebPkiServerVerifier>, String>,
}

impl Judge {
    pub(super) fn new() -> Self {
        Self::with(system_roots().map_err(|error| error.to_string()))
    }

    pub(super) fn with(roots: Result<RootCertStore, String>) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = roots.and_then(|roots| {
            let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
            builder.build().map_err(|error| error.to_string())
        });
        Self { provider, verifier }
    }

    /// Shakes hands and hangs up. The error says why there was no handshake.
    pub(super) async fn shake_hands(&self, connected: Connected, host: &Host) -> Result<Handshake, String> {
        if !connected.early.is_empty() {
            return Err("the far end speaks first, which is not TLS".to_owned());
        }
        let name = match host {
            Host::Name(name) => ServerName::try_from(name.as_str().to_owned()).map_err(|error| error.to_string())?,
            Host::Address(address) => ServerName::from(*address),
        };
        let Shown { issuers, doubt, version, .. } = self.look(connected.stream, name).await?;
        let lower: Vec<String> = issuers.iter().map(|issuer| issuer.to_lowercase()).collect();
        Ok(Handshake {
            usual_issuer: lower.iter().any(|issuer| USUAL.iter().any(|usual| issuer.contains(usual))),
            issuer: issuers.into_iter().next().unwrap_or_else(|| "nobody that it names".to_owned()),
            doubt,
            version,
        })
    }

    /// Shakes hands over a connection and hangs up. The error says why there was no handshake.
    pub(super) async fn look(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        name: ServerName<'static>,
    ) -> Result<Shown, String> {
        let witness = Arc::new(Witness {
            verifier: self.verifier.clone(),
            provider: Arc::clone(&self.provider),
            seen: Mutex::new(None),
        });
        let config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&witness) as Arc<dyn ServerCertVerifier>)
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(config));
        let stream = connector.connect(name, stream).await.map_err(|error| error.to_string())?;
        let version = stream.get_ref().1.protocol_version().and_then(|version| version.as_str());
        let seen = witness.seen.lock().take();
        let shown = seen.ok_or("the far end showed no certificate")?;
        Ok(Shown { version: version.map(|version| version.replace("TLSv1_", "TLS 1.")), ..shown })
    }
}

/// Notes what a certificate says and what is wrong with it, and lets it pass.
#[derive(Debug)]
struct Witness {
    verifier: Result<Arc<WebPkiServerVerifier>, String>,
    provider: Arc<CryptoProvider>,
    seen: Mutex<Option<Shown>>,
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let doubt = match &self.verifier {
            Ok(verifier) => verifier
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
                .err()
                .map(|error| error.to_string()),
            Err(reason) => Some(reason.clone()),
        };
        let issuers = std::iter::once(end_entity).chain(intermediates).filter_map(|certificate| issuer(certificate));
        let shown = Shown { issuers: issuers.collect(), doubt, version: None, leaf: end_entity.to_vec() };
        *self.seen.lock() = Some(shown);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The issuer as a person would name it, without what could disturb a terminal.
fn issuer(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let name = named(certificate.issuer());
    let shown: String = name.chars().filter(|c| !c.is_control()).take(120).collect();
    Some(format!("{shown:?}"))
}

fn named(name: &X509Name<'_>) -> String {
    let organization = name.iter_organization().next().and_then(|part| part.as_str().ok());
    let common = name.iter_common_name().next().and_then(|part| part.as_str().ok());
    match (organization, common) {
        (Some(organization), Some(common)) => format!("{common} ({organization})"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => name.to_string(),
    }
}
