//! The certificate authority of a fake Azure: it signs one certificate for all of its doors.

use std::net::IpAddr;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::AzureError;

/// What the doors show and what clients have to trust.
pub(super) struct Authority {
    /// The certificate of the authority.
    pub(super) ca_pem: String,
    /// What every door speaks TLS with.
    pub(super) tls: Arc<rustls::ServerConfig>,
}

impl Authority {
    /// A new authority, with one certificate for `localhost` and these addresses.
    pub(super) fn new(addresses: &[IpAddr]) -> Result<Self, AzureError> {
        let failed = |error: rcgen::Error| AzureError::Certificate(error.to_string());
        let mut ca = CertificateParams::new(Vec::new()).map_err(failed)?;
        ca.distinguished_name = named("Simulated Azure: authority");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().map_err(failed)?).map_err(failed)?;
        let mut names = vec!["localhost".to_owned()];
        names.extend(addresses.iter().map(IpAddr::to_string));
        let mut door = CertificateParams::new(names).map_err(failed)?;
        door.distinguished_name = named("Simulated Azure");
        door.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = door.signed_by(&key, &ca).map_err(failed)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let tls = rustls::ServerConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .and_then(|config| config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key))
            .map_err(|error| AzureError::Certificate(error.to_string()))?;
        Ok(Self { ca_pem: ca.pem(), tls: Arc::new(tls) })
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}
