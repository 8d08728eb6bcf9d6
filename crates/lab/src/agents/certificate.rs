//! The certificate that an agent makes for itself: two common names, and on Linux an authority by its own word.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::Kind;
use gatepost_net::net::upload_client::Certificate;

/// A certificate with its key.
pub struct OwnCertificate {
    der: Vec<u8>,
    key: Vec<u8>,
}

impl OwnCertificate {
    /// A new one.
    ///
    /// # Errors
    ///
    /// When the machine has no randomness for its key.
    pub fn new(kind: Kind, workspace: &str, agent: &str) -> anyhow::Result<Self> {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, workspace);
        // The same type by its number: a name has each type once only.
        params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 3]), agent);
        let unit = if kind == Kind::Linux { "Linux Monitoring Agent" } else { "Microsoft Monitoring Agent" };
        params.distinguished_name.push(DnType::OrganizationalUnitName, unit);
        params.distinguished_name.push(DnType::OrganizationName, "Microsoft");
        if kind == Kind::Linux {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let made = params.self_signed(&key)?;
        Ok(Self { der: made.der().to_vec(), key: key.serialize_der() })
    }

    /// It, encoded.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// What a client shows.
    pub fn shown(&self) -> Certificate {
        let chain = vec![CertificateDer::from(self.der.clone())];
        Certificate { chain, key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone())) }
    }
}
