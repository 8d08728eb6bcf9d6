//! The store of several gateways: this gateway's memory in front, the engine behind it.
//!
//! What this gateway remembers itself needs no question; what is new here is claimed at the engine, in one round trip for all
//! keys of an upload. The answer to a confirmation is not waited for by the upload: its events are durable here, or, where
//! another gateway turns out to have won them, durable there. Only forwarding waits for it.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::{BoxFuture, try_join_all};
use tokio::sync::watch;

use super::ask::{Answer, Ask, Away, Held, What};
use super::engine::{Board, Counts, Engine, Standing};
use super::grouped::{self, Part};
use super::neighbours::Neighbour;
use super::segment::Gateway;
use super::unavailable::WhenUnavailable;
use crate::dedup::Config;
use crate::dedup::memory::{MemoryClaim, MemoryStore};
use crate::dedup::store::{Claim, Remembered, Settled, Store, Unavailable, Verdict};
use crate::event::EventKey;
use crate::values::PerMinute;

/// When an upload comes back that could not be judged.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// How often a key that another gateway has is asked for again, in milliseconds: from, to.
const AGAIN_MS: Range<u64> = 5..50;

/// What became of a record's confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is this gateway's, for good.
    Won,
    /// Nobody was asked: the engine is away.
    Alone,
    /// It must be contested before it is forwarded. `old`: the engine may have forgotten the claim that it was taken under.
    Unsure {
        /// Whether the engine has changed since the claim.
        old: bool,
    },
}

/// Who acts upon outcomes. Passed down, so that the store knows no upper layer.
pub trait Decisions: Send + Sync + 'static {
    /// What became of these items of the log.
    fn decide(&self, record: Range<u64>, outcome: Outcome);
}

/// Remembers event keys together with other gateways. Cheap to clone.
#[derive(Clone)]
pub struct SharedStore {
    inner: Arc<Inner>,
}

struct Inner {
    local: Arc<MemoryStore>,
    engine: Arc<dyn Engine>,
    board: Arc<Board>,
    when_unavailable: WhenUnavailable,
    window: Duration,
    decisions: Arc<dyn Decisions>,
    next_claim: AtomicU64,
}

impl SharedStore {
    /// A store over the memory of this gateway and an engine.
    pub(crate) fn new(
        config: &Config,
        when_unavailable: WhenUnavailable,
        local: Arc<MemoryStore>,
        (engine, board): (Arc<dyn Engine>, Arc<Board>),
        decisions: Arc<dyn Decisions>,
    ) -> Self {
        local.note_forgotten();
        let inner = Inner {
            local,
            engine,
            board,
            when_unavailable,
            window: config.window.get(),
            decisions,
            // Names of claims never come again, whatever a restart forgets.
            next_claim: AtomicU64::new(fastrand::u64(..) << 24),
        };
        Self { inner: Arc::new(inner) }
    }

    /// How it stands with the engine, and its changes.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.inner.board.standing()
    }

    /// What was done since the start.
    pub fn counts(&self) -> &Counts {
        &self.inner.board.counts
    }

    /// The other gateways.
    pub fn neighbours(&self) -> Vec<Neighbour> {
        self.inner.board.neighbours()
    }

    /// Tells the other gateways how many events this one has still to send.
    pub fn tell_pending(&self, events: u64) {
        self.inner.board.pending.store(events, Ordering::Relaxed);
    }

    /// Tells the other gateways the hash of what all must be configured alike.
    pub fn tell_agreed(&self, hash: String) {
        self.inner.board.tell_agreed(hash);
    }

    /// Tells the other gateways what this one sends through each data collection rule.
    pub fn tell_quotas(&self, quotas: BTreeMap<String, PerMinute>) {
        self.inner.board.tell_quotas(quotas);
    }

    /// What uploads are to expect while the engine is away.
    pub fn when_unavailable(&self) -> WhenUnavailable {
        self.inner.when_unavailable
    }

    /// Settles whose the keys of a durable record are: those that nobody has become this gateway's. Returns the places of those
    /// that another gateway has. Waits for gateways that store some of them durably just now.
    pub async fn contest(&self, keys: &[EventKey]) -> Result<Vec<usize>, Unavailable> {
        self.contest_as(self.inner.me(), keys).await
    }

    /// The same for a record of another gateway that is gone: those that nobody has become the other one's.
    pub async fn contest_as(&self, me: Gateway, keys: &[EventKey]) -> Result<Vec<usize>, Unavailable> {
        let parts = grouped::parts(keys, 0..keys.len());
        let contested = try_join_all(parts.into_iter().map(|part| self.inner.contest(me, part))).await;
        contested.map(|lost| lost.into_iter().flatten().collect()).map_err(unavailable)
    }
}

impl Inner {
    fn ask(&self, what: What, parts: Vec<Held>) -> Ask {
        Ask { what, parts, window: self.window }
    }

    fn me(&self) -> Gateway {
        self.board.gateway
    }

    fn next_claim(&self, me: Gateway) -> String {
        format!("{}.{:x}", me.name(), self.next_claim.fetch_add(1, Ordering::Relaxed))
    }

    async fn contest(&self, gateway: Gateway, part: Part) -> Result<Vec<usize>, Away> {
        loop {
            let me = self.next_claim(gateway);
            let held = |part| vec![Held { me: me.clone(), gateway, part }];
            let claim = self.ask(What::Claim { durable: true }, held(part.clone()));
            let answer = self.engine.ask(claim).await?.pop();
            let owners = match answer {
                Some(Answer::Claimed(found)) => found.owners,
                Some(Answer::Blocked(left)) => {
                    tokio::time::sleep(soon(left)).await;
                    continue;
                }
                _ => continue,
            };
            let mine: HashSet<usize> = places(&owners, |owner| owner == gateway);
            let lost = places(&owners, |owner| owner != gateway).difference(&mine).copied().collect();
            let known: HashSet<usize> = owners.iter().map(|(place, _)| *place).collect();
            let free = part.without(&known);
            if free.is_empty() {
                self.engine.tell(self.ask(What::Release, held(part)));
                return Ok(lost);
            }
            if self.engine.ask(self.ask(What::Confirm, held(free))).await?.pop() == Some(Answer::Ended) {
                return Ok(lost);
            }
        }
    }

    /// Claims what is new here at the engine; changes the verdicts to what it knows.
    async fn claim_there(
        &self,
        keys: &[EventKey],
        local: &MemoryClaim,
        verdicts: &mut [Verdict],
    ) -> Result<Option<Remote>, Away> {
        let new = (0..keys.len()).filter(|place| matches!(verdicts[*place], Verdict::New));
        let parts = grouped::parts(keys, new).into_iter();
        let gateway = self.me();
        let parts: Vec<Held> = parts.map(|part| Held { me: self.next_claim(gateway), gateway, part }).collect();
        if parts.is_empty() {
            return Ok(None);
        }
        // Before it is asked: were it another one by the time of its answer, the claim would pass for one of the new one.
        let identity = self.board.identity();
        let answers = self.engine.ask(self.ask(What::Claim { durable: false }, parts.clone())).await?;
        let (mut held, mut useless, mut elsewhere) = (Vec::new(), Vec::new(), HashSet::new());
        for (Held { me, gateway, part }, answer) in parts.into_iter().zip(answers) {
            let Answer::Claimed(found) = answer else {
                let Answer::Blocked(left) = answer else { continue };
                let end: Arc<dyn Settled> = Arc::new(Elsewhere(left));
                for place in part.places() {
                    elsewhere.insert(keys[place]);
                    verdicts[place] = Verdict::Pending(Arc::clone(&end));
                }
                continue;
            };
            let owners = found.owners;
            let is_lost_here = |place: usize, owner| owner == self.me() && self.local.has_forgotten(&keys[place]);
            let seen: HashSet<usize> = owners
                .into_iter()
                .filter(|(place, owner)| !is_lost_here(*place, *owner))
                .map(|(place, _)| place)
                .collect();
            seen.iter().for_each(|place| verdicts[*place] = Verdict::Duplicate);
            let new = part.without(&seen);
            if new.is_empty() {
                useless.push(Held { me, gateway, part })
            } else {
                held.push(Held { me, gateway, part: new })
            }
        }
        if !elsewhere.is_empty() {
            local.hand_back(&elsewhere);
        }
        if !useless.is_empty() {
            self.engine.tell(self.ask(What::Release, useless));
        }
        Ok((!held.is_empty()).then_some(Remote { parts: held, identity }))
    }

    /// Confirms a claim, and lets the outcome be known.
    async fn confirm(self: Arc<Self>, remote: Remote, record: Range<u64>) {
        let answers = self.engine.ask(self.ask(What::Confirm, remote.parts)).await;
        let won = answers.is_ok_and(|answers| answers.iter().all(|answer| *answer == Answer::Ended));
        if record.is_empty() {
            return;
        }
        let old = self.board.identity() != remote.identity;
        self.decisions.decide(record, if won { Outcome::Won } else { Outcome::Unsure { old } });
    }
}

fn places(owners: &[(usize, Gateway)], which: impl Fn(Gateway) -> bool) -> HashSet<usize> {
    owners.iter().filter(|(_, owner)| which(*owner)).map(|(place, _)| *place).collect()
}

/// A little while, but no longer than this.
fn soon(left: Duration) -> Duration {
    Duration::from_millis(fastrand::u64(AGAIN_MS)).min(left.max(Duration::from_millis(1)))
}

fn unavailable(away: Away) -> Unavailable {
    Unavailable { reason: away.reason, retry_after: RETRY_AFTER }
}

/// Another gateway's claim, which ends with its lease at the latest.
#[derive(Debug)]
struct Elsewhere(Duration);

impl Settled for Elsewhere {
    fn wait(&self) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(soon(self.0)))
    }
}

impl Store for SharedStore {
    fn claim<'a>(&'a self, keys: &'a [EventKey]) -> BoxFuture<'a, Result<Box<dyn Claim>, Unavailable>> {
        Box::pin(async move {
            let inner = &self.inner;
            let local = inner.local.claim_now(keys);
            let mut verdicts = local.verdicts().to_vec();
            let (remote, alone) = match inner.claim_there(keys, &local, &mut verdicts).await {
                Ok(remote) => (remote, false),
                Err(away) if away.refused || inner.when_unavailable == WhenUnavailable::Strict => {
                    return Err(unavailable(away));
                }
                Err(_) => (None, true),
            };
            let store = Arc::clone(inner);
            Ok(Box::new(SharedClaim { store, local: Some(local), verdicts, remote, alone }) as Box<dyn Claim>)
        })
    }

    fn forget(&self, keys: &[EventKey]) -> u64 {
        self.inner.local.forget(keys)
    }

    fn remembered(&self) -> Remembered {
        self.inner.local.remembered()
    }
}

/// What is claimed at the engine.
#[derive(Debug)]
struct Remote {
    parts: Vec<Held>,
    /// Which engine it was claimed at.
    identity: u64,
}

struct SharedClaim {
    store: Arc<Inner>,
    local: Option<MemoryClaim>,
    verdicts: Vec<Verdict>,
    remote: Option<Remote>,
    /// The engine was away.
    alone: bool,
}

impl Claim for SharedClaim {
    fn verdicts(&self) -> &[Verdict] {
        &self.verdicts
    }

    fn confirm(mut self: Box<Self>, record: Range<u64>) {
        if let Some(local) = self.local.take() {
            Box::new(local).confirm(record.clone());
        }
        let store = &self.store;
        match self.remote.take() {
            Some(remote) => drop(tokio::spawn(Arc::clone(store).confirm(remote, record))),
            None if record.is_empty() => {}
            None if self.alone => store.decisions.decide(record, Outcome::Alone),
            None => store.decisions.decide(record, Outcome::Unsure { old: false }),
        }
    }

    fn release(self: Box<Self>) {
        drop(self);
    }
}

impl Drop for SharedClaim {
    fn drop(&mut self) {
        if let Some(Remote { parts, .. }) = self.remote.take() {
            self.store.engine.tell(self.store.ask(What::Release, parts));
        }
    }
}
