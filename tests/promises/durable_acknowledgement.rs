//! Promise 1: acknowledged means durable, also for the second upload of an event whose first is still on its way.
//!
//! In this process, on a file system whose syncs fail or hang on command.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use gatepost::dedup::memory::MemoryStore;
use gatepost::event::{Client, KeyMaker, Presence, Syntax, Upload, stored};
use gatepost::filter::Rules;
use gatepost::fs::RealFs;
use gatepost::fs::faulty::{Faults, FaultyFs};
use gatepost::hosts::Hosts;
use gatepost::ingest::ledger::Waiting;
use gatepost::ingest::{self, Accept, Ingest, Receipt, Refusal};
use gatepost::lab::events::{Host, Shape};
use gatepost::spool::dead_letter::DeadLetters;
use gatepost::spool::{self, Item, Spool};
use gatepost::values::ByteSize;
use tokio::task::JoinHandle;

use crate::load::array;
use crate::support::{LOOK, PATIENCE};

/// How long an answer that must not come is waited for. It can only make a wrong gateway pass, never a right one fail.
const NO_ANSWER: Duration = Duration::from_millis(300);

struct Scene {
    dir: tempfile::TempDir,
    ingest: Ingest,
    spool: Spool,
    faults: Arc<Faults>,
}

fn small_spool() -> spool::Config {
    spool::Config { segment_size: ByteSize::mib(1), max_size: ByteSize::mib(16), ..spool::Config::default() }
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (fs, faults) = FaultyFs::new(Arc::new(RealFs));
        let (spool, _) = Spool::open(&small_spool(), &dir.path().join("spool"), fs).unwrap();
        let letters = DeadLetters::open(Arc::new(RealFs), &dir.path().join("dead-letters"), 1 << 20).unwrap();
        let parts = ingest::Parts {
            rules: Arc::new(ArcSwap::from_pointee(Rules::of_event_set(gatepost::filter::EventSet::Everything))),
            keys: Arc::new(KeyMaker::new(&[7; 32])),
            dedup: Arc::new(MemoryStore::new(&gatepost::dedup::Config::default())),
            spool: spool.clone(),
            replicated: None,
            dead_letters: letters.into(),
            waiting: Arc::new(Waiting::default()),
            hosts: Hosts::new(gatepost::hosts::Config::default(), spool.clock().clone()),
        };
        let ingest = Ingest::new(ingest::Config::default(), parts);
        Self { dir, ingest, spool, faults }
    }

    fn upload(&self, body: &[u8]) -> JoinHandle<Result<Receipt, Refusal>> {
        tokio::spawn(self.ingest.accept(Upload {
            input: "agents".into(),
            client: Client { name: "agent".into(), scope: "plant".into(), ..Client::default() },
            stream: "Custom-SecurityEvent".into(),
            syntax: Syntax::JsonArray,
            body: body.to_vec().into(),
            damaged: Vec::new(),
            known: None,
            presence: Presence::default(),
        }))
    }

    async fn until_sync_is_held(&self) {
        let faults = Arc::clone(&self.faults);
        tokio::task::spawn_blocking(move || faults.wait_for_held_sync()).await.unwrap();
    }

    /// Uploads as an agent does: again and again until it is acknowledged.
    async fn upload_until_taken(&self, body: &[u8]) -> Receipt {
        loop {
            if let Ok(receipt) = self.upload(body).await.unwrap() {
                return receipt;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What an output would read, by event, with how often; now and from the spool opened anew.
    fn assert_outputs_see_each_once(self, events: usize) {
        let once = |seen: HashMap<Vec<u8>, u32>| {
            assert_eq!(seen.len(), events);
            assert!(seen.values().all(|times| *times == 1), "an output sees an event more than once");
        };
        once(seen(&self.spool));
        self.spool.close();
        drop((self.ingest, self.spool));
        once(seen(&reopened(self.dir.path())));
    }
}

fn reopened(dir: &Path) -> Spool {
    Spool::open(&small_spool(), &dir.join("spool"), Arc::new(RealFs)).unwrap().0
}

fn seen(spool: &Spool) -> HashMap<Vec<u8>, u32> {
    let mut seen = HashMap::new();
    let mut reader = spool.reader(spool.status().first).unwrap();
    while let Some(item) = reader.next().unwrap() {
        let Item::Record(record) = item else { panic!("damage: {item:?}") };
        for (_, raw) in stored::decode(record.payload).unwrap().events {
            *seen.entry(raw.to_vec()).or_default() += 1;
        }
    }
    seen
}

fn batch(events: usize) -> Vec<u8> {
    array(&Host::new("RACE.plant.example", 9).take(events).collect::<Vec<_>>(), Shape::Row)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_racing_uploads_of_one_batch_neither_is_acknowledged_when_the_disk_fails_and_the_retry_is_accepted() {
    let scene = Scene::new();
    let body = batch(50);
    scene.faults.hold_syncs();
    let first = scene.upload(&body);
    scene.until_sync_is_held().await;
    let second = scene.upload(&body);
    tokio::time::sleep(NO_ANSWER).await;
    assert!(!first.is_finished() && !second.is_finished(), "acknowledged before it was durable");
    scene.faults.fail_all_syncs();
    scene.faults.let_syncs_go();
    for upload in [first, second] {
        let refused = upload.await.unwrap();
        assert!(matches!(refused, Err(Refusal::SpoolFailed(_))), "{refused:?}");
    }
    scene.faults.mend_syncs();
    let receipt = scene.upload_until_taken(&body).await;
    assert_eq!((receipt.spooled, receipt.duplicate), (50, 0), "nothing was remembered of what failed");
    let again = scene.upload_until_taken(&body).await;
    assert_eq!((again.spooled, again.duplicate), (0, 50));
    scene.assert_outputs_see_each_once(50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_only_the_first_of_two_racing_uploads_fails_the_second_keeps_the_events_itself() {
    let scene = Scene::new();
    let body = batch(50);
    scene.faults.hold_syncs();
    let first = scene.upload(&body);
    scene.until_sync_is_held().await;
    let second = scene.upload(&body);
    tokio::time::sleep(NO_ANSWER).await;
    assert!(!second.is_finished(), "called a duplicate of something that is not durable");
    scene.faults.fail_syncs(1, 1);
    scene.faults.let_syncs_go();
    assert!(matches!(first.await.unwrap(), Err(Refusal::SpoolFailed(_))));
    match second.await.unwrap() {
        Ok(receipt) => assert_eq!((receipt.spooled, receipt.duplicate), (50, 0), "it was its own append"),
        // Its append may have been in the group that failed.
        Err(_) => assert_eq!(scene.upload_until_taken(&body).await.spooled, 50),
    }
    let retry = scene.upload_until_taken(&body).await;
    assert_eq!((retry.spooled, retry.duplicate), (0, 50));
    scene.assert_outputs_see_each_once(50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_upload_of_the_same_events_is_not_acknowledged_before_the_first_is_durable() {
    let scene = Scene::new();
    let body = batch(50);
    scene.faults.hold_syncs();
    let first = scene.upload(&body);
    scene.until_sync_is_held().await;
    let seconds: Vec<_> = (0..4).map(|_| scene.upload(&body)).collect();
    tokio::time::sleep(NO_ANSWER).await;
    assert!(seconds.iter().all(|second| !second.is_finished()), "acknowledged before it was durable");
    assert!(seen(&scene.spool).is_empty(), "an output sees what is not durable");
    scene.faults.let_syncs_go();
    assert_eq!(first.await.unwrap().unwrap().spooled, 50);
    for second in seconds {
        let receipt = second.await.unwrap().unwrap();
        assert_eq!((receipt.spooled, receipt.duplicate), (0, 50));
    }
    scene.assert_outputs_see_each_once(50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_hangs_up_leaves_its_upload_whole_and_its_retry_is_a_duplicate() {
    let scene = Scene::new();
    let body = batch(50);
    scene.faults.hold_syncs();
    let first = scene.upload(&body);
    scene.until_sync_is_held().await;
    first.abort();
    scene.faults.let_syncs_go();
    let retry = scene.upload_until_taken(&body).await;
    assert_eq!((retry.spooled, retry.duplicate), (0, 50));
    scene.assert_outputs_see_each_once(50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_in_the_moment_in_which_a_client_hangs_up_waits_for_what_it_sent() {
    for stops_first in [false, true] {
        let scene = Scene::new();
        scene.faults.hold_syncs();
        let upload = scene.upload(&batch(50));
        scene.until_sync_is_held().await;
        if stops_first {
            scene.ingest.stop();
        }
        upload.abort();
        assert!(upload.await.expect_err("nobody waits for it").is_cancelled());
        scene.ingest.stop();
        // What a stop of the gateway waits for before it closes the spool.
        let ingest = scene.ingest.clone();
        let idle = tokio::spawn(async move { ingest.idle().await });
        tokio::time::sleep(NO_ANSWER).await;
        assert!(!idle.is_finished(), "the spool would be closed under it; stopped first: {stops_first}");
        scene.faults.let_syncs_go();
        tokio::time::timeout(PATIENCE, idle).await.expect("it comes to its end").unwrap();
        scene.assert_outputs_see_each_once(50);
    }
}
