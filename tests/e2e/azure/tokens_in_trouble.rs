//! Tokens that end, secrets that go, an Entra that is away, roles that are late: events wait, and arrive once.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gatepost::lab::azure::Fault;
use tokio::time::Instant;

use super::scene::{APP, RULE, SECRET, STREAM, Scene, azure, secret};

/// Rows that are stored.
fn stored(scene: &Scene) -> usize {
    scene.azure.workspace().row_count(RULE, STREAM)
}

/// A gateway with a client secret that has delivered its first events.
async fn running(lifetime: Duration) -> Scene {
    let azure = azure(2).await;
    azure.directory().set_token_lifetime(lifetime);
    let identity = secret(&azure, SECRET);
    let mut scene = Scene::new(azure, &identity).await;
    scene.upload(50).await;
    scene.site.until_drained().await;
    scene
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_end_in_the_middle_of_a_run_and_nothing_is_lost_or_sent_twice() {
    let mut scene = running(Duration::from_secs(2)).await;
    let start = Instant::now();
    let mut uploads = 0;
    while start.elapsed() < Duration::from_secs(7) || uploads < 60 {
        scene.upload(50).await;
        uploads += 1;
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    scene.site.until_drained().await;
    let issued = scene.azure.directory().issued();
    assert!((3..60).contains(&issued), "{issued} tokens");
    scene.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_refuses_a_token_before_its_end_gets_another_and_the_events() {
    let mut scene = running(Duration::from_secs(3600)).await;
    for door in scene.azure.endpoints() {
        door.fail_next(Fault::Answer { status: 401, retry_after: None }, 1);
    }
    for _ in 0..10 {
        scene.upload(50).await;
    }
    scene.site.until_drained().await;
    assert!(scene.azure.directory().issued() >= 2, "another token was fetched");
    scene.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_secret_holds_events_back_until_its_replacement_is_configured() {
    let mut scene = running(Duration::from_secs(2)).await;
    scene.azure.directory().change(APP, |app| {
        app.revoke_secret(SECRET);
        app.add_secret("the-replacement");
    });
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let before = stored(&scene);
    scene.upload(200).await;
    scene.site.until("the log tells why", async || scene.site.log().contains("AADSTS7000215")).await;
    assert_eq!(stored(&scene), before);
    let failing = "gatepost_token_failing{output=";
    scene.site.until("the failure is shown", async || scene.site.metric(failing).await == 1.0).await;
    scene.site.configure(&scene.site.config().replace(SECRET, "the-replacement"));
    scene.running.signal("HUP");
    scene.site.until("it fails no more", async || scene.site.metric(failing).await == 0.0).await;
    let about = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() + 2.0;
    let ends = scene.site.metric("gatepost_token_expiry_timestamp_seconds{output=").await;
    assert!((ends - about).abs() < 60.0, "{ends} and not {about}");
    scene.ends_well().await;
}

/// Entra is away for so long while events come in.
async fn entra_is_away_for(span: Duration, fault: Option<Fault>) {
    let mut scene = running(Duration::from_secs(2)).await;
    match fault {
        Some(fault) => scene.azure.entra_door().fail_always(fault),
        None => scene.azure.entra_door().set_down(true),
    }
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let (before, asked) = (stored(&scene), scene.azure.entra_door().requests());
    let start = Instant::now();
    while start.elapsed() < span {
        scene.upload(50).await;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    assert_eq!(stored(&scene), before, "nothing can arrive without a token");
    let asked = scene.azure.entra_door().requests() - asked;
    let most = 5 + span.as_secs() * 3;
    assert!(asked <= most, "Entra was asked {asked} times in {} s: that is no waiting", span.as_secs());
    scene.azure.entra_door().behave();
    scene.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_wait_while_entra_cannot_be_reached() {
    entra_is_away_for(Duration::from_secs(10), None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes more than five minutes"]
async fn events_wait_while_entra_cannot_be_reached_for_five_minutes() {
    entra_is_away_for(Duration::from_secs(300), None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_wait_while_entra_answers_503_with_retry_after() {
    entra_is_away_for(Duration::from_secs(5), Some(Fault::Answer { status: 503, retry_after: Some(1) })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_wait_while_something_else_answers_for_entra() {
    entra_is_away_for(Duration::from_secs(3), Some(Fault::Garbage)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_wait_until_the_role_has_propagated_and_none_is_set_aside() {
    let azure = azure(1).await;
    azure.workspace().change_rule(RULE, |rule| rule.grant_after(APP, Duration::from_secs(5)));
    let identity = secret(&azure, SECRET);
    let mut scene = Scene::new(azure, &identity).await;
    for _ in 0..5 {
        scene.upload(100).await;
    }
    scene.site.until("the endpoint refuses", async || scene.azure.workspace().statuses().contains_key(&403)).await;
    scene.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_reply_is_the_only_way_to_send_twice_and_it_is_counted() {
    let mut scene = running(Duration::from_secs(3600)).await;
    let mut tries = 0;
    // A probe may meet the fault in the place of a batch.
    while scene.site.metric("gatepost_events_ambiguous_total").await == 0.0 {
        tries += 1;
        assert!(tries < 50, "no batch has met the fault: {}", scene.site.log());
        scene.azure.endpoints().iter().for_each(|door| door.fail_next(Fault::LostReply, 1));
        scene.upload(50).await;
        scene.site.until_drained().await;
    }
    let uploads = scene.azure.workspace().uploads();
    let batches = uploads.iter().filter(|upload| upload.rows > 0);
    let ids: Vec<_> = batches.map(|upload| upload.client_request_id.clone().expect("every batch has an id")).collect();
    let different: std::collections::HashSet<_> = ids.iter().collect();
    assert!(different.len() < ids.len(), "a batch keeps its id when it is sent again");
    let repeated = (stored(&scene) - scene.owed()) as f64;
    assert_eq!(scene.site.metric("gatepost_events_ambiguous_total").await, repeated, "what is there twice is counted");
}
