//! One life of a gateway: what `app` puts together, as far as the way of an event needs it, on a disk with a switch.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use gatepost::balancer::{self, Backoff, Balancer, RetryBudget, Spec};
use gatepost::dedup::journal::Journal;
use gatepost::dedup::memory::MemoryStore;
use gatepost::event::{Client, KeyMaker, Presence, Syntax, Upload};
use gatepost::filter::{EventSet, Rules};
use gatepost::forward::batch::Identity;
use gatepost::forward::{self, Forwarder};
use gatepost::fs::Fs;
use gatepost::fs::volatile::VolatileFs;
use gatepost::hosts::Hosts;
use gatepost::ingest::bookkeeper::Bookkeeper;
use gatepost::ingest::ledger::Waiting;
use gatepost::ingest::{self, Accept, Ingest};
use gatepost::outputs::output::Output;
use gatepost::spool::cursor::registry::Registry;
use gatepost::spool::cursor::{Boot, Cursor, Surroundings};
use gatepost::spool::dead_letter::{DeadLetters, SharedLetters};
use gatepost::spool::{self, Spool};
use gatepost::values::{ByteSize, Span};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::sink::{Line, World};

/// Events by number.
pub(crate) type Events = Range<u64>;

/// How long everything may take to arrive.
const PATIENCE: Duration = Duration::from_secs(60);
const SECRET: [u8; 32] = [7; 32];

pub(crate) struct Life {
    spool: Spool,
    forwarder: Arc<Forwarder>,
    ingest: Ingest,
    books: Arc<Bookkeeper>,
    registry: Registry,
    stop: CancellationToken,
    run: JoinHandle<()>,
}

impl Life {
    /// Opens everything; `None` when the power goes off meanwhile.
    pub(crate) fn open(output: &str, disk: &VolatileFs, boot: Boot, world: &Arc<World>) -> Option<Self> {
        let fs: Arc<dyn Fs> = Arc::new(disk.clone());
        let state = Path::new("/state");
        let outputs = state.join("outputs");
        for dir in [state, &outputs, &state.join("spool"), &state.join("letters")] {
            fs.create_dir(dir).ok()?;
        }
        let (spool, _) = Spool::open(&small_spool(), &state.join("spool"), Arc::clone(&fs)).ok()?;
        let letters = DeadLetters::open(Arc::clone(&fs), &state.join("letters"), 1 << 20).ok()?;
        let letters = SharedLetters::from(letters);
        let (dedup, waiting) = (Arc::new(MemoryStore::new(&Default::default())), Arc::new(Waiting::default()));
        let journal = Journal::open(Arc::clone(&fs), &state.join("dedup"), Duration::from_secs(24 * 3600)).ok()?;
        let bookkeeper =
            Bookkeeper::open(Arc::clone(&fs), state, spool.clone(), Arc::clone(&waiting), journal, Arc::clone(&dedup))
                .ok()?;
        bookkeeper.load().ok()?;
        let parts = ingest::Parts {
            rules: Arc::new(ArcSwap::from_pointee(Rules::of_event_set(EventSet::Everything))),
            keys: Arc::new(KeyMaker::new(&SECRET)),
            dedup,
            spool: spool.clone(),
            replicated: None,
            dead_letters: letters.clone(),
            waiting,
            hosts: Hosts::new(gatepost::hosts::Config::default(), spool.clock().clone()),
        };
        let (mut registry, _) = Registry::open(Arc::clone(&fs), state);
        let status = spool.status();
        let (kept, life) = (status.first..status.end, registry.life(output));
        let around = Surroundings { log: spool.log(), kept, boot, life };
        let cursor = Cursor::open(fs, &outputs.join("output.cursor"), &around).ok()?;
        registry.note(output, cursor.life()).ok()?;
        spool.advance_to(cursor.high());
        let line = Line::new(Arc::clone(world), disk.clone());
        let forwarder = Arc::new(forwarder(output, line, spool.clone(), cursor, letters));
        let stop = CancellationToken::new();
        let run = tokio::spawn(Arc::clone(&forwarder).run(stop.clone()));
        let ingest = Ingest::new(ingest::Config::default(), parts);
        Some(Self { spool, forwarder, ingest, books: Arc::new(bookkeeper), registry, stop, run })
    }

    /// Uploads events; they, and whether they were acknowledged.
    pub(crate) fn upload(&self, events: Events) -> impl Future<Output = (Events, bool)> + Send + 'static {
        let rows: Vec<String> = events.clone().map(event).collect();
        let answer = self.ingest.accept(Upload {
            input: "agents".into(),
            client: Client { name: "agent".into(), scope: "plant".into(), ..Client::default() },
            stream: "Custom-SecurityEvent".into(),
            syntax: Syntax::JsonArray,
            body: format!("[{}]", rows.join(",")).into(),
            damaged: Vec::new(),
            known: None,
            presence: Presence::default(),
        });
        async move { (events, answer.await.is_ok()) }
    }

    /// What housekeeping does once a second.
    pub(crate) async fn checkpoint(&self) {
        self.books.flush().await;
        let (books, forwarder, spool) = (Arc::clone(&self.books), Arc::clone(&self.forwarder), self.spool.clone());
        let work = move || {
            if let (Ok(counted), Ok(low)) = (books.checkpoint(), forwarder.checkpoint()) {
                spool.release(counted.min(low));
            }
        };
        tokio::task::spawn_blocking(work).await.unwrap();
    }

    /// Without a word to anybody.
    pub(crate) fn cut_short(self) {
        self.run.abort();
    }

    /// Lets what is on its way come to its end, and closes the books.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        // Without power what is on its way has no end.
        let ended = tokio::time::timeout(Duration::from_millis(200), &mut self.run).await;
        if ended.is_err() {
            return self.cut_short();
        }
        if let Ok(life) = self.forwarder.close() {
            drop(self.registry.note(self.forwarder.name(), life));
        }
        self.checkpoint().await;
    }

    pub(crate) async fn until_drained(&self, output: &str) {
        let until = Instant::now() + PATIENCE;
        while self.forwarder.pending() > 0 {
            let (pending, error) = (self.forwarder.pending(), self.forwarder.last_error());
            assert!(Instant::now() < until, "{output}: {pending} events do not leave: {error:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// What was spooled is what was settled, and no damage is made up.
    pub(crate) fn assert_account(&self, output: &str) {
        let totals = self.forwarder.totals();
        assert_eq!((totals.damaged, totals.dead_lettered, totals.forgotten), (0, 0, 0), "{output}");
        assert_eq!(totals.sum(), self.spool.status().end, "{output}");
        assert_eq!((self.forwarder.position_lost(), self.forwarder.in_doubt()), (None, 0), "{output}");
    }
}

fn event(number: u64) -> String {
    format!(
        "{{\"TimeGenerated\":\"2026-01-02T03:04:05Z\",\"Computer\":\"CUT\",\"Channel\":\"Security\",\"EventID\":4624,\"EventRecordId\":{number}}}"
    )
}

fn small_spool() -> spool::Config {
    spool::Config {
        segment_size: ByteSize::bytes(64 << 10),
        max_size: ByteSize::mib(8),
        compression_level: 0,
        ..spool::Config::default()
    }
}

fn forwarder(output: &str, line: Line, spool: Spool, cursor: Cursor, dead_letters: SharedLetters) -> Forwarder {
    let quick = balancer::Config {
        retry_base: Span::millis(1),
        retry_cap: Span::millis(4),
        ejection_base: Span::millis(2),
        ejection_cap: Span::millis(8),
        ..balancer::Config::default()
    };
    let specs = line.endpoints().iter().map(|endpoint| Spec {
        name: endpoint.name.clone(),
        weight: endpoint.weight,
        priority: endpoint.priority,
        events_per_second: endpoint.events_per_second,
        rate: Default::default(),
        max_in_flight: endpoint.max_in_flight,
    });
    Forwarder::new(forward::Parts {
        name: output.into(),
        config: forward::Config { linger: Span::millis(1), ..forward::Config::default() },
        balancer: Balancer::new(specs.collect(), &quick, fastrand::Rng::with_seed(1)),
        output: Arc::new(line),
        spool,
        identity: Identity::new(&SECRET, cursor.log(), output),
        cursor,
        dead_letters,
        backoff: Backoff::between_retries(&quick),
        budget: RetryBudget::new(&quick),
        rng: fastrand::Rng::with_seed(2),
        room: u64::MAX,
        decided: None,
        permit: None,
        alike: None,
    })
}
