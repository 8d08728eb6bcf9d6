//! An engine as the store sees it: something to ask, and a board that says how it is.
//!
//! Who works for an engine writes on the board; whoever wants to know reads there. What the other gateways are to hear of this one
//! stands there too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use super::ask::{Answer, Ask, Away};
use super::neighbours::{Neighbour, Said};
use super::segment::Gateway;
use crate::values::PerMinute;

/// Who is told what became of the engine. What is passed down to the engine's task, so that it knows no upper layer.
pub trait Watcher: Send + Sync + 'static {
    /// The engine is there again. `identity` tells one filling of it from another: with another one it may have forgotten.
    fn connected(&self, identity: u64);
}

/// How it stands with the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It answers.
    Connected {
        /// Where.
        address: String,
        /// What it says of itself.
        about: About,
    },
    /// It does not.
    Away {
        /// Why.
        reason: String,
        /// Since when.
        since: Instant,
        /// Whether only a person can mend it.
        refused: bool,
    },
}

/// What an engine says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// Its version.
    pub version: String,
    /// What it does when it has no room.
    pub policy: String,
    /// Keys that it dropped for want of room since its start.
    pub evicted: u64,
    /// Whether it drops keys in silence when it has no room.
    pub evicts: bool,
    /// Bytes of memory that it takes at this gateway, where it takes some.
    pub memory: Option<u64>,
}

/// What was done since the start, for metrics.
#[derive(Debug, Default)]
pub struct Counts {
    /// Calls of the script.
    pub calls: AtomicU64,
    /// Operations in them.
    pub operations: AtomicU64,
    /// Microseconds that they took, waiting included.
    pub micros: AtomicU64,
    /// Times that the engine was found away.
    pub losses: AtomicU64,
}

/// What keeps which events were seen, for all gateways together.
pub(crate) trait Engine: Send + Sync + 'static {
    /// Asks; an answer for each part, or why there is none. Whatever is answered, it may have been done.
    fn ask(&self, ask: Ask) -> BoxFuture<'_, Result<Vec<Answer>, Away>>;

    /// Asks without waiting for the answer.
    fn tell(&self, ask: Ask);
}

/// What has to run for an engine.
pub struct Work(Box<dyn FnOnce(Arc<dyn Watcher>) -> BoxFuture<'static, ()> + Send>);

impl Work {
    /// This, until nobody can ask any more.
    pub(crate) fn new<F: Future<Output = ()> + Send + 'static>(
        run: impl FnOnce(Arc<dyn Watcher>) -> F + Send + 'static,
    ) -> Self {
        Self(Box::new(|watcher| Box::pin(run(watcher))))
    }

    /// Runs until the store has gone; `watcher` learns when the engine is there.
    pub async fn run(self, watcher: Arc<dyn Watcher>) {
        (self.0)(watcher).await;
    }
}

/// How it stands with an engine, and what is told of this gateway.
pub(crate) struct Board {
    pub(crate) gateway: Gateway,
    pub(crate) counts: Counts,
    /// Events that this gateway still has to send, told to the others.
    pub(crate) pending: AtomicU64,
    /// The hash of what gateways must be configured alike.
    agreed: Mutex<String>,
    /// What it sends through each data collection rule, told to the others.
    quotas: Mutex<BTreeMap<String, PerMinute>>,
    identity: AtomicU64,
    standing: watch::Sender<Standing>,
    neighbours: Mutex<Vec<Neighbour>>,
}

impl Board {
    /// Of an engine that was not asked yet.
    pub(crate) fn new(gateway: Gateway) -> Self {
        let away = Standing::Away { reason: "not asked yet".to_owned(), since: Instant::now(), refused: false };
        Self {
            gateway,
            counts: Counts::default(),
            pending: AtomicU64::new(0),
            agreed: Mutex::default(),
            quotas: Mutex::default(),
            identity: AtomicU64::new(0),
            standing: watch::Sender::new(away),
            neighbours: Mutex::default(),
        }
    }

    /// The hash of what gateways must be configured alike; empty while nobody has told it.
    pub(crate) fn agreed(&self) -> String {
        self.agreed.lock().clone()
    }

    pub(crate) fn tell_agreed(&self, hash: String) {
        *self.agreed.lock() = hash;
    }

    /// What this gateway sends through each data collection rule.
    pub(crate) fn quotas(&self) -> BTreeMap<String, PerMinute> {
        self.quotas.lock().clone()
    }

    pub(crate) fn tell_quotas(&self, quotas: BTreeMap<String, PerMinute>) {
        *self.quotas.lock() = quotas;
    }

    /// Which filling of the engine answered last.
    pub(crate) fn identity(&self) -> u64 {
        self.identity.load(Ordering::Acquire)
    }

    pub(crate) fn set_identity(&self, identity: u64) {
        self.identity.store(identity, Ordering::Release);
    }

    /// How it stands, and its changes.
    pub(crate) fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// It answers.
    pub(crate) fn show(&self, address: String, about: About) {
        self.standing.send_replace(Standing::Connected { address, about });
    }

    /// It does not, since then.
    pub(crate) fn lose(&self, away: Away, since: Instant) {
        let was_there = matches!(*self.standing.borrow(), Standing::Connected { .. });
        if was_there {
            self.counts.losses.fetch_add(1, Ordering::Relaxed);
        }
        let Away { reason, refused } = away;
        self.standing.send_replace(Standing::Away { reason, since, refused });
    }

    /// Why nobody is answered now.
    pub(crate) fn away(&self) -> Away {
        match &*self.standing.borrow() {
            Standing::Away { reason, refused, .. } => Away { reason: reason.clone(), refused: *refused },
            Standing::Connected { .. } => Away { reason: "it has just gone".to_owned(), refused: false },
        }
    }

    /// The other gateways, as they were last seen.
    pub(crate) fn neighbours(&self) -> Vec<Neighbour> {
        self.neighbours.lock().clone()
    }

    pub(crate) fn set_neighbours(&self, neighbours: Vec<Neighbour>) {
        *self.neighbours.lock() = neighbours;
    }

    /// What this gateway says of itself to the others, without what only its engine knows.
    pub(crate) fn said(&self, name: String) -> Said {
        Said {
            name,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pending: self.pending.load(Ordering::Relaxed),
            agreed: self.agreed(),
            quotas: self.quotas(),
            ..Said::default()
        }
    }

    /// Another gateway, which said this so long ago.
    pub(crate) fn neighbour(&self, id: String, said: Said, seen_seconds_ago: u64) -> Neighbour {
        let Said { name, version, pending, quotas, agreed, .. } = said;
        let mine = self.agreed();
        let agrees = agreed.is_empty() || mine.is_empty() || agreed == mine;
        Neighbour { id, name, version, seen_seconds_ago, pending, agrees, quotas }
    }
}
