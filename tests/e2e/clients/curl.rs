//! curl, as a person would: get a token, look at the metadata, upload, be refused.

use serde_json::Value;

use super::world::{COMPUTER, TENANT, World};
use crate::support::PATH;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_the_gateway_uploads_and_nothing_else_does() {
    let world = World::new("").await;
    let (file, owed) = world.events(50, 7);
    let body = format!("@{}", file.display());
    let url = world.url(PATH);
    let upload = |token: &str, url: &str| {
        let bearer = format!("authorization: Bearer {token}");
        world.curl(&["-H", &bearer, "-H", "content-type: application/json", "--data-binary", &body, url], b"")
    };
    let token = world.token();
    for (wrong, code) in [("x", "Bearer"), (&*format!("{token}x"), "Bearer error=\"invalid_token\"")] {
        let reply = upload(wrong, &url);
        assert_eq!((reply.status, reply.header("www-authenticate")), (401, Some(code)), "{reply:?}");
    }
    let elsewhere = upload(&token, &url.replace("Custom-SecurityEvent", "Custom-Other"));
    assert_eq!(elsewhere.status, 403, "{elsewhere:?}");
    assert_eq!(json(&elsewhere.body)["error"]["code"], "OperationFailed");
    assert_eq!(upload(&token, &url).status, 204);

    let refused = world.ask("client_secret=wrong");
    assert_eq!(refused.status, 401);
    let error = json(&refused.body);
    assert_eq!((&error["error"], &error["error_codes"][0]), (&Value::from("invalid_client"), &Value::from(7_000_215)));
    assert!(error["error_description"].as_str().is_some_and(|text| text.starts_with("AADSTS7000215: ")), "{error}");
    assert!(!world.site.log().contains(&token), "a token stands in the log");
    world.assert_each_once(&owed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metadata_leads_to_this_gateway() {
    let world = World::new("").await;
    let get = |path: &str| {
        let reply = world.curl(&[&world.url(path)], b"");
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        json(&reply.body)
    };
    let metadata = get(&format!("/{TENANT}/v2.0/.well-known/openid-configuration"));
    assert_eq!(metadata["token_endpoint"], world.url(&format!("/{TENANT}/oauth2/v2.0/token")));
    assert_eq!(metadata, get(&format!("/{TENANT}/.well-known/openid-configuration")));
    let keys = get(&format!("/{TENANT}/discovery/v2.0/keys"));
    assert_eq!(keys["keys"].as_array().map(Vec::len), Some(1));
    let instance = get("/common/discovery/instance");
    assert_eq!(instance["metadata"][0]["preferred_network"], format!("localhost:{}", world.site.uploads));
    let wrong = world.curl(&["-X", "POST", "-d", "", &world.url("/common/discovery/instance")], b"");
    assert_eq!(wrong.status, 405);
    let large = "x".repeat(70_000);
    assert_eq!(world.ask(&format!("client_secret={large}")).status, 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enforced_identity_refuses_the_whole_upload_of_a_foreign_computer() {
    let world = World::new("identity = { policy = \"enforce\" }").await;
    let token = world.token();
    let bearer = format!("authorization: Bearer {token}");
    let url = world.url(PATH);
    let upload = |rows: &str| {
        world.curl(&["-H", &bearer, "-H", "content-type: application/json", "--data-binary", rows, &url], b"")
    };
    let own = format!(r#"{{"Computer":"{COMPUTER}","Channel":"Security","EventRecordID":1}}"#);
    let refused = upload(&format!(r#"[{own},{{"Computer":"dc01.plant.example","EventRecordID":2}}]"#));
    assert_eq!(refused.status, 403, "{refused:?}");
    let message = json(&refused.body)["error"]["message"].as_str().expect("a text").to_owned();
    assert!(message.contains("event 2") && message.contains("dc01.plant.example"), "{message}");
    let resource = upload(&format!(r#"[{{"Computer":"{COMPUTER}","_ResourceId":"/subscriptions/x"}}]"#));
    assert_eq!(resource.status, 403, "{resource:?}");
    let foreign = "gatepost_events_foreign_total{input=\"uploads\",action=\"refused\"}";
    let page = world.site.admin_get("/metrics").await.body;
    let page = String::from_utf8_lossy(&page).into_owned();
    let counted = world.site.metric(foreign).await;
    assert!((counted - 2.0).abs() < f64::EPSILON, "{foreign}: {page}");
    let spooled = world.site.metric("gatepost_events_spooled_total{input=\"uploads\"}").await;
    assert!(spooled.abs() < f64::EPSILON, "something of it was kept");
    assert_eq!(upload(&format!("[{own}]")).status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tagged_identity_keeps_everything_and_counts_what_is_foreign() {
    let world = World::new("identity = { policy = \"tag\" }").await;
    let bearer = format!("authorization: Bearer {}", world.token());
    let rows = r#"[{"Computer":"dc01.plant.example","Channel":"Security","EventRecordID":2}]"#;
    let url = world.url(PATH);
    let reply = world.curl(&["-H", &bearer, "-H", "content-type: application/json", "-d", rows, &url], b"");
    assert_eq!(reply.status, 204, "{reply:?}");
    let counted = world.site.metric("gatepost_events_foreign_total{input=\"uploads\",action=\"tagged\"}").await;
    assert!((counted - 1.0).abs() < f64::EPSILON, "{counted}");
    assert!(world.site.metric("gatepost_entra_tokens_total{input=\"uploads\",result=\"issued\"}").await > 0.0);
}
