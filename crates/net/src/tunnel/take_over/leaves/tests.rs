use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, Error, RootCertStore};
use time::Duration;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::super::make::{Kind, Wish, make};
use super::*;

const HOST: &str = "01234567-89ab-cdef-0123-456789abcdef.ods.opinsights.azure.com";

/// The folder of an authority of this kind that may sign for these names, and its configuration.
fn authority(kind: Kind, domains: &[&str]) -> (tempfile::TempDir, config::Authority) {
    let dir = tempfile::tempdir().expect("a folder");
    let wish = Wish {
        name: "plant".to_owned(),
        kind,
        domains: domains.iter().map(|&domain| domain.to_owned()).collect(),
        days: 30,
    };
    let made = make(&wish).expect("made");
    let paths = (dir.path().join("ca.pem"), dir.path().join("key.pem"));
    fs::write(&paths.0, made.certificate).expect("written");
    write_private(&paths.1, &made.key);
    let config = config::Authority { certificate: Some(paths.0), key: Some(paths.1), ..config::Authority::default() };
    (dir, config)
}

fn write_private(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("set");
}

fn certificate_of(config: &config::Authority) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(config.certificate.as_ref().expect("named")).expect("PEM")
}

/// What a client says of a certificate, that trusts this authority and asks for this name.
fn verdict(config: &config::Authority, chain: &[CertificateDer<'static>], name: &str) -> Result<(), Error> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate_of(config)).expect("an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().expect("a verifier");
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], UnixTime::now()).map(drop)
}

fn chain(leaves: &Leaves, host: &str) -> Vec<CertificateDer<'static>> {
    leaves.authorities[0].certify(host, OffsetDateTime::now_utc()).expect("signed").cert
}

#[test]
fn clients_that_trust_the_authority_believe_its_certificate_for_the_host_and_for_no_other() {
    for kind in [Kind::P256, Kind::Rsa] {
        let (_dir, config) = authority(kind, &["ods.opinsights.azure.com"]);
        let leaves = Leaves::load(&config, None).expect("it can be used");
        let shown = chain(&leaves, HOST);
        assert_eq!(verdict(&config, &shown, HOST), Ok(()), "{kind:?}");
        assert!(verdict(&config, &shown, "other.ods.opinsights.azure.com").is_err());
        let (_other, stranger) = authority(Kind::P256, &[]);
        assert!(verdict(&stranger, &shown, HOST).is_err(), "another site's authority");
        let (_, leaf) = X509Certificate::from_der(&shown[0]).expect("a certificate");
        let lives = leaf.validity().not_after.timestamp() - OffsetDateTime::now_utc().unix_timestamp();
        assert!((6 * 86_400..=7 * 86_400).contains(&lives), "{lives}");
    }
}

#[test]
fn an_authority_that_is_bound_to_names_is_believed_for_no_others_even_by_clients_that_trust_it() {
    let (_dir, config) = authority(Kind::P256, &["ods.opinsights.azure.com"]);
    let leaves = Leaves::load(&config, None).expect("it can be used");
    let elsewhere = "login.microsoftonline.com";
    let refused = verdict(&config, &chain(&leaves, elsewhere), elsewhere);
    assert!(
        matches!(refused, Err(Error::InvalidCertificate(CertificateError::Other(_) | CertificateError::UnknownIssuer)))
            || refused.as_ref().is_err_and(|error| format!("{error:?}").contains("NameConstraint")),
        "{refused:?}"
    );
    let wide = authority(Kind::P256, &[]);
    let leaves = Leaves::load(&wide.1, None).expect("it can be used");
    assert_eq!(verdict(&wide.1, &chain(&leaves, elsewhere), elsewhere), Ok(()), "one without bounds");
}

#[test]
fn a_certificate_is_made_once_and_again_before_it_ends_and_only_so_many_are_kept() {
    let (_dir, config) = authority(Kind::P256, &[]);
    let leaves = Leaves::load(&config, None).expect("it can be used");
    let now = OffsetDateTime::now_utc();
    let at = |host: &str, days: i64| {
        let shown = leaves.of_at(host, now + Duration::days(days)).expect("signed");
        Arc::as_ptr(&shown).cast::<()>() as usize
    };
    let first = at("a.example", 0);
    assert_eq!(at("a.example", 3), first);
    let second = at("a.example", 4);
    assert_ne!(second, first, "half of its life is over");
    for n in 0..KEPT_MAX {
        at(&format!("{n}.example"), 4);
    }
    assert_eq!(leaves.kept_for(), KEPT_MAX);
    assert_ne!(at("a.example", 4), second, "it had to go");
}

#[test]
fn a_certificate_that_was_made_while_the_clock_was_ahead_is_made_anew_when_it_is_right_again() {
    let (_dir, config) = authority(Kind::P256, &[]);
    let leaves = Leaves::load(&config, None).expect("it can be used");
    let now = OffsetDateTime::now_utc();
    let ahead = leaves.of_at(HOST, now + Duration::days(30)).expect("signed");
    let right = leaves.of_at(HOST, now).expect("signed");
    assert!(!Arc::ptr_eq(&ahead, &right), "it begins in a month");
    let little = leaves.of_at(HOST, now - Duration::hours(20)).expect("signed");
    assert!(Arc::ptr_eq(&right, &little), "it begins a day before it was made");
}

#[test]
fn what_was_made_lives_as_long_as_the_files_hold_the_same() {
    let (dir, config) = authority(Kind::P256, &[]);
    let leaves = Leaves::load(&config, None).expect("it can be used");
    assert!(Arc::ptr_eq(&Leaves::load(&config, Some(&leaves)).expect("the same"), &leaves));
    let made = make(&Wish { name: "new".to_owned(), kind: Kind::P256, domains: Vec::new(), days: 1 }).expect("made");
    fs::write(dir.path().join("ca.pem"), made.certificate).expect("written");
    write_private(&dir.path().join("key.pem"), &made.key);
    let renewed = Leaves::load(&config, Some(&leaves)).expect("another one");
    assert!(!Arc::ptr_eq(&renewed, &leaves));
    assert_eq!(verdict(&config, &chain(&renewed, HOST), HOST), Ok(()));
}

/// A self-signed certificate that these changes were made to, with its key.
fn pair(dir: &Path, change: impl FnOnce(&mut rcgen::CertificateParams)) -> config::Authority {
    let key = rcgen::KeyPair::generate().expect("entropy");
    let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    change(&mut params);
    let (certificate, private) = (dir.join("a.pem"), dir.join("a.key"));
    fs::write(&certificate, params.self_signed(&key).expect("signed").pem()).expect("written");
    write_private(&private, &key.serialize_pem());
    config::Authority { certificate: Some(certificate), key: Some(private), ..config::Authority::default() }
}

#[test]
fn what_is_no_authority_or_whose_key_others_read_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().expect("a folder");
    let refusal = |config: &config::Authority| Leaves::load(config, None).expect_err("refused").to_string();
    let leaf = pair(dir.path(), |params| params.is_ca = rcgen::IsCa::NoCa);
    assert!(refusal(&leaf).contains("CA:TRUE"), "{}", refusal(&leaf));
    let signs_nothing = pair(dir.path(), |params| params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature]);
    assert!(refusal(&signs_nothing).contains("may not sign"), "{}", refusal(&signs_nothing));
    let good = pair(dir.path(), |_| ());
    let key: PathBuf = good.key.clone().expect("named");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o604)).expect("set");
    assert!(refusal(&good).contains("chmod 600"), "{}", refusal(&good));
    write_private(&key, &rcgen::KeyPair::generate().expect("entropy").serialize_pem());
    assert!(refusal(&good).contains("is not the key of"), "{}", refusal(&good));
    fs::remove_file(&key).expect("removed");
    assert!(refusal(&good).contains("is not there"), "{}", refusal(&good));
    assert!(refusal(&config::Authority::default()).contains("no authority"));
}

#[test]
fn an_intermediate_authority_of_the_site_shows_its_chain() {
    let dir = tempfile::tempdir().expect("a folder");
    let root_key = rcgen::KeyPair::generate().expect("entropy");
    let mut root = rcgen::CertificateParams::new(Vec::new()).expect("no names");
    root.distinguished_name.push(rcgen::DnType::CommonName, "root");
    root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = rcgen::CertifiedIssuer::self_signed(root, root_key).expect("signed");
    let key = rcgen::KeyPair::generate().expect("entropy");
    let mut middle = rcgen::CertificateParams::new(Vec::new()).expect("no names");
    middle.distinguished_name.push(rcgen::DnType::CommonName, "middle");
    middle.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    let middle = middle.signed_by(&key, &root).expect("signed");
    let paths = (dir.path().join("chain.pem"), dir.path().join("key.pem"));
    fs::write(&paths.0, middle.pem() + &root.pem()).expect("written");
    write_private(&paths.1, &key.serialize_pem());
    let config = config::Authority { certificate: Some(paths.0), key: Some(paths.1), ..config::Authority::default() };
    let leaves = Leaves::load(&config, None).expect("it can be used");
    let shown = chain(&leaves, HOST);
    assert_eq!(shown.len(), 2, "the leaf and what signed it, without the root");
    fs::write(dir.path().join("root.pem"), root.pem()).expect("written");
    let trusted = config::Authority { certificate: Some(dir.path().join("root.pem")), ..config };
    assert_eq!(verdict(&trusted, &shown, HOST), Ok(()));
}
