//! Certificates of apps, and assertions made by hand: neither the gateway's code nor the fake's.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// An app's certificate with its key.
pub(crate) struct Identity {
    pub(crate) certificate_pem: String,
    pub(crate) certificate_der: Vec<u8>,
    pub(crate) key_pem: String,
    pub(crate) key_pkcs8: Vec<u8>,
}

impl Identity {
    /// A self-signed certificate over a new RSA key.
    pub(crate) fn new() -> Self {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let certificate =
            rcgen::CertificateParams::new(vec!["gatepost".to_owned()]).unwrap().self_signed(&key).unwrap();
        Self {
            certificate_pem: certificate.pem(),
            certificate_der: certificate.der().to_vec(),
            key_pem: key.serialize_pem(),
            key_pkcs8: key.serialize_der(),
        }
    }

    /// An assertion with these claims.
    pub(crate) fn assert(&self, claims: &Value) -> String {
        let thumbprint = URL_SAFE_NO_PAD.encode(digest(&SHA256, &self.certificate_der));
        let head = json!({ "alg": "RS256", "typ": "JWT", "x5t#S256": thumbprint });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&head), part(claims));
        let key = RsaKeyPair::from_pkcs8(&self.key_pkcs8).unwrap();
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}
