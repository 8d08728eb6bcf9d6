//! Promises 2 and 3 under a wall clock that anybody may set: a jumping clock forgets nothing, and nothing expires by it.
//!
//! The gateway runs in this process, on a clock that the test moves: it can let days pass as well as jump.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};

use gatepost::app::{Gateway, Machine};
use gatepost::clock::{BootId, Reading, Source, System};
use gatepost::lab::collector::{Behaviour, Collector, Fault, Memory};
use gatepost::lab::events::{Host, Shape, SimulatedEvent};
use gatepost::net::upload_client::Client;

use crate::load::{SMALL_SPOOL, array, assert_each_once, receipt, scrape};
use crate::support::{Site, workspace};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const TEN_YEARS: i64 = 3650 * DAY;

/// This machine's clocks, moved.
struct Clocks {
    wall_s: AtomicI64,
    boot_s: AtomicI64,
    boot: AtomicU8,
}

impl Clocks {
    fn new() -> Arc<Self> {
        Arc::new(Self { wall_s: 0.into(), boot_s: 0.into(), boot: 1.into() })
    }

    fn jump(&self, seconds: i64) {
        self.wall_s.fetch_add(seconds, Ordering::Relaxed);
    }

    fn pass(&self, seconds: i64) {
        self.jump(seconds);
        self.boot_s.fetch_add(seconds, Ordering::Relaxed);
    }

    /// The machine is started again.
    fn boot_again(&self) {
        self.boot.fetch_add(1, Ordering::Relaxed);
    }
}

impl Source for Clocks {
    fn read(&self) -> Reading {
        let now = System.read();
        let moved = |ns: i64, by: &AtomicI64| ns + by.load(Ordering::Relaxed) * 1_000_000_000;
        Reading { wall_ns: moved(now.wall_ns, &self.wall_s), boot_ns: moved(now.boot_ns, &self.boot_s) }
    }

    fn boot_id(&self) -> Option<BootId> {
        Some(BootId([self.boot.load(Ordering::Relaxed); 16]))
    }
}

/// A site with a collector, and a gateway on moved clocks. Events expire after a day, and are seen again after a day.
struct Scene {
    site: Site,
    collector: Collector,
    clocks: Arc<Clocks>,
    gateway: Option<Gateway>,
    events: Vec<SimulatedEvent>,
}

impl Scene {
    /// Not started yet; the collector is down, so that events wait.
    async fn new() -> Self {
        let collector = Collector::start(Memory::Identities).await.unwrap();
        collector.set(Behaviour { fault: Some(Fault::Down), ..Behaviour::default() });
        let output = workspace("workspace", &[&collector]).replace("linger =", "max_age = \"1 d\", linger =");
        let site = Site::new(&output, SMALL_SPOOL);
        Self { site, collector, clocks: Clocks::new(), gateway: None, events: Vec::new() }
    }

    async fn start(&mut self) {
        let config = gatepost::config::load(&self.site.config_path()).unwrap();
        let time = Arc::clone(&self.clocks) as Arc<dyn Source>;
        let machine = Machine { time, ..Machine::default() };
        let gateway = Gateway::start_on(machine, config, Some(self.site.config_path()), scrape()).await.unwrap();
        self.gateway = Some(gateway);
    }

    async fn restart(&mut self) {
        self.stop().await;
        self.start().await;
    }

    async fn stop(&mut self) {
        self.gateway.take().expect("it runs").stop().await;
    }

    async fn upload(&mut self, count: usize) {
        let host = Host::new("CLOCK.plant.example", 30 + self.events.len() as u64);
        let fresh: Vec<_> = host.take(count).collect();
        assert_eq!(self.new_and_seen(&fresh).await, (count as u64, 0));
        self.events.extend(fresh);
    }

    async fn new_and_seen(&self, events: &[SimulatedEvent]) -> (u64, u64) {
        let receipt = receipt(&self.site, &self.client(), &[], array(events, Shape::Row)).await;
        (receipt["spooled"].as_u64().unwrap(), receipt["duplicate"].as_u64().unwrap())
    }

    fn client(&self) -> Client {
        self.site.client()
    }

    /// Every event that was taken is known still.
    async fn assert_nothing_is_forgotten(&self) {
        for part in self.events.chunks(500) {
            assert_eq!(self.new_and_seen(part).await, (0, part.len() as u64));
        }
    }

    async fn until_held(&self, held: bool) {
        self.site.until("the clock is seen so", async || self.site.status().await["clock"]["held"] == held).await;
    }

    /// The output looks at what waits, again and again, and finds nothing too old: the collector comes back and gets all.
    async fn assert_everything_arrives(&self) {
        self.collector.set(Behaviour::default());
        self.site.until_drained().await;
        let owed = self.events.iter().map(SimulatedEvent::identity).collect();
        assert_each_once(&owed, &[&self.collector]);
        assert_eq!(self.site.status().await["dead_letters"]["count"], 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_hours_ahead_for_some_seconds_forgets_and_expires_nothing() {
    let mut scene = Scene::new().await;
    scene.start().await;
    // Old enough for both windows to have an end.
    scene.clocks.pass(3 * DAY);
    scene.upload(2_000).await;
    scene.clocks.jump(30 * HOUR);
    scene.until_held(true).await;
    scene.assert_nothing_is_forgotten().await;
    scene.upload(100).await;
    scene.clocks.jump(-30 * HOUR);
    scene.until_held(false).await;
    scene.assert_nothing_is_forgotten().await;
    scene.assert_everything_arrives().await;
    // Shown once a second.
    let site = &scene.site;
    site.until("the jump is counted", async || site.metric("gatepost_clock_jumps_total").await >= 1.0).await;
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_years_back_at_boot_then_right_then_restarts_expires_nothing() {
    let mut scene = Scene::new().await;
    scene.clocks.jump(-TEN_YEARS);
    scene.start().await;
    scene.clocks.pass(3 * DAY);
    scene.upload(800).await;
    scene.clocks.jump(TEN_YEARS);
    scene.until_held(true).await;
    // Nobody has decided: neither a restart nor another boot of the machine takes it for right.
    scene.restart().await;
    scene.assert_nothing_is_forgotten().await;
    scene.clocks.boot_again();
    scene.restart().await;
    scene.until_held(true).await;
    scene.assert_nothing_is_forgotten().await;
    // Somebody decides.
    let shown = scene.site.gatepost(&["clock", "show"]);
    let words = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.status.code() == Some(1) && words.contains("days ahead of"), "{shown:?}");
    let accepted = scene.site.gatepost(&["clock", "accept"]);
    assert!(accepted.status.success(), "{accepted:?}");
    scene.until_held(false).await;
    scene.restart().await;
    scene.until_held(false).await;
    scene.assert_nothing_is_forgotten().await;
    scene.assert_everything_arrives().await;
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_clock_stamped_is_not_believed_when_this_one_is_lost() {
    for jump in [-TEN_YEARS, 30 * HOUR, TEN_YEARS] {
        let mut scene = Scene::new().await;
        scene.clocks.jump(jump);
        scene.start().await;
        scene.upload(300).await;
        scene.stop().await;
        // As an earlier version left it, or as a damaged disk does.
        std::fs::remove_file(scene.site.state().join("clock")).unwrap();
        scene.clocks.jump(-jump);
        scene.start().await;
        scene.assert_nothing_is_forgotten().await;
        scene.assert_everything_arrives().await;
        scene.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_that_does_pass_still_ends_windows_and_ages() {
    let mut scene = Scene::new().await;
    scene.start().await;
    scene.clocks.pass(3 * DAY);
    scene.upload(50).await;
    let waiting = scene.events.split_off(0);
    // Held or not: what counts is how long it waited.
    scene.clocks.jump(TEN_YEARS);
    scene.until_held(true).await;
    scene.clocks.pass(DAY + HOUR);
    assert_eq!(scene.new_and_seen(&waiting).await, (50, 0), "the window is over");
    // A batch on its way is not taken back; what is read anew has expired.
    scene.restart().await;
    let site = &scene.site;
    site.until("they expire", async || site.status().await["dead_letters"]["count"] == 50).await;
    scene.stop().await;
}
