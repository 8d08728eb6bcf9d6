//! Handshakes with clients that offer what old ones do.

use std::path::PathBuf;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, SupportedCipherSuite};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::net::tls_named::Named;
use crate::net::tls_server::{Config, HTTP, ServerTls};

struct Certificates {
    folder: tempfile::TempDir,
}

impl Certificates {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        for (name, algorithm) in [("rsa", &rcgen::PKCS_RSA_SHA256), ("ecdsa", &rcgen::PKCS_ECDSA_P256_SHA256)] {
            let key = rcgen::KeyPair::generate_for(algorithm).expect("entropy");
            let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
            let certificate = params.self_signed(&key).expect("signed");
            let write = |name: String, text: String| std::fs::write(folder.path().join(name), text).expect("written");
            write(format!("{name}.pem"), certificate.pem());
            write(format!("{name}.key"), key.serialize_pem());
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        Some(self.folder.path().join(name))
    }

    /// A listener with these certificates, by the names of their files.
    fn listener(&self, first: &str, second: Option<&str>) -> Config {
        Config {
            certificate: self.path(&format!("{first}.pem")),
            key: self.path(&format!("{first}.key")),
            second_certificate: second.and_then(|name| self.path(&format!("{name}.pem"))),
            second_key: second.and_then(|name| self.path(&format!("{name}.key"))),
            ..Config::default()
        }
    }

    fn trusted(&self) -> Vec<CertificateDer<'static>> {
        let read = |name| CertificateDer::from_pem_file(self.folder.path().join(name)).expect("a certificate");
        ["rsa.pem", "ecdsa.pem"].map(read).to_vec()
    }

    /// Which certificate a client got, or why the listener let it go.
    async fn shown(&self, listener: &Config, client: &Client) -> Result<&'static str, HandshakeFault> {
        let tls = ServerTls::load(listener, self.folder.path(), HTTP).expect("it loads");
        let provider = Arc::new(client.provider.clone());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&client.versions)
            .expect("known versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Named::new(self.trusted(), provider).expect("a verifier")))
            .with_no_client_auth();
        let (near, far) = tokio::io::duplex(64 << 10);
        let name = ServerName::try_from("localhost").expect("a name");
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, near);
        let (connected, accepted) = tokio::join!(connecting, TlsAcceptor::from(tls.current()).accept(far));
        accepted.map_err(|error| HandshakeFault::of(&error))?;
        let connected = connected.expect("both sides agree");
        let shown = connected.get_ref().1.peer_certificates().expect("a certificate")[0].clone();
        Ok(if shown == self.trusted()[0] { "rsa" } else { "ecdsa" })
    }
}

/// What a client can do.
struct Client {
    provider: CryptoProvider,
    versions: Vec<&'static rustls::SupportedProtocolVersion>,
}

impl Client {
    fn of(suites: impl Fn(&SupportedCipherSuite) -> bool) -> Self {
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites.retain(suites);
        Self { provider, versions: vec![&TLS12] }
    }

    /// Of its suites for RSA none is ours; those for ECDSA are.
    fn windows_2012_r2() -> Self {
        Self::of(|suite| format!("{:?}", suite.suite()).contains("ECDHE_ECDSA_WITH_AES"))
    }

    /// Knows no other certificates than RSA.
    fn appliance() -> Self {
        Self::of(|suite| format!("{:?}", suite.suite()).contains("ECDHE_RSA_WITH_AES"))
    }

    fn of_today() -> Self {
        Self { provider: aws_lc_rs::default_provider(), versions: vec![&TLS13, &TLS12] }
    }
}

#[tokio::test]
async fn each_client_gets_the_certificate_that_it_can_use() {
    let certificates = Certificates::new();
    for (first, second) in [("rsa", "ecdsa"), ("ecdsa", "rsa")] {
        let both = certificates.listener(first, Some(second));
        assert_eq!(certificates.shown(&both, &Client::windows_2012_r2()).await, Ok("ecdsa"), "{first} first");
        assert_eq!(certificates.shown(&both, &Client::appliance()).await, Ok("rsa"), "{first} first");
        assert_eq!(certificates.shown(&both, &Client::of_today()).await, Ok("ecdsa"), "{first} first");
        assert_eq!(both.warnings(), []);
    }
}

#[tokio::test]
async fn a_client_without_a_common_cipher_is_known_as_such_and_the_remedy_is_told_before() {
    let certificates = Certificates::new();
    let (rsa, ecdsa) = (certificates.listener("rsa", None), certificates.listener("ecdsa", None));
    let old = Client::windows_2012_r2();
    assert_eq!(certificates.shown(&rsa, &old).await, Err(HandshakeFault::NoCommonCipher));
    assert_eq!(certificates.shown(&rsa, &Client::of_today()).await, Ok("rsa"));
    assert_eq!(certificates.shown(&ecdsa, &old).await, Ok("ecdsa"));
    let (key, text) = rsa.warnings().pop().expect("it is told");
    assert!(key == "certificate" && text.contains("2012 R2") && text.contains("second_certificate"), "{text}");
    assert_eq!(ecdsa.warnings(), []);
    // The certificate that a listener makes for itself.
    let own = Config::default();
    assert_eq!(
        certificates.shown(&own, &old).await.map_err(|fault| fault.label()),
        Err("tls_error"),
        "it is not trusted"
    );
    assert_eq!(is_rsa(&certificates.folder.path().join("tls/cert.pem")), Some(false));
}

#[tokio::test]
async fn a_client_of_another_time_is_told_by_its_version() {
    // The start of a ClientHello of TLS 1.0: record, message, version, random, no session, one suite, no compression.
    let mut hello = vec![22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 1];
    hello.extend_from_slice(&[7; 32]);
    hello.extend_from_slice(&[0, 0, 2, 0xC0, 0x13, 1, 0]);
    let certificates = Certificates::new();
    let tls = ServerTls::load(&certificates.listener("rsa", None), certificates.folder.path(), HTTP).expect("it loads");
    let (mut near, far) = tokio::io::duplex(4 << 10);
    tokio::io::AsyncWriteExt::write_all(&mut near, &hello).await.expect("sent");
    let error = TlsAcceptor::from(tls.current()).accept(far).await.expect_err("too old");
    assert_eq!(HandshakeFault::of(&error), HandshakeFault::OldVersion, "{error}");
}

#[test]
fn a_second_certificate_needs_its_key_and_a_first() {
    let certificates = Certificates::new();
    let mut listener = certificates.listener("rsa", Some("ecdsa"));
    assert_eq!(listener.half_given().count(), 0);
    listener.second_key = None;
    assert_eq!(
        listener.half_given().collect::<Vec<_>>(),
        [("tls.second_certificate", "needs tls.second_key beside it")]
    );
    listener = certificates.listener("rsa", Some("ecdsa"));
    (listener.certificate, listener.key) = (None, None);
    assert_eq!(
        listener.half_given().collect::<Vec<_>>(),
        [("tls.second_certificate", "needs tls.certificate beside it")]
    );
    listener = certificates.listener("rsa", Some("ecdsa"));
    listener.second_key.clone_from(&listener.key);
    let error = ServerTls::load(&listener, certificates.folder.path(), HTTP).expect_err("not its key");
    assert!(error.to_string().contains("ecdsa.pem"), "{error}");
}
