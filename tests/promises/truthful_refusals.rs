//! An upload that cannot be kept is refused with the true reason: in the answer, as a metric, once in the log when it begins
//! and once when it is over, and on `/readyz` and `/status` for as long as it lasts.

use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use gatepost::dedup::memory::MemoryStore;
use gatepost::dedup::store::{Claim, Remembered, Store, Unavailable};
use gatepost::event::{Client, EventKey, KeyMaker, Presence, Syntax, Upload};
use gatepost::filter::{EventSet, Rules};
use gatepost::fs::RealFs;
use gatepost::fs::faulty::{Faults, FaultyFs};
use gatepost::hosts::Hosts;
use gatepost::ingest::ledger::Waiting;
use gatepost::ingest::{self, Accept, Ingest, Receipt, Refusal};
use gatepost::lab::collector::{Collector, Memory};
use gatepost::spool::dead_letter::DeadLetters;
use gatepost::spool::{self, Spool};
use gatepost::values::ByteSize;
use serde_json::Value;

use crate::load::SMALL_SPOOL;
use crate::support::{Site, workspace};

/// One record that is understood and one that is not.
const ONE_UNREADABLE: &str = r#"[{"a":1},5]"#;
const READABLE: &str = r#"[{"a":2}]"#;

async fn reasons(site: &Site) -> Vec<String> {
    let said: Value = serde_json::from_slice(&site.admin_get("/readyz").await.body).unwrap();
    said["reasons"].as_array().unwrap().iter().map(|reason| reason.as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_cannot_be_set_aside_is_told_as_what_it_is_and_stops_no_other_upload() {
    const TOLD: &str = "the dead letters cannot be written";
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let site = Site::new(&workspace("workspace", &[&collector]), SMALL_SPOOL);
    let running = site.start().await;
    let client = site.client();
    // A file where the folder of the letters was: nothing can be written there.
    let folder = site.state().join("dead-letters");
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::write(&folder, "in the way").unwrap();
    for _ in 0..3 {
        let answer = site.upload(&client, ONE_UNREADABLE).await.unwrap();
        assert_eq!(answer.status, 503);
        assert!(answer.retry_after.is_some(), "agents must be told to come back");
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["error"]["code"], "DeadLettersFailed", "{body}");
    }
    assert_eq!(site.upload(&client, READABLE).await.unwrap().status, 204, "nothing of it is to be set aside");

    site.until(TOLD, async || reasons(&site).await.iter().any(|reason| reason == TOLD)).await;
    let status = site.status().await;
    let because = &status["refusing_because"][0];
    assert_eq!((&because["reason"], &because["refused"]), (&"dead_letters_failed".into(), &3.into()), "{status:#}");
    assert!(because["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{because:#}");
    assert!(status["not_ready_because"].as_array().unwrap().contains(&TOLD.into()), "{status:#}");
    assert_eq!(site.metric("gatepost_uploads_shed_total{reason=\"dead_letters_failed\"").await, 3.0);
    let refused = "gatepost_input_refused_total{input=\"uploads\",reason=\"dead_letters_failed\"";
    assert_eq!(site.metric(refused).await, 3.0);

    std::fs::remove_file(&folder).unwrap();
    std::fs::create_dir(&folder).unwrap();
    assert_eq!(site.upload(&client, ONE_UNREADABLE).await.unwrap().status, 204);
    site.until("ready again", async || reasons(&site).await.is_empty()).await;
    assert_eq!(site.status().await["refusing_because"], Value::Array(Vec::new()));
    let log = site.log();
    assert_eq!(log.matches("uploads are refused: the dead letters cannot be written").count(), 1, "{log}");
    assert_eq!(log.matches("uploads are no longer refused because the dead letters").count(), 1, "{log}");
    assert!(running.stop().success());
}

/// Ingest over dead letters on a disk that can be full.
struct Scene {
    ingest: Ingest,
    letters_disk: Arc<Faults>,
    _dir: tempfile::TempDir,
}

impl Scene {
    fn new(dedup: Arc<dyn Store>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config =
            spool::Config { segment_size: ByteSize::mib(1), max_size: ByteSize::mib(16), ..spool::Config::default() };
        let (spool, _) = Spool::open(&config, &dir.path().join("spool"), Arc::new(RealFs)).unwrap();
        let (fs, letters_disk) = FaultyFs::new(Arc::new(RealFs));
        let letters = DeadLetters::open(fs, &dir.path().join("dead-letters"), 1 << 20).unwrap();
        let parts = ingest::Parts {
            rules: Arc::new(ArcSwap::from_pointee(Rules::of_event_set(EventSet::Everything))),
            keys: Arc::new(KeyMaker::new(&[7; 32])),
            dedup,
            hosts: Hosts::new(gatepost::hosts::Config::default(), spool.clock().clone()),
            spool,
            replicated: None,
            dead_letters: letters.into(),
            waiting: Arc::new(Waiting::default()),
        };
        Self { ingest: Ingest::new(ingest::Config::default(), parts), letters_disk, _dir: dir }
    }

    async fn upload(&self, body: &'static str) -> Result<Receipt, Refusal> {
        let upload = Upload {
            input: "agents".into(),
            client: Client { name: "agent".into(), scope: "plant".into(), ..Client::default() },
            stream: "Custom-SecurityEvent".into(),
            syntax: Syntax::JsonArray,
            body: body.into(),
            damaged: Vec::new(),
            known: None,
            presence: Presence::default(),
        };
        self.ingest.accept(upload).await
    }

    fn troubles(&self) -> Vec<(&'static str, u64)> {
        self.ingest.troubles().into_iter().map(|lasting| (lasting.reason, lasting.refused)).collect()
    }
}

#[tokio::test]
async fn dead_letters_without_room_are_not_told_as_a_spool_that_cannot_write_and_it_is_over_when_one_is_kept() {
    let scene = Scene::new(Arc::new(MemoryStore::new(&gatepost::dedup::Config::default())));
    scene.letters_disk.disk_full(true);
    for refused in 1..=2 {
        assert_eq!(scene.upload(ONE_UNREADABLE).await, Err(Refusal::DeadLettersFull));
        assert_eq!(scene.troubles(), [("dead_letters_full", refused)]);
    }
    assert_eq!(scene.upload(READABLE).await.unwrap().spooled, 1);
    assert_eq!(scene.troubles(), [("dead_letters_full", 2)], "it says nothing about dead letters");
    scene.letters_disk.disk_full(false);
    let receipt = scene.upload(ONE_UNREADABLE).await.unwrap();
    assert_eq!((receipt.spooled, receipt.set_aside), (1, 1), "nothing of it was remembered before");
    assert_eq!(scene.troubles(), []);
}

/// Fails in a way that nobody thought of, as long as it is told to.
struct Panicking(MemoryStore, std::sync::atomic::AtomicBool);

impl Store for Panicking {
    fn claim<'a>(&'a self, keys: &'a [EventKey]) -> BoxFuture<'a, Result<Box<dyn Claim>, Unavailable>> {
        assert!(!self.1.load(std::sync::atomic::Ordering::SeqCst), "nobody thought of this");
        self.0.claim(keys)
    }

    fn forget(&self, keys: &[EventKey]) -> u64 {
        self.0.forget(keys)
    }

    fn remembered(&self) -> Remembered {
        self.0.remembered()
    }
}

#[tokio::test]
async fn a_fault_of_the_gateway_itself_is_told_as_one_and_the_sender_keeps_its_copy() {
    let memory = MemoryStore::new(&gatepost::dedup::Config::default());
    let store = Arc::new(Panicking(memory, true.into()));
    let scene = Scene::new(Arc::clone(&store) as Arc<dyn Store>);
    let refused = scene.upload(READABLE).await.unwrap_err();
    assert!(matches!(&refused, Refusal::Internal(why) if why.contains("nobody thought of this")), "{refused:?}");
    assert_eq!(scene.troubles(), [("internal", 1)]);
    store.1.store(false, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(scene.upload(READABLE).await.unwrap().spooled, 1);
    assert_eq!(scene.troubles(), []);
}
