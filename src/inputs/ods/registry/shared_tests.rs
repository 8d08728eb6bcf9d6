//! Two gateways and what they share, in one process.

use std::time::Duration;

use futures_util::future::join_all;

use super::tests::agent;
use super::*;
use crate::fs::RealFs;
use crate::shared::in_memory::InMemory;
use crate::shared::sealed::Sealed;

fn local(dir: &tempfile::TempDir) -> FileRegistry {
    FileRegistry::open(Arc::new(RealFs), dir.path()).expect("it opens")
}

fn open(dir: &tempfile::TempDir, engine: &Arc<InMemory>) -> SharedRegistry {
    let sealed = Sealed::over(engine.clone(), b"the secret").expect("a key");
    SharedRegistry::over(local(dir), Arc::new(sealed))
}

fn gateway(engine: &Arc<InMemory>) -> (tempfile::TempDir, SharedRegistry) {
    let dir = tempfile::tempdir().expect("a folder");
    let registry = open(&dir, engine);
    (dir, registry)
}

async fn register(registry: &impl Registry, n: u8) -> Result<usize, NotKept> {
    registry.change(Change::Register(Box::new(agent(n, n)), Proof::Shown)).await
}

fn knows(registry: &impl Registry, n: u8) -> bool {
    registry.state().find(&format!("certificate-{n}")).is_some()
}

async fn until(mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("it never holds");
}

#[tokio::test]
async fn what_is_registered_renewed_and_revoked_at_one_gateway_is_so_at_all_and_after_a_restart_without_the_engine() {
    let engine = Arc::<InMemory>::default();
    let ((_dir, one), (dir, two)) = (gateway(&engine), gateway(&engine));
    assert_eq!(register(&one, 1).await, Ok(1));
    until(|| knows(&two, 1)).await;
    two.change(Change::Seen("certificate-1".into(), 5)).await.expect("it is known");
    two.change(Change::Register(Box::new(agent(1, 2)), Proof::Shown)).await.expect("a renewal");
    two.change(Change::Seen("certificate-2".into(), 6)).await.expect("it is used");
    until(|| knows(&one, 2) && !knows(&one, 1)).await;
    assert_eq!(register(&one, 3).await, Ok(1));
    assert_eq!(one.change(Change::Revoke("agent-1".into(), 7)).await, Ok(1));
    until(|| !knows(&two, 2) && knows(&two, 3)).await;
    let again = two.change(Change::Register(Box::new(agent(1, 4)), Proof::Shown)).await;
    assert_eq!(again, Err(NotKept::Revoked));
    drop(two);
    engine.set_away(true);
    let two = open(&dir, &engine);
    assert!(knows(&two, 3) && !knows(&two, 2) && two.state().revoked().contains_key("agent-1"));
    assert!(matches!(register(&two, 5).await, Err(NotKept::Failed(_))), "nothing changes while nobody can be asked");
    assert!(!knows(&two, 5));
}

#[tokio::test]
async fn of_changes_at_several_gateways_at_once_none_is_lost() {
    let engine = Arc::<InMemory>::default();
    let ((_one, one), (_two, two)) = (gateway(&engine), gateway(&engine));
    let at_one = join_all((0..40).map(|n| register(&one, n)));
    let at_two = join_all((100..140).map(|n| register(&two, n)));
    let (at_one, at_two) = tokio::join!(at_one, at_two);
    assert!(at_one.iter().chain(&at_two).all(|result| *result == Ok(1)), "{at_one:?} {at_two:?}");
    for registry in [&one, &two] {
        until(|| (0..40).chain(100..140).all(|n| knows(registry, n))).await;
    }
}

#[tokio::test]
async fn a_gateway_that_joins_adds_its_agents_and_an_engine_that_forgot_gets_all_again() {
    let engine = Arc::<InMemory>::default();
    let (_one, one) = gateway(&engine);
    register(&one, 1).await.expect("there is room");
    register(&one, 2).await.expect("there is room");
    one.change(Change::Revoke("agent-2".into(), 7)).await.expect("it is known");
    let dir = tempfile::tempdir().expect("a folder");
    let alone = local(&dir);
    register(&alone, 2).await.expect("nobody revoked it here");
    register(&alone, 3).await.expect("there is room");
    drop(alone);
    let two = open(&dir, &engine);
    until(|| knows(&two, 1) && knows(&one, 3)).await;
    assert!(!knows(&one, 2) && !knows(&two, 2), "it was revoked");
    engine.empty();
    let (_three, three) = gateway(&engine);
    until(|| knows(&three, 1) && knows(&three, 3)).await;
    assert_eq!(register(&three, 4).await, Ok(1));
    until(|| knows(&one, 4) && knows(&two, 4)).await;
}

#[tokio::test]
async fn the_time_of_use_is_that_of_the_gateway_that_has_the_longest() {
    let engine = Arc::<InMemory>::default();
    let dir = tempfile::tempdir().expect("a folder");
    let old = local(&dir);
    old.put(State::of(br#"{"use_s":1000,"revoked":{},"agents":[]}"#, "").expect("it reads"))
        .await
        .expect("it is written");
    drop(old);
    let (one, (_two, two)) = (open(&dir, &engine), gateway(&engine));
    register(&one, 1).await.expect("there is room");
    until(|| two.use_s() >= 1000).await;
    assert_eq!(two.change(Change::Expire(900)).await, Ok(0), "it was just registered");
}
