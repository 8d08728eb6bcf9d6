use std::net::IpAddr;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use time::OffsetDateTime;

use super::config::Workspace;
use super::registry::Agent;
use super::signature::content_hash;
use super::specimen::workspace;
use super::*;
use crate::inputs::data_collector::specimen::WORKSPACE;
use crate::inputs::entra;
use crate::inputs::http::auth::Peer;
use crate::inputs::reason::Reason;

fn peer(address: [u8; 4]) -> Peer {
    Peer { address: IpAddr::from(address), certificate: Arc::default(), leaf: None }
}

fn opened(change: impl FnOnce(&mut Workspace)) -> Workspaces {
    let mut workspace = workspace();
    change(&mut workspace);
    Workspaces::new(vec![workspace], 15 * 60)
}

/// The head of a registration, signed so many seconds from now.
fn headers(body: &str, seconds: i64) -> HeaderMap {
    let now = OffsetDateTime::now_utc() + time::Duration::seconds(seconds);
    let date = format!("{}T{:02}:{:02}:{:02}.123456789+00:00", now.date(), now.hour(), now.minute(), now.second());
    let (hash, key): (String, Vec<u8>) = (content_hash(body.as_bytes()), (1..=64).collect());
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), format!("{date}\n{hash}\n").as_bytes());
    let authorization = format!("{}; {}", WORKSPACE.to_uppercase(), BASE64_STANDARD.encode(tag));
    let mut headers = HeaderMap::new();
    for (name, value) in [(DATE, date), (CONTENT_HASH, hash), ("authorization", authorization)] {
        headers.insert(name, HeaderValue::try_from(value).expect("a value"));
    }
    headers
}

#[test]
fn a_right_signature_is_its_workspace_and_a_wrong_date_hash_key_or_id_is_nobody() {
    let (workspaces, failures) = (opened(|_| ()), entra::memory::Memory::default());
    let signed = |headers: &HeaderMap| workspaces.signed(headers, &peer([10, 0, 0, 1]), &failures);
    for seconds in [-14 * 60, 0, 14 * 60] {
        let signed = signed(&headers("<a/>", seconds)).expect("it is signed");
        assert_eq!((signed.workspace, signed.content), (0, content_hash(b"<a/>")), "{seconds}");
    }
    let changed = |name: &'static str, value: &str| {
        let mut headers = headers("<a/>", 0);
        headers.insert(name, value.parse().expect("a value"));
        headers
    };
    let elsewhere = headers("<a/>", 0)["authorization"].to_str().expect("text").replace("0123", "3210");
    for wrong in [
        headers("<a/>", -16 * 60),
        headers("<a/>", 16 * 60),
        changed(DATE, "2026-01-02T03:04:05Z"),
        changed(DATE, "now"),
        changed(CONTENT_HASH, &content_hash(b"<b/>")),
        changed("authorization", &elsewhere),
        changed("authorization", "Bearer x"),
    ] {
        let failure = signed(&wrong).expect_err("it is wrong");
        assert_eq!(failure.reason, Reason::CREDENTIALS, "{wrong:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_guesses_waits_and_who_was_right_there_before_does_not() {
    let (workspaces, failures) = (opened(|_| ()), entra::memory::Memory::default());
    let (good, bad) = (headers("<a/>", 0), headers("<a/>", 3600));
    let signed = |headers: &HeaderMap, address| workspaces.signed(headers, &peer(address), &failures);
    assert!(signed(&good, [10, 0, 0, 1]).is_ok());
    for address in [[10, 0, 0, 1], [10, 0, 0, 2]] {
        let refused: Vec<_> = (0..600).map(|_| signed(&bad, address).expect_err("it is wrong")).collect();
        let last = refused.last().expect("there are some");
        assert!(last.reason == Reason::CLIENT_RATE && last.retry_after.is_some());
    }
    assert!(signed(&good, [10, 0, 0, 1]).is_ok(), "it was right here before");
    assert!(signed(&good, [10, 0, 0, 2]).is_err(), "nobody learns that it was right");
    assert!(signed(&good, [10, 0, 0, 3]).is_ok(), "others do not notice");
}

fn agent(computer: &str) -> Agent {
    let made = rcgen::generate_simple_self_signed(vec!["x".to_owned()]).expect("a certificate");
    Agent::new(made.cert.der(), WORKSPACE, "0f0e0d0c-0b0a-0908-0706-050403020100", computer, None, 1)
        .expect("it is one")
}

#[test]
fn an_agent_speaks_for_the_computer_that_it_registered_and_for_no_other() {
    let workspaces = opened(|_| ());
    let client = workspaces.at(0).client(&agent("web01.plant.example"), &peer([10, 0, 0, 1]));
    assert!(client.binding.speaks_for("WEB01.plant.example") && client.binding.speaks_for("web01"));
    assert!(!client.binding.speaks_for("web02") && !client.binding.speaks_for("web01.other.example"));
    let short = workspaces.at(0).client(&agent("web01"), &peer([10, 0, 0, 1]));
    assert!(short.binding.speaks_for("WEB01") && !short.binding.speaks_for("web01.plant.example"));
    let own = format!("/subscriptions/{WORKSPACE}/resourceGroups/none/providers/computer/physical/web01");
    assert_eq!(*short.binding.resource_ids, [own]);
}

#[test]
fn what_one_agent_uploads_is_never_the_repetition_of_what_its_clone_or_one_of_another_workspace_did() {
    let own = |change: fn(&mut Agent)| {
        let mut agent = agent("web01");
        change(&mut agent);
        exchange::Caller::Agent(Arc::new(agent)).own()
    };
    let first = own(|_| ());
    assert_eq!(own(|agent| agent.computer = "WEB01".into()), first);
    assert_ne!(own(|agent| agent.computer = "web02".into()), first, "cloned machines share their GUID");
    assert_ne!(own(|agent| agent.workspace = "x".into()), first);
}

#[test]
fn agents_are_on_their_own_until_their_workspace_is_in_a_group() {
    let scope = |workspaces: &Workspaces, computer: &str| {
        workspaces.at(0).client(&agent(computer), &peer([10, 0, 0, 1])).scope.to_string()
    };
    let alone = opened(|_| ());
    assert_ne!(scope(&alone, "a"), scope(&alone, "b"));
    let grouped = opened(|workspace| workspace.group = Some("plant".to_owned()));
    assert_eq!((scope(&grouped, "a"), scope(&grouped, "b")), ("group:plant".to_owned(), "group:plant".to_owned()));
}

#[test]
fn only_listed_computers_may_register_where_there_is_a_list() {
    let workspaces = opened(|workspace| workspace.hosts = vec!["*.plant.example".to_owned()]);
    assert!(workspaces.at(0).takes("web01.plant.example"));
    assert!(!workspaces.at(0).takes("web01.other.example"));
    assert!(opened(|_| ()).at(0).takes("any"));
}
