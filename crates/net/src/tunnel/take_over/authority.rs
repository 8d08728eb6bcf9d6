//! The authority in whose name hosts are taken over: read from its files, looked at, and used to sign.
//!
//! Its key can be every host that the authority may sign for, to everybody who trusts it. So a key that others can read is refused,
//! and so is a certificate that clients would not believe.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, PublicKeyData as _, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use time::{Duration, OffsetDateTime};
use x509_parser::oid_registry::OID_PKCS1_RSAENCRYPTION;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::names::Constraints;
use crate::faults::is_own_group;
use crate::net::tls_files::{certificates, private_key};
use crate::net::tls_server::TlsError;
use crate::tunnel::config::Pair;

/// How long a certificate for a host is good. Short, because nobody looks whether it was revoked.
pub(super) const LEAF_LIVES: Duration = Duration::days(7);
/// So much earlier it begins: clients whose clock is behind are common where these agents run.
pub(super) const LEAF_BEGINS_BEFORE: Duration = Duration::days(1);
/// The longest common name that a certificate can hold.
const COMMON_NAME_MAX: usize = 64;
/// Bytes of a serial number that are chance.
const SERIAL_BYTES: usize = 16;

/// Why an authority cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Its certificate, or what goes with it.
    #[error("{0}")]
    Certificate(String),
    /// Its private key.
    #[error("{0}")]
    Key(String),
}

/// What people are told of an authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its name.
    pub subject: String,
    /// `"RSA"` or `"ECDSA"`.
    pub key: &'static str,
    /// The names that it may sign for.
    pub constraints: Constraints,
    /// When its certificate begins, in seconds since 1970.
    pub begins_s: i64,
    /// When it ends.
    pub ends_s: i64,
    /// The SHA-256 of its certificate, in hexadecimal digits.
    pub sha256: String,
    /// Its SHA-1, by which Windows knows it (its thumbprint).
    pub thumbprint: String,
}

/// An authority that can sign.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// What stands behind a certificate that it signed: itself and those above, without the root.
    chain: Vec<CertificateDer<'static>>,
    /// One key for all hosts: making one for each would cost a client's patience with RSA, and protect nothing, since all are here.
    leaf_key: KeyPair,
    signing: Arc<dyn SigningKey>,
    facts: Facts,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("facts", &self.facts).finish_non_exhaustive()
    }
}

impl Authority {
    /// Reads and checks both files.
    ///
    /// # Errors
    ///
    /// When one cannot be read or used, when they do not belong together, when others can read the key, or when clients would not
    /// believe what this authority signs.
    pub fn load(pair: Pair<'_>) -> Result<Self, AuthorityError> {
        let of_certificate = |error: TlsError| AuthorityError::Certificate(error.to_string());
        let of_key = |error: TlsError| AuthorityError::Key(error.to_string());
        let found = certificates(pair.certificate).map_err(of_certificate)?;
        let key = private_key(pair.key).map_err(of_key)?;
        check_private(pair.key)?;
        Self::new(found, &key, pair)
    }

    fn new(
        found: Vec<CertificateDer<'static>>,
        key: &PrivateKeyDer<'_>,
        pair: Pair<'_>,
    ) -> Result<Self, AuthorityError> {
        let (certificate, key_file) = (pair.certificate.display(), pair.key.display());
        let wrong = |reason: String| AuthorityError::Certificate(format!("{certificate} {reason}"));
        let key = KeyPair::try_from(key)
            .map_err(|error| AuthorityError::Key(format!("{key_file} cannot be used to sign: {error}")))?;
        let first = found.first().ok_or_else(|| wrong("holds no certificate".to_owned()))?;
        let (_, parsed) = X509Certificate::from_der(first).map_err(|error| wrong(format!("is damaged: {error}")))?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(AuthorityError::Key(format!("{key_file} is not the key of the certificate {certificate}")));
        }
        if let Some(reason) = no_authority(&parsed) {
            return Err(wrong(reason));
        }
        let facts = facts(first, &parsed);
        let own = |der: &&CertificateDer<'static>| !is_self_signed(der);
        let chain = found.iter().filter(own).cloned().collect();
        let issuer = Issuer::from_ca_cert_der(first, key).map_err(|error| wrong(format!("cannot be used: {error}")))?;
        let (leaf_key, signing) = leaf_key(facts.key).map_err(wrong)?;
        let authority = Self { issuer, chain, leaf_key, signing, facts };
        authority.try_out(&parsed).map_err(wrong)?;
        Ok(authority)
    }

    /// Clients find the issuer by its name, byte for byte, so a name that comes out otherwise is found now and not by them.
    fn try_out(&self, certificate: &X509Certificate<'_>) -> Result<(), String> {
        let now = OffsetDateTime::now_utc();
        let leaf = self.leaf("host.invalid", now).map_err(|error| format!("cannot sign: {error}"))?;
        let (_, leaf) =
            X509Certificate::from_der(&leaf).map_err(|error| format!("signs what cannot be read: {error}"))?;
        match leaf.issuer().as_raw() == certificate.subject().as_raw() {
            true => Ok(()),
            false => Err("has a name in a form that cannot be written again; use another authority".to_owned()),
        }
    }

    /// What people are told of it.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// A certificate for a host, good from a day ago on.
    pub(super) fn certify(&self, host: &str, now: OffsetDateTime) -> Result<CertifiedKey, rcgen::Error> {
        let mut chain = vec![self.leaf(host, now)?];
        chain.extend(self.chain.iter().cloned());
        Ok(CertifiedKey::new(chain, Arc::clone(&self.signing)))
    }

    fn leaf(&self, host: &str, now: OffsetDateTime) -> Result<CertificateDer<'static>, rcgen::Error> {
        let mut params = CertificateParams::new(vec![host.to_owned()])?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "taken over by Gatepost");
        if host.len() <= COMMON_NAME_MAX {
            params.distinguished_name.push(DnType::CommonName, host);
        }
        let end = OffsetDateTime::from_unix_timestamp(self.facts.ends_s).unwrap_or(now + LEAF_LIVES);
        (params.not_before, params.not_after) = (now - LEAF_BEGINS_BEFORE, end.min(now + LEAF_LIVES));
        let mut serial = [0; SERIAL_BYTES];
        aws_lc_rs::rand::fill(&mut serial).map_err(|_| rcgen::Error::RingUnspecified)?;
        // A serial number is positive and not nothing.
        serial[0] = serial[0] & 0x3f | 0x40;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        Ok(params.signed_by(&self.leaf_key, &self.issuer)?.der().clone())
    }
}

/// Why a certificate is none of an authority.
fn no_authority(certificate: &X509Certificate<'_>) -> Option<String> {
    if !certificate.is_ca() {
        return Some(
            "is no authority's certificate (CA:TRUE is missing), so no client believes what it signs".to_owned(),
        );
    }
    let usage = certificate.key_usage().ok().flatten();
    let signs = usage.is_none_or(|usage| usage.value.key_cert_sign());
    (!signs).then(|| "may not sign certificates (its key usage says so); use an authority that may".to_owned())
}

fn leaf_key(kind: &str) -> Result<(KeyPair, Arc<dyn SigningKey>), String> {
    let algorithm = if kind == RSA { &PKCS_RSA_SHA256 } else { &PKCS_ECDSA_P256_SHA256 };
    let failed = |error: &dyn fmt::Display| format!("goes with no key that could be made: {error}");
    let key = KeyPair::generate_for(algorithm).map_err(|error| failed(&error))?;
    let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&der).map_err(|error| failed(&error))?;
    Ok((key, signing))
}

const RSA: &str = "RSA";

fn facts(der: &CertificateDer<'_>, certificate: &X509Certificate<'_>) -> Facts {
    let is_rsa = certificate.public_key().algorithm.algorithm == OID_PKCS1_RSAENCRYPTION;
    let constraints = certificate.name_constraints().ok().flatten();
    let hash = |algorithm| hex::encode_upper(digest::digest(algorithm, der));
    Facts {
        subject: certificate.subject().to_string(),
        key: if is_rsa { RSA } else { "ECDSA" },
        constraints: Constraints::of(constraints.map(|found| found.value)),
        begins_s: certificate.validity().not_before.timestamp(),
        ends_s: certificate.validity().not_after.timestamp(),
        sha256: hash(&digest::SHA256),
        thumbprint: hash(&digest::SHA1_FOR_LEGACY_USE_ONLY),
    }
}

fn is_self_signed(der: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(der).is_ok_and(|(_, found)| found.subject().as_raw() == found.issuer().as_raw())
}

/// A group that the gateway is in is not others: orchestrators give mounted secrets to one.
fn check_private(key: &Path) -> Result<(), AuthorityError> {
    let shown = key.display();
    let found = std::fs::metadata(key).map_err(|error| AuthorityError::Key(format!("{shown} {error}")))?;
    let (mode, others) = (found.mode() & 0o777, if is_own_group(found.gid()) { 0o007 } else { 0o077 });
    if mode & others == 0 {
        return Ok(());
    }
    Err(AuthorityError::Key(format!(
        "{shown} can be used by others (mode {mode:o}), who could then pose as every host that it may sign for: chmod 600 {shown}"
    )))
}

/// Reads what is public of an authority.
///
/// # Errors
///
/// When the file cannot be read, or holds no authority's certificate.
pub fn facts_of(certificate: &Path) -> Result<Facts, AuthorityError> {
    let wrong = |reason: String| AuthorityError::Certificate(reason);
    let found = certificates(certificate).map_err(|error| wrong(error.to_string()))?;
    let shown = certificate.display();
    let first = found.first().ok_or_else(|| wrong(format!("{shown} holds no certificate")))?;
    let (_, parsed) =
        X509Certificate::from_der(first).map_err(|error| wrong(format!("{shown} is damaged: {error}")))?;
    match no_authority(&parsed) {
        None => Ok(facts(first, &parsed)),
        Some(reason) => Err(wrong(format!("{shown} {reason}"))),
    }
}
