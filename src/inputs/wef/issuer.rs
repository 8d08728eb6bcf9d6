//! The authority that issued a host's certificate, by the name that Windows has for it: the SHA-1 of its certificate.
//!
//! A host shows only its own certificate, and picks it by the thumbprint of the authority right above it that its subscription
//! names. Two authorities may have one name (a key that was renewed), so the key identifier decides where there is one.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate};

/// The authorities whose certificates are accepted, intermediates among them.
#[derive(Debug, Default)]
pub(super) struct Authorities(Vec<Authority>);

#[derive(Debug)]
struct Authority {
    /// Its subject, for people and encoded.
    name: String,
    subject: Vec<u8>,
    key: Option<Vec<u8>>,
    thumbprint: String,
}

impl Authorities {
    /// From a file in PEM form; what in it is no certificate does not count.
    pub(super) fn of_pem(pem: &[u8]) -> Self {
        let certificates = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
        Self(certificates.filter_map(|der| Authority::of(&der)).collect())
    }

    /// Their names, each with its thumbprint.
    pub(super) fn list(&self) -> Vec<(String, String)> {
        self.0.iter().map(|authority| (authority.name.clone(), authority.thumbprint.clone())).collect()
    }

    /// The thumbprint of the one that issued a certificate.
    pub(super) fn issuer(&self, leaf: &[u8]) -> Option<&str> {
        let (_, leaf) = X509Certificate::from_der(leaf).ok()?;
        let key = key_of_issuer(&leaf);
        let named: Vec<&Authority> =
            self.0.iter().filter(|authority| authority.subject == leaf.issuer().as_raw()).collect();
        let by_key = named.iter().find(|authority| key.is_some() && authority.key == key);
        let only = if let [only] = named[..] { Some(only) } else { None };
        // Without identifiers the name has to do, as long as it is clear.
        let unclear = key.is_none() || named.iter().all(|authority| authority.key.is_none());
        by_key.copied().or(only.filter(|_| unclear)).map(|authority| authority.thumbprint.as_str())
    }
}

impl Authority {
    fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let key = certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        });
        let thumbprint = digest(&SHA1_FOR_LEGACY_USE_ONLY, der);
        let (name, subject) = (certificate.subject().to_string(), certificate.subject().as_raw().to_vec());
        Some(Self { name, subject, key, thumbprint: hex::encode(thumbprint) })
    }
}

fn key_of_issuer(leaf: &X509Certificate<'_>) -> Option<Vec<u8>> {
    leaf.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|key| key.0.to_vec()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

    use super::*;

    fn authority(name: &str) -> (Issuer<'static, KeyPair>, String, Vec<u8>) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a certificate");
        (Issuer::new(params, key), certificate.pem(), certificate.der().to_vec())
    }

    fn leaf(issuer: &Issuer<'_, KeyPair>, tells_key: bool) -> Vec<u8> {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["host.test".to_owned()]).expect("a name");
        params.use_authority_key_identifier_extension = tells_key;
        params.signed_by(&key, issuer).expect("a certificate").der().to_vec()
    }

    fn sha1(der: &[u8]) -> String {
        hex::encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, der))
    }

    #[test]
    fn of_two_authorities_with_one_name_the_one_whose_key_it_is_issued_a_certificate() {
        let (old, old_pem, old_der) = authority("Plant CA");
        let (new, new_pem, new_der) = authority("Plant CA");
        let (stranger, ..) = authority("Plant CA");
        let known = Authorities::of_pem(format!("{old_pem}{new_pem}").as_bytes());
        assert_eq!(known.issuer(&leaf(&old, true)), Some(sha1(&old_der).as_str()));
        assert_eq!(known.issuer(&leaf(&new, true)), Some(sha1(&new_der).as_str()));
        assert_eq!(known.issuer(&leaf(&stranger, true)), None);
        assert_eq!(known.issuer(&leaf(&old, false)), None, "nobody can tell");
        let alone = Authorities::of_pem(old_pem.as_bytes());
        assert_eq!(alone.issuer(&leaf(&old, false)), Some(sha1(&old_der).as_str()), "the name is clear");
        assert_eq!(alone.issuer(b"none"), None);
        assert_eq!(alone.list(), [("CN=Plant CA".to_owned(), sha1(&old_der))]);
    }
}
