//! The certificate that an agent makes for itself: two common names, and on Linux an authority by its own word.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use time::{Duration, OffsetDateTime};

use super::Kind;
use gatepost_net::net::upload_client::Certificate;

/// How long a certificate is good.
const LIVES: Duration = Duration::days(365);

/// A certificate with its key.
pub struct OwnCertificate {
    der: Vec<u8>,
    key: Vec<u8>,
}

impl OwnCertificate {
    /// A new one, good for a year.
    ///
    /// # Errors
    ///
    /// When the machine has no randomness for its key.
    pub fn new(kind: Kind, workspace: &str, agent: &str) -> anyhow::Result<Self> {
        Self::made(kind, workspace, agent, Duration::ZERO)
    }

    /// One that was made eleven months ago: it is time to renew it.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub fn near_its_end(kind: Kind, workspace: &str, agent: &str) -> anyhow::Result<Self> {
        Self::made(kind, workspace, agent, Duration::days(340))
    }

    /// New ones of many agents that share a key, for those who need thousands: making a key takes long.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub fn of_one_key(kind: Kind, workspace: &str, agents: &[String]) -> anyhow::Result<Vec<Self>> {
        let key = new_key()?;
        agents.iter().map(|agent| Self::with(&key, kind, workspace, agent, Duration::ZERO)).collect()
    }

    fn made(kind: Kind, workspace: &str, agent: &str, ago: Duration) -> anyhow::Result<Self> {
        Self::with(&new_key()?, kind, workspace, agent, ago)
    }

    fn with(key: &KeyPair, kind: Kind, workspace: &str, agent: &str, ago: Duration) -> anyhow::Result<Self> {
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
        params.not_before = OffsetDateTime::now_utc() - ago;
        params.not_after = params.not_before + LIVES;
        let made = params.self_signed(key)?;
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

fn new_key() -> anyhow::Result<KeyPair> {
    Ok(KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?)
}
