//! Takes over the logs of gateways that are gone.
//!
//! A log whose owner has given no sign of life is claimed by its state chain, behind the owner's last sign: had he given another one
//! meanwhile, the claim is refused. Then its replica is closed, and what its outputs still need is taken, record by record, into the
//! log of this gateway. Who takes over and dies is himself taken over, and another one goes on where he was.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering as Atomic;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep};

use super::message::{Content, Message, Unpacker, Unreadable};
use super::replicated::Replicated;
use super::servers::{Chain, LogName, Refused, Servers};
use super::state::{State, TakenOver};
use super::writer::Identity;
use crate::metrics;
use crate::spool::{Ordinal, Record};

/// How long to wait before a record that could not be taken is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Whose log a record was in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The name of its gateway.
    pub gateway: String,
    /// By what name its confirmations stand in a shared memory of events.
    pub confirms_as: Option<String>,
    /// By output, the item below which it needed nothing any more.
    pub lows: std::collections::BTreeMap<String, Ordinal>,
}

/// Who takes the records of other gateways' logs.
pub trait Heir: Send + Sync + 'static {
    /// Why this gateway cannot take over what these outputs still need; none when it can.
    fn objection(&self, outputs: &std::collections::BTreeMap<String, Ordinal>) -> Option<String>;

    /// Takes what of a record some output still needs. It is durable and replicated as this gateway's when this resolves. The
    /// error says why it cannot be taken now; then nothing of it was kept, and it can be tried again.
    fn take<'a>(&'a self, record: &'a Record, origin: &'a Origin) -> BoxFuture<'a, Result<(), String>>;
}

/// Takes over the logs of gateways that are gone.
pub struct Takeover {
    replicated: Replicated,
    servers: Arc<dyn Servers>,
    me: Identity,
    after: Duration,
    heir: Arc<dyn Heir>,
    /// The last sign of life of each log, and when it was first seen.
    seen: HashMap<LogName, (u64, Instant)>,
    finished: HashSet<LogName>,
}

/// Why it was not taken over to its end.
type Interrupted = String;

/// A log that is being taken over.
struct Claimed {
    log: LogName,
    state: State,
    state_at: u64,
    shown: Instant,
}

impl Takeover {
    /// By this gateway, of logs that gave no sign of life for `after`.
    pub(super) fn new(
        replicated: Replicated,
        servers: Arc<dyn Servers>,
        me: Identity,
        after: Duration,
        heir: Arc<dyn Heir>,
    ) -> Self {
        Self { replicated, servers, me, after, heir, seen: HashMap::new(), finished: HashSet::new() }
    }

    /// Works until it is dropped.
    pub async fn run(mut self) {
        let every = (self.after / 10).clamp(Duration::from_millis(50), Duration::from_secs(5));
        loop {
            sleep(every).await;
            // Whoever cannot reach the servers has seen nothing, which is no silence of others.
            let Ok(logs) = self.servers.logs().await else {
                self.seen.clear();
                continue;
            };
            for log in logs {
                if self.replicated.log().as_ref() == Some(&log) || self.finished.contains(&log) {
                    continue;
                }
                if let Err(reason) = self.look(&log).await {
                    tracing::warn!(
                        log = log.as_str(),
                        reason,
                        "the log of another gateway could not be taken over; it is tried again"
                    );
                }
            }
        }
    }

    async fn look(&mut self, log: &LogName) -> Result<(), Interrupted> {
        let chain = Chain::State(log.clone());
        let Some(stored) = self.servers.last(&chain).await.map_err(|away| away.0)? else { return Ok(()) };
        let state = State::decode(&stored.bytes)?;
        let (is_done, is_mine) = match &state.taken_over {
            Some(taken) => (taken.is_done, taken.by == self.me.owner),
            None => (false, false),
        };
        if is_done {
            self.finished.insert(log.clone());
            return Ok(());
        }
        if !is_mine {
            let seen = self.seen.entry(log.clone()).or_insert((stored.at, Instant::now()));
            if seen.0 != stored.at {
                *seen = (stored.at, Instant::now());
            }
            // What is taken over goes through this gateway's own replica. That is not written before this one knows what was
            // handed over of its own log.
            if seen.1.elapsed() < self.after || !self.replicated.shared.is_writing() {
                return Ok(());
            }
        }
        if let Some(reason) = self.heir.objection(&state.lows) {
            return Err(reason);
        }
        self.take_over(Claimed { log: log.clone(), state, state_at: stored.at, shown: Instant::now() }).await
    }

    async fn take_over(&mut self, mut claimed: Claimed) -> Result<(), Interrupted> {
        let until = claimed.state.taken_over.as_ref().and_then(|taken| taken.until);
        self.show(&mut claimed, until, false).await?;
        let (gateway, log) = (claimed.state.gateway.clone(), claimed.log.clone());
        tracing::warn!(gateway, log = log.as_str(), "another gateway is gone; its log is taken over");
        let until = self.close(&log).await?;
        self.show(&mut claimed, Some(until), false).await?;
        let events = self.take_all(&mut claimed, until).await?;
        self.show(&mut claimed, Some(until), true).await?;
        self.finished.insert(log.clone());
        self.replicated.counts().taken_over.fetch_add(1, Atomic::Relaxed);
        tracing::warn!(gateway, log = log.as_str(), records = events, "the log of another gateway was taken over");
        Ok(())
    }

    /// Says, behind what was last said, that this gateway takes the log over.
    async fn show(&self, claimed: &mut Claimed, until: Option<Ordinal>, is_done: bool) -> Result<(), Interrupted> {
        let steps = claimed.state.taken_over.as_ref().map_or(0, |taken| taken.steps + 1);
        let (by, gateway) = (self.me.owner.clone(), self.me.gateway.clone());
        claimed.state.taken_over = Some(TakenOver { by, gateway, until, is_done, steps });
        let chain = Chain::State(claimed.log.clone());
        match self.servers.append(&chain, claimed.state_at, claimed.state.encode()).await {
            Ok(at) => {
                (claimed.state_at, claimed.shown) = (at, Instant::now());
                Ok(())
            }
            Err(Refused::Overtaken) => Err("it gave a sign of life, or another gateway takes it over".to_owned()),
            Err(other) => Err(other.to_string()),
        }
    }

    /// Closes the replica: its former owner can write nothing more. The ordinal behind its last item.
    async fn close(&self, log: &LogName) -> Result<Ordinal, Interrupted> {
        let chain = Chain::Log(log.clone());
        loop {
            let (after, until) = match self.servers.last(&chain).await.map_err(|away| away.0)? {
                None => (0, 0),
                Some(stored) => match Message::decode(&stored.bytes).map_err(|error| error.to_string())? {
                    Message { until, content: Content::Seal } => return Ok(until),
                    Message { until, .. } => (stored.at, until),
                },
            };
            let seal = Message { until, content: Content::Seal };
            match self.servers.append(&chain, after, seal.encode()).await {
                Ok(_) => return Ok(until),
                Err(Refused::Overtaken) => {}
                Err(other) => return Err(other.to_string()),
            }
        }
    }

    /// Takes every record; how many.
    async fn take_all(&self, claimed: &mut Claimed, until: Ordinal) -> Result<u64, Interrupted> {
        let chain = Chain::Log(claimed.log.clone());
        let State { gateway, confirms_as, lows, .. } = claimed.state.clone();
        let origin = Origin { gateway, confirms_as, lows };
        let (mut from, mut taken) = (0, 0);
        let mut unpacker = Unpacker::default();
        loop {
            let Some(stored) = self.servers.next(&chain, from).await.map_err(|away| away.0)? else { return Ok(taken) };
            let content = match Message::decode(&stored.bytes) {
                Ok(Message { content: Content::Seal, .. }) => return Ok(taken),
                Ok(message) => Ok(message.content),
                Err(error @ Unreadable::Version(_)) => return Err(error.to_string()),
                Err(error) => Err(error),
            };
            let records = content.and_then(|content| unpacker.read(content)).unwrap_or_else(|error| {
                // Nobody else has it any better: the servers keep their own checksums.
                tracing::error!(log = claimed.log.as_str(), at = stored.at, %error, "a part of a replica is damaged and lost");
                metrics::STATE_DAMAGED.add(&["replica"], 1);
                Vec::new()
            });
            for record in records {
                self.take(claimed, &record, &origin, until).await?;
                taken += 1;
            }
            from = stored.at + 1;
            if !unpacker.is_within_a_record() {
                self.servers.remove(&claimed.log, from).await.map_err(|away| away.0)?;
            }
        }
    }

    /// Takes one record, however long that needs, and says meanwhile that it is at work.
    async fn take(
        &self,
        claimed: &mut Claimed,
        record: &Record,
        origin: &Origin,
        until: Ordinal,
    ) -> Result<(), Interrupted> {
        let show_every = self.after / 4;
        loop {
            let mut taking = self.heir.take(record, origin);
            let result = loop {
                tokio::select! {
                    result = &mut taking => break result,
                    () = sleep(show_every.saturating_sub(claimed.shown.elapsed())) => {
                        self.show(claimed, Some(until), false).await?;
                    }
                }
            };
            let Err(reason) = result else { return Ok(()) };
            tracing::warn!(reason, "a record of another gateway cannot be taken now");
            sleep(AGAIN.min(show_every)).await;
            self.show(claimed, Some(until), false).await?;
        }
    }
}
