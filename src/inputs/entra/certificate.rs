//! The certificates that clients sign assertions with. They are listed one by one, so no authority has to vouch for them.

use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_PKCS1_RSAENCRYPTION};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::jwt::PublicKey;
use super::known::sha256;
use crate::faults::unread;

/// Certificates that one file may hold.
const IN_FILE_MAX: usize = 16;

/// A client's certificate.
#[derive(Debug)]
pub(super) struct Certificate {
    /// Its public key.
    pub(super) key: PublicKey,
    /// The SHA-256 of all of it.
    pub(super) fingerprint: [u8; 32],
    begins: i64,
    ends: i64,
}

impl Certificate {
    /// The certificates of a PEM file; else what is wrong with it.
    pub(super) fn read(path: &Path) -> Result<Vec<Self>, String> {
        let pem = std::fs::read(path).map_err(|error| unread(&error))?;
        let found = CertificateDer::pem_slice_iter(&pem).take(IN_FILE_MAX).map(|der| {
            let der = der.map_err(|error| format!("it is not PEM: {error}"))?;
            Self::from_der(&der)
        });
        let found: Vec<Self> = found.collect::<Result<_, _>>()?;
        if found.is_empty() { Err("it holds no certificate; write one in PEM".to_owned()) } else { Ok(found) }
    }

    fn from_der(der: &[u8]) -> Result<Self, String> {
        let (_, parsed) = X509Certificate::from_der(der).map_err(|_| "a certificate in it is damaged".to_owned())?;
        let public = parsed.public_key();
        let bits = public.subject_public_key.data.to_vec();
        let curve = public.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
        let key = if public.algorithm.algorithm == OID_PKCS1_RSAENCRYPTION {
            PublicKey::Rsa(bits)
        } else if public.algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY && curve == Some(OID_EC_P256) {
            PublicKey::P256(bits)
        } else {
            return Err("a certificate in it has neither an RSA nor a P-256 key; make one that has".to_owned());
        };
        let validity = parsed.validity();
        let fingerprint = sha256(&[der]);
        Ok(Self { key, fingerprint, begins: validity.not_before.timestamp(), ends: validity.not_after.timestamp() })
    }

    /// Whether it is valid at this second since 1970.
    pub(super) fn is_valid(&self, now: u64) -> bool {
        i64::try_from(now).is_ok_and(|now| (self.begins..=self.ends).contains(&now))
    }
}
