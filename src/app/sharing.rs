//! What this gateway shares with others, where it does: which events were seen.

use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use aws_lc_rs::digest;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::build::Parts;
use super::objections::{CONFIGURATIONS_DIFFER, ENGINE_AWAY, ENGINE_EVICTS};
use super::state::Secret;
use crate::admin;
use crate::config::Config;
use crate::dedup;
use crate::dedup::memory::MemoryStore;
use crate::dedup::redis::Redis;
use crate::dedup::several::{Decisions, Gateway, Neighbour, SharedStore, Standing, WhenUnavailable, Work};
use crate::faults::Fault;
use crate::fs::Fs;
use crate::ingest::{JournalPlace, Queue, Recheck};
use crate::metrics;
use crate::replication::seen;
use crate::shared::Store as Documents;
use crate::shared::entries::Entries;
use crate::shared::sealed::Sealed;
use crate::spool::Spool;
use crate::spool::decided::{Decided, Opened};

/// The file of decisions.
const FILE: &str = "decided";
/// The folder of the dedup journal.
pub(super) const JOURNAL: &str = "dedup";
/// The kind of bookmarks, in the names of keys.
const BOOKMARKS: &str = "bookmarks";
/// For how long a start waits for the engine: what comes before it is there is deduplicated by this gateway alone.
const PATIENCE: Duration = Duration::from_secs(3);
/// A gateway that was not seen for longer is not counted as there.
const SEEN_S: u64 = 10;

/// What is shared.
pub(super) struct Sharing {
    store: SharedStore,
    /// What else is shared, where the engine is Redis or Valkey.
    redis: Option<Redis>,
    decided: Arc<Decided>,
    spool: Spool,
    /// What has to run, until it runs.
    idle: Mutex<Option<(Work, Recheck, Arc<Queue>)>>,
}

impl Sharing {
    /// Opens what is kept about sharing; `None` where nothing is shared. Nothing is asked yet.
    pub(super) fn open(
        config: &Config,
        state: &Path,
        fs: &Arc<dyn Fs>,
        spool: &Spool,
        local: &Arc<MemoryStore>,
    ) -> anyhow::Result<Option<Self>> {
        if !config.dedup.is_shared() {
            return Ok(None);
        }
        let status = spool.status();
        let (decided, opened) = Decided::open(Arc::clone(fs), &state.join(FILE), spool.log(), status.first..status.end)
            .context("what was decided with other gateways cannot be read")?;
        if opened == Opened::Lost && status.first < status.end {
            metrics::STATE_DAMAGED.add(&["decided"], 1);
            tracing::error!(
                "decisions shared with other gateways were lost: every stored event is forwarded, and those that others hold as well are counted as possible duplicates"
            );
        }
        let decided = Arc::new(decided);
        let (queue, unread) = Queue::new(Arc::clone(&decided), spool.clone());
        let gateway = Gateway::of(decided.gateway());
        let decisions = Arc::clone(&queue) as Arc<dyn Decisions>;
        let local = Arc::clone(local);
        let (store, redis, work) = if config.dedup.is_in_redis() {
            let (store, redis, work) = dedup::redis::open(&config.dedup, local, gateway, decisions);
            (store, Some(redis), work)
        } else {
            let (store, work) = seen::open(&config.dedup, &config.replication, local, gateway, decisions);
            (store, None, work)
        };
        let kept = JournalPlace { fs: Arc::clone(fs), folder: state.join(JOURNAL), window: config.dedup.window.get() };
        let recheck = Recheck::new(Arc::clone(&decided), spool.clone(), store.clone(), unread, kept);
        Ok(Some(Self { store, redis, decided, spool: spool.clone(), idle: Mutex::new(Some((work, recheck, queue))) }))
    }

    /// By what name this gateway's confirmations stand there.
    pub(super) fn gateway(&self) -> String {
        Gateway::of(self.decided.gateway()).name()
    }

    /// Where uploads ask which events were seen.
    pub(super) fn store(&self) -> SharedStore {
        self.store.clone()
    }

    /// Which events are this gateway's to forward.
    pub(super) fn decided(&self) -> Arc<Decided> {
        Arc::clone(&self.decided)
    }

    /// Where the bookmarks of forwarding hosts are, if they are in this engine.
    pub(super) fn bookmarks(&self) -> Option<Arc<dyn Entries>> {
        Some(Arc::new(self.redis.as_ref()?.entries(BOOKMARKS)))
    }

    /// Documents as they stand in this engine, if they do.
    pub(super) fn documents(&self) -> Option<Arc<dyn Documents>> {
        Some(Arc::new(self.redis.clone()?))
    }

    /// Documents that whoever runs the engine can neither read nor make.
    pub(super) fn sealed_documents(&self, config: &dedup::Config) -> anyhow::Result<Option<Arc<dyn Documents>>> {
        self.documents().map(|documents| sealed(config, documents)).transpose()
    }

    /// Runs, and waits a little for the engine.
    pub(super) async fn begin(&self, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
        let idle = self.idle.lock().take();
        let Some((work, recheck, queue)) = idle else { return };
        let until = stop.clone();
        tasks.spawn(async move {
            until.run_until_cancelled(Box::pin(work.run(queue))).await;
        });
        tasks.spawn(recheck.run(stop.clone()));
        let mut standing = self.store.standing();
        let there = standing.wait_for(|standing| matches!(standing, Standing::Connected { .. }));
        if tokio::time::timeout(PATIENCE, there).await.is_err() {
            let reason = self.away().map(|(reason, _)| reason);
            tracing::error!(reason, "the shared deduplication engine is unreachable");
        }
    }

    /// Makes decisions durable. Blocks on the disk.
    pub(super) fn keep(&self) {
        if let Err(error) = self.decided.keep(self.spool.status().first) {
            tracing::error!(%error, "decisions shared with other gateways cannot be made durable; a restart would ask for them again");
        }
    }

    /// Why the engine is away, and whether only a person can mend it.
    fn away(&self) -> Option<(String, bool)> {
        match &*self.store.standing().borrow() {
            Standing::Connected { .. } => None,
            Standing::Away { reason, refused, .. } => Some((reason.clone(), *refused)),
        }
    }

    /// What is wrong with the engine: it keeps a gateway from being ready where uploads cannot go on without it.
    pub(super) fn objections(&self) -> admin::Standing {
        let mut found = admin::Standing::default();
        match &*self.store.standing().borrow() {
            Standing::Connected { about, .. } => {
                found.warnings.extend(about.evicts.then_some(ENGINE_EVICTS));
                found.warnings.extend((self.disagreeing() > 0).then_some(CONFIGURATIONS_DIFFER));
            }
            Standing::Away { refused, .. } if *refused || self.store.when_unavailable() == WhenUnavailable::Strict => {
                found.objections.push(ENGINE_AWAY);
            }
            Standing::Away { .. } => found.warnings.push(ENGINE_AWAY),
        }
        found
    }

    /// Shows how it is, as metrics.
    pub(super) fn show(&self, parts: &Parts, seen: &mut Seen) {
        let pending = parts.outputs.forwarders().iter().map(|forwarder| forwarder.pending()).max();
        self.store.tell_pending(pending.unwrap_or(0));
        self.store.tell_agreed(agreed(&parts.in_force.current()));
        self.store.tell_quotas(parts.outputs.quotas_used());
        let near = self.store.neighbours().into_iter().filter(|other| other.seen_seconds_ago <= SEEN_S);
        parts.outputs.share_quotas_with(&near.map(|other| other.quotas).collect::<Vec<_>>());
        let standing = self.store.standing().borrow().clone();
        let (mut evicts, mut evicted) = (false, 0);
        if let Standing::Connected { about, .. } = &standing {
            (evicts, evicted) = (about.evicts, about.evicted);
            metrics::DEDUP_ENGINE_EVICTED.set(&[], evicted as f64);
        }
        seen.tell(&standing, evicts, evicted);
        let away = self.away();
        metrics::DEDUP_ENGINE_UP.set(&[], f64::from(u8::from(away.is_none())));
        metrics::DEDUP_ENGINE_EVICTS.set(&[], f64::from(u8::from(evicts)));
        self.show_counts(seen);
        let near = self.store.neighbours().iter().filter(|other| other.seen_seconds_ago <= SEEN_S).count();
        metrics::GATEWAYS_SEEN.set(&[], if away.is_none() { near as f64 } else { 0.0 });
        metrics::GATEWAYS_DIFFER.set(&[], self.disagreeing() as f64);
        metrics::DEDUP_ALONE.set(&[], events(self.decided.alone()));
        metrics::DEDUP_UNDECIDED.set(&[], events(self.undecided()));
    }

    /// Gateways that are there, and configured otherwise where all must be alike.
    fn disagreeing(&self) -> usize {
        let differs = |other: &&Neighbour| other.seen_seconds_ago <= SEEN_S && !other.agrees;
        self.store.neighbours().iter().filter(differs).count()
    }

    fn undecided(&self) -> Vec<std::ops::Range<u64>> {
        self.decided.undecided(*self.spool.durable_end().borrow())
    }

    fn show_counts(&self, seen: &mut Seen) {
        let counts = self.store.counts();
        let [calls, operations, micros, losses] = [&counts.calls, &counts.operations, &counts.micros, &counts.losses]
            .map(|count| count.load(Ordering::Relaxed));
        metrics::DEDUP_ENGINE_CALLS.add(&[], calls - seen.calls);
        metrics::DEDUP_ENGINE_OPERATIONS.add(&[], operations - seen.operations);
        metrics::DEDUP_ENGINE_LOSSES.add(&[], losses - seen.losses);
        if calls > seen.calls {
            metrics::DEDUP_ENGINE_SECONDS.set(&[], (micros - seen.micros) as f64 / (calls - seen.calls) as f64 / 1e6);
        }
        (seen.calls, seen.operations, seen.micros, seen.losses) = (calls, operations, micros, losses);
    }

    /// For `/status`.
    pub(super) fn status(&self) -> Value {
        let engine = match &*self.store.standing().borrow() {
            Standing::Connected { address, about } => json!({
                "state": "connected",
                "address": address,
                "version": about.version,
                "maxmemory_policy": about.policy,
                "evicted_keys": about.evicted,
                "memory_bytes": about.memory,
            }),
            Standing::Away { reason, since, .. } => {
                json!({ "state": "away", "because": reason, "for_seconds": since.elapsed().as_secs() })
            }
        };
        json!({
            "engine": engine,
            "gateway": Gateway::of(self.decided.gateway()).name(),
            "gateways": self.store.neighbours(),
            "undecided": events(self.undecided()) as u64,
            "alone": events(self.decided.alone()) as u64,
        })
    }
}

/// What of other sections keeps it from starting.
pub(super) fn faults(config: &Config) -> Vec<Fault> {
    let needs_servers = config.dedup.is_shared() && !config.dedup.is_in_redis();
    if !needs_servers || config.replication.is_on() {
        return Vec::new();
    }
    let why = "needs servers of replication: set replication.kind = \"jetstream\" and replication.servers";
    vec![Fault::stops("dedup.kind", why)]
}

/// The hash of what must be configured alike: for how long events are remembered, and which are kept. Texts of rules that stand in
/// files are not in it.
fn agreed(config: &Config) -> String {
    let parts = (config.dedup.window, &config.filter);
    let told = digest::digest(&digest::SHA256, serde_json::to_string(&parts).unwrap_or_default().as_bytes());
    hex::encode(&told.as_ref()[..8])
}

/// The key of event keys that all gateways of an installation have.
pub(super) fn secret(config: &dedup::Config) -> Option<Secret> {
    let secret = config.secret.as_ref().filter(|_| config.is_shared())?;
    let told = digest::digest(&digest::SHA256, secret.reveal().trim().as_bytes());
    Secret::try_from(told.as_ref()).ok()
}

/// Documents sealed with the secret of the installation.
pub(super) fn sealed(config: &dedup::Config, documents: Arc<dyn Documents>) -> anyhow::Result<Arc<dyn Documents>> {
    let secret = config.secret.as_ref().map(|secret| secret.reveal().trim()).unwrap_or_default();
    let sealed = Sealed::over(documents, secret.as_bytes());
    Ok(Arc::new(sealed.map_err(|_| anyhow!("no key for shared documents can be made of dedup.secret"))?))
}

fn events(ranges: Vec<std::ops::Range<u64>>) -> f64 {
    ranges.into_iter().map(|range| range.end - range.start).sum::<u64>() as f64
}

/// What was shown last.
#[derive(Clone, Copy, Default)]
pub(super) struct Seen {
    calls: u64,
    operations: u64,
    micros: u64,
    losses: u64,
    evicted: u64,
    evicts: bool,
    away: bool,
}

impl Seen {
    /// Tells what is news.
    fn tell(&mut self, standing: &Standing, evicts: bool, evicted: u64) {
        match standing {
            Standing::Away { reason, .. } if !self.away => {
                tracing::error!(reason, "the shared deduplication engine is unreachable")
            }
            Standing::Connected { address, .. } if self.away => {
                tracing::info!(address, "the shared deduplication engine is reachable again")
            }
            _ => {}
        }
        if evicts && !self.evicts {
            tracing::error!(
                "the shared deduplication engine forgets events before their time; set maxmemory-policy to noeviction, or raise dedup.jetstream.max_size"
            );
        }
        if evicted > self.evicted && self.evicted > 0 {
            tracing::error!(
                keys = evicted - self.evicted,
                "the shared deduplication engine evicted keys; events may be forwarded twice"
            );
        }
        (self.away, self.evicts) = (matches!(standing, Standing::Away { .. }), evicts);
        self.evicted = if evicted > 0 { evicted } else { self.evicted };
    }
}
