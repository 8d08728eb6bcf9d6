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
//! - everything that is remembered, when the engine has forgotten: it is told again.
//!
//! What is told may have left the spool: then the dedup journal has its keys ([`super::retell`]).
//!
//! A record that was taken under an engine which has forgotten since is not dropped for what the new one says, since two
//! gateways could drop it for each other: it is forwarded, and counts as a possible duplicate.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::contested::{Asked, Asker, Keyed, Why, heads};
use super::retell::JournalPlace;
use crate::dedup::several::{Decisions, Outcome, SharedStore, Standing, Watcher};
use crate::event::EventKey;
use crate::metrics;
use crate::spool::decided::{Decided, Decision};
use crate::spool::{Ordinal, Spool};

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

/// The telling of what has left the spool.
struct Gone {
    keys: mpsc::Receiver<(Range<Ordinal>, Vec<EventKey>)>,
    why: Why,
    /// What was taken alone of it.
    alone: Vec<Range<Ordinal>>,
}

/// Asks again.
pub struct Recheck {
    decided: Arc<Decided>,
    spool: Spool,
    store: SharedStore,
    messages: Unread,
    kept: JournalPlace,
    /// What is to be asked, the most urgent first.
    todo: VecDeque<(Range<Ordinal>, Why)>,
    asking: JoinSet<Asked>,
    /// What is told of what has left the spool, while it is.
    gone: Option<Gone>,
    /// The engine has forgotten, and does not know all of that again yet.
    owes: bool,
    /// What was undecided when the last sweep looked.
    seen: Vec<Range<Ordinal>>,
    asker: Asker,
}

impl Recheck {
    /// Over a log that takes nothing yet: what is undecided now was left by another process.
    pub fn new(decided: Arc<Decided>, spool: Spool, store: SharedStore, messages: Unread, kept: JournalPlace) -> Self {
        let asker = Asker::new(Arc::clone(&decided), store.clone());
        let left = decided.undecided(*spool.durable_end().borrow());
        let todo = left.into_iter().map(|range| (range, Why::Unsure { old: false })).collect();
        Self {
            decided,
            spool,
            store,
            messages,
            kept,
            todo,
            asking: JoinSet::new(),
            gone: None,
            owes: false,
            seen: Vec::new(),
            asker,
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
            let has_room = self.asking.len() < AT_ONCE && Instant::now() >= resume;
            tokio::select! {
                Some(message) = self.messages.0.recv() => self.take(message),
                Some(ended) = self.asking.join_next() => {
                    if let Ok(asked) = ended && !asked.answered {
                        resume = Instant::now() + AGAIN;
                        self.again(asked);
                    }
                }
                gone = next(&mut self.gone), if has_room => self.tell_gone(gone),
                () = tokio::time::sleep_until(resume), if Instant::now() < resume => {}
                _ = sweep.tick() => self.sweep(),
                () = stop.cancelled() => {}
            }
            self.end_of_gone();
        }
    }

    /// Nothing is asked before it is known whether the engine is the one that it was; but not for ever.
    async fn wait_for_the_engine(&mut self, stop: &CancellationToken) {
        let mut standing = self.store.standing();
        let there = standing.wait_for(|standing| matches!(standing, Standing::Connected { .. }));
        tokio::select! {
            there = there => drop(there),
            () = tokio::time::sleep(START_PATIENCE), if self.asker.may_go_alone() => {}
            () = stop.cancelled() => {}
        }
    }

    fn is_connected(&self) -> bool {
        matches!(*self.store.standing().borrow(), Standing::Connected { .. })
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Unsure(range) => self.todo.push_front((range, Why::Unsure { old: false })),
            Message::Connected { changed } => {
                self.owes |= changed;
                self.tell();
            }
        }
    }

    /// Begins to tell what others may not know: what was taken alone, or everything.
    fn tell(&mut self) {
        self.todo.retain(|(_, why)| matches!(why, Why::Unsure { .. }));
        let (first, end) = (self.spool.status().first, self.spool.status().end);
        let mut alone = self.decided.alone();
        self.todo.extend(alone.iter().filter(|range| range.end > first).map(|range| (range.clone(), Why::Tell)));
        if self.owes {
            self.todo.push_back((first..end, Why::Retell));
        }
        alone.iter_mut().for_each(|range| range.end = range.end.min(first));
        alone.retain(|range| range.start < range.end);
        let (why, wanted) =
            if self.owes { (Why::Retell, std::iter::once(0..end).collect()) } else { (Why::Tell, alone.clone()) };
        let keys = (!wanted.is_empty()).then(|| self.kept.read(&self.spool, wanted));
        self.gone = keys.map(|keys| Gone { keys, why, alone });
    }

    /// Tells the next of what has left the spool; none is the end of it.
    fn tell_gone(&mut self, next: Option<(Range<Ordinal>, Vec<EventKey>)>) {
        let Some(Gone { why, .. }) = self.gone else { return };
        if let Some((record, keys)) = next
            && let Some(keyed) = self.asker.keyed(record, keys, true)
        {
            self.asking.spawn(self.asker.ask(keyed, why));
        }
    }

    /// All of it was told, and answered.
    fn end_of_gone(&mut self) {
        let has_ended = self.gone.as_ref().is_some_and(|gone| gone.keys.is_closed() && gone.keys.is_empty());
        let is_told = self.asking.is_empty() && self.todo.iter().all(|(_, why)| matches!(why, Why::Unsure { .. }));
        if !has_ended || !is_told {
            return;
        }
        if let Some(Gone { why, alone, .. }) = self.gone.take() {
            alone.into_iter().for_each(|range| self.decided.decide(Decision::Won, range));
            if why == Why::Retell {
                self.owes = false;
                tracing::info!("the engine of shared deduplication knows again what this gateway remembers");
            }
        }
    }

    /// Not answered: asked once more, or, of what has left the spool, all of it told anew.
    fn again(&mut self, asked: Asked) {
        if asked.is_gone {
            self.gone = None;
        } else {
            self.todo.push_front((asked.record, asked.why));
        }
    }

    /// What is undecided for longer than any answer takes was left by a task that was cut off.
    fn sweep(&mut self) {
        let first = self.spool.status().first;
        self.asker.forget(first);
        let now = self.decided.undecided(*self.spool.durable_end().borrow());
        if self.todo.is_empty() && self.asking.is_empty() {
            let left = now.iter().filter(|range| self.seen.iter().any(|seen| seen.start == range.start));
            self.todo.extend(left.map(|range| (range.clone(), Why::Unsure { old: false })));
        }
        let is_idle = self.todo.is_empty() && self.asking.is_empty() && self.gone.is_none();
        if is_idle && self.is_connected() && (self.owes || !self.decided.alone().is_empty()) {
            self.tell();
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
            for keyed in records {
                self.asking.spawn(self.asker.ask(keyed, why));
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
        let records = read.await.ok()?.ok()?;
        let end = records.last().map_or(until, |(record, _)| record.end.max(until)).min(range.end.max(until));
        let mut from = range.start;
        for (record, _) in &records {
            self.decided.decide(Decision::Won, from..record.start.max(from));
            from = record.end;
        }
        self.decided.decide(Decision::Won, from..end.max(from));
        let keyed = records.into_iter().filter_map(|(record, keys)| {
            let keyed = self.asker.keyed(record.clone(), keys, false);
            if keyed.is_none() {
                self.decided.decide(Decision::Won, record);
            }
            keyed
        });
        Some((keyed.collect(), end..range.end.max(end)))
    }
}

/// What is next of what has left the spool.
async fn next(gone: &mut Option<Gone>) -> Option<(Range<Ordinal>, Vec<EventKey>)> {
    match gone {
        Some(gone) if !gone.keys.is_closed() || !gone.keys.is_empty() => gone.keys.recv().await,
        _ => std::future::pending().await,
    }
}
