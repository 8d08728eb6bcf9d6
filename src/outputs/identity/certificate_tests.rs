use rcgen::{CertificateParams, KeyPair as Pair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};

use super::*;

/// Made with `openssl pkcs12 -export`: as it does by default (AES), with `-legacy` (RC2 and 3DES), and with an empty
/// password. One certificate and its key.
const MODERN: &[u8] = include_bytes!("fixtures/modern.p12");
const LEGACY: &[u8] = include_bytes!("fixtures/legacy.p12");
const NO_PASSWORD: &[u8] = include_bytes!("fixtures/no_password.p12");
/// As openssl shows it.
const THUMBPRINT: &str = "6CB34220884B4EFE177F28ADE42DDCF63A83441F";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn load(&self, content: impl AsRef<[u8]>, password: Option<&str>) -> Result<Credential, String> {
        let files = Files { certificate: self.file("it", content), key: None, password: password.map(Secret::new) };
        files.load().map_err(|error| error.to_string())
    }
}

fn made(name: &str, pair: &Pair) -> rcgen::Certificate {
    CertificateParams::new([name.to_owned()]).unwrap().self_signed(pair).unwrap()
}

fn rsa_pair() -> Pair {
    Pair::generate_for(&PKCS_RSA_SHA256).unwrap()
}

#[test]
fn pkcs12_is_opened_whoever_wrote_it_and_whatever_it_is_called() {
    let folder = Folder::new();
    for (bytes, password) in [(MODERN, Some("gatepost")), (LEGACY, Some("gatepost")), (NO_PASSWORD, None)] {
        let credential = folder.load(bytes, password).unwrap();
        assert_eq!((credential.thumbprint().as_str(), credential.chain.len()), (THUMBPRINT, 1));
    }
    let error = folder.load(MODERN, Some("canary")).err().unwrap();
    assert!(error.contains("identity.certificate") && error.contains("password"), "{error}");
    assert!(!error.contains("canary"), "{error}");
}

#[test]
fn the_keys_own_certificate_comes_first_whatever_the_order() {
    let folder = Folder::new();
    let (pair, other) = (rsa_pair(), rsa_pair());
    let (own, issuer, root) = (made("own", &pair), made("issuer", &other), made("root", &other));
    let pem = [issuer.pem(), root.pem(), pair.serialize_pem(), own.pem()].concat();
    let credential = folder.load(&pem, None).unwrap();
    assert_eq!(credential.chain, [own.der().to_vec(), issuer.der().to_vec(), root.der().to_vec()]);
    let files = Files {
        certificate: folder.file("c.pem", own.pem()),
        key: Some(folder.file("k.pem", pair.serialize_pem())),
        password: None,
    };
    assert_eq!(files.load().unwrap().chain, [own.der().to_vec()]);
}

#[test]
fn what_cannot_work_is_an_error_that_says_what_would() {
    let folder = Folder::new();
    let (pair, other) = (rsa_pair(), rsa_pair());
    let ec = Pair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let own = made("own", &pair);
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for (content, why) in [
        ([own.pem(), other.serialize_pem()].concat().into_bytes(), "does not belong"),
        ([made("ec", &ec).pem(), ec.serialize_pem()].concat().into_bytes(), "only RSA keys"),
        (own.pem().into_bytes(), "no private key"),
        (pair.serialize_pem().into_bytes(), "no certificate"),
        ([own.pem(), encrypted.to_owned()].concat().into_bytes(), "encrypted"),
        (own.der().to_vec(), "without its key"),
        (b"hello".to_vec(), "neither PEM nor"),
        (MODERN[..1000].to_vec(), "neither PEM nor"),
        (vec![0x30; 2 << 20], "larger than 1 MiB"),
        (Vec::new(), "neither PEM nor"),
    ] {
        let error = folder.load(content, Some("gatepost")).err().unwrap();
        assert!(error.starts_with("identity.certificate: ") && error.contains(why), "{error}");
    }
    let files = Files {
        certificate: folder.file("c.pem", own.pem()),
        key: Some(folder.file("k.pem", other.serialize_pem())),
        password: None,
    };
    assert_eq!(files.load().err().unwrap().key, "key");
    let files = Files { key: Some(PathBuf::from("absent")), ..files };
    assert_eq!(files.load().err().unwrap().key, "key");
}
