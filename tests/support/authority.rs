//! An authority whose certificates stand in files, as what gateways speak TLS with is given them.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;

/// It: `ca.pem` in its folder, and of each name that it vouches for `NAME.pem` and `NAME.key`.
pub(crate) struct Authority<'f> {
    folder: &'f Path,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl<'f> Authority<'f> {
    pub(crate) fn in_folder(folder: &'f Path) -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        std::fs::write(folder.join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { folder, issuer: rcgen::Issuer::new(params, key) }
    }

    pub(crate) fn issue(&self, name: &str) {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}
