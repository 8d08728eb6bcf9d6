use std::net::IpAddr;

use http::HeaderName;

use super::signature::sign;
use super::specimen::{WORKSPACE, post, workspace};
use super::*;
use crate::event::KeyMaker;
use crate::inputs::http::auth::Peer;

fn peer(address: [u8; 4]) -> Peer {
    Peer { address: IpAddr::from(address), certificate: Arc::default(), leaf: None }
}

fn opened(change: impl FnOnce(&mut Workspace)) -> Workspaces {
    let mut workspace = workspace();
    change(&mut workspace);
    Workspaces::new(&Config { enabled: true, workspaces: vec![workspace], ..Config::default() }, Arc::default())
}

/// The headers of a post of 9 bytes, signed so many seconds from now.
fn headers(seconds: i64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in post(vec![b' '; 9], seconds).headers {
        headers.insert(HeaderName::from_static(name), value.parse().expect("a value"));
    }
    headers.insert("content-length", "9".parse().expect("a value"));
    headers
}

fn name_of(failure: Failure) -> &'static str {
    failure.name.unwrap_or(failure.reason.code)
}

#[test]
fn a_right_signature_is_its_workspace_and_a_wrong_date_length_key_or_id_is_nobody() {
    let workspaces = opened(|_| ());
    let (at, client) = workspaces.signer(&headers(0), &peer([10, 0, 0, 1])).expect("it is signed");
    assert_eq!((at, &*client.name), (0, &*format!("workspace:{WORKSPACE}")));
    assert_eq!(client.scope, client.name);
    for seconds in [-14 * 60, 14 * 60] {
        assert!(workspaces.signer(&headers(seconds), &peer([10, 0, 0, 1])).is_ok(), "{seconds}");
    }
    let changed = |name: &'static str, value: &str| {
        let mut headers = headers(0);
        headers.insert(name, value.parse().expect("a value"));
        headers
    };
    let forged = format!("SharedKey {WORKSPACE}:{}", sign(&[9; 64], 9, "application/json", ""));
    let elsewhere = headers(0)["authorization"].to_str().expect("text").replace("0123", "3210");
    for (at, wrong) in [
        headers(-16 * 60),
        headers(16 * 60),
        changed("content-length", "10"),
        changed("x-ms-date", "Fri, 02 Jan 2026 03:04:05 GMT"),
        changed("x-ms-date", "now"),
        changed("authorization", &forged),
        changed("authorization", &elsewhere),
        changed("authorization", "Bearer x"),
    ]
    .into_iter()
    .enumerate()
    {
        let failure = workspaces.signer(&wrong, &peer([10, 0, 0, 1])).expect_err("it is wrong");
        assert_eq!((failure.reason, name_of(failure)), (Reason::CREDENTIALS, "InvalidAuthorization"), "{at}");
    }
    let mut none = headers(0);
    none.remove("content-length");
    assert!(workspaces.signer(&none, &peer([10, 0, 0, 1])).is_err());
    let no_guid = changed("authorization", &forged.replace(WORKSPACE, "plant"));
    let failure = workspaces.signer(&no_guid, &peer([10, 0, 0, 1])).expect_err("it is no workspace");
    assert_eq!(name_of(failure), "InvalidCustomerId");
}

#[tokio::test(start_paused = true)]
async fn who_guesses_waits_and_who_was_right_there_before_does_not() {
    let workspaces = opened(|_| ());
    let (good, bad) = (headers(0), headers(3600));
    assert!(workspaces.signer(&good, &peer([10, 0, 0, 1])).is_ok());
    for address in [[10, 0, 0, 1], [10, 0, 0, 2]] {
        let failures: Vec<Failure> =
            (0..600).map(|_| workspaces.signer(&bad, &peer(address)).expect_err("it is wrong")).collect();
        assert_eq!(failures[0].reason, Reason::CREDENTIALS);
        assert!(failures[29].reason == Reason::CLIENT_RATE && failures[29].retry_after.is_some());
    }
    assert!(workspaces.signer(&good, &peer([10, 0, 0, 1])).is_ok(), "it was right here before");
    assert!(workspaces.signer(&good, &peer([10, 0, 0, 2])).is_err(), "nobody learns that it was right");
    assert!(workspaces.signer(&good, &peer([10, 0, 0, 3])).is_ok(), "others do not notice");
}

#[test]
fn record_types_go_to_their_streams_and_closed_or_unlisted_ones_nowhere() {
    let listed = || LogType { stream: Some("Custom-Other".to_owned()), ..LogType::unlisted("Listed") };
    let workspaces = opened(|workspace| workspace.log_types = vec![listed()]);
    assert_eq!(&*workspaces.log_type(0, "Any").expect("it is taken").stream, "Custom-Any_CL");
    assert_eq!(&*workspaces.log_type(0, "LISTED").expect("it is taken").stream, "Custom-Other");
    let workspaces = opened(|workspace| {
        workspace.log_types = vec![listed()];
        workspace.only_listed = true;
    });
    let failure = workspaces.log_type(0, "Any").expect_err("it is not listed");
    assert_eq!(answer::code(&failure), "InvalidLogType");
    let workspaces = opened(|workspace| workspace.closed = true);
    let failure = workspaces.log_type(0, "Any").expect_err("it is closed");
    assert_eq!(answer::code(&failure), "InactiveCustomer");
}

#[test]
fn each_thing_that_a_head_lacks_has_its_documented_code() {
    let code = |result: Result<(), Failure>| result.map_err(name_of).err();
    assert_eq!(code(api_version("api-version=2016-04-01")), None);
    assert_eq!(code(api_version("")), Some("MissingApiVersion"));
    assert_eq!(code(api_version("api-version=2023-01-01")), Some("InvalidApiVersion"));
    let typed = |value: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, value.parse().expect("a value"));
        code(content_type(&headers))
    };
    assert_eq!(code(content_type(&HeaderMap::new())), Some("MissingContentType"));
    assert_eq!((typed("application/json"), typed("Application/JSON; charset=utf-8")), (None, None));
    assert_eq!(typed("text/plain"), Some("UnsupportedContentType"));
    let post = Post { workspaces: Arc::new(opened(|_| ())), signer: Some(0), mark: None };
    let typed = |value: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(LOG_TYPE, value.parse().expect("a value"));
        code(post.log_type(&headers).map(drop))
    };
    assert_eq!(
        (code(post.log_type(&HeaderMap::new()).map(drop)), typed("")),
        (Some("MissingLogType"), Some("MissingLogType"))
    );
    for wrong in ["My-Type", "My Type", &"x".repeat(101)] {
        assert_eq!(typed(wrong), Some("InvalidLogType"), "{wrong}");
    }
    assert_eq!(typed(&"x".repeat(100)), None);
}

#[test]
fn resource_ids_that_are_none_are_refused_and_empty_headers_are_none() {
    let told = |name: &'static str, value: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().expect("a value"));
        Told::of(&headers)
    };
    assert_eq!(told(RESOURCE_ID, "/subscriptions/s").expect("one").resource_id.as_deref(), Some("/subscriptions/s"));
    assert!(told(RESOURCE_ID, "server1").is_err() && told(RESOURCE_ID, &"/".repeat(2000)).is_err());
    assert_eq!(told(TIME_FIELD, "").expect("none").time_field, None, "PowerShell's sample sends it empty");
}

#[test]
fn parts_of_a_mark_cannot_run_into_each_other() {
    let mark = |parts: &[Option<&str>]| with_parts(KeyMaker::new(&[7; 32]).upload_mark(), parts).finish();
    assert_ne!(mark(&[Some("ab"), Some("c")]), mark(&[Some("a"), Some("bc")]));
    assert_ne!(mark(&[Some("a"), None]), mark(&[None, Some("a")]));
}
