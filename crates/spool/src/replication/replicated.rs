//! What the rest of the gateway sees of replication: how far the log is replicated, and how it stands.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering as Atomic};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use super::permit::{Granted, Permit};
use super::servers::{Fill, LogName};
use crate::spool::Ordinal;

/// For so long the servers may be silent before uploads are shed at once and readiness falls: an election takes 5 to 7 s.
const SILENCE: Duration = Duration::from_secs(10);

/// How it stands with the replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// The servers were not reached yet.
    Starting,
    /// What is appended is replicated.
    Writing,
    /// The servers have no room.
    Full,
    /// They cannot be asked, or not used as they are; with what is wrong.
    Away(String),
    /// Another gateway takes the log over, or another process writes it; with which one.
    Lost(String),
}

/// An item is not known to be replicated. It may be all the same, now or soon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the log is not replicated: {because}")]
pub struct NotReplicated {
    /// Why.
    pub because: String,
}

/// What was done since the start.
#[derive(Debug, Default)]
pub struct Counts {
    /// Messages that were replicated.
    pub messages: AtomicU64,
    /// Their bytes.
    pub bytes: AtomicU64,
    /// Microseconds from a message to its acknowledgement, in all.
    pub micros: AtomicU64,
    /// Logs of other gateways that were taken over.
    pub taken_over: AtomicU64,
    /// How often the servers were not reached.
    pub failures: AtomicU64,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) reached: watch::Sender<Ordinal>,
    pub(super) granted: watch::Sender<Granted>,
    /// How full the servers are: as they said last, and with what was written since.
    fill: Mutex<Option<Fill>>,
    /// Whether what room they have is left to takeovers.
    is_scarce: AtomicBool,
    standing: watch::Sender<Standing>,
    /// When the servers last kept something.
    heard: Mutex<Option<Instant>>,
    started: Instant,
    needs: Mutex<Needs>,
    /// The replica that is written.
    pub(super) own: Mutex<Option<LogName>>,
    pub(super) counts: Counts,
}

/// What outputs need of the log.
#[derive(Debug, Clone, Default)]
pub(super) struct Needs {
    pub(super) lows: BTreeMap<String, Ordinal>,
}

impl Needs {
    /// The item below which nobody needs anything.
    pub(super) fn floor(&self) -> Ordinal {
        self.lows.values().copied().min().unwrap_or(0)
    }
}

impl Shared {
    pub(super) fn hear(&self) {
        *self.heard.lock() = Some(Instant::now());
    }

    pub(super) fn stand(&self, standing: Standing) {
        self.standing.send_if_modified(|now| {
            let differs = *now != standing;
            *now = standing;
            differs
        });
    }

    /// The servers say how full they are.
    pub(super) fn fill(&self, fill: Fill) {
        *self.fill.lock() = Some(fill);
        let is_scarce = fill.is_scarce(self.is_scarce.load(Atomic::Relaxed));
        self.is_scarce.store(is_scarce, Atomic::Relaxed);
    }

    /// So much was written since they said it: in the time to the next look the rest of their room may be gone.
    fn wrote(&self, bytes: usize) {
        if let Some(fill) = &mut *self.fill.lock() {
            fill.bytes = fill.bytes.saturating_add(bytes as u64);
            self.is_scarce.fetch_or(fill.is_scarce(false), Atomic::Relaxed);
        }
    }

    pub(super) fn is_writing(&self) -> bool {
        *self.standing.borrow() == Standing::Writing
    }

    pub(super) fn needs(&self) -> Needs {
        self.needs.lock().clone()
    }
}

/// How far the log of this gateway is replicated. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Replicated {
    pub(super) shared: Arc<Shared>,
    wait: Duration,
}

impl Replicated {
    /// Of a log that nothing is known of yet. Uploads wait so long at most.
    pub(super) fn new(wait: Duration) -> Self {
        let shared = Shared {
            reached: watch::Sender::new(0),
            granted: watch::Sender::new(Granted::default()),
            fill: Mutex::default(),
            is_scarce: AtomicBool::default(),
            standing: watch::Sender::new(Standing::Starting),
            heard: Mutex::new(None),
            started: Instant::now(),
            needs: Mutex::default(),
            own: Mutex::default(),
            counts: Counts::default(),
        };
        Self { shared: Arc::new(shared), wait }
    }

    /// Resolves when a quorum of the servers holds everything below `end` that an output still needs.
    ///
    /// # Errors
    ///
    /// When that takes longer than uploads wait. It may come to it all the same.
    pub async fn reach(&self, end: Ordinal) -> Result<(), NotReplicated> {
        if *self.shared.reached.borrow() >= end {
            return Ok(());
        }
        let because = |standing: &Standing| match standing {
            Standing::Starting | Standing::Writing => "no answer in time".to_owned(),
            Standing::Full => "the servers have no room".to_owned(),
            Standing::Away(why) | Standing::Lost(why) => why.clone(),
        };
        match tokio::time::timeout(self.wait, self.reached(end)).await {
            Ok(()) => Ok(()),
            Err(_) => Err(NotReplicated { because: because(&self.shared.standing.borrow()) }),
        }
    }

    /// The same without an end of patience.
    pub async fn reached(&self, end: Ordinal) {
        let mut reached = self.shared.reached.subscribe();
        if reached.wait_for(|reached| *reached >= end).await.is_err() {
            // The gateway stops.
            std::future::pending().await
        }
    }

    /// Refuses at once what could only wait in vain, and everything before it is known what of the log was handed over: what is
    /// appended until then might be taken for a part of it.
    ///
    /// # Errors
    ///
    /// When the servers were never reached, have been silent for longer than an election takes, or have no room beside what they
    /// leave to takeovers.
    pub fn check(&self) -> Result<(), NotReplicated> {
        let because = match self.objection() {
            None if self.shared.own.lock().is_none() => {
                "the servers of the replicated log were not reached yet".to_owned()
            }
            None => return Ok(()),
            Some(because) => because,
        };
        Err(NotReplicated { because })
    }

    /// Why uploads are not to come: nothing can be replicated, and that has lasted for longer than an election takes, or nothing is
    /// to be, so that there is room for takeovers.
    pub fn objection(&self) -> Option<String> {
        let since = self.shared.heard.lock().unwrap_or(self.shared.started);
        let lasts = since.elapsed() > SILENCE;
        match &*self.shared.standing.borrow() {
            Standing::Writing if !lasts && self.shared.is_scarce.load(Atomic::Relaxed) => Some(
                "the servers of the replicated log are nearly full: the rest of their room is for takeovers".to_owned(),
            ),
            Standing::Writing | Standing::Starting if !lasts => None,
            Standing::Writing | Standing::Starting => {
                Some("the servers of the replicated log do not answer".to_owned())
            }
            Standing::Full => Some("the servers of the replicated log have no room".to_owned()),
            Standing::Away(why) => lasts.then(|| why.clone()),
            Standing::Lost(why) => Some(why.clone()),
        }
    }

    /// Whether this gateway may send what is in its log.
    pub fn permit(&self) -> Permit {
        Permit::of(&self.shared.granted)
    }

    /// Tells by output the item below which it needs nothing, durably.
    pub fn note(&self, lows: BTreeMap<String, Ordinal>) {
        *self.shared.needs.lock() = Needs { lows };
    }

    /// The ordinal behind the last item that is replicated.
    pub fn end(&self) -> Ordinal {
        *self.shared.reached.borrow()
    }

    /// How it stands, and its changes.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.shared.standing.subscribe()
    }

    /// The name of the replica that is written now.
    pub fn log(&self) -> Option<LogName> {
        self.shared.own.lock().clone()
    }

    /// What was done since the start.
    pub fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    pub(super) fn count_message(&self, bytes: usize, took: Duration) {
        self.shared.wrote(bytes);
        let counts = &self.shared.counts;
        counts.messages.fetch_add(1, Atomic::Relaxed);
        counts.bytes.fetch_add(bytes as u64, Atomic::Relaxed);
        counts.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Atomic::Relaxed);
    }
}
