//! A client of the issuer, ready to be compared with: by its secrets and by its certificates.

use aws_lc_rs::{digest, hmac};

use super::IssuerError;
use super::certificate::Certificate;
use super::config::ClientEntry;
use super::jwt;
use super::keys::Key;
use crate::inputs::http::auth::parse_hex;

/// A client, ready to be compared with.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) entry: ClientEntry,
    /// The SHA-256 of each of its secrets.
    pub(super) secrets: Vec<[u8; 32]>,
    pub(super) certificates: Vec<Certificate>,
}

/// Which secret or certificate of which client: equal on every gateway that is configured alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Credential(pub(super) [u8; 32]);

impl Known {
    /// Reads the certificates.
    pub(super) fn new(entry: &ClientEntry) -> Result<Self, IssuerError> {
        let mut certificates = Vec::new();
        for path in &entry.certificates {
            let wrong = |reason| IssuerError::Certificate { path: path.clone(), reason };
            certificates.extend(Certificate::read(path).map_err(wrong)?);
        }
        let secrets = entry.secrets.iter().filter_map(|secret| parse_hex(&secret.sha256)).collect();
        Ok(Self { entry: entry.clone(), secrets, certificates })
    }

    /// Its name for people.
    pub(super) fn name(&self) -> &str {
        self.entry.name.as_deref().unwrap_or(&self.entry.id)
    }

    /// Its secret with this hash.
    pub(super) fn secret(&self, hash: &[u8; 32]) -> Credential {
        self.credential(b"secret\n", hash)
    }

    /// One of its certificates.
    pub(super) fn certificate(&self, certificate: &Certificate) -> Credential {
        self.credential(b"certificate\n", &certificate.fingerprint)
    }

    /// All it can show now.
    pub(super) fn credentials(&self) -> impl Iterator<Item = Credential> {
        let secrets = self.secrets.iter().map(|hash| self.secret(hash));
        secrets.chain(self.certificates.iter().map(|certificate| self.certificate(certificate)))
    }

    fn credential(&self, kind: &[u8], hash: &[u8; 32]) -> Credential {
        Credential(sha256(&[kind, hash, self.entry.id.to_ascii_lowercase().as_bytes()]))
    }
}

impl Credential {
    /// What a token of a listener says about the credential that it was given for. Only who has the key can make it, so it
    /// tells nothing about a secret to those who read tokens.
    pub(super) fn mark(self, listener: &str, key: &Key) -> String {
        let mark = hmac::sign(&key.marks, &sha256(&[&self.0, listener.as_bytes()]));
        jwt::encode(&mark.as_ref()[..16])
    }
}

/// The SHA-256 of all parts, one after the other.
pub(super) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    parts.iter().for_each(|part| context.update(part));
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}
