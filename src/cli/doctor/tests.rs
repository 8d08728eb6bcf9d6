use std::net::SocketAddr;

use rustls::RootCertStore;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::lab::dns_server::DnsServer;

fn configured(text: &str) -> tunnel::Config {
    toml::from_str(text).unwrap()
}

#[test]
fn every_host_is_a_target_once_and_wildcards_are_only_listed() {
    let config = configured(
        r#"
        [[allow]]
        name = "own"
        hosts = ["a.example.com", "b.example.com:8443", "*.example.com", "192.0.2.1"]
        [[allow]]
        name = "again"
        hosts = ["a.example.com", "c.example.com"]
        require_tls = false
        plain_http = true
        via = "next"
        "#,
    );
    let shown: Vec<String> = targets(&config)
        .iter()
        .map(|target| {
            let checkable = if target.authority.is_some() { "" } else { " no" };
            format!("{} {} {}{checkable}", target.rule.name, target.host, target.tls)
        })
        .collect();
    assert_eq!(
        shown,
        [
            "own a.example.com:443 true",
            "own b.example.com:8443 true",
            "own *.example.com:443 true no",
            "own 192.0.2.1:443 true",
            "again a.example.com:80 false",
            "again c.example.com:443 false",
            "again c.example.com:80 false",
        ]
    );
}

/// A TLS server for `good.test` and its certificate.
async fn tls_server() -> (SocketAddr, rcgen::CertifiedKey<rcgen::KeyPair>) {
    let made = rcgen::generate_simple_self_signed(["good.test".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(acceptor.accept(stream));
        }
    });
    (address, made)
}

#[tokio::test]
async fn each_step_is_told_and_a_certificate_is_judged_by_who_issued_it() {
    let dns = DnsServer::start().await;
    for name in ["good.test", "other.test", "silent.test", "closed.test"] {
        dns.addresses(name, 60, &["127.0.0.1"]);
    }
    let (address, made) = tls_server().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let (good, silent) = (address.port(), silent.local_addr().unwrap().port());
    let text = format!(
        r#"
        dns.servers = ["{}"]
        limits.connect_timeout = "700 ms"
        [[allow]]
        name = "own"
        hosts = ["good.test:{good}", "other.test:{good}", "silent.test:{silent}", "closed.test:{closed}", "absent.test",
            "*.example.com"]
        addresses = ["127.0.0.0/8"]
        [[allow]]
        name = "forbidden"
        hosts = ["127.0.0.2:{good}"]
        "#,
        dns.address
    );
    let config = configured(&text);
    let dialer = Dialer::new(&config, Arc::new(Ourselves::new(Vec::new())), "doctor").unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let judge = Judge::with(Ok(roots));
    let mut findings = Vec::new();
    for target in targets(&config) {
        findings.push(check(target, &dialer, &judge, Duration::from_millis(300)).await);
    }
    let shown: Vec<(Verdict, Option<&str>)> = findings.iter().map(|finding| (finding.result, finding.reason)).collect();
    assert_eq!(
        shown,
        [
            (Verdict::Suspicious, None),
            (Verdict::Failed, Some(UNTRUSTED)),
            (Verdict::Failed, Some(NO_TLS)),
            (Verdict::Failed, Some("connection_refused")),
            (Verdict::Failed, Some("dns_failed")),
            (Verdict::NotChecked, None),
            (Verdict::Failed, Some("address_forbidden")),
        ],
        "{findings:#?}"
    );
    assert!(findings[0].issuer.as_deref().is_some_and(|issuer| issuer.contains("rcgen")), "{:?}", findings[0]);
    assert_eq!(findings[0].tls_version.as_deref(), Some("TLS 1.3"));
    assert!(findings[1].detail.contains("inspects TLS"), "{:?}", findings[1]);
    let text = table(&findings, 5);
    assert!(text.ends_with("6 checked, 5 failed, 1 not checkable\n"), "{text}");
    assert_eq!(json_lines(&findings).unwrap().lines().count(), findings.len());
}
