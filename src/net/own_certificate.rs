//! The certificate that a listener makes for itself, so that a first start needs no preparation.
//!
//! It is made once and kept: clients that pinned it are served over restarts. It signs itself, so a flipped bit shows, in the
//! certificate by its signature and in the key by not fitting it. What is damaged is put aside and made anew, and that is
//! told: clients that trust the old one have to be given the new one, which is better than listeners that do not start.

use std::fs;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::tls_server::TlsError;
use crate::metrics;

/// The name in a certificate that was made here, as subject and issuer.
const NAME: &str = "Gatepost (self-signed)";

/// The paths of the certificate and its key in `dir`; makes them when they are not there, or not as they were made.
pub(super) fn in_dir(dir: &Path) -> Result<(PathBuf, PathBuf), TlsError> {
    let paths = (path_in(dir), dir.join("key.pem"));
    let (certificate, key) = &paths;
    if certificate.exists() || key.exists() {
        match check(certificate, key) {
            Ok(()) => return Ok(paths),
            Err(reason) => put_aside(certificate, key, &reason),
        }
    }
    make(certificate, key)?;
    Ok(paths)
}

/// Where the certificate is, or will be made.
pub(super) fn path_in(dir: &Path) -> PathBuf {
    dir.join("cert.pem")
}

/// Whether certificate and key are as they were made, or what is wrong.
fn check(certificate: &Path, key: &Path) -> Result<(), String> {
    let read = |path: &Path| fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let (certificate, key) = (read(certificate)?, read(key)?);
    let der = CertificateDer::from_pem_slice(&certificate).map_err(|error| format!("the certificate: {error}"))?;
    let (rest, parsed) = X509Certificate::from_der(&der).map_err(|error| format!("the certificate: {error}"))?;
    // Somebody may have put another certificate in its place; of that one only the key can be compared.
    let is_ours = [parsed.subject(), parsed.issuer()].iter().any(|name| name.to_string().contains(NAME));
    if !rest.is_empty() || is_ours && !signed_by_itself(&parsed) {
        return Err("the certificate is not as it was signed".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| format!("the key: {error}"))?;
    let signing =
        rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).map_err(|error| format!("the key: {error}"))?;
    rustls::sign::CertifiedKey::new(vec![der.into_owned()], signing)
        .keys_match()
        .map_err(|error| format!("certificate and key: {error}"))
}

fn signed_by_itself(certificate: &X509Certificate<'_>) -> bool {
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &certificate.public_key().subject_public_key.data);
    certificate.signature_algorithm == certificate.tbs_certificate.signature
        && public.verify(certificate.tbs_certificate.as_ref(), &certificate.signature_value.data).is_ok()
}

fn put_aside(certificate: &Path, key: &Path, reason: &str) {
    metrics::STATE_DAMAGED.add(&["certificate"], 1);
    tracing::error!(
        certificate = %certificate.display(),
        reason,
        "the certificate that this gateway made for itself is damaged or lost: a new one is made, which clients that trust the old one have to be given"
    );
    for path in [certificate, key] {
        // What cannot be put aside is overwritten.
        fs::rename(path, path.with_added_extension("damaged")).ok();
    }
}

fn make(certificate: &Path, key: &Path) -> Result<(), TlsError> {
    let failed = |error: rcgen::Error| TlsError::Mismatch(format!("cannot make a self-signed certificate: {error}"));
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let mut params = rcgen::CertificateParams::new(own_names()).map_err(failed)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, NAME);
    let made = params.self_signed(&pair).map_err(failed)?;
    write(key, &pair.serialize_pem(), 0o600)?;
    write(certificate, &made.pem(), 0o644)
}

fn own_names() -> Vec<String> {
    let addresses = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let mut names = vec!["localhost".to_owned()];
    names.extend(addresses.iter().map(ToString::to_string));
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if !host.is_empty() && host != "localhost" && host.is_ascii() {
        names.push(host);
    }
    names
}

/// Replaces a file whole and durably. Nobody but the owner may read a key, from its first byte on.
fn write(path: &Path, content: &str, mode: u32) -> Result<(), TlsError> {
    let fresh = path.with_added_extension("new");
    let dir = path.parent().unwrap_or(Path::new("."));
    let written = || -> io::Result<()> {
        fs::create_dir_all(dir)?;
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&fresh)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        fs::File::open(dir)?.sync_all()
    };
    written().map_err(|source| TlsError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(paths: &(PathBuf, PathBuf)) -> (Vec<u8>, Vec<u8>) {
        (fs::read(&paths.0).expect("a certificate"), fs::read(&paths.1).expect("a key"))
    }

    #[test]
    fn what_was_made_is_kept_and_what_is_damaged_is_made_anew() {
        let dir = tempfile::tempdir().expect("a directory");
        let paths = in_dir(dir.path()).expect("it is made");
        let made = contents(&paths);
        assert_eq!(contents(&in_dir(dir.path()).expect("it is there")), made);
        for path in [&paths.0, &paths.1] {
            let whole = fs::read(path).expect("it is there");
            for bit in (0..whole.len() * 8).step_by(41) {
                fs::write(&paths.0, &made.0).expect("written");
                fs::write(&paths.1, &made.1).expect("written");
                let mut flipped = whole.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                fs::write(path, &flipped).expect("written");
                let now = contents(&in_dir(dir.path()).expect("it starts"));
                assert!(check(&paths.0, &paths.1).is_ok(), "{} bit {bit}", path.display());
                let kept = CertificateDer::from_pem_slice(&now.0).ok() == CertificateDer::from_pem_slice(&made.0).ok();
                assert!(kept || now.0 != made.0 && now.1 != made.1, "{} bit {bit}", path.display());
            }
        }
    }

    #[test]
    fn a_certificate_that_somebody_else_put_there_is_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        let (ca_key, key) = (rcgen::KeyPair::generate().expect("a key"), rcgen::KeyPair::generate().expect("a key"));
        let issuer = rcgen::Issuer::new(rcgen::CertificateParams::default(), ca_key);
        let params = rcgen::CertificateParams::new(["gatepost.plant".to_owned()]).expect("names");
        let signed = params.signed_by(&key, &issuer).expect("signed");
        fs::write(dir.path().join("cert.pem"), signed.pem()).expect("written");
        fs::write(dir.path().join("key.pem"), key.serialize_pem()).expect("written");
        let paths = in_dir(dir.path()).expect("it is there");
        assert_eq!(contents(&paths), (signed.pem().into_bytes(), key.serialize_pem().into_bytes()));
    }

    #[test]
    fn a_pair_that_is_not_whole_is_made_anew_and_the_rest_is_put_aside() {
        let dir = tempfile::tempdir().expect("a directory");
        let paths = in_dir(dir.path()).expect("it is made");
        let made = contents(&paths);
        fs::remove_file(&paths.1).expect("removed");
        let again = contents(&in_dir(dir.path()).expect("it starts"));
        assert_ne!(made, again);
        assert_eq!(fs::read(dir.path().join("cert.pem.damaged")).expect("put aside"), made.0);
    }
}
