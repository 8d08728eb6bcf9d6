//! The fake Entra answers, and refuses, as the real one.

use std::time::{Duration, SystemTime};

use gatepost::lab::azure::{App, FakeAzure, Fault};
use serde_json::{Value, json};

use super::assertion::Identity;
use super::scene::{APP, RULE, SECRET, STREAM, TENANT, ask, azure, client, stream_url};

const SCOPE: &str = "https://monitor.azure.com/.default";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

fn form<'a>(client_id: &'a str, secret: &'a str, scope: &'a str) -> [(&'a str, &'a str); 4] {
    [("grant_type", "client_credentials"), ("client_id", client_id), ("client_secret", secret), ("scope", scope)]
}

fn number(body: &Value) -> u64 {
    let number = body["error_codes"][0].as_u64().unwrap();
    let description = body["error_description"].as_str().unwrap();
    assert!(description.starts_with(&format!("AADSTS{number}: ")), "{description}");
    number
}

#[tokio::test]
async fn a_secret_gets_a_token_that_endpoints_take_until_it_ends() {
    let azure = azure(1).await;
    azure.directory().set_token_lifetime(Duration::from_secs(2));
    let (status, body) = ask(&azure, TENANT, &form(APP, SECRET, SCOPE)).await;
    assert_eq!((status, &body["token_type"], &body["expires_in"]), (200, &json!("Bearer"), &json!(2)));
    let bearer = format!("Bearer {}", body["access_token"].as_str().unwrap());
    let (client, url) = (client(&azure), stream_url(&azure, 0, RULE, STREAM));
    let post = async || {
        let answer = client.post(&url, &[("authorization", &bearer)], "[]".into(), Duration::from_secs(5)).await;
        answer.unwrap().status
    };
    assert_eq!(post().await, 204);
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    assert_eq!(post().await, 401);
    assert_eq!(azure.directory().issued(), 1);
}

#[tokio::test]
async fn mistakes_have_the_numbers_of_entra() {
    let azure = azure(0).await;
    let other = "99999999-0000-4000-a000-000000000000";
    let tries = [
        (TENANT, form(other, SECRET, SCOPE), 400, 700_016, "unauthorized_client"),
        (TENANT, form(APP, "wrong", SCOPE), 401, 7_000_215, "invalid_client"),
        (other, form(APP, SECRET, SCOPE), 400, 90_002, "invalid_request"),
        (TENANT, form(APP, SECRET, "https://monitor.azure.com"), 400, 70_011, "invalid_scope"),
        (TENANT, form(APP, SECRET, "https://graph.example/.default"), 400, 500_011, "invalid_resource"),
        (TENANT, form("", SECRET, SCOPE), 400, 900_144, "invalid_request"),
    ];
    for (tenant, form, status, aadsts, error) in tries {
        let (got, body) = ask(&azure, tenant, &form).await;
        assert_eq!((got, number(&body), body["error"].as_str()), (status, aadsts, Some(error)));
    }
    let (_, body) = ask(&azure, TENANT, &form(APP, SECRET, "https://monitor.azure.com//.default")).await;
    assert!(body["access_token"].is_string(), "two slashes are taken: {body}");
    assert_eq!(ask(&azure, TENANT, &[("grant_type", "password")]).await.1["error"], "unsupported_grant_type");
}

#[tokio::test]
async fn secrets_expire_are_revoked_and_replaced() {
    let azure = azure(0).await;
    let try_with = async |secret: &str| {
        let (_, body) = ask(&azure, TENANT, &form(APP, secret, SCOPE)).await;
        body["error_codes"][0].as_u64()
    };
    azure.directory().change(APP, |app| app.expire_secret(SECRET));
    assert_eq!(try_with(SECRET).await, Some(7_000_222));
    azure.directory().change(APP, |app| {
        app.revoke_secret(SECRET);
        app.add_secret("another");
    });
    assert_eq!(try_with(SECRET).await, Some(7_000_215));
    assert_eq!(try_with("another").await, None);
}

/// What Entra says to an assertion with these claims: a number, or `None` with a token.
async fn try_assertion(azure: &FakeAzure, assertion: &str) -> Option<u64> {
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", APP),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", assertion),
        ("scope", SCOPE),
    ];
    let (_, body) = ask(azure, TENANT, &form).await;
    body["access_token"].is_null().then(|| number(&body))
}

#[tokio::test]
async fn assertions_must_be_signed_by_a_certificate_of_the_app_for_this_address_and_this_moment() {
    let azure = azure(0).await;
    let (own, foreign) = (Identity::new(), Identity::new());
    azure.directory().register(App::new(TENANT, APP).with_certificate(&own.certificate_pem).unwrap());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let audience = format!("{}/{TENANT}/oauth2/v2.0/token", azure.entra_door().url());
    let good = json!({ "aud": audience, "iss": APP, "sub": APP, "jti": "1", "nbf": now, "iat": now, "exp": now + 300 });
    let with = |key: &str, value: Value| {
        let mut claims = good.clone();
        claims[key] = value;
        claims
    };
    assert_eq!(try_assertion(&azure, &own.assert(&good)).await, None);
    assert_eq!(try_assertion(&azure, &foreign.assert(&good)).await, Some(700_027));
    // It names the certificate of the app, and is signed with another key.
    let forged = Identity { key_pkcs8: foreign.key_pkcs8, ..Identity { key_pem: String::new(), ..own } };
    assert_eq!(try_assertion(&azure, &forged.assert(&good)).await, Some(700_027));
    let own = Identity::new();
    azure.directory().register(App::new(TENANT, APP).with_certificate(&own.certificate_pem).unwrap());
    assert_eq!(try_assertion(&azure, &own.assert(&with("exp", json!(now)))).await, Some(700_024));
    assert_eq!(try_assertion(&azure, &own.assert(&with("aud", json!("https://elsewhere")))).await, Some(700_023));
    assert_eq!(try_assertion(&azure, &own.assert(&with("sub", json!("somebody")))).await, Some(700_021));
    assert_eq!(try_assertion(&azure, "nonsense").await, Some(50_027));
    azure.directory().set_clock_skew(-600);
    assert_eq!(try_assertion(&azure, &own.assert(&good)).await, Some(700_024), "Entra's clock is behind");
    azure.directory().set_clock_skew(0);
    azure.directory().change(APP, App::revoke_certificates);
    assert_eq!(try_assertion(&azure, &own.assert(&good)).await, Some(700_027));
}

#[tokio::test]
async fn tokens_of_other_issuers_are_taken_when_they_are_trusted() {
    let azure = azure(0).await;
    let issuer = Identity::new();
    let token = issuer.assert(&json!({ "iss": "https://kubernetes", "sub": "system:serviceaccount:dmz:gatepost" }));
    assert_eq!(try_assertion(&azure, &token).await, Some(700_213));
    azure.directory().change(APP, |app| app.add_federated_token(&token));
    assert_eq!(try_assertion(&azure, &token).await, None);
    azure.directory().change(APP, |app| app.revoke_federated_token(&token));
    assert_eq!(try_assertion(&azure, &token).await, Some(700_213));
}

#[tokio::test]
async fn its_configuration_can_be_discovered_and_its_faults_can_be_had() {
    let azure = azure(0).await;
    let (client, base) = (client(&azure), azure.entra_door().url());
    let get = async |path: &str| {
        let answer = client.get(&format!("{base}{path}"), Duration::from_secs(5)).await.unwrap();
        (answer.status, serde_json::from_slice::<Value>(&answer.body).unwrap())
    };
    let (_, body) = get(&format!("/{TENANT}/v2.0/.well-known/openid-configuration")).await;
    assert_eq!(body["token_endpoint"], format!("{base}/{TENANT}/oauth2/v2.0/token"));
    assert_eq!(get("/nobody/v2.0/.well-known/openid-configuration").await.0, 400);
    assert_eq!(get(&format!("/{TENANT}/discovery/v2.0/keys")).await.1["keys"][0]["kty"], "RSA");
    let (_, body) = get("/common/discovery/instance?api-version=1.1&authorization_endpoint=x").await;
    assert!(body["tenant_discovery_endpoint"].as_str().unwrap().starts_with(&base));
    let before = azure.entra_door().requests();
    azure.entra_door().fail_next(Fault::Answer { status: 503, retry_after: Some(3) }, 1);
    let (status, body) = ask(&azure, TENANT, &form(APP, SECRET, SCOPE)).await;
    assert_eq!((status, body["error"].as_str()), (503, Some("temporarily_unavailable")));
    azure.entra_door().fail_next(Fault::Garbage, 1);
    let url = format!("{base}/{TENANT}/oauth2/v2.0/token");
    let answer = client.post(&url, &[], "".into(), Duration::from_secs(5)).await.unwrap();
    assert_eq!((answer.status, answer.body.starts_with(b"<html>")), (200, true));
    assert_eq!(azure.entra_door().requests() - before, 2);
    assert_eq!(azure.entra_door().answers()[&503], 1);
}
