//! The certificate of an application and its key, from PEM or PKCS#12.
//!
//! What a file is shows its content, not its name. The key decides which certificate is meant: the one that it belongs
//! to comes first, whatever the order in the file, and a key without one is an error here and not a riddle at Entra.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use aws_lc_rs::digest;
use aws_lc_rs::rsa::KeyPair as RsaKey;
use aws_lc_rs::signature::KeyPair;
use jsonwebtoken::EncodingKey;
use p12_keystore::Pkcs12Archive;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::der_parser::parse_der;
use x509_parser::parse_x509_certificate;

use super::IdentityError;
use crate::faults::unread;
use crate::values::Secret;

/// Most bytes of a file with certificates.
const FILE_MAX: u64 = 1 << 20;

const RSA_RULE: &str = "Entra ID takes only RSA keys, of 2048 to 8192 bits";

/// Where the certificate and its key are.
#[derive(Debug, Clone)]
pub(super) struct Files {
    pub(super) certificate: PathBuf,
    pub(super) key: Option<PathBuf>,
    pub(super) password: Option<Secret>,
}

/// How the files looked when they were read: they are read again when that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp(Vec<Option<(u64, SystemTime)>>);

/// A certificate whose key we have.
pub(super) struct Credential {
    pub(super) key: EncodingKey,
    /// DER; the certificate of the key first.
    pub(super) chain: Vec<Vec<u8>>,
    /// When it ends, in seconds since 1970.
    pub(super) ends: i64,
}

impl Credential {
    /// The SHA-1 thumbprint, as Azure shows it.
    pub(super) fn thumbprint(&self) -> String {
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &self.chain[0]);
        hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect()
    }
}

impl Files {
    pub(super) fn stamp(&self) -> Stamp {
        let look = |path: &PathBuf| {
            let about = std::fs::metadata(path).ok()?;
            Some((about.len(), about.modified().ok()?))
        };
        Stamp(std::iter::once(&self.certificate).chain(&self.key).map(look).collect())
    }

    /// Reads them. Blocks: unlocking PKCS#12 takes a while on purpose.
    pub(super) fn load(&self) -> Result<Credential, IdentityError> {
        let wrong =
            |key, path: &Path, reason: &str| IdentityError { key, message: format!("{}: {reason}", path.display()) };
        let in_certificate = |reason: String| wrong("certificate", &self.certificate, &reason);
        let bytes = read(&self.certificate).map_err(in_certificate)?;
        let (certificates, mut keys) = match is_pem(&bytes) {
            true => (pem_certificates(&bytes).map_err(in_certificate)?, pem_keys(&bytes).map_err(in_certificate)?),
            false => unlock(&bytes, self.password.as_ref()).map_err(in_certificate)?,
        };
        if let Some(path) = &self.key {
            let in_key = |reason: String| wrong("key", path, &reason);
            keys = pem_keys(&read(path).map_err(in_key)?).map_err(in_key)?;
        }
        let key_at = if self.key.is_some() { "key" } else { "certificate" };
        pair(certificates, &keys)
            .map_err(|reason| wrong(key_at, self.key.as_ref().unwrap_or(&self.certificate), &reason))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| unread(&error))?;
    file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(|error| unread(&error))?;
    if bytes.len() as u64 > FILE_MAX { Err("is larger than 1 MiB".to_owned()) } else { Ok(bytes) }
}

fn is_pem(bytes: &[u8]) -> bool {
    memchr::memmem::find(bytes, b"-----BEGIN ").is_some()
}

fn pem_certificates(bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let found = CertificateDer::pem_slice_iter(bytes).map(|found| found.map(|der| der.to_vec()));
    found.collect::<Result<_, _>>().map_err(|error| format!("is not sound PEM: {error}"))
}

fn pem_keys(bytes: &[u8]) -> Result<Vec<PrivateKeyDer<'static>>, String> {
    if memchr::memmem::find(bytes, b"ENCRYPTED").is_some() {
        return Err("the key is encrypted; use PKCS#12 with a password, or a key in the clear".to_owned());
    }
    PrivateKeyDer::pem_slice_iter(bytes).collect::<Result<_, _>>().map_err(|error| format!("is not sound PEM: {error}"))
}

type Found = (Vec<Vec<u8>>, Vec<PrivateKeyDer<'static>>);

/// The certificates and keys of a PKCS#12 file.
fn unlock(bytes: &[u8], password: Option<&Secret>) -> Result<Found, String> {
    if parse_x509_certificate(bytes).is_ok() {
        return Err("is a certificate without its key; use PEM with both, or PKCS#12".to_owned());
    }
    let archive =
        Pkcs12Archive::from_pkcs12(bytes, password.map_or("", Secret::reveal)).map_err(|error| match error {
            p12_keystore::error::Error::MacError(_) => "identity.password does not open it".to_owned(),
            error => format!("is neither PEM nor a PKCS#12 file that identity.password opens ({error})"),
        })?;
    let certificates = archive.certs.iter().map(|bag| bag.cert.as_der().to_owned()).collect();
    let keys = archive.keys.iter().map(|bag| PrivateKeyDer::Pkcs8(bag.key.as_der().to_owned().into())).collect();
    Ok((certificates, keys))
}

/// The first key that belongs to one of the certificates, with that certificate in front.
fn pair(mut certificates: Vec<Vec<u8>>, keys: &[PrivateKeyDer<'_>]) -> Result<Credential, String> {
    if certificates.is_empty() {
        return Err("holds no certificate".to_owned());
    }
    if keys.is_empty() {
        return Err("holds no private key; put it into the same file, or name its file with identity.key".to_owned());
    }
    let usable: Vec<(Vec<u8>, Vec<u8>)> = keys.iter().filter_map(rsa).collect();
    if usable.is_empty() {
        return Err(format!("the private key cannot be used: {RSA_RULE}"));
    }
    for (private, public) in &usable {
        for at in 0..certificates.len() {
            let (_, certificate) = parse_x509_certificate(&certificates[at])
                .map_err(|_| "holds a certificate that is not sound".to_owned())?;
            if certificate.public_key().subject_public_key.data.as_ref() == public.as_slice() {
                let ends = certificate.validity().not_after.timestamp();
                certificates[..=at].rotate_right(1);
                return Ok(Credential { key: EncodingKey::from_rsa_der(private), chain: certificates, ends });
            }
        }
    }
    Err("the private key does not belong to the certificate".to_owned())
}

/// The private and the public half of an RSA key, both as PKCS#1.
fn rsa(key: &PrivateKeyDer<'_>) -> Option<(Vec<u8>, Vec<u8>)> {
    let (pair, private) = match key {
        PrivateKeyDer::Pkcs1(der) => {
            (RsaKey::from_der(der.secret_pkcs1_der()).ok()?, der.secret_pkcs1_der().to_owned())
        }
        PrivateKeyDer::Pkcs8(der) => {
            let der = der.secret_pkcs8_der();
            let pair = RsaKey::from_pkcs8(der).ok()?;
            // PKCS#8 is version, algorithm, and the key itself as an octet string.
            let (_, outer) = parse_der(der).ok()?;
            (pair, outer.as_sequence().ok()?.get(2)?.as_slice().ok()?.to_owned())
        }
        _ => return None,
    };
    let public = pair.public_key().as_ref().to_owned();
    Some((private, public))
}

#[cfg(test)]
#[path = "certificate_tests.rs"]
mod tests;
