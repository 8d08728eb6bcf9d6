//! Each mistake that makes hosts stop without a word is found, and a sound gateway has none.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

/// What a test gateway is made of.
struct Site {
    dir: tempfile::TempDir,
    authority: Issuer<'static, KeyPair>,
    authority_pem: String,
}

impl Site {
    fn new() -> Self {
        let key = KeyPair::generate().expect("entropy");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "Plant root");
        let authority_pem = params.self_signed(&key).expect("signed").pem();
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("ca.pem"), &authority_pem).expect("written");
        Self { dir, authority: Issuer::new(params, key), authority_pem }
    }

    /// Writes a certificate of the gateway, changed like this, and gives its key.
    fn certificate(&self, change: impl FnOnce(&mut CertificateParams)) -> (CertificateDer<'static>, KeyPair) {
        let key = KeyPair::generate().expect("entropy");
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, "gateway");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.serial_number = Some(SerialNumber::from(7));
        change(&mut params);
        let made = params.signed_by(&key, &self.authority).expect("signed");
        let pem = format!("{}{}", made.pem(), self.authority_pem);
        std::fs::write(self.dir.path().join("cert.pem"), pem).expect("written");
        std::fs::write(self.dir.path().join("key.pem"), key.serialize_pem()).expect("written");
        (made.der().clone(), key)
    }

    fn list(&self, revoked: &[u64], days: i64) -> Vec<u8> {
        let this_update = time::OffsetDateTime::now_utc() - time::Duration::days(20);
        let one = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update,
            next_update: this_update + time::Duration::days(days),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(one).collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        params.signed_by(&self.authority).expect("signed").der().to_vec()
    }

    fn config(&self, notify_to: &str) -> Config {
        let file = |name: &str| self.dir.path().join(name).display().to_string();
        let text = format!(
            "state_dir = {:?}\n[[listeners]]\nname = \"wef\"\nlisten = \"127.0.0.1:1\"\ntls.certificate = {:?}\n\
             tls.key = {:?}\ntls.client_ca = {:?}\nwef.enabled = true\nwef.notify_to = {notify_to:?}\n",
            file("state"),
            file("cert.pem"),
            file("key.pem"),
            file("ca.pem"),
        );
        toml::from_str(&text).expect("it can be read")
    }
}

async fn results(config: &Config, gateway: Option<&str>) -> Vec<(&'static str, Verdict)> {
    let checks = examine(config, gateway).await;
    checks.iter().filter(|check| check.check != "clock").map(|check| (check.check, check.result)).collect()
}

fn of(results: &[(&'static str, Verdict)], check: &str) -> Verdict {
    results.iter().find(|(name, _)| *name == check).map(|(_, result)| *result).expect("it was looked at")
}

/// A server that shows this certificate; its port.
async fn tls_server(certificate: CertificateDer<'static>, key: &KeyPair) -> u16 {
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a certificate");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(acceptor.accept(stream));
        }
    });
    port
}

/// A place with revocation lists: each connection gets this one.
async fn lists_at(list: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/plant.crl", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4096];
            assert!(stream.read(&mut head).await.expect("a request") > 0);
            let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", list.len());
            stream.write_all(answer.as_bytes()).await.expect("it is waited for");
            stream.write_all(&list).await.expect("it is waited for");
        }
    });
    url
}

#[tokio::test]
async fn a_sound_gateway_has_no_fault_and_each_step_is_told() {
    let site = Site::new();
    let place = lists_at(site.list(&[9], 30)).await;
    let (certificate, key) = site.certificate(|params| {
        params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec![place] }];
    });
    let port = tls_server(certificate, &key).await;
    let found = results(&site.config(&format!("https://localhost:{port}")), None).await;
    let checks: Vec<_> = found.iter().map(|(check, _)| *check).collect();
    assert_eq!(checks, ["name", "chain", "certificate", "revocation", "delivery", "hosts"]);
    assert!(found.iter().all(|(_, result)| *result == Verdict::Ok), "{found:?}");
}

#[tokio::test]
async fn each_mistake_that_makes_hosts_stop_is_found() {
    let site = Site::new();
    let expired = |params: &mut CertificateParams| params.not_after = date_time_ymd(2025, 1, 1);
    let client_only = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    };
    let config = site.config("https://localhost:1");
    site.certificate(expired);
    assert_eq!(of(&results(&config, None).await, "certificate"), Verdict::Failed);
    site.certificate(client_only);
    assert_eq!(of(&results(&config, None).await, "certificate"), Verdict::Failed);
    let (certificate, _) = site.certificate(|_| {});
    let found = results(&config, Some("elsewhere.example")).await;
    assert_eq!((of(&found, "name"), of(&found, "delivery")), (Verdict::Failed, Verdict::Failed), "{found:?}");
    let other = Site::new();
    let (another, key) = other.certificate(|_| {});
    assert_ne!(another, certificate);
    let port = tls_server(another, &key).await;
    let found = results(&site.config(&format!("https://localhost:{port}")), None).await;
    assert_eq!(of(&found, "delivery"), Verdict::Suspicious, "another certificate");
    let pem = std::fs::read_to_string(site.dir.path().join("cert.pem")).expect("a file");
    let leaf = pem.split_inclusive("-----END CERTIFICATE-----\n").next().expect("a certificate");
    let out_of_order = format!("{leaf}{leaf}{}", site.authority_pem);
    std::fs::write(site.dir.path().join("cert.pem"), out_of_order).expect("written");
    assert_eq!(of(&results(&config, None).await, "chain"), Verdict::Failed, "two leaves");
}

#[tokio::test]
async fn a_revocation_list_that_cannot_be_used_is_told_with_its_reason() {
    let site = Site::new();
    let (past, revoked) = (site.list(&[], 10), site.list(&[7], 30));
    for (list, word) in [(past, "past its time"), (revoked, "revoked"), (b"<html>".to_vec(), "no revocation list")] {
        let place = lists_at(list).await;
        site.certificate(|params| {
            params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec![place] }];
        });
        let checks = examine(&site.config("https://localhost:1"), None).await;
        let check = checks.iter().find(|check| check.check == "revocation").expect("it was looked at");
        assert!(check.result == Verdict::Failed && check.detail.contains(word), "{check:?}");
    }
    site.certificate(|params| {
        params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec!["ldap:///CN=Plant".to_owned()] }];
    });
    assert_eq!(of(&results(&site.config("https://localhost:1"), None).await, "revocation"), Verdict::NotChecked);
}
