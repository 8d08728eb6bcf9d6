//! Handshakes with clients whose certificates are revoked, or of which no list says that they are not.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use time::{Duration, OffsetDateTime};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::net::client_trust;
use crate::net::tls_choice::HandshakeFault;
use crate::net::tls_server::{Config, HTTP, ServerTls};

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("entropy");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let pem = params.self_signed(&key).expect("signed").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn certificate(&self, serial: u64) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().expect("entropy");
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        params.serial_number = Some(SerialNumber::from(serial));
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        (certificate.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).expect("a key"))
    }

    /// A list that names these serial numbers, issued so many days ago and good for ten.
    fn list(&self, revoked: &[u64], days_ago: i64) -> rcgen::CertificateRevocationList {
        let issued = OffsetDateTime::now_utc() - Duration::days(days_ago);
        let revoked_cert = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: issued,
            next_update: issued + Duration::days(10),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(revoked_cert).collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).expect("signed")
    }
}

struct Bench {
    folder: tempfile::TempDir,
    plant: Authority,
    office: Authority,
}

impl Bench {
    /// A listener's files, with a certificate that the plant's authority signed.
    fn new() -> Self {
        let bench = Self {
            folder: tempfile::tempdir().expect("a folder"),
            plant: Authority::new("plant"),
            office: Authority::new("office"),
        };
        let (certificate, key) = bench.plant.certificate(1);
        bench.write("server.pem", pem("CERTIFICATE", &certificate).as_bytes());
        bench.write("server.key", pem("PRIVATE KEY", key.secret_der()).as_bytes());
        bench.write("ca.pem", format!("{}{}", bench.plant.pem, bench.office.pem).as_bytes());
        bench
    }

    fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).expect("written");
        path
    }

    fn listener(&self, lists: &[PathBuf]) -> Config {
        let path = |name: &str| Some(self.folder.path().join(name));
        Config {
            certificate: path("server.pem"),
            key: path("server.key"),
            client_ca: path("ca.pem"),
            client_crl: lists.to_vec(),
            ..Config::default()
        }
    }

    fn load(&self, lists: &[PathBuf]) -> Result<ServerTls, TlsError> {
        ServerTls::load(&self.listener(lists), self.folder.path(), HTTP)
    }

    async fn greet(&self, tls: &ServerTls, client: Option<(&Authority, u64)>) -> Result<(), HandshakeFault> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.plant.pem.as_bytes()).expect("PEM")).expect("an authority");
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let config = match client {
            None => builder.with_no_client_auth(),
            Some((authority, serial)) => {
                let (certificate, key) = authority.certificate(serial);
                builder.with_client_auth_cert(vec![certificate], key).expect("a pair")
            }
        };
        let (near, far) = tokio::io::duplex(64 << 10);
        let name = ServerName::try_from("localhost").expect("a name");
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, near);
        let (_, accepted) = tokio::join!(connecting, TlsAcceptor::from(tls.current()).accept(far));
        accepted.map(drop).map_err(|error| HandshakeFault::of(&error))
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_at_the_handshake_with_the_reason() {
    let bench = Bench::new();
    let list = bench.plant.list(&[7], 0);
    let in_pem = bench.write("plant.crl", list.pem().expect("PEM").as_bytes());
    let in_der = bench.write("plant.der.crl", list.der());
    for file in [in_pem, in_der] {
        let tls = bench.load(&[file]).expect("it loads");
        let revoked = bench.greet(&tls, Some((&bench.plant, 7))).await;
        assert_eq!(revoked.map_err(HandshakeFault::label), Err("tls_client_revoked"));
        assert_eq!(bench.greet(&tls, Some((&bench.plant, 8))).await, Ok(()));
        assert_eq!(bench.greet(&tls, None).await, Ok(()), "auth decides about who shows none");
    }
    let none = bench.load(&[]).expect("it loads");
    assert_eq!(bench.greet(&none, Some((&bench.plant, 7))).await, Ok(()), "without a list nothing is compared");
    assert!(HandshakeFault::ClientRevoked.remedy().is_some(), "it stands in the log");
}

#[tokio::test]
async fn whose_certificate_was_not_taken_is_known_to_who_waited_for_the_handshake() {
    let bench = Bench::new();
    let stranger = Authority::new("elsewhere");
    // The common name that rcgen writes where none is given.
    let name = Some("rcgen self signed cert");
    let list = bench.write("plant.crl", bench.plant.list(&[7], 0).der());
    let tls = bench.load(&[list]).expect("it loads");
    for (client, fault, whose) in [
        (Some((&bench.plant, 7)), Some(HandshakeFault::ClientRevoked), name),
        (Some((&stranger, 8)), Some(HandshakeFault::ClientUnknown), name),
        (Some((&bench.plant, 8)), None, None),
        (None, None, None),
    ] {
        let (ended, not_taken) = client_trust::noting(bench.greet(&tls, client)).await;
        assert_eq!((ended.err(), not_taken.as_deref()), (fault, whose));
    }
}

#[tokio::test]
async fn a_list_that_is_missing_or_past_its_time_lets_nobody_in() {
    let bench = Bench::new();
    let old = bench.write("old.crl", bench.plant.list(&[], 11).der());
    let tls = bench.load(std::slice::from_ref(&old)).expect("an old list does not stop the gateway");
    assert_eq!(bench.greet(&tls, Some((&bench.plant, 8))).await, Err(HandshakeFault::RevocationListExpired));
    assert_eq!(bench.greet(&tls, Some((&bench.office, 8))).await, Err(HandshakeFault::RevocationListMissing));
    let warnings = bench.listener(std::slice::from_ref(&old)).warnings();
    let (key, warning) = warnings.first().expect("it is told before");
    assert!(
        key == "client_crl[0]" && warning.contains("CN=plant") && warning.contains("expired on 20"),
        "{warnings:?}"
    );
    let (key, warning) = warnings.last().expect("it is told before");
    assert!(key == "client_crl" && warning.contains("no list of") && warning.contains("CN=office"), "{warnings:?}");
    let new = bench.write("new.crl", bench.plant.list(&[7], 1).der());
    let office = bench.write("office.crl", bench.office.list(&[], 1).pem().expect("PEM").as_bytes());
    let lists = [old, new, office];
    let tls = bench.load(&lists).expect("it loads");
    assert_eq!(bench.greet(&tls, Some((&bench.plant, 8))).await, Ok(()), "of several the newest counts");
    assert_eq!(bench.greet(&tls, Some((&bench.plant, 7))).await, Err(HandshakeFault::ClientRevoked));
    assert_eq!(bench.greet(&tls, Some((&bench.office, 7))).await, Ok(()));
    assert_eq!(bench.listener(&lists[1..]).warnings(), []);
}

#[tokio::test]
async fn a_reload_reads_revocation_lists_again() {
    let bench = Bench::new();
    let file = bench.write("plant.crl", bench.plant.list(&[], 1).der());
    let tls = bench.load(std::slice::from_ref(&file)).expect("it loads");
    assert_eq!(bench.greet(&tls, Some((&bench.plant, 7))).await, Ok(()));
    bench.write("plant.crl", bench.plant.list(&[7], 0).der());
    tls.replace_with(&bench.load(&[file]).expect("it loads"));
    assert_eq!(bench.greet(&tls, Some((&bench.plant, 7))).await, Err(HandshakeFault::ClientRevoked));
}

#[test]
fn a_file_that_holds_no_revocation_list_is_named_with_what_it_is() {
    let bench = Bench::new();
    let list = bench.plant.list(&[], 0);
    let two = [&list.der()[..], &list.der()[..]].concat();
    for (content, reason) in [
        (bench.plant.pem.as_bytes(), "no revocation list (X509 CRL)"),
        (b"", "no revocation list (X509 CRL)"),
        (b"0\x03abc", "no revocation list in DER form"),
        (b"-----BEGIN X509 CRL-----\n????\n-----END X509 CRL-----\n", "no revocation list in PEM form"),
        (&two, "bytes follow"),
    ] {
        let file = bench.write("broken.crl", content);
        let error = bench.load(&[file]).expect_err(reason).to_string();
        assert!(error.contains("broken.crl") && error.contains(reason), "{error}");
    }
    let missing = bench.load(&["/nowhere/x.crl".into()]).expect_err("no file").to_string();
    assert!(missing.contains("/nowhere/x.crl"), "{missing}");
    let without = Config { client_crl: vec!["x".into()], ..Config::default() };
    assert_eq!(
        without.half_given().collect::<Vec<_>>(),
        [("tls.client_crl", "needs tls.client_ca, whose lists these are")]
    );
}

#[test]
fn the_next_update_is_that_of_the_newest_list_of_each_authority() {
    let bench = Bench::new();
    let list =
        |name: &str, of: &Authority, days_ago| bench.write(name, of.list(&[], days_ago).pem().expect("PEM").as_bytes());
    let (old, new) = (list("old.pem", &bench.plant, 20), list("new.pem", &bench.plant, 1));
    let office = list("office.pem", &bench.office, 3);
    let days_left = |lists: &[PathBuf]| {
        let next = next_update(lists).expect("a next update");
        ((next - OffsetDateTime::now_utc().unix_timestamp()) as f64 / 86_400.0).round() as i64
    };
    assert_eq!(days_left(&[old.clone(), new.clone()]), 9, "the old list does not count beside the new one");
    assert_eq!(days_left(&[old.clone(), new, office]), 7, "the first of two authorities");
    assert_eq!(days_left(&[old]), -10);
    assert_eq!(next_update(&[]), None);
}

#[tokio::test]
async fn an_authority_that_renewed_its_key_keeps_the_certificates_of_both() {
    let bench = Bench::new();
    let renewed = Authority::new("plant");
    bench.write("ca.pem", format!("{}{}", bench.plant.pem, renewed.pem).as_bytes());
    let old = bench.write("old.crl", bench.plant.list(&[7], 1).der());
    let new = bench.write("new.crl", renewed.list(&[8], 0).der());
    let tls = bench.load(&[old.clone(), new.clone()]).expect("it loads");
    for (authority, revoked, good) in [(&bench.plant, 7, 8), (&renewed, 8, 7)] {
        assert_eq!(bench.greet(&tls, Some((authority, good))).await, Ok(()));
        assert_eq!(bench.greet(&tls, Some((authority, revoked))).await, Err(HandshakeFault::ClientRevoked));
    }
    let only_new = bench.load(&[new]).expect("it loads");
    let fault = bench.greet(&only_new, Some((&bench.plant, 8))).await.expect_err("no list of its key");
    assert_eq!(fault.label(), "tls_client_crl_other_key");
    assert!(fault.remedy().is_some_and(|remedy| remedy.contains("renewed")), "it is told what to do");
}

#[tokio::test]
async fn nobody_who_is_asked_for_a_certificate_resumes_a_session() {
    let bench = Bench::new();
    let list = bench.write("plant.crl", bench.plant.list(&[], 0).der());
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let tls = bench.load(std::slice::from_ref(&list)).expect("it loads");
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(bench.plant.pem.as_bytes()).expect("PEM")).expect("an authority");
        let (certificate, key) = bench.plant.certificate(7);
        let client = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[version])
            .expect("a version")
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate], key)
            .expect("a pair");
        let connector = TlsConnector::from(Arc::new(client));
        for _ in 0..2 {
            let (near, far) = tokio::io::duplex(64 << 10);
            let name = ServerName::try_from("localhost").expect("a name");
            let accepting = TlsAcceptor::from(tls.current()).accept(far);
            let (near, far) = tokio::join!(connector.connect(name, near), accepting);
            let (mut near, mut far) = (near.expect("connected"), far.expect("accepted"));
            assert_eq!(far.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
            // A ticket would come with the first bytes.
            tokio::io::AsyncWriteExt::write_all(&mut far, b"x").await.expect("written");
            tokio::io::AsyncReadExt::read_u8(&mut near).await.expect("read");
        }
    }
}

#[test]
fn a_reload_tells_connections_only_when_other_certificates_are_believed() {
    let bench = Bench::new();
    let file = bench.write("plant.crl", bench.plant.list(&[], 1).der());
    let tls = bench.load(std::slice::from_ref(&file)).expect("it loads");
    let (_, changed, _) = tls.current_trust();
    tls.replace_with(&bench.load(std::slice::from_ref(&file)).expect("it loads"));
    assert!(!changed.is_cancelled());
    bench.write("plant.crl", bench.plant.list(&[7], 0).der());
    tls.replace_with(&bench.load(&[file]).expect("it loads"));
    assert!(changed.is_cancelled() && !tls.current_trust().1.is_cancelled());
}
