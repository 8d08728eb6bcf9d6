//! The certificate that a listener makes for itself, so that a first start needs no preparation.
//!
//! It is made once and kept: clients that pinned it are served over restarts. It signs itself, so a flipped bit shows, in the
//! certificate by its signature and in the key by not fitting it. What is damaged is put aside and made anew, and that is
//! told: clients that trust the old one have to be given the new one, which is better than listeners that do not start.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::tls_error::TlsError;
use crate::fs::{self, Access, Fs, Readers, RealFs};
use crate::metrics;

/// Longer than any certificate with its chain.
const FILE_MAX: u64 = 4 << 20;

/// The name in a certificate that was made here, as subject and issuer.
const NAME: &str = "Gatepost (self-signed)";

/// The paths of the certificate and its key in `dir`; makes them when they are not there, or not as they were made.
pub(super) fn in_dir(dir: &Path) -> Result<(PathBuf, PathBuf), TlsError> {
    std::fs::create_dir_all(dir).map_err(|source| TlsError::File { path: dir.to_owned(), source })?;
    on(&RealFs, dir)
}

/// The same in a folder that is there, on any file system.
fn on(fs: &dyn Fs, dir: &Path) -> Result<(PathBuf, PathBuf), TlsError> {
    let paths = (path_in(dir), dir.join("key.pem"));
    let (certificate, key) = &paths;
    let is_there = |path: &Path| fs.open(path, Access::Read).is_ok();
    if is_there(certificate) || is_there(key) {
        match check(fs, certificate, key) {
            Ok(()) => return Ok(paths),
            Err(reason) => put_aside(fs, certificate, key, &reason),
        }
    }
    make(fs, certificate, key)?;
    Ok(paths)
}

/// Where the certificate is, or will be made.
pub(super) fn path_in(dir: &Path) -> PathBuf {
    dir.join("cert.pem")
}

/// Whether certificate and key are as they were made, or what is wrong.
fn check(fs: &dyn Fs, certificate: &Path, key: &Path) -> Result<(), String> {
    let read = |path: &Path| fs::read(fs, path, FILE_MAX).map_err(|error| format!("{}: {error}", path.display()));
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

fn put_aside(fs: &dyn Fs, certificate: &Path, key: &Path, reason: &str) {
    metrics::STATE_DAMAGED.add(&["certificate"], 1);
    tracing::error!(
        certificate = %certificate.display(),
        reason,
        "the self-signed certificate was damaged or lost; a new one was made, which clients must be told to trust"
    );
    for path in [certificate, key] {
        // What cannot be put aside is overwritten.
        drop(fs.rename(path, &path.with_added_extension("damaged")));
    }
}

fn make(fs: &dyn Fs, certificate: &Path, key: &Path) -> Result<(), TlsError> {
    let failed = |error: rcgen::Error| TlsError::Mismatch(format!("cannot make a self-signed certificate: {error}"));
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let mut params = rcgen::CertificateParams::new(own_names()).map_err(failed)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, NAME);
    let made = params.self_signed(&pair).map_err(failed)?;
    // The key first: a certificate that somebody has seen has its key.
    write(fs, key, &pair.serialize_pem(), Readers::Owner)?;
    write(fs, certificate, &made.pem(), Readers::Everybody)
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

fn write(fs: &dyn Fs, path: &Path, content: &str, readers: Readers) -> Result<(), TlsError> {
    fs::replace(fs, path, content.as_bytes(), readers)
        .map_err(|source| TlsError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use super::*;
    use crate::fs::faulty::FaultyFs;
    use crate::fs::volatile::VolatileFs;

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
                assert!(check(&RealFs, &paths.0, &paths.1).is_ok(), "{} bit {bit}", path.display());
                let kept = CertificateDer::from_pem_slice(&now.0).ok() == CertificateDer::from_pem_slice(&made.0).ok();
                assert!(kept || now.0 != made.0 && now.1 != made.1, "{} bit {bit}", path.display());
            }
        }
    }

    /// What a folder of this disk holds once nothing fails any more: a pair that fits.
    fn pair_on(disk: &VolatileFs) -> (Vec<u8>, Vec<u8>) {
        let paths = on(disk, Path::new("/tls")).expect("nothing is wrong any more");
        check(disk, &paths.0, &paths.1).expect("they fit");
        let read = |path: &Path| super::fs::read(disk, path, FILE_MAX).expect("it is there");
        (read(&paths.0), read(&paths.1))
    }

    #[test]
    fn whatever_fails_while_a_pair_is_made_the_next_start_has_one_that_fits_and_one_that_was_told_stays() {
        for nth in 0..40 {
            let disk = VolatileFs::default();
            disk.create_dir(Path::new("/tls")).expect("a folder");
            let (faulty, faults) = FaultyFs::new(Arc::new(disk.clone()));
            faults.fail_changes(nth + 1, 1);
            let made = on(&*faulty, Path::new("/tls"));
            assert_eq!(made.is_err(), faults.failed().is_some(), "change {nth}");
            pair_on(&disk);

            let disk = VolatileFs::default();
            disk.create_dir(Path::new("/tls")).expect("a folder");
            disk.cut_after(nth);
            let made = on(&disk, Path::new("/tls"));
            let was_told = made.is_ok().then(|| pair_on(&disk));
            let left = disk.cut(&mut fastrand::Rng::with_seed(nth));
            let found = pair_on(&left);
            assert!(was_told.is_none_or(|told| told == found), "power cut at change {nth}");
            assert_eq!(pair_on(&left), found);
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
