//! A new authority for hosts that are taken over, as `gatepost ca init` makes it.
//!
//! It may sign for the names that are given and for no others, which clients check, and for no authority below it. So what a site
//! lets its machines trust cannot become more than the few hosts that it is for.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose,
    NameConstraints, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize,
};
use time::{Duration, OffsetDateTime};

/// The kind of an authority's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// ECDSA on P-256: small, fast, and what Windows before Server 2016 needs to agree on a cipher with this gateway.
    P256,
    /// RSA with 3072 bits, for clients that know no ECDSA.
    Rsa,
}

/// What a new authority is to be.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Its name, as people see it in a list of trusted authorities.
    pub name: String,
    /// Its key.
    pub kind: Kind,
    /// The names that it may sign for, each with everything below; empty for every name.
    pub domains: Vec<String>,
    /// How many days it is good.
    pub days: u32,
}

/// A new authority, in PEM.
pub struct Made {
    /// Its certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

/// The authority begins so much earlier, for clients whose clock is behind.
const BEGINS_BEFORE: Duration = Duration::days(1);

/// Makes one.
///
/// # Errors
///
/// When a name cannot stand in a certificate, or the system gives no random bytes.
pub fn make(wish: &Wish) -> Result<Made, rcgen::Error> {
    let key = match wish.kind {
        Kind::P256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
        Kind::Rsa => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_3072)?,
    };
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, wish.name.as_str());
    let now = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (now - BEGINS_BEFORE, now + Duration::days(i64::from(wish.days)));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    if !wish.domains.is_empty() {
        let permitted_subtrees = wish.domains.iter().cloned().map(GeneralSubtree::DnsName).collect();
        params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
    }
    let certificate = params.self_signed(&key)?.pem();
    Ok(Made { certificate, key: key.serialize_pem() })
}
