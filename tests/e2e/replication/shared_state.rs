//! What gateways share through the servers that replicate their logs: the same as through Redis or Valkey, without one.

use std::sync::Arc;
use std::time::Duration;

use gatepost::lab::agents::{Kind, OwnCertificate};
use gatepost::lab::collector::Collector;
use gatepost::lab::events::Host;
use gatepost::lab::wef::{Authority, Faults, Forwarder, Setting};
use gatepost::net::upload_client::Client;
use gatepost::replication::shared::{SharedState, Standing, Work};
use gatepost::replication::{Config, Kind as ServerKind};
use gatepost::shared::entries::{Entries as _, Found, Place, Write};
use gatepost::shared::{Document, Store as _, conformance};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::servers::Servers;
use crate::cluster::agents::{register, uploads, within_two_seconds};
use crate::cluster::rules::{call, path, rule, until_version, version};
use crate::cluster::scene::{Gateway, IN_FORCE_WITHIN, SECRET, collector, identities, until};
use crate::cluster::tokens::{entra, keys, token, upload};
use crate::ods::{AGENT, WORKSPACE, key};
use crate::support::{PATIENCE, Site, workspace};
use crate::tools::both;

pub(super) fn addresses(servers: &Servers) -> Vec<String> {
    servers.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect()
}

/// A gateway that shares through the servers, with more TOML for its listener.
async fn gateway(name: &str, listener: &str, collector: &Collector, servers: &Servers) -> Gateway {
    let rest = format!(
        "[spool]\nsegment_size = \"64 KiB\"\nmax_size = \"64 MiB\"\n[dedup]\nsecret = \"{SECRET}\"\n[replication]\n\
         kind = \"jetstream\"\nname = \"{name}\"\nservers = {:?}\nmax_size = \"256 MiB\"\ntakeover_after = \"10 s\"\n\
         wait_max = \"20 s\"\ntimeout = \"3 s\"\nshare_state = true\n",
        addresses(servers)
    );
    let outputs = format!("{listener}\n{}", workspace("workspace", &[collector]));
    let mut gateway = Gateway { site: Site::new(&outputs, &rest), running: None };
    gateway.start().await;
    until_state(&gateway, "there").await;
    gateway
}

async fn until_state(gateway: &Gateway, wanted: &str) {
    let state = async || gateway.site.status().await["state_sharing"]["state"] == wanted;
    until(&gateway.site, wanted, state).await;
}

/// Asks a server of NATS something about JetStream, as its own tools do, until it answers: one that knows of no leader
/// yet says nothing at all, and what it was asked is forgotten.
pub(super) async fn ask(servers: &Servers, what: &str) -> String {
    let until = Instant::now() + PATIENCE;
    let mut is_repeated = false;
    loop {
        let told = match tokio::time::timeout(Duration::from_secs(3), ask_once(servers.ports[0], what)).await {
            Ok(Ok(told)) if !told.contains("\"error\"") => return told,
            // It was removed, and the answer was lost.
            Ok(Ok(told)) if is_repeated && told.contains("stream not found") => return told,
            other => format!("{other:?}"),
        };
        assert!(Instant::now() < until, "{what}: {told}");
        is_repeated = true;
    }
}

async fn ask_once(port: u16, what: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let asked =
        format!("CONNECT {{\"verbose\":false}}\r\nSUB answer 1\r\nPUB $JS.API.{what} answer 2\r\n{{}}\r\nPING\r\n");
    stream.write_all(asked.as_bytes()).await?;
    let (mut told, mut bytes) = (String::new(), [0; 4096]);
    while !(told.contains("MSG answer") && told.ends_with("}\r\n")) {
        let read = stream.read(&mut bytes).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        told.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    Ok(told)
}

/// What a gateway has of it in its own process.
async fn state(servers: &Servers) -> Arc<SharedState> {
    let (state, work): (_, Work) = SharedState::new(&Config {
        kind: ServerKind::Jetstream,
        servers: addresses(servers),
        timeout: gatepost::values::Span::secs(3),
        ..Config::default()
    });
    tokio::spawn(Box::pin(work.run()));
    until_standing(&state, |standing| *standing == Standing::There).await;
    Arc::new(state)
}

async fn until_standing(state: &SharedState, wanted: impl Fn(&Standing) -> bool) {
    let mut standing = state.standing();
    let there = tokio::time::timeout(PATIENCE, standing.wait_for(|standing| wanted(standing))).await;
    there.unwrap_or_else(|_| panic!("{:?}", *state.standing().borrow())).unwrap();
}

/// The document, once a server leads that has it.
async fn document(state: &SharedState) -> Document {
    let until = Instant::now() + PATIENCE;
    loop {
        match state.documents.get("a").await {
            Ok(Some(document)) => return document,
            other => assert!(Instant::now() < until, "{other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_servers_keep_the_promises_of_the_traits_when_they_are_killed_and_when_streams_are_removed() {
    let mut servers = Servers::start().await;
    let state = state(&servers).await;
    conformance::documents(&state.documents, async || {}, 6_000_000).await;
    conformance::entries(&state.bookmarks).await;

    // One server may die, whatever it led.
    servers.kill(0);
    let large = document(&state).await;
    assert_eq!(large.content.len(), 6_000_000);
    // Two must not: nobody can be asked, and what is asked for is done not at all, or later as a whole.
    servers.kill(1);
    until_standing(&state, |standing| matches!(standing, Standing::Away(_))).await;
    assert!(state.documents.watch().borrow().is_none() || state.bookmarks.filling().borrow().is_none());
    let next = Document::after(&large.revision, vec![7; 2_000_000]);
    assert!(state.documents.compare_and_set("a", Some(&large.revision), &next).await.is_err());
    let place = |group: &str| Place { group: group.to_owned(), owner: "one".to_owned() };
    assert!(state.bookmarks.read(vec![place("new")]).await.is_err(), "nobody knows that there is nothing");
    servers.begin(0);
    servers.begin(1);
    until_standing(&state, |standing| *standing == Standing::There).await;
    let filling = state.bookmarks.filling().borrow().unwrap();
    let there = document(&state).await;
    assert!([large, next].contains(&there), "one of both, as a whole");

    // What is removed or emptied is another filling, and nobody takes it for the one before meanwhile.
    let mut known = filling;
    for what in ["STREAM.DELETE.gatepost_values", "STREAM.PURGE.gatepost_values"] {
        ask(&servers, what).await;
        let found = state.bookmarks.read(vec![place("g")]).await;
        assert_ne!(found, Ok(vec![Found::Nothing]), "{what}");
        let mut filling = state.bookmarks.filling();
        let is_other = filling.wait_for(|now| now.is_some_and(|now| now != known));
        known = tokio::time::timeout(PATIENCE, is_other).await.unwrap().unwrap().unwrap();
        assert_eq!(state.bookmarks.read(vec![place("g")]).await, Ok(vec![Found::Nothing]), "{what}");
        let document = Document { revision: "1".to_owned(), content: b"x".to_vec() };
        let write = Write { place: place("g"), seen: None, document };
        assert_eq!(state.bookmarks.write(vec![write]).await, Ok(vec![true]));
    }
    ask(&servers, "STREAM.DELETE.gatepost_documents").await;
    let mut revisions = state.documents.watch();
    let are_gone = revisions.wait_for(|shown| shown.as_ref().is_some_and(|shown| shown.is_empty()));
    tokio::time::timeout(PATIENCE, are_gone).await.unwrap().unwrap();
    assert_eq!(state.documents.get("a").await, Ok(None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_of_one_gateway_are_in_force_at_all_and_come_back_to_servers_that_forgot() {
    let mut servers = Servers::start().await;
    let collector = collector().await;
    let one = gateway("one", "", &collector, &servers).await;
    let mut two = gateway("two", "", &collector, &servers).await;
    assert_eq!(call(&one, "PUT", &path("a"), &rule(1)).await.0, 201);
    let put = Instant::now();
    until_version(&two, "a", Some("1")).await;
    assert!(put.elapsed() < IN_FORCE_WITHIN, "{:?}", put.elapsed());
    assert_eq!(call(&two, "PUT", &path("a"), &rule(2)).await.0, 200, "{}", two.site.log());
    until_version(&one, "a", Some("2")).await;
    // Of two changes at the same time one is refused; who asks again is heard.
    let change = async |gateway: &Gateway, name: &str| {
        let taken = async || call(gateway, "PUT", &path(name), &rule(1)).await.0 == 201;
        until(&gateway.site, "it is taken", taken).await;
    };
    tokio::join!(change(&one, "of-one"), change(&two, "of-two"));
    until_version(&one, "of-two", Some("1")).await;
    until_version(&two, "of-one", Some("1")).await;

    // While they are away nothing is changed, and each has its own.
    for n in 0..3 {
        servers.kill(n);
    }
    until_state(&one, "away").await;
    assert_eq!(call(&one, "PUT", &path("b"), &rule(1)).await.0, 503);
    let warnings = one.site.status().await["warnings"].to_string();
    assert!(warnings.contains("what gateways share at the servers of replication cannot be reached"), "{warnings}");
    two.kill();
    two.running = Some(two.site.launch());
    let has = async || match TcpStream::connect(("127.0.0.1", two.site.admin)).await {
        Ok(_) => version(&two, "a").await.as_deref() == Some("2"),
        Err(_) => false,
    };
    until(&two.site, "its own disk has it", has).await;
    for n in 0..3 {
        servers.begin(n);
    }
    for gateway in [&one, &two] {
        until_state(gateway, "there").await;
    }
    until(&one.site, "it is taken", async || call(&one, "PUT", &path("c"), &rule(3)).await.0 == 201).await;
    until_version(&two, "c", Some("3")).await;
    // Servers that forgot get them again, and a gateway that is new gets them from there.
    ask(&servers, "STREAM.DELETE.gatepost_documents").await;
    let three = gateway("three", "", &collector, &servers).await;
    until_version(&three, "c", Some("3")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_and_tokens_of_one_gateway_are_good_at_all() {
    let servers = Servers::start().await;
    let collector = collector().await;
    let listener =
        format!("ods = {{ enabled = true, workspaces = [{{ id = \"{WORKSPACE}\", keys = [\"{}\"] }}] }}\n", key());
    let one = gateway("one", &format!("{listener}{}", entra()), &collector, &servers).await;
    let two = gateway("two", &format!("{listener}{}", entra()), &collector, &servers).await;
    let own = OwnCertificate::new(Kind::Linux, WORKSPACE, AGENT).unwrap();
    assert_eq!(uploads(&two, &own).await, 403, "nobody knows it yet");
    assert_eq!(register(&one, &own).await, 200, "{}", one.site.log());
    within_two_seconds(&two, &own, 200).await;
    let revoked = two.site.gatepost(&["agents", "revoke", AGENT]);
    assert!(revoked.status.success(), "{}", both(&revoked));
    within_two_seconds(&one, &own, 403).await;

    let have_all = async || {
        let keys_of_one = keys(&one).await;
        keys_of_one["keys"].as_array().is_some_and(|all| all.len() == 2) && keys_of_one == keys(&two).await
    };
    until(&one.site, "both have the keys of both", have_all).await;
    let (of_one, of_two) = (token(&one).await, token(&two).await);
    assert_eq!(upload(&two, &of_one, 1).await.status, 204, "{}", two.site.log());
    assert_eq!(upload(&one, &of_two, 2).await.status, 204, "{}", one.site.log());
    let sealed = ask(&servers, "STREAM.INFO.gatepost_documents").await;
    let answer = sealed.split("\r\n").find(|line| line.starts_with('{')).unwrap();
    let answer: Value = serde_json::from_str(answer).unwrap();
    assert!(answer["state"]["messages"].as_u64().unwrap() >= 4, "two heads and their parts: {answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forwarding_host_goes_on_at_another_gateway_and_nothing_is_missed_after_servers_forgot() {
    const HOST: &str = "pc1.plant.test";
    let servers = Servers::start().await;
    let collector = collector().await;
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new("Plant hosts").unwrap();
    let ca = dir.path().join("hosts-ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let listener =
        format!("tls.client_ca = \"{}\"\nwef.enabled = true\nwef.read_existing_events = false\n", ca.display());
    let one = gateway("one", &listener, &collector, &servers).await;
    let two = gateway("two", &listener, &collector, &servers).await;
    let setting = |gateway: &Gateway| {
        let pem = std::fs::read(gateway.site.state().join("tls/cert.pem")).unwrap();
        let client = Client::showing(Some(&pem), authority.issue(HOST).unwrap()).unwrap();
        Setting { host: HOST.to_owned(), manager: gateway.site.url("/wsman/SubscriptionManager/WEC"), client }
    };
    let all: Vec<_> = Host::new(HOST, 1).with_system_share(0.0).take(60).collect();
    let mut host = Forwarder::new(setting(&one), Faults::default(), 1);
    host.enumerate().await.unwrap();
    assert_eq!(host.deliver(7).await.unwrap(), 0, "it has only said that it begins");
    all[..20].iter().for_each(|event| host.log(event));
    assert_eq!(host.deliver(7).await.unwrap(), 20);
    all[20..35].iter().for_each(|event| host.log(event));
    host.turn_to(setting(&two));
    host.enumerate().await.unwrap();
    assert_eq!(host.deliver(7).await.unwrap(), 15, "from the bookmark of the other gateway");
    // Both gateways notice that it is another filling, and tell what they have.
    ask(&servers, "STREAM.DELETE.gatepost_values").await;
    all[35..].iter().for_each(|event| host.log(event));
    host.turn_to(setting(&one));
    let goes_on = async || host.enumerate().await.is_ok() && host.deliver(7).await.is_ok();
    until(&one.site, "it goes on", goes_on).await;
    for gateway in [&one, &two] {
        gateway.site.until_drained().await;
    }
    let held = collector.held();
    let missing = identities(&all).into_iter().filter(|event| !held.events.contains_key(event)).count();
    assert_eq!(missing, 0, "{}", one.site.log());
}
