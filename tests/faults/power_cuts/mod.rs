//! Promises 2 and 3 against power cuts: nothing acknowledged is lost, and what arrives twice is counted as ambiguous.
//!
//! The real spool, books, cursors, forwarders and ingest run in this process, on a disk whose power is cut at a change
//! that a seed names; what was not synced is then gone, or not. The sink and the agents stand outside: they have no
//! power cut, and nobody hears anything of a gateway without power. So there is no race, and no luck.

#![expect(clippy::unwrap_used, reason = "in a test suite helpers are tests too")]

mod life;
mod sink;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use gatepost::admin::Scrape;
use gatepost::fs::volatile::VolatileFs;
use gatepost::spool::cursor::Boot;
use life::{Events, Life};
use sink::World;
use tokio::task::JoinSet;

/// Seeds to try; more with GATEPOST_CUT_SEEDS, other ones with GATEPOST_CUT_FIRST.
const SEEDS: u64 = 200;
/// So many at a time: most of each is waiting.
const AT_ONCE: usize = 6;

/// A seed's gateway: its lives on one disk, and what it owes.
struct Story {
    output: String,
    rng: fastrand::Rng,
    disk: VolatileFs,
    boot: u128,
    world: Arc<World>,
    owed: BTreeSet<u64>,
    /// Uploads that were not acknowledged, which their agents keep.
    kept: Vec<Events>,
    next: u64,
}

#[derive(Debug, Default)]
struct Sums {
    cuts: u64,
    owed: u64,
    twice: u64,
}

impl Story {
    fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let recognises = rng.u8(..4) == 0;
        Self {
            output: format!("seed-{seed}"),
            disk: VolatileFs::default(),
            boot: 1,
            world: Arc::new(World::new(rng.fork(), recognises)),
            rng,
            owed: BTreeSet::new(),
            kept: Vec::new(),
            next: 1,
        }
    }

    fn open(&self) -> Option<Life> {
        Life::open(&self.output, &self.disk, Boot::of(self.boot), &self.world)
    }

    /// One life, from an opening that may not come to its end to whatever ends it.
    async fn live(&mut self) {
        if self.rng.u8(..4) > 0 {
            // Early ones fall into the opening.
            self.disk.cut_after(if self.rng.bool() { self.rng.u64(..40) } else { self.rng.u64(..500) });
        }
        self.world.misbehave(self.rng.bool());
        if let Some(mut life) = self.open() {
            self.drive(&mut life).await;
            if self.rng.u8(..4) == 0 {
                life.stop().await;
            } else {
                life.cut_short();
            }
        }
        if self.rng.u8(..4) == 0 && self.disk.is_on() {
            self.disk = self.disk.kill();
        } else {
            self.disk = self.disk.cut(&mut self.rng);
            self.boot += 1;
        }
    }

    async fn drive(&mut self, life: &mut Life) {
        let mut uploads = JoinSet::new();
        for _ in 0..self.rng.usize(4..30) {
            if !self.disk.is_on() {
                break;
            }
            match self.rng.u8(..10) {
                0..6 => drop(uploads.spawn(life.upload(self.events()))),
                6..8 => life.checkpoint().await,
                _ => tokio::time::sleep(Duration::from_micros(self.rng.u64(..4_000))).await,
            }
        }
        while let Some(upload) = uploads.join_next().await {
            match upload.unwrap() {
                (events, true) => self.owed.extend(events),
                (events, false) => self.kept.push(events),
            }
        }
    }

    /// New events, or those of an upload that was refused.
    fn events(&mut self) -> Events {
        if let Some(events) = self.kept.pop() {
            return events;
        }
        let most = if self.rng.u8(..6) == 0 { 400 } else { 40 };
        let first = self.next;
        self.next += self.rng.u64(1..most);
        first..self.next
    }

    /// A life without trouble, in which everything must arrive.
    async fn end(mut self) -> Sums {
        self.world.behave();
        let life = self.open().expect("a disk with power");
        while let Some(events) = self.kept.pop() {
            let (events, taken) = life.upload(events).await;
            assert!(taken, "{}: nothing is wrong any more", self.output);
            self.owed.extend(events);
        }
        life.until_drained(&self.output).await;
        life.assert_account(&self.output);
        life.stop().await;
        let held = self.world.held();
        let lost: Vec<_> = self.owed.iter().filter(|event| !held.contains_key(event)).take(5).collect();
        assert!(lost.is_empty(), "{}: acknowledged and lost, among others: {lost:?}", self.output);
        let twice = held.values().map(|copies| copies - 1).sum();
        Sums { cuts: u64::try_from(self.boot).unwrap() - 1, owed: self.owed.len() as u64, twice }
    }
}

/// What the counter of an output says on the metrics page.
fn ambiguous(page: &str, output: &str) -> u64 {
    let series = format!("gatepost_events_ambiguous_total{{output=\"{output}\"}} ");
    let line = page.lines().find_map(|line| line.strip_prefix(&series));
    line.map_or(0, |value| value.parse().unwrap())
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_loses_nothing_and_what_goes_twice_is_counted() {
    let scrape = Scrape::install().unwrap();
    let (first, seeds) = (number("GATEPOST_CUT_FIRST", 0), number("GATEPOST_CUT_SEEDS", SEEDS));
    let mut left = first..first + seeds;
    let (mut running, mut ended) = (JoinSet::new(), Vec::new());
    loop {
        while running.len() < AT_ONCE
            && let Some(seed) = left.next()
        {
            running.spawn(async move {
                let mut story = Story::new(seed);
                for _ in 0..story.rng.u8(2..6) {
                    story.live().await;
                }
                (seed, story.end().await)
            });
        }
        match running.join_next().await {
            Some(story) => ended.push(story.unwrap()),
            None => break,
        }
    }
    let page = scrape.render();
    let (mut sum, mut counted_in_all) = (Sums::default(), 0);
    for (seed, Sums { cuts, owed, twice }) in ended {
        let counted = ambiguous(&page, &format!("seed-{seed}"));
        assert!(twice <= counted, "seed {seed}: {twice} arrived twice, {counted} were counted");
        counted_in_all += counted;
        sum = Sums { cuts: sum.cuts + cuts, owed: sum.owed + owed, twice: sum.twice + twice };
    }
    println!("{seeds} seeds: {sum:?}, {counted_in_all} counted as ambiguous");
    assert!(sum.cuts > seeds && sum.twice > 0, "nothing was tried: {sum:?}");
}
