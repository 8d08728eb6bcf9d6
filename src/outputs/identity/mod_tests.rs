use std::time::Duration;

use super::issuer::{Issuer, answer, gives, refuses};
use super::*;
use crate::net::tls_client::Trust;
use crate::values::Secret;

const SCOPE: &str = "https://monitor.azure.com/.default";

fn tokens(config: &Identity) -> Tokens {
    let outward = HttpClient::new(&Trust::Nobody, Duration::from_secs(5)).unwrap();
    Tokens::new(config, Cloud::Public, SCOPE, outward).unwrap()
}

fn with_secret(issuer: &Issuer) -> Tokens {
    tokens(&Identity::ClientSecret {
        tenant: "contoso".to_owned(),
        client_id: "app-1".to_owned(),
        client_secret: Secret::new("canary&secret"),
        authority: Some(issuer.url.clone()),
    })
}

#[tokio::test]
async fn a_client_secret_is_sent_as_a_form() {
    let issuer = Issuer::start().await;
    issuer.will([gives("one")]);
    let tokens = with_secret(&issuer);
    assert_eq!(tokens.token().await.unwrap().unwrap().reveal(), "one");
    assert_eq!(tokens.token().await.unwrap().unwrap().reveal(), "one");
    let asked = issuer.take();
    assert_eq!(asked.len(), 1);
    assert!(asked[0].head.starts_with("POST /contoso/oauth2/v2.0/token HTTP/1.1\r\n"), "{}", asked[0].head);
    assert_eq!(asked[0].header("content-type"), Some("application/x-www-form-urlencoded"));
    for (name, value) in [
        ("grant_type", "client_credentials"),
        ("client_id", "app-1"),
        ("client_secret", "canary&secret"),
        ("scope", SCOPE),
    ] {
        assert_eq!(asked[0].field(name).as_deref(), Some(value));
    }
    let status = tokens.status();
    assert!(status.has_token && status.fetched == 1 && status.kind == "client_secret");
    assert!((3590..=3599).contains(&status.expires_in_seconds.unwrap()));
}

#[tokio::test]
async fn a_refusal_says_what_a_person_must_do_and_no_secret() {
    let issuer = Issuer::start().await;
    let echo = r#"{"error":"invalid_client","error_description":"AADSTS7000215: canary&secret is wrong, canary%26secret too","error_codes":[7000215]}"#;
    issuer.will([answer(401, "", echo)]);
    let tokens = with_secret(&issuer);
    let error = tokens.token().await.unwrap_err();
    assert!(error.detail.contains("401") && error.detail.contains("AADSTS7000215"), "{error}");
    assert!(error.advice.as_deref().unwrap().contains("app-1"), "{error:?}");
    let shown = format!("{error} {error:?} {tokens:?} {:?}", tokens.status());
    assert!(!shown.contains("canary"), "{shown}");
}

#[tokio::test]
async fn a_revoked_secret_shows_after_the_token_was_refused() {
    let issuer = Issuer::start().await;
    issuer.will([gives("one"), refuses(7_000_222, "")]);
    let tokens = with_secret(&issuer);
    let one = tokens.token().await.unwrap().unwrap();
    let error = tokens.instead_of(&one).await.unwrap_err();
    assert!(error.advice.unwrap().contains("expired"));
    assert_eq!(tokens.token().await.unwrap(), Some(one.clone()), "others may take it still");
    let status = tokens.status();
    assert!(status.has_token && status.advice.is_some_and(|advice| advice.contains("expired")));
    assert_eq!(format!("{one:?}"), "Token(***)");
}

#[tokio::test]
async fn garbage_and_huge_answers_are_errors() {
    let huge = "x".repeat(1 << 20);
    for body in ["220 ready", "{\"access_token\":", huge.as_str()] {
        let issuer = Issuer::start().await;
        issuer.will([answer(200, "", body)]);
        let error = with_secret(&issuer).token().await.unwrap_err();
        assert!(error.detail.contains("answered 200, but"), "{error}");
        assert!(error.detail.len() < 300, "{error}");
    }
    let issuer = Issuer::start().await;
    issuer.will([b"220 mail.example ESMTP ready\r\n".to_vec()]);
    assert!(with_secret(&issuer).token().await.unwrap_err().detail.contains(&issuer.url));
}

#[tokio::test]
async fn a_managed_identity_asks_the_metadata_service_and_reads_texts() {
    let issuer = Issuer::start().await;
    issuer.will([answer(
        200,
        "",
        r#"{"access_token":"vm","expires_in":"86399","expires_on":"1","token_type":"Bearer"}"#,
    )]);
    let tokens = tokens(&Identity::ManagedIdentity {
        client_id: None,
        object_id: None,
        resource_id: Some("/subscriptions/1/a b".to_owned()),
        endpoint: Some(issuer.url.clone()),
    });
    assert_eq!(tokens.token().await.unwrap().unwrap().reveal(), "vm");
    let asked = issuer.take();
    let line = asked[0].head.lines().next().unwrap();
    assert!(line.starts_with("GET /metadata/identity/oauth2/token?api-version=2018-02-01&"), "{line}");
    assert!(line.contains("&msi_res_id=%2Fsubscriptions%2F1%2Fa+b&"), "{line}");
    assert!(line.contains("&resource=https%3A%2F%2Fmonitor.azure.com HTTP"), "{line}");
    assert_eq!(asked[0].header("metadata"), Some("true"));
    assert!(tokens.status().expires_in_seconds.unwrap() > 86_000);
}

#[tokio::test]
async fn a_machine_without_an_identity_is_told_so() {
    let issuer = Issuer::start().await;
    issuer.will([answer(400, "", r#"{"error":"invalid_request","error_description":"Identity not found"}"#)]);
    let config = Identity::ManagedIdentity {
        client_id: None,
        object_id: None,
        resource_id: None,
        endpoint: Some(issuer.url.clone()),
    };
    let error = tokens(&config).token().await.unwrap_err();
    assert!(error.detail.contains("Identity not found"), "{error}");
    assert!(error.advice.unwrap().contains("system-assigned"));
}

#[tokio::test]
async fn a_federated_token_is_read_again_for_each_request() {
    let issuer = Issuer::start().await;
    let dir = tempfile::tempdir().unwrap();
    let token_file = dir.path().join("token");
    let tokens = tokens(&Identity::WorkloadIdentity {
        tenant: "contoso".to_owned(),
        client_id: "app-1".to_owned(),
        token_file: token_file.clone(),
        authority: Some(issuer.url.clone()),
    });
    std::fs::write(&token_file, "canary.one\n").unwrap();
    let first = tokens.token().await.unwrap().unwrap();
    std::fs::write(&token_file, "canary.two").unwrap();
    tokens.instead_of(&first).await.unwrap();
    let asked = issuer.take();
    assert_eq!(asked[0].field("client_assertion").as_deref(), Some("canary.one"));
    assert_eq!(asked[1].field("client_assertion").as_deref(), Some("canary.two"));
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    assert_eq!(asked[1].field("client_assertion_type").as_deref(), Some(kind));
}

#[tokio::test]
async fn a_missing_federated_token_is_an_error_with_its_path() {
    let issuer = Issuer::start().await;
    let dir = tempfile::tempdir().unwrap();
    let config = |file: &str| Identity::WorkloadIdentity {
        tenant: "contoso".to_owned(),
        client_id: "app-1".to_owned(),
        token_file: dir.path().join(file),
        authority: Some(issuer.url.clone()),
    };
    std::fs::write(dir.path().join("two words"), "canary canary").unwrap();
    for file in ["absent", "two words"] {
        let error = tokens(&config(file)).token().await.unwrap_err();
        assert!(error.detail.contains(file) && !error.detail.contains("canary"), "{error}");
    }
    assert!(issuer.take().is_empty());
}

#[tokio::test]
async fn some_identities_ask_nobody() {
    let fixed = tokens(&Identity::Token { token: Secret::new("fixed") });
    let token = fixed.token().await.unwrap().unwrap();
    assert_eq!(fixed.instead_of(&token).await.unwrap(), None);
    assert_eq!(fixed.token().await.unwrap().unwrap().reveal(), "fixed");
    assert!(fixed.status().has_token && !format!("{fixed:?}").contains("fixed\""));
    assert_eq!(tokens(&Identity::None).token().await.unwrap(), None);
}
