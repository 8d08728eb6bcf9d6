//! A certificate authority for simulated hosts.

use std::path::Path;

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use gatepost_net::net::upload_client::Certificate;

/// The authority's certificate, in a folder.
pub const CERTIFICATE: &str = "hosts-ca.pem";
/// Its key.
const KEY: &str = "hosts-ca.key";
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

    /// A certificate for a host of this name; the host shows nothing but this one, as Windows does.
    ///
    /// # Errors
    ///
    /// When the name cannot stand in a certificate.
    pub fn issue(&self, host: &str) -> anyhow::Result<Certificate> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![host.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, host);
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
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}
