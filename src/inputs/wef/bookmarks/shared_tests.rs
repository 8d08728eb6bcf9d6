//! Two gateways and what they share, in one process.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::line::Line;
use super::*;
use crate::fs::RealFs;
use crate::shared::in_memory::InMemory;

/// A gateway with a state directory of its own.
struct Gateway {
    dir: tempfile::TempDir,
    bookmarks: SharedBookmarks,
}

fn open(dir: &tempfile::TempDir, engine: &Arc<InMemory>) -> SharedBookmarks {
    let journal = Journal::open(Arc::new(RealFs), dir.path(), "wef").unwrap();
    SharedBookmarks::over(journal, engine.clone())
}

fn gateway(engine: &Arc<InMemory>) -> Gateway {
    let dir = tempfile::tempdir().unwrap();
    Gateway { bookmarks: open(&dir, engine), dir }
}

impl Gateway {
    /// Takes a delivery of a host: looks, and keeps the bookmark behind it.
    async fn take(&self, machine: &str, bookmark: &str) -> Result<(), NotKept> {
        let (_, seen) = self.bookmarks.look(&owner(machine)).await;
        self.bookmarks.keep(owner(machine), bookmark.to_owned(), seen).await
    }

    async fn at(&self, machine: &str) -> Option<String> {
        match self.bookmarks.find(&owner(machine)).await {
            Known::At(text, _) => Some(text.to_string()),
            Known::Never | Known::Lost => None,
        }
    }

    async fn until(&self, machine: &str, wanted: &Known) {
        until(async || self.bookmarks.find(&owner(machine)).await == *wanted).await;
    }

    async fn until_at(&self, machine: &str, wanted: &str) {
        until(async || self.at(machine).await.as_deref() == Some(wanted)).await;
    }
}

async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("it never holds");
}

fn owner(machine: &str) -> Owner {
    Owner::of(&format!("{machine}.plant.test"), machine, "4D2C")
}

/// Two gateways that know that nothing is missing.
async fn pair() -> (Arc<InMemory>, Gateway, Gateway) {
    let engine = Arc::<InMemory>::default();
    let (one, two) = (gateway(&engine), gateway(&engine));
    for gateway in [&one, &two] {
        gateway.until("nobody", &Known::Never).await;
    }
    (engine, one, two)
}

#[tokio::test]
async fn a_host_that_reaches_another_gateway_finds_its_bookmark() {
    let (_engine, one, two) = pair().await;
    one.take("pc1", "<b1/>").await.unwrap();
    assert_eq!(two.at("pc1").await.as_deref(), Some("<b1/>"));
    two.take("pc1", "<b2/>").await.unwrap();
    assert_eq!(one.at("pc1").await.as_deref(), Some("<b2/>"), "its own is older");
    let renamed = Owner::of("by another certificate", "pc1", "4D2C");
    assert_eq!(two.bookmarks.find(&renamed).await, Known::Lost, "the same host may have had one");
    assert_eq!(two.bookmarks.find(&owner("pc2")).await, Known::Never);
}

#[tokio::test]
async fn a_delivery_that_hung_at_one_gateway_does_not_put_back_what_another_one_wrote_since() {
    let (_engine, one, two) = pair().await;
    one.take("pc1", "<b1/>").await.unwrap();
    let (_, seen) = one.bookmarks.look(&owner("pc1")).await;
    two.take("pc1", "<b2/>").await.unwrap();
    two.take("pc1", "<b3/>").await.unwrap();
    one.bookmarks.keep(owner("pc1"), "<b2/>".to_owned(), seen).await.unwrap();
    for gateway in [&one, &two] {
        assert_eq!(gateway.at("pc1").await.as_deref(), Some("<b3/>"));
    }
}

#[tokio::test]
async fn without_the_engine_known_hosts_go_on_and_new_ones_wait_so_that_none_is_missed() {
    let (engine, one, two) = pair().await;
    one.take("pc1", "<b1/>").await.unwrap();
    engine.set_away(true);
    one.take("pc1", "<b2/>").await.expect("an earlier one is there");
    assert_eq!(one.at("pc1").await.as_deref(), Some("<b2/>"), "its own journal has it");
    assert!(one.take("new", "<n1/>").await.is_err(), "another gateway would take it for a host that never came");
    assert!(two.take("pc1", "<x/>").await.is_err(), "nor can this one know that it was there");
    assert_eq!(two.bookmarks.find(&owner("pc1")).await, Known::Lost, "it may have been at another gateway");
    engine.set_away(false);
    two.until_at("pc1", "<b2/>").await;
    one.take("new", "<n1/>").await.unwrap();
    assert_eq!(two.bookmarks.find(&owner("other")).await, Known::Never, "nothing was lost");
}

#[tokio::test]
async fn an_engine_that_forgot_is_told_again_and_nobody_is_taken_for_new() {
    let (engine, one, two) = pair().await;
    for n in 0..700 {
        one.take(&format!("pc{n}"), "<b1/>").await.unwrap();
    }
    engine.empty();
    // Whatever comes first: never as one that was not there.
    assert_ne!(two.bookmarks.find(&owner("pc699")).await, Known::Never);
    two.until_at("pc699", "<b1/>").await;
    two.until_at("pc0", "<b1/>").await;
    two.until("unknown", &Known::Lost).await;
    let fresh = gateway(&engine);
    fresh.until("unknown", &Known::Lost).await;
    assert_eq!(fresh.at("pc1").await.as_deref(), Some("<b1/>"));
}

#[tokio::test]
async fn what_a_gateway_had_before_it_shared_is_told_and_others_know_that_more_may_be_missing() {
    let (engine, one, _two) = pair().await;
    let dir = tempfile::tempdir().unwrap();
    let alone = Journal::open(Arc::new(RealFs), dir.path(), "wef").unwrap();
    alone.keep(owner("pc1"), "<b1/>".to_owned()).await.unwrap();
    drop(alone);
    let joins = Gateway { bookmarks: open(&dir, &engine), dir };
    one.until_at("pc1", "<b1/>").await;
    one.until("unknown", &Known::Lost).await;
    joins.take("pc1", "<b2/>").await.unwrap();
    // After a restart it knows that it has told all, and goes on without the engine.
    let Gateway { dir, bookmarks } = joins;
    drop(bookmarks);
    engine.set_away(true);
    let again = Gateway { bookmarks: open(&dir, &engine), dir };
    again.take("pc1", "<b3/>").await.expect("an earlier one is there");
    assert_eq!(again.at("pc1").await.as_deref(), Some("<b3/>"));
    drop(again.dir);
}

/// A gateway that kept this bookmark of `pc1` at this time, before it shared any.
fn with_old(engine: &Arc<InMemory>, bookmark: &str, at: u64) -> Gateway {
    let dir = tempfile::tempdir().unwrap();
    let mut lines = Vec::new();
    Line::Head { journal: "j".to_owned(), lost_s: None, told: None }.write(&mut lines);
    Line::bookmark(&owner("pc1"), at, &bookmark.into()).write(&mut lines);
    std::fs::create_dir(dir.path().join("wef")).unwrap();
    std::fs::write(dir.path().join("wef/bookmarks.jsonl"), lines).unwrap();
    Gateway { bookmarks: open(&dir, engine), dir }
}

#[tokio::test]
async fn of_what_several_gateways_tell_an_empty_engine_the_one_counts_that_was_kept_last() {
    for order in [[("<old/>", 1000), ("<new/>", 2000)], [("<new/>", 2000), ("<old/>", 1000)]] {
        let engine = Arc::<InMemory>::default();
        let mut gateways = Vec::new();
        for (bookmark, at) in order {
            let gateway = with_old(&engine, bookmark, at);
            until(async || gateway.bookmarks.has_told()).await;
            gateways.push(gateway);
        }
        let third = gateway(&engine);
        third.until_at("pc1", "<new/>").await;
        for gateway in &gateways {
            assert_eq!(gateway.at("pc1").await.as_deref(), Some("<new/>"));
        }
    }
}

#[tokio::test]
async fn a_bookmark_that_is_too_long_to_be_shared_lets_its_host_begin_at_its_oldest_event_elsewhere() {
    let (_engine, one, two) = pair().await;
    let long = "x".repeat(40 << 10);
    one.take("pc1", &long).await.unwrap();
    assert_eq!(one.at("pc1").await.as_deref(), Some(&*long));
    assert_eq!(two.bookmarks.find(&owner("pc1")).await, Known::Lost);
    two.take("pc1", "<short/>").await.unwrap();
    assert_eq!(one.at("pc1").await.as_deref(), Some("<short/>"));
}

#[tokio::test]
async fn many_hosts_share_a_call() {
    let (engine, one, two) = pair().await;
    let before = engine.calls();
    let names: Vec<String> = (0..500).map(|n| format!("pc{n}")).collect();
    let taken = join_all(names.iter().map(|name| one.take(name, "<b/>"))).await;
    assert!(taken.iter().all(Result::is_ok));
    let calls = engine.calls() - before;
    assert!(calls < 50, "{calls} calls for 500 hosts");
    assert_eq!(two.at("pc499").await.as_deref(), Some("<b/>"));
}
