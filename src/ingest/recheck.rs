//! Records of which nobody knows yet whose they are: asked again before they are forwarded.
//!
//! Where gateways share what they have seen, a record is forwarded once its confirmation was won. Where that is not known
//! (the answer was lost, the lease had ended, the gateway died in between), its keys are contested: those that another gateway has
//! are dropped here, the rest is won. Four things come here:
//!
//! - what the last process left undecided, before anything is forwarded;
//! - confirmations that were lost or not answered;
//! - what was taken alone while the engine was away, once it is back: it may have been forwarded already, so what another
//!   gateway has as well counts as a possible duplicate;
//! - everything that is kept, when the engine has forgotten: it is told again.
//!
//! A record that was taken under an engine which has forgotten since is not dropped for what the new one says, since two
//! gateways could drop it for each other: it is forwarded, and counts as a possible duplicate.

use parking_lot::Mutex;
use std::collections::{HashSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::dedup::redis::{Decisions, Outcome, SharedStore, Standing, Watcher, WhenUnavailable};
use crate::event::{EventKey, key};
use crate::metrics;
use crate::spool::decided::{Decided, Decision};
use crate::spool::{HeadItem, Ordinal, ReadError, Spool};

/// Records that are contested at the same time: the engine's task makes one call of them.
const AT_ONCE: usize = 32;
/// Messages that wait to be read.
const MESSAGES_MAX: usize = 16 << 10;
/// Items whose heads are read in one go.
const STRETCH: u64 = 4 << 10;
/// How often it is looked whether something was left undecided by nobody's fault but a bug, or a task that was cut off.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// When to try again what the engine could not be asked.
const AGAIN: Duration = Duration::from_millis(500);
/// For how long the first records wait for an engine that was not there at the start.
const START_PATIENCE: Duration = Duration::from_secs(5);

/// Why a record is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// It is undecided. `old`: the engine may have forgotten the claim that it was taken under.
    Unsure { old: bool },
    /// It was taken alone, and others may not know.
    Tell,
    /// It is this gateway's, and the engine may have forgotten that.
    Retell,
}

#[derive(Debug)]
enum Message {
    Unsure(Range<Ordinal>),
    Connected { changed: bool },
}

/// Notes what is decided, and hands on what is not.
pub struct Queue {
    decided: Arc<Decided>,
    spool: Spool,
    messages: mpsc::Sender<Message>,
}

impl Queue {
    /// A queue, and who reads it.
    pub fn new(decided: Arc<Decided>, spool: Spool) -> (Arc<Self>, Unread) {
        let (messages, unread) = mpsc::channel(MESSAGES_MAX);
        (Arc::new(Self { decided, spool, messages }), Unread(unread))
    }

    fn send(&self, message: Message) {
        // Where there is no room, a sweep finds it; and where nobody reads any more, the next start does.
        drop(self.messages.try_send(message));
    }
}

/// The messages of a [`Queue`].
pub struct Unread(mpsc::Receiver<Message>);

impl Decisions for Queue {
    fn decide(&self, record: Range<u64>, outcome: Outcome) {
        match outcome {
            Outcome::Won => self.decided.decide(Decision::Won, record),
            Outcome::Alone => self.decided.decide(Decision::Alone, record),
            Outcome::Unsure { old } => {
                let (identity, since) = self.decided.engine();
                if old && since < record.end {
                    // Noted, so that a restart knows it as well.
                    self.decided.engine_changed(identity, record.end);
                }
                self.send(Message::Unsure(record));
            }
        }
    }
}

impl Watcher for Queue {
    fn connected(&self, identity: u64) {
        let (before, _) = self.decided.engine();
        let changed = before != identity;
        if changed {
            self.decided.engine_changed(identity, *self.spool.durable_end().borrow());
        }
        // The first engine of an installation has nothing to have forgotten.
        let changed = changed && before != 0;
        if changed {
            metrics::DEDUP_ENGINE_CHANGES.add(&[], 1);
            tracing::warn!(
                "the shared deduplication engine is a new or emptied one; this gateway sends it what it has"
            );
        }
        self.send(Message::Connected { changed });
    }
}

/// Records of which possible duplicates were counted.
type Counted = Mutex<HashSet<Ordinal>>;

/// A record's place and keys.
type Keyed = (Range<Ordinal>, Vec<EventKey>);

/// Asks again.
pub struct Recheck {
    decided: Arc<Decided>,
    spool: Spool,
    store: SharedStore,
    messages: Unread,
    /// What is to be asked, the most urgent first.
    todo: VecDeque<(Range<Ordinal>, Why)>,
    asking: JoinSet<(Range<Ordinal>, Why, bool)>,
    /// What was undecided when the last sweep looked.
    seen: Vec<Range<Ordinal>>,
    counted: Arc<Counted>,
}

impl Recheck {
    /// Over a log that takes nothing yet: what is undecided now was left by another process.
    pub fn new(decided: Arc<Decided>, spool: Spool, store: SharedStore, messages: Unread) -> Self {
        let left = decided.undecided(*spool.durable_end().borrow());
        let todo = left.into_iter().map(|range| (range, Why::Unsure { old: false })).collect();
        Self {
            decided,
            spool,
            store,
            messages,
            todo,
            asking: JoinSet::new(),
            seen: Vec::new(),
            counted: Arc::default(),
        }
    }

    /// Works until it is stopped.
    pub async fn run(mut self, stop: CancellationToken) {
        self.wait_for_the_engine(&stop).await;
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut resume = Instant::now();
        while !stop.is_cancelled() {
            if Instant::now() >= resume {
                self.begin().await;
            }
            tokio::select! {
                Some(message) = self.messages.0.recv() => self.take(message),
                Some(ended) = self.asking.join_next() => {
                    if let Ok((range, why, false)) = ended {
                        resume = Instant::now() + AGAIN;
                        self.todo.push_front((range, why));
                    }
                }
                () = tokio::time::sleep_until(resume), if !self.todo.is_empty() && Instant::now() < resume => {}
                _ = sweep.tick() => self.sweep(),
                () = stop.cancelled() => {}
            }
        }
    }

    /// Nothing is asked before it is known whether the engine is the one that it was; but not for ever.
    async fn wait_for_the_engine(&mut self, stop: &CancellationToken) {
        let mut standing = self.store.standing();
        let there = standing.wait_for(|standing| matches!(standing, Standing::Connected { .. }));
        tokio::select! {
            there = there => drop(there),
            () = tokio::time::sleep(START_PATIENCE), if self.may_go_alone() => {}
            () = stop.cancelled() => {}
        }
    }

    fn is_connected(&self) -> bool {
        matches!(*self.store.standing().borrow(), Standing::Connected { .. })
    }

    fn may_go_alone(&self) -> bool {
        self.store.when_unavailable() == WhenUnavailable::Available
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Unsure(range) => self.todo.push_front((range, Why::Unsure { old: false })),
            Message::Connected { changed } => {
                self.todo.retain(|(_, why)| *why != Why::Tell);
                self.todo.extend(self.decided.alone().into_iter().map(|range| (range, Why::Tell)));
                if changed {
                    let spool = self.spool.status();
                    self.todo.push_back((spool.first..spool.end, Why::Retell));
                }
            }
        }
    }

    /// What is undecided for longer than any answer takes was left by a task that was cut off.
    fn sweep(&mut self) {
        let now = self.decided.undecided(*self.spool.durable_end().borrow());
        if self.todo.is_empty() && self.asking.is_empty() {
            let left = now.iter().filter(|range| self.seen.iter().any(|seen| seen.start == range.start));
            self.todo.extend(left.map(|range| (range.clone(), Why::Unsure { old: false })));
        }
        if self.todo.is_empty() && self.asking.is_empty() && self.is_connected() {
            self.todo.extend(self.decided.alone().into_iter().map(|range| (range, Why::Tell)));
        }
        self.seen = now;
    }

    /// Begins to ask, as far as there is room.
    async fn begin(&mut self) {
        while self.asking.len() < AT_ONCE
            && let Some((range, why)) = self.todo.pop_front()
        {
            let Some((records, rest)) = self.records(range.clone()).await else {
                self.todo.push_back((range, why));
                return;
            };
            if !rest.is_empty() {
                self.todo.push_front((rest, why));
            }
            for (record, keys) in records {
                self.asking.spawn(self.ask(record, keys, why));
            }
        }
    }

    /// The records of the beginning of a range, with their keys; and the rest of it. What is damaged or gone decides itself: there
    /// is nothing to forward. None while the disk cannot be read.
    async fn records(&self, range: Range<Ordinal>) -> Option<(Vec<Keyed>, Range<Ordinal>)> {
        let range = range.start.max(self.spool.status().first)..range.end;
        let until = range.end.min(range.start.saturating_add(STRETCH));
        let spool = self.spool.clone();
        let read = tokio::task::spawn_blocking({
            let range = range.start..until;
            move || heads(&spool, range)
        });
        let mut records = read.await.ok()?.ok()?;
        let end = records.last().map_or(until, |(record, _)| record.end.max(until)).min(range.end.max(until));
        let known = |record: &Range<Ordinal>| self.decided.dropped_of(record.clone());
        let mut from = range.start;
        for (record, _) in &records {
            self.decided.decide(Decision::Won, from..record.start.max(from));
            from = record.end;
        }
        self.decided.decide(Decision::Won, from..end.max(from));
        records.retain(|(record, keys)| {
            if keys.is_empty() {
                self.decided.decide(Decision::Won, record.clone());
            }
            // Of what is partly dropped the rest was told when that was found.
            !keys.is_empty() && known(record).is_none_or(|dropped| dropped.is_empty())
        });
        Some((records, end..range.end.max(end)))
    }

    fn ask(
        &self,
        record: Range<Ordinal>,
        keys: Vec<EventKey>,
        why: Why,
    ) -> impl Future<Output = (Range<Ordinal>, Why, bool)> + use<> {
        let (store, decided, alone) = (self.store.clone(), Arc::clone(&self.decided), self.may_go_alone());
        let counted = Arc::clone(&self.counted);
        async move {
            let contested = store.contest(&keys).await;
            // Only now: the engine that answered may be another than the one that was asked.
            let (_, since) = decided.engine();
            let why = match why {
                Why::Unsure { old } => Why::Unsure { old: old || record.start < since },
                Why::Tell | Why::Retell if decided.dropped_of(record.clone()).is_none() => {
                    Why::Unsure { old: record.start < since }
                }
                Why::Tell | Why::Retell => why,
            };
            let answered = match contested {
                Ok(lost) => {
                    settle(&decided, &counted, &record, &lost, why);
                    true
                }
                Err(_) if alone && matches!(why, Why::Unsure { .. }) => {
                    decided.decide(Decision::Alone, record.clone());
                    true
                }
                Err(_) => false,
            };
            (record, why, answered)
        }
    }
}

/// Acts upon which places of a record another gateway has.
fn settle(decided: &Decided, counted: &Counted, record: &Range<Ordinal>, lost: &[usize], why: Why) {
    let events = lost.len() as u64;
    if events > 0 && why == (Why::Unsure { old: false }) {
        for place in lost {
            let ordinal = record.start + *place as Ordinal;
            decided.decide(Decision::Dropped, ordinal..ordinal + 1);
        }
        metrics::DEDUP_DROPPED.add(&[], events);
        tracing::info!(
            first = record.start,
            events,
            "another gateway forwards these events; they are not forwarded here"
        );
    } else if events > 0 && counted.lock().insert(record.start) {
        // Told again after each change of the engine, it is still the same event.
        metrics::DEDUP_POSSIBLE_DUPLICATES.add(&[], events);
        tracing::warn!(
            first = record.start,
            events,
            "another gateway holds these events as well, taken while the engine was unreachable or emptied; they may be forwarded twice"
        );
    }
    decided.decide(Decision::Won, record.clone());
}

/// The records of a range, with their keys.
fn heads(spool: &Spool, range: Range<Ordinal>) -> Result<Vec<Keyed>, ReadError> {
    let mut records = Vec::new();
    let mut reader = spool.reader(range.start)?;
    while let Some(item) = reader.next_head()? {
        let HeadItem::Head(head) = item else { continue };
        if head.first >= range.end {
            break;
        }
        let keys = key::decode_keys(&head.index).unwrap_or_default();
        if head.items > 0 {
            records.push((head.ordinals(), keys));
        }
    }
    Ok(records)
}
