//! Promise 2, "nothing acknowledged is lost", and promise 3, "once per workspace", against `kill -9`.
//!
//! Uploaders hold obligations: an event is owed from its acknowledgement on. The process is killed at random moments
//! under load, restarted, killed again. At the end every obligation must have been delivered, and nothing twice, to a
//! collector that answers unambiguously (one that recognises a batch id that it has seen). To one that recognises nothing,
//! what is there twice must have been counted, from one kill to the next, and hardly more than what was on its way.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say what it saw")]

use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::support::{PATH, PATIENCE, Running, Site, workspace};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use gatepost::lab::collector::{Behaviour, Collector, Fault, Memory};
use gatepost::lab::events::{Host, Identity, Shape, SimulatedEvent};
use gatepost::lab::held::Held;
use gatepost::lab::traffic::Frozen;
use gatepost::net::upload_client::Client;
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Rounds of `kill -9`; more with GATEPOST_CRASH_ROUNDS.
const ROUNDS: u64 = 100;
/// The same where each round is counted by itself.
const COUNTED_ROUNDS: u64 = 40;
const UPLOADERS: u64 = 3;
/// Events of a batch where copies are counted.
const BATCH: u64 = 50;
/// Batches that can be on their way to two endpoints.
const SLOTS: u64 = 8;

/// What uploaders know: what they were promised, and what they sent without hearing an answer.
#[derive(Default)]
struct Oracle {
    owed: Mutex<HashSet<Identity>>,
    issued: Mutex<HashSet<Identity>>,
    stop: AtomicBool,
    uploads: AtomicU64,
}

/// A protocol as an agent speaks it: where it uploads an array of rows, what it puts on the request, and the status upon which
/// it forgets them.
struct Spoken {
    path: &'static str,
    headers: fn(&[u8]) -> Vec<(&'static str, String)>,
    taken: u16,
}

/// Those of the registry; agents take turns.
const SPOKEN: [Spoken; 3] = [
    Spoken { path: PATH, headers: |_| Vec::new(), taken: 204 },
    Spoken { path: "/v1/events", headers: |_| Vec::new(), taken: 200 },
    Spoken { path: "/api/logs?api-version=2016-04-01", headers: signed, taken: 200 },
];

/// The listener's protocols that are not on by themselves. Rows stay as they are, so that the collector knows them again.
const PROTOCOLS: &str = concat!(
    "data_collector = { enabled = true, workspaces = [{ id = \"01234567-89ab-cdef-0123-456789abcdef\", ",
    "keys = [\"AQEBAQEBAQEBAQEBAQEBAQ==\"], log_types = [{ name = \"Rows\", suffixes = false }] }] }\n",
);

/// A post to the Data Collector API, signed with the key of the configuration.
fn signed(body: &[u8]) -> Vec<(&'static str, String)> {
    let rfc_1123 =
        format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
    let date = OffsetDateTime::now_utc().format(&rfc_1123).unwrap();
    let text = format!("POST\n{}\napplication/json\nx-ms-date:{date}\n/api/logs", body.len());
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[1; 16]), text.as_bytes());
    let authorization = format!("SharedKey 01234567-89ab-cdef-0123-456789abcdef:{}", BASE64_STANDARD.encode(signature));
    vec![("authorization", authorization), ("x-ms-date", date), ("log-type", "Rows".to_owned())]
}

/// One agent: it keeps a batch until it is acknowledged, whatever happens to the gateway meanwhile. Returns how many were.
async fn agent(number: u64, client: Client, spoken: &'static Spoken, url: String, oracle: Arc<Oracle>) -> u64 {
    let mut acknowledged = 0;
    let mut host = Host::new(format!("CRASH-{number}.plant.example"), number).with_system_share(0.0);
    let mut rng = fastrand::Rng::with_seed(number);
    while !oracle.stop.load(Ordering::Relaxed) {
        let batch: Vec<SimulatedEvent> = (0..rng.usize(1..60)).map(|_| host.next_event()).collect();
        oracle.issued.lock().extend(batch.iter().map(SimulatedEvent::identity));
        let rows: Vec<Vec<u8>> = batch.iter().map(|event| event.render(Shape::Row)).collect();
        let body = [b"[".as_slice(), &rows.join(&b','), b"]"].concat();
        while !oracle.stop.load(Ordering::Relaxed) {
            let own = (spoken.headers)(&body);
            let mut headers = vec![("content-type", "application/json")];
            headers.extend(own.iter().map(|(name, value)| (*name, &**value)));
            let answer = client.post(&url, &headers, body.clone().into(), Duration::from_secs(5)).await;
            if answer.is_ok_and(|answer| answer.status == spoken.taken) {
                oracle.owed.lock().extend(batch.iter().map(SimulatedEvent::identity));
                oracle.uploads.fetch_add(1, Ordering::Relaxed);
                acknowledged += 1;
                break;
            }
            tokio::time::sleep(Duration::from_millis(rng.u64(5..50))).await;
        }
    }
    acknowledged
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// How many rounds, and what decides about their moments.
fn rounds(usual: u64) -> (u64, fastrand::Rng) {
    let rounds = variable("GATEPOST_CRASH_ROUNDS").unwrap_or(usual);
    let seed = variable("GATEPOST_CRASH_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("{rounds} rounds, GATEPOST_CRASH_SEED={seed}");
    (rounds, fastrand::Rng::with_seed(seed))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_nothing_arrives_twice_over_a_hundred_kills() {
    let (rounds, mut rng) = rounds(ROUNDS);
    let collector = Collector::start(Memory::Identities).await.unwrap();
    collector.set(Behaviour { recognise_repeats: true, latency: Duration::from_millis(3), ..Behaviour::default() });
    let site = Site::new(
        &(PROTOCOLS.to_owned() + &workspace("workspace", &[&collector])),
        "[spool]\nsegment_size = \"1 MiB\"\nmax_size = \"256 MiB\"\n",
    );
    let running = site.start().await;
    let oracle = Arc::new(Oracle::default());
    let agents: Vec<_> = (0..UPLOADERS)
        .zip(SPOKEN.iter().cycle())
        .map(|(number, spoken)| agent(number, site.client(), spoken, site.url(spoken.path), Arc::clone(&oracle)))
        .map(tokio::spawn)
        .collect();

    let mut running = Some(running);
    for round in 0..rounds {
        tokio::time::sleep(Duration::from_millis(rng.u64(20..400))).await;
        running.take().unwrap().kill();
        if round % 4 == 0 {
            // Killed again while it recovers.
            let again = site.launch();
            tokio::time::sleep(Duration::from_millis(rng.u64(1..60))).await;
            again.kill();
        }
        running = Some(site.start().await);
    }
    oracle.stop.store(true, Ordering::Relaxed);
    for (agent, spoken) in agents.into_iter().zip(SPOKEN.iter().cycle()) {
        assert!(agent.await.unwrap() > 0, "nothing that went to {} was ever taken", spoken.path);
    }
    site.until_drained().await;
    assert!(running.take().unwrap().stop().success(), "{}", site.log());
    site.assert_audit_balances();

    let owed = oracle.owed.lock();
    let issued = oracle.issued.lock();
    let held = collector.held();
    let lost: Vec<_> = owed.iter().filter(|identity| !held.events.contains_key(*identity)).take(5).collect();
    assert!(lost.is_empty(), "acknowledged and lost, among others: {lost:?}\n{}", site.log());
    let twice: Vec<_> = held.events.iter().filter(|(_, times)| **times > 1).take(5).collect();
    assert!(twice.is_empty(), "delivered more than once, {} in all, among others: {twice:?}", held.repeated());
    assert!(held.events.keys().all(|identity| issued.contains(identity)), "delivered but never sent");
    assert_eq!(held.strangers, 0);
    println!(
        "{} kills, {} uploads acknowledged, {} events owed, {} delivered, {} repeats recognised by their id",
        rounds + rounds.div_ceil(4),
        oracle.uploads.load(Ordering::Relaxed),
        owed.len(),
        held.events.len(),
        collector.tally().repeats,
    );
    assert!(owed.len() as u64 > rounds * 10, "there was hardly any load: {} events", owed.len());
}

/// Two collectors that recognise nothing, and what the processes so far left there.
struct Counting {
    collectors: [Collector; 2],
    /// What they held at the last kill.
    held: Held,
    /// What processes had sent by then and not heard of.
    in_doubt: HashSet<Identity>,
    /// Events that the last process may have sent unseen.
    unseen: u64,
}

impl Counting {
    async fn new() -> Self {
        let first = Collector::start(Memory::Identities).await.unwrap();
        let collectors = [first.start_beside().await.unwrap(), first];
        let counting = Self { collectors, held: Held::default(), in_doubt: HashSet::new(), unseen: 0 };
        counting.second_is_there(true).await;
        counting
    }

    /// Whether batches find both collectors, or one alone. To be said while no gateway runs.
    async fn second_is_there(&self, there: bool) {
        let slow = Behaviour { latency: Duration::from_millis(5), ..Behaviour::default() };
        self.collectors.iter().for_each(|collector| collector.set(slow.clone()));
        if !there {
            self.collectors[1].set(Behaviour { fault: Some(Fault::Down), ..slow });
            // The listener closes in its own time.
            while TcpStream::connect(self.collectors[1].address()).await.is_ok() {}
        }
    }

    fn requests(&self) -> u64 {
        self.collectors.iter().map(|collector| collector.requests_in_flight() as u64).sum()
    }

    fn in_flight(&self) -> Held {
        all(self.collectors.each_ref().map(Collector::in_flight))
    }

    fn held(&self) -> Held {
        all(self.collectors.each_ref().map(Collector::held))
    }

    /// One takes nothing more, the other one takes and does not say so.
    async fn stop_answering(&self) -> [Frozen; 2] {
        [self.collectors[0].fall_silent().await, self.collectors[1].freeze().await]
    }

    /// Waits until a gateway has sent all that it may while nobody answers, and all of it has arrived.
    async fn until_all_is_sent(&self, site: &Site) {
        let until = Instant::now() + PATIENCE;
        loop {
            let output = site.status().await["outputs"][0].take();
            let endpoints = output["endpoints"].as_array().unwrap();
            let count = |key| endpoints.iter().filter_map(|endpoint| endpoint[key].as_u64()).sum::<u64>();
            let is_full = endpoints.iter().all(|of| of["in_flight"] == of["limit"] || of["state"] != "closed");
            let all = is_full || output["pending"].as_u64() <= Some(self.in_flight().records());
            if count("in_flight") == self.requests() && all {
                return;
            }
            assert!(Instant::now() < until, "{output:#}, {} requests arrived\n{}", self.requests(), site.log());
        }
    }

    /// Kills a process and sees its requests go.
    async fn kill(&self, running: Running) {
        running.kill();
        let until = Instant::now() + PATIENCE;
        while self.requests() > 0 {
            assert!(Instant::now() < until, "a connection of a killed process stays");
            tokio::task::yield_now().await;
        }
    }

    /// Kills a process and accounts for its round. Nothing is answered meanwhile, so that what it counted and what they hold
    /// belong to one moment.
    async fn kill_and_count(&mut self, site: &Site, running: Running) {
        let silent = self.stop_answering().await;
        self.until_all_is_sent(site).await;
        let counted = site.metric("gatepost_events_ambiguous_total").await as u64;
        let in_flight = self.in_flight();
        self.kill(running).await;
        let held = self.held();
        let (made, before) = (held.copies() - self.held.copies(), self.in_doubt.len() as u64);
        assert!(made <= counted, "{made} copies, {counted} counted, {before} were in doubt\n{}", site.log());
        let most = before + self.unseen + 2 * BATCH;
        assert!(counted <= most, "{counted} counted, {before} were in doubt, {} unseen\n{}", self.unseen, site.log());
        // What was taken in this round and is not in flight was answered, and is settled.
        self.in_doubt.retain(|identity| held.events.get(identity) == self.held.events.get(identity));
        self.in_doubt.extend(in_flight.events.into_keys());
        (self.held, self.unseen) = (held, 0);
        drop(silent);
    }

    /// Kills a process while it recovers. Nothing is taken from it; what it sent is anybody's guess.
    async fn kill_again(&mut self, site: &Site, rng: &mut fastrand::Rng) {
        let frozen = [self.collectors[0].freeze().await, self.collectors[1].freeze().await];
        let again = site.launch();
        tokio::time::sleep(Duration::from_millis(rng.u64(1..60))).await;
        self.kill(again).await;
        self.unseen = SLOTS * BATCH;
        drop(frozen);
    }
}

fn all(parts: [Held; 2]) -> Held {
    let mut all = Held::default();
    parts.iter().for_each(|part| all.merge(part));
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_kills_make_of_copies_is_counted_in_each_round_and_hardly_more() {
    let (rounds, mut rng) = rounds(COUNTED_ROUNDS);
    let mut counting = Counting::new().await;
    let output = PROTOCOLS.to_owned()
        + &workspace("workspace", &counting.collectors.each_ref())
        + &format!("max_batch_events = {BATCH}\n");
    let site = Site::new(&output, "[spool]\nsegment_size = \"1 MiB\"\nmax_size = \"256 MiB\"\n");
    let mut running = site.start().await;
    let oracle = Arc::new(Oracle::default());
    let agents: Vec<_> = (0..UPLOADERS)
        .zip(SPOKEN.iter().cycle())
        .map(|(number, spoken)| agent(number, site.client(), spoken, site.url(spoken.path), Arc::clone(&oracle)))
        .map(tokio::spawn)
        .collect();

    for round in 0..rounds {
        tokio::time::sleep(Duration::from_millis(rng.u64(20..400))).await;
        counting.kill_and_count(&site, running).await;
        counting.second_is_there(rng.bool()).await;
        if round % 4 == 0 {
            counting.kill_again(&site, &mut rng).await;
        }
        running = site.start().await;
    }
    oracle.stop.store(true, Ordering::Relaxed);
    for (agent, spoken) in agents.into_iter().zip(SPOKEN.iter().cycle()) {
        assert!(agent.await.unwrap() > 0, "nothing that went to {} was ever taken", spoken.path);
    }
    site.until_drained().await;
    counting.kill_and_count(&site, running).await;
    site.assert_audit_balances();

    let held = counting.held();
    let owed = oracle.owed.lock();
    let lost = owed.iter().filter(|identity| !held.events.contains_key(*identity)).count();
    assert_eq!(lost, 0, "acknowledged and lost, of {}\n{}", owed.len(), site.log());
    println!("{} events owed, {} copies", owed.len(), held.copies());
    assert!(held.copies() > 0, "no kill made a copy: the test shows nothing");
}
