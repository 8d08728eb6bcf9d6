//! A certificate authority for simulated hosts.

use std::path::Path;

use anyhow::Context as _;
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use gatepost_net::net::upload_client::Certificate;

/// The authority's certificate, in a folder.
pub const CERTIFICATE: &str = "hosts-ca.pem";
/// Its key.
const KEY: &str = "hosts-ca.key";
/// How long certificates and revocation lists are good.
const GOOD_FOR: Duration = Duration::days(365);
/// The name of one in a folder.
const NAME: &str = "Simulated hosts";

/// An authority that issues certificates to hosts.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    /// A new one of this name.
    ///
    /// # Errors
    ///
    /// When the machine has no randomness for its key.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let key = KeyPair::generate()?;
        let pem = params(name).self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params(name), key), pem })
    }

    /// The one in a folder; it is made there when there is none.
    ///
    /// # Errors
    ///
    /// When the folder cannot be written, or holds something else.
    pub fn in_folder(folder: &Path) -> anyhow::Result<Self> {
        let (certificate, key) = (folder.join(CERTIFICATE), folder.join(KEY));
        if certificate.exists() {
            let read =
                |path: &Path| std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()));
            let issuer = Issuer::new(params(NAME), KeyPair::from_pem(&read(&key)?)?);
            return Ok(Self { issuer, pem: read(&certificate)? });
        }
        let made = Self::new(NAME)?;
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        for (path, text) in [(&key, made.issuer.key().serialize_pem()), (&certificate, made.pem.clone())] {
            std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(made)
    }

    /// Its certificate, in PEM form: what the gateway needs as `tls.client_ca`.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The name that Windows has for it: the SHA-1 of its certificate.
    ///
    /// # Errors
    ///
    /// When its certificate was damaged on the disk.
    pub fn thumbprint(&self) -> anyhow::Result<String> {
        let der = CertificateDer::from_pem_slice(self.pem.as_bytes()).context("the authority's certificate")?;
        let sum = digest(&SHA1_FOR_LEGACY_USE_ONLY, &der);
        Ok(hex::encode(sum))
    }

    /// One of this name whose certificate this one has signed.
    ///
    /// # Errors
    ///
    /// When the machine has no randomness for its key.
    pub fn subordinate(&self, name: &str) -> anyhow::Result<Self> {
        let key = KeyPair::generate()?;
        let pem = params(name).signed_by(&key, &self.issuer)?.pem();
        Ok(Self { issuer: Issuer::new(params(name), key), pem })
    }

    /// A list, in PEM form, that revokes these certificates of its own.
    ///
    /// # Errors
    ///
    /// When one of them is none.
    pub fn revocation_list(&self, revoked: &[&Certificate]) -> anyhow::Result<String> {
        let now = OffsetDateTime::now_utc();
        let one = |certificate: &&Certificate| {
            let (_, parsed) = X509Certificate::from_der(&certificate.chain[0])?;
            anyhow::Ok(RevokedCertParams {
                serial_number: SerialNumber::from_slice(parsed.raw_serial()),
                revocation_time: now,
                reason_code: None,
                invalidity_date: None,
            })
        };
        let list = CertificateRevocationListParams {
            this_update: now - Duration::minutes(1),
            next_update: now + GOOD_FOR,
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(one).collect::<Result<_, _>>()?,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.issuer)?.pem()?)
    }

    /// A certificate for a host of this name; the host shows nothing but this one, as Windows does.
    ///
    /// # Errors
    ///
    /// When the name cannot stand in a certificate.
    pub fn issue(&self, host: &str) -> anyhow::Result<Certificate> {
        self.issue_until(host, GOOD_FOR)
    }

    /// One that is good for so long from now on; one that has ended already where that is negative.
    ///
    /// # Errors
    ///
    /// When the name cannot stand in a certificate.
    pub fn issue_until(&self, host: &str, good_for: Duration) -> anyhow::Result<Certificate> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![host.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, host);
        params.not_before = OffsetDateTime::now_utc() - GOOD_FOR;
        params.not_after = OffsetDateTime::now_utc() + good_for;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(&key, &self.issuer)?;
        let chain = vec![CertificateDer::from(leaf.der().to_vec())];
        Ok(Certificate { chain, key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())) })
    }
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params
}
