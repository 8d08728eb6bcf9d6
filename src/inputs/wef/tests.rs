//! The order of what becomes durable, against a spool and a disk that fail on command.

use parking_lot::Mutex;

use axum::body::Body;
use axum::extract::Request;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::bookmarks::{Known as Place, Owner};
use super::subscription::derived_id;
use super::*;
use crate::event::Upload;
use crate::filter::rules::{Managed, Material};
use crate::filter::{self, EventSet, RuleConfig, Rules};
use crate::fs::RealFs;
use crate::fs::faulty::{Faults, FaultyFs};
use crate::ingest::accept::{Accept, Receipt, Refusal};
use crate::inputs::http::body;
use crate::inputs::protocol::Shared;
use crate::inputs::{Config as Listener, Opened, Peer, router};
use crate::lab::wef::Authority;

const HOST: &str = "pc1.plant.test";
const BOOKMARK: &str = r#"<BookmarkList><Bookmark Channel="Security" RecordId="7" IsCurrent="true"/></BookmarkList>"#;

/// Takes uploads as it is told.
#[derive(Default)]
struct Ingest {
    refusal: Mutex<Option<Refusal>>,
    taken: Mutex<Vec<Vec<u8>>>,
}

impl Accept for Ingest {
    fn accept(&self, upload: Upload) -> BoxFuture<'static, Result<Receipt, Refusal>> {
        let refusal = self.refusal.lock().clone();
        if refusal.is_none() {
            self.taken.lock().push(upload.body.to_vec());
        }
        ready(refusal.map_or(Ok(Receipt::default()), Err)).boxed()
    }
}

struct Scene {
    ingest: Arc<Ingest>,
    faults: Arc<Faults>,
    shared: Shared,
    config: Listener,
    leaf: Arc<[u8]>,
    _dir: tempfile::TempDir,
}

fn scene(listener: &str) -> Scene {
    scene_with(listener, Rules::of_event_set(EventSet::All))
}

fn scene_with(listener: &str, rules: Rules) -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new("Plant hosts").unwrap();
    let pem = dir.path().join("ca.pem");
    std::fs::write(&pem, authority.pem()).unwrap();
    let text = format!(
        "listen = \"10.0.0.1:5986\"\ntls.client_ca = {:?}\nwef.enabled = true\n{listener}",
        pem.display().to_string()
    );
    let config: Listener = toml::from_str(&text).unwrap();
    assert_eq!(config.problems(), []);
    let (fs, faults) = FaultyFs::new(Arc::new(RealFs));
    let rules = Arc::new(arc_swap::ArcSwap::from_pointee(rules));
    let memory = Memory::new(fs, dir.path().to_owned(), rules);
    let shared = Shared { wef: Arc::new(memory), ..Shared::over(dir.path()) };
    let leaf = authority.issue(HOST).unwrap().chain[0].as_ref().into();
    Scene { ingest: Arc::default(), faults, shared, config, leaf, _dir: dir }
}

impl Scene {
    /// The status and the text of the answer to a message. Each is answered by a listener that has just been opened.
    async fn say(&self, action: &str, more: &str, body: &str) -> (u16, String) {
        let envelope = format!(
            "<s:Envelope xmlns:s=\"x\"><s:Header><a:Action>{action}</a:Action><a:MessageID>uuid:1</a:MessageID>\
             <m:MachineID>PC1.plant.test</m:MachineID>{more}<w:AckRequested/></s:Header><s:Body>{body}</s:Body></s:Envelope>"
        );
        let opened = Opened::new(&self.config, None, &self.shared, &Opened::default()).unwrap();
        let router = router(&self.config, self.ingest.clone(), opened, &body::Memory::new(64 << 20));
        let mut request = Request::post("/wsman/SubscriptionManager/WEC").body(Body::from(envelope)).unwrap();
        request.headers_mut().insert("host", "gateway.test:5986".parse().unwrap());
        let peer = Peer {
            address: [10, 0, 0, 7].into(),
            certificate: [HOST.to_owned()].into(),
            leaf: Some(self.leaf.clone()),
        };
        request.extensions_mut().insert(peer);
        let response = router.oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    async fn deliver(&self, events: &str) -> u16 {
        let id = derived_id("agents", 0);
        let more = format!("<e:Identifier>{id}</e:Identifier><w:Bookmark>{BOOKMARK}</w:Bookmark>");
        let body = format!("<w:Events>{events}</w:Events>");
        self.say("http://schemas.dmtf.org/wbem/wsman/1/wsman/Events", &more, &body).await.0
    }

    async fn enumerate(&self) -> (u16, String) {
        self.say("http://schemas.xmlsoap.org/ws/2004/09/enumeration/Enumerate", "", "").await
    }

    async fn bookmark(&self) -> Place {
        let (client, machine) = (HOST.into(), "pc1.plant.test".into());
        let owner = Owner { client, machine, subscription: derived_id("agents", 0).into() };
        self.shared.wef.bookmarks().await.unwrap().find(&owner).await
    }
}

const EVENT: &str = "<w:Event><![CDATA[<Event><System><EventID>1</EventID></System></Event>]]></w:Event>";

#[tokio::test]
async fn a_bookmark_is_kept_only_behind_durable_events_and_before_the_answer() {
    let scene = scene("");
    *scene.ingest.refusal.lock() = Some(Refusal::SpoolFull);
    assert_eq!(scene.deliver(EVENT).await, 503);
    assert_eq!(scene.bookmark().await, Place::Never, "nothing was kept");
    *scene.ingest.refusal.lock() = None;
    scene.faults.fail_all_syncs();
    assert_eq!(scene.deliver(EVENT).await, 503, "the events are durable, the bookmark is not");
    assert_eq!(scene.bookmark().await, Place::Never);
    scene.faults.mend_syncs();
    assert_eq!(scene.deliver(EVENT).await, 200);
    assert!(matches!(scene.bookmark().await, Place::At(text, _) if &*text == BOOKMARK));
    assert_eq!(scene.ingest.taken.lock().len(), 2);
}

#[tokio::test]
async fn a_host_gets_its_bookmark_back_as_it_gave_it() {
    let scene = scene("");
    let (status, first) = scene.enumerate().await;
    assert_eq!(status, 200, "{first}");
    assert!(!first.contains("w:Bookmark>"), "{first}");
    assert!(first.contains("<a:Address>https://gateway.test:5986/wsman/subscriptions/"), "where it asked: {first}");
    assert_eq!(scene.deliver(EVENT).await, 200);
    let (_, second) = scene.enumerate().await;
    assert!(second.contains(&format!("<w:Bookmark>{BOOKMARK}</w:Bookmark>")), "{second}");
    let version = |text: &str| text.split_once("<m:Version>").unwrap().1[..41].to_owned();
    assert_eq!(version(&first), version(&second), "a bookmark is no change");
}

/// Rules that want every event of so many channels.
fn of_channels(count: usize) -> Rules {
    let queries = (0..count).map(|n| format!("Channel-{n:03}!*")).collect();
    let outputs = ["out".to_owned()];
    let rule = RuleConfig { name: Some("all".to_owned()), queries, outputs: outputs.to_vec(), ..RuleConfig::default() };
    let config = filter::Config { rules: vec![rule], ..filter::Config::default() };
    let read: &dyn Fn(&std::path::Path) -> _ = &|_| Ok(Vec::new());
    let material = Material { config: &config, outputs: &outputs, read, managed: &Managed::default() };
    Rules::build(&material).expect("sound rules")
}

#[tokio::test]
async fn a_channel_that_moves_to_a_part_without_a_bookmark_is_sent_from_its_oldest_event() {
    let scene = scene_with("", of_channels(300));
    let earliest = |text: &str| text.matches("bookmark/earliest").count();
    let (_, new) = scene.enumerate().await;
    assert_eq!((new.matches("<m:Version>").count(), earliest(&new)), (2, 0), "a host that is new begins now");
    // It has delivered for the first part, in which the channel stood until a rule put others before it.
    assert_eq!(scene.deliver(EVENT).await, 200);
    let (_, known) = scene.enumerate().await;
    assert_eq!((known.matches(BOOKMARK).count(), earliest(&known)), (1, 1), "{known}");
}

#[tokio::test]
async fn an_answer_names_the_configured_place_and_nothing_is_told_to_a_host_of_an_unknown_authority() {
    let mut scene = scene("wef.notify_to = \"https://balancer.test:443/\"");
    let (_, text) = scene.enumerate().await;
    assert!(text.contains("<a:Address>https://balancer.test:443/wsman/subscriptions/"), "{text}");
    scene.leaf = Authority::new("Others").unwrap().issue(HOST).unwrap().chain[0].as_ref().into();
    let (status, text) = scene.enumerate().await;
    assert!(status == 403 && text.contains("tls.client_ca"), "{status} {text}");
}

#[tokio::test]
async fn the_forwarders_own_event_stores_its_bookmark_and_is_nobodys() {
    let scene = scene("");
    let own = "<w:Event><![CDATA[<Event><System><Provider Name='Microsoft-Windows-EventForwarder'/><EventID>111</EventID>\
               <Computer>pc1</Computer></System></Event>]]></w:Event>";
    assert_eq!(scene.deliver(own).await, 200);
    assert!(matches!(scene.bookmark().await, Place::At(..)));
    assert!(scene.ingest.taken.lock().is_empty());
    assert_eq!(scene.deliver(&format!("{own}{EVENT}")).await, 200);
    let taken = scene.ingest.taken.lock();
    assert_eq!(String::from_utf8_lossy(&taken[0]), "<Event><System><EventID>1</EventID></System></Event>\n");
}

#[test]
fn a_listener_without_client_certificates_cannot_know_its_hosts() {
    let config: Listener = toml::from_str("wef.enabled = true").unwrap();
    let [(key, problem)] = &config.problems()[..] else { panic!("{:?}", config.problems()) };
    assert!(key == "wef.enabled" && problem.contains("tls.client_ca"), "{problem}");
}
