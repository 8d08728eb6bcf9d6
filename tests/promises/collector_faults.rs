//! Promises 2, 3 and 6 while a collector misbehaves: nothing is lost, nothing arrives twice, the others carry on.
//!
//! Three collectors of one workspace; the one in the middle gets the fault. What "carries on" means is counted in
//! events, not in seconds: while the fault lasts, the other two take what comes.

use std::time::Duration;

use gatepost::lab::collector::{Behaviour, Collector, Fault, Memory};

use crate::load::{Agent, SMALL_SPOOL, assert_each_once, endpoint_state};
use crate::support::{Running, Site, workspace};

/// Uploads while the faulty collector is out, of so many events each.
const UPLOADS: u64 = 25;
const EVENTS: u64 = 40;

struct Scene {
    site: Site,
    running: Running,
    collectors: [Collector; 3],
    agent: Agent,
}

/// A collector of one workspace recognises a batch that it, or one beside it, has taken already.
fn sound() -> Behaviour {
    Behaviour { recognise_repeats: true, ..Behaviour::default() }
}

fn with(fault: Fault) -> Behaviour {
    Behaviour { fault: Some(fault), ..sound() }
}

impl Scene {
    /// A gateway that has delivered its first events, in small batches so that there are many.
    async fn new() -> Self {
        let first = Collector::start(Memory::Identities).await.unwrap();
        let collectors = [first.start_beside().await.unwrap(), first.start_beside().await.unwrap(), first];
        collectors.iter().for_each(|collector| collector.set(sound()));
        let output = workspace("workspace", &collectors.each_ref()) + &format!("max_batch_events = {EVENTS}\n");
        let site = Site::new(&output, SMALL_SPOOL);
        let running = site.start().await;
        let mut agent = Agent::new(&site, "FAULTS.plant.example", 1);
        for _ in 0..5 {
            agent.upload(&site, EVENTS as usize).await;
        }
        site.until_drained().await;
        Self { site, running, collectors, agent }
    }

    fn faulty(&self) -> &Collector {
        &self.collectors[1]
    }

    /// What the two sound collectors have taken.
    fn taken_by_others(&self) -> u64 {
        self.collectors[0].tally().events + self.collectors[2].tally().events
    }

    async fn state(&self) -> String {
        endpoint_state(&self.site, 0, 1).await
    }

    /// Uploads until the faulty collector has met enough requests to be taken out.
    async fn until_out(&mut self) {
        let mut uploads = 0;
        while !["open", "half_open", "throttled"].contains(&self.state().await.as_str()) {
            self.agent.upload(&self.site, EVENTS as usize).await;
            uploads += 1;
            assert!(uploads < 2_000, "the faulty collector is never taken out: {}", self.site.log());
        }
    }

    /// Uploads on and sees that the others take it while the fault lasts. A collector that is out is tried now and
    /// then; of the batches of such tries, at most `stuck` may wait for it.
    async fn others_carry_on(&mut self, stuck: u64) {
        let before = self.taken_by_others();
        for _ in 0..UPLOADS {
            self.agent.upload(&self.site, EVENTS as usize).await;
        }
        let wanted = before + (UPLOADS - stuck) * EVENTS;
        self.site.until("the others take what comes", async || self.taken_by_others() >= wanted).await;
    }

    /// What got no answer is counted when it is sent again.
    async fn until_ambiguous(&self) {
        let counted = async || self.site.metric("gatepost_events_ambiguous_total").await > 0.0;
        self.site.until("an ambiguous answer is counted", counted).await;
    }

    /// Ends the fault, sees the collector come back into use, and closes the account.
    async fn comes_back(mut self) {
        self.faulty().set(sound());
        let before = self.faulty().tally().events;
        let mut uploads = 0;
        while self.faulty().tally().events == before || !["closed", "slow_start"].contains(&self.state().await.as_str())
        {
            self.agent.upload(&self.site, EVENTS as usize).await;
            uploads += 1;
            assert!(uploads < 2_000, "the collector never comes back: {}", self.site.log());
        }
        self.site.until_drained().await;
        assert!(self.running.stop().success());
        assert_each_once(&self.agent.owed, &self.collectors.each_ref());
        self.site.assert_audit_balances();
    }
}

/// A fault that answers, or never takes anything: batches go on to another collector at once.
async fn rides_out(fault: Fault) {
    let mut scene = Scene::new().await;
    scene.faulty().set(with(fault));
    scene.until_out().await;
    scene.others_carry_on(0).await;
    // Not even the batches that met the fault wait for its end.
    scene.site.until_drained().await;
    assert_each_once(&scene.agent.owed, &scene.collectors.each_ref());
    scene.comes_back().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_down_is_left_out_and_comes_back() {
    rides_out(Fault::Down).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_answers_503_with_retry_after_is_left_out_and_comes_back() {
    rides_out(Fault::Answer { status: 503, retry_after: Some(1) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_answers_429_is_left_out_and_comes_back() {
    rides_out(Fault::Answer { status: 429, retry_after: None }).await;
}

/// A collector that is the only one to refuse: it is the one that is wrong.
async fn refuses_alone(status: u16) {
    let mut scene = Scene::new().await;
    scene.faulty().set(with(Fault::Answer { status, retry_after: None }));
    scene.until_out().await;
    scene.others_carry_on(0).await;
    scene.site.until_drained().await;
    let output = scene.site.status().await["outputs"][0].take();
    assert_eq!(output["dead_lettered"], 0, "{output:#}");
    assert_eq!(output["endpoints"][1]["ejected_for"], "contradicted", "{output:#}");
    assert_eq!(output["last_error"]["endpoint"], "c1", "{output:#}");
    assert!(output["last_error"]["advice"].as_str().is_some_and(|advice| advice.contains("other endpoints take")));
    let told = scene.site.log().matches("other endpoints take what this one refuses").count();
    assert_eq!(told, 1, "{}", scene.site.log());
    assert_each_once(&scene.agent.owed, &scene.collectors.each_ref());
    scene.comes_back().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_rejects_what_others_take_buries_nothing_and_is_left_out() {
    refuses_alone(400).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_finds_everything_too_large_buries_nothing_and_is_left_out() {
    refuses_alone(413).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_hangs_is_left_out_and_comes_back() {
    let mut scene = Scene::new().await;
    scene.faulty().set(with(Fault::Hang));
    scene.until_out().await;
    scene.others_carry_on(5).await;
    scene.comes_back().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_collector_took_and_reset_without_keeping_is_sent_again() {
    let mut scene = Scene::new().await;
    scene.faulty().set(with(Fault::Reset { keep: false }));
    scene.until_out().await;
    scene.others_carry_on(10).await;
    scene.until_ambiguous().await;
    scene.comes_back().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_collector_kept_and_reset_arrives_once_where_batch_ids_are_recognised() {
    let mut scene = Scene::new().await;
    scene.faulty().set(with(Fault::Reset { keep: true }));
    scene.until_out().await;
    scene.others_carry_on(10).await;
    scene.until_ambiguous().await;
    scene.faulty().set(sound());
    scene.site.until_drained().await;
    let repeats: u64 = scene.collectors.iter().map(|collector| collector.tally().repeats).sum();
    assert!(repeats > 0, "nothing was sent again: the test shows nothing");
    scene.comes_back().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_too_large_is_split_until_it_fits_and_all_of_it_arrives() {
    let mut scene = Scene::new().await;
    for collector in &scene.collectors {
        collector.set(Behaviour { refuse_above: Some(8_000), ..sound() });
    }
    for _ in 0..UPLOADS {
        scene.agent.upload(&scene.site, EVENTS as usize).await;
    }
    scene.site.until_drained().await;
    let refused: u64 = scene.collectors.iter().map(|c| c.tally().answers.get(&413).copied().unwrap_or_default()).sum();
    assert!(refused >= UPLOADS, "only {refused} batches were too large: the test shows nothing");
    assert!(scene.running.stop().success());
    assert_each_once(&scene.agent.owed, &scene.collectors.each_ref());
    scene.site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_takes_two_seconds_gets_little_and_delays_nobody() {
    let mut scene = Scene::new().await;
    let before: Vec<u64> = scene.collectors.iter().map(|collector| collector.tally().events).collect();
    scene.faulty().set(Behaviour { latency: Duration::from_secs(2), ..sound() });
    for _ in 0..4 * UPLOADS {
        scene.agent.upload(&scene.site, EVENTS as usize).await;
    }
    scene.site.until_drained().await;
    let now = scene.collectors.iter().map(|collector| collector.tally().events);
    let taken: Vec<u64> = now.zip(before).map(|(now, before)| now - before).collect();
    assert!(taken[1] * 5 < taken.iter().sum(), "the slow one was given too much: {taken:?}");
    scene.faulty().set(sound());
    assert!(scene.running.stop().success());
    assert_each_once(&scene.agent.owed, &scene.collectors.each_ref());
    scene.site.assert_audit_balances();
}
