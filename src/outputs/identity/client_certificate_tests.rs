use std::path::Path;
use std::time::{Duration, SystemTime};

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use httpdate::fmt_http_date;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256};
use serde_json::Value;
use time::{Date, Month};

use super::super::issuer::{Asked, Issuer, gives, refuses};
use super::super::{Cloud, Identity, Tokens};
use super::*;
use crate::net::http_client::HttpClient;
use crate::net::tls_client::Trust;

struct Made {
    certificate: rcgen::Certificate,
    pem: String,
}

fn made(ends_in_year: i32) -> Made {
    let pair = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let mut params = CertificateParams::new(["app".to_owned()]).unwrap();
    params.not_after = Date::from_calendar_date(ends_in_year, Month::January, 1).unwrap().midnight().assume_utc();
    let certificate = params.self_signed(&pair).unwrap();
    let pem = [certificate.pem(), pair.serialize_pem()].concat();
    Made { certificate, pem }
}

fn tokens(issuer: &Issuer, certificate: &Path, send_chain: bool) -> Tokens {
    let config = Identity::ClientCertificate {
        tenant: "contoso".to_owned(),
        client_id: "app-1".to_owned(),
        certificate: certificate.to_owned(),
        key: None,
        password: None,
        send_chain,
        authority: Some(issuer.url.clone()),
    };
    let outward = HttpClient::new(&Trust::Nobody, Duration::from_secs(5)).unwrap();
    Tokens::new(&config, Cloud::Public, "https://monitor.azure.com/.default", outward).unwrap()
}

/// Header and claims of the assertion in a request, its signature checked with the certificate's own key.
fn checked(asked: &Asked, by: &Made) -> (Value, Value) {
    let assertion = asked.field("client_assertion").unwrap();
    let (message, signature) = assertion.rsplit_once('.').unwrap();
    let (_, parsed) = x509_parser::parse_x509_certificate(by.certificate.der()).unwrap();
    let key = parsed.public_key().subject_public_key.data.to_vec();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key).verify(message.as_bytes(), &signature).unwrap();
    let (header, claims) = message.split_once('.').unwrap();
    let read = |part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    (read(header), read(claims))
}

#[tokio::test]
async fn the_assertion_is_what_entra_checks() {
    let issuer = Issuer::start().await;
    let dir = tempfile::tempdir().unwrap();
    let made = made(2100);
    let path = dir.path().join("app.txt");
    std::fs::write(&path, &made.pem).unwrap();
    let tokens = tokens(&issuer, &path, true);
    let first = tokens.token().await.unwrap().unwrap();
    tokens.instead_of(&first).await.unwrap();
    let asked = issuer.take();
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    assert_eq!(asked[0].field("client_assertion_type").as_deref(), Some(kind));
    let (header, claims) = checked(&asked[0], &made);
    let der = made.certificate.der();
    let sha1 = digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, der);
    assert_eq!((header["alg"].as_str(), header["typ"].as_str()), (Some("RS256"), Some("JWT")));
    assert_eq!(header["x5t"].as_str(), Some(sha1.as_str()));
    assert_eq!(header["x5t#S256"].as_str(), Some(digest(&aws_lc_rs::digest::SHA256, der).as_str()));
    assert_eq!(header["x5c"][0].as_str(), Some(STANDARD.encode(der).as_str()));
    assert_eq!(claims["aud"].as_str(), Some(format!("{}/contoso/oauth2/v2.0/token", issuer.url).as_str()));
    assert_eq!((claims["iss"].as_str(), claims["sub"].as_str()), (Some("app-1"), Some("app-1")));
    let (from, to) = (claims["nbf"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
    assert!((from - unix_now()).abs() < 60 && to - from == 600 && claims["iat"] == claims["nbf"]);
    let (_, again) = checked(&asked[1], &made);
    assert_eq!(again["jti"].as_str().unwrap().len(), 36);
    assert_ne!(again["jti"], claims["jti"]);
    assert_eq!(tokens.status().advice, None);
}

fn digest(algorithm: &'static aws_lc_rs::digest::Algorithm, der: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(algorithm, der))
}

#[tokio::test]
async fn a_wrong_clock_is_corrected_by_entras_own() {
    let issuer = Issuer::start().await;
    let dir = tempfile::tempdir().unwrap();
    let made = made(2100);
    let path = dir.path().join("app.pem");
    std::fs::write(&path, &made.pem).unwrap();
    let hour_on = fmt_http_date(SystemTime::now() + Duration::from_secs(3600));
    let date = format!("Date: {hour_on}\r\n");
    issuer.will([refuses(700_024, &date), gives("one"), gives("two")]);
    let tokens = tokens(&issuer, &path, false);
    let one = tokens.token().await.unwrap().unwrap();
    assert_eq!(one.reveal(), "one");
    let advice = tokens.status().advice.unwrap();
    assert!(advice.contains("behind") && advice.contains("clock"), "{advice}");
    tokens.instead_of(&one).await.unwrap();
    let asked = issuer.take();
    let begins = |at: usize| checked(&asked[at], &made).1["nbf"].as_i64().unwrap() - unix_now();
    assert!(begins(0).abs() < 60);
    assert!((3500..3700).contains(&begins(1)) && (3500..3700).contains(&begins(2)));
    assert_eq!(checked(&asked[0], &made).0["x5c"], Value::Null);
}

#[tokio::test]
async fn a_clock_that_agrees_is_not_tried_again() {
    let issuer = Issuer::start().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.pem");
    std::fs::write(&path, made(2100).pem).unwrap();
    let now = fmt_http_date(SystemTime::now());
    issuer.will([refuses(700_024, &format!("Date: {now}\r\n"))]);
    let error = tokens(&issuer, &path, false).token().await.unwrap_err();
    assert!(error.detail.contains("AADSTS700024") && error.advice.unwrap().contains("clock"));
    assert_eq!(issuer.take().len(), 1);
}

#[tokio::test]
async fn a_changed_file_is_read_again_and_a_broken_one_is_not_used() {
    let issuer = Issuer::start().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.pem");
    let (old, new) = (made(2100), made(2000));
    std::fs::write(&path, &old.pem).unwrap();
    issuer.will([gives("one"), gives("two")]);
    let tokens = tokens(&issuer, &path, false);
    std::fs::write(&path, "half of a cert").unwrap();
    let one = tokens.token().await.unwrap().unwrap();
    let advice = tokens.status().advice.unwrap();
    assert!(advice.contains("app.pem") && advice.contains("one read before"), "{advice}");
    std::fs::write(&path, &new.pem).unwrap();
    tokens.instead_of(&one).await.unwrap();
    let asked = issuer.take();
    checked(&asked[0], &old);
    checked(&asked[1], &new);
    // It ended long ago: Entra decides, and the status page says so.
    let advice = tokens.status().advice.unwrap();
    assert!(advice.contains("has expired"), "{advice}");
}

#[tokio::test]
async fn a_certificate_that_is_not_registered_is_named_by_its_thumbprint() {
    let issuer = Issuer::start().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.p12");
    std::fs::write(&path, include_bytes!("fixtures/no_password.p12")).unwrap();
    issuer.will([refuses(700_027, "")]);
    let error = tokens(&issuer, &path, false).token().await.unwrap_err();
    assert!(error.advice.unwrap().contains("6CB34220884B4EFE177F28ADE42DDCF63A83441F"));
}

#[tokio::test]
async fn the_status_has_the_end_of_the_certificate_that_is_used() {
    let issuer = Issuer::start().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.pem");
    std::fs::write(&path, made(2100).pem).unwrap();
    let tokens = tokens(&issuer, &path, false);
    let ends = |year| {
        Some(Date::from_calendar_date(year, Month::January, 1).unwrap().midnight().assume_utc().unix_timestamp())
    };
    assert_eq!(tokens.status().certificate_ends, ends(2100));
    let first = tokens.token().await.unwrap().unwrap();
    std::fs::write(&path, made(2101).pem).unwrap();
    tokens.instead_of(&first).await.unwrap();
    assert_eq!(tokens.status().certificate_ends, ends(2101), "the files were read again");
}
