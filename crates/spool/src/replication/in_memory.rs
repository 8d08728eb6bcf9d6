//! Servers in the memory of this process: they keep the promises of the trait, can be away, and can leave answers out. For tests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use parking_lot::Mutex;

use super::servers::{Away, Chain, Fill, LogName, Refused, Servers, Stored};
use super::state::State;

/// They.
#[derive(Debug)]
pub struct InMemory {
    kept: Mutex<Kept>,
    is_away: AtomicBool,
    is_full: AtomicBool,
    is_scarce: AtomicBool,
    /// So many of the next messages are kept and not answered.
    unanswered: AtomicUsize,
    appended: AtomicU64,
    message_max: usize,
}

#[derive(Debug, Default)]
struct Kept {
    last: u64,
    logs: BTreeMap<LogName, Vec<Stored>>,
    states: BTreeMap<LogName, Stored>,
}

impl InMemory {
    /// With messages of so many bytes at most.
    pub fn new(message_max: usize) -> Self {
        Self {
            kept: Mutex::default(),
            is_away: AtomicBool::default(),
            is_full: AtomicBool::default(),
            is_scarce: AtomicBool::default(),
            unanswered: AtomicUsize::default(),
            appended: AtomicU64::default(),
            message_max,
        }
    }

    /// Cannot be asked from now on, or can again.
    pub fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
    }

    /// Takes no message of a log from now on, or does again.
    pub fn set_full(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::SeqCst);
    }

    /// Has room for takeovers only from now on, or for everybody again.
    pub fn set_scarce(&self, is_scarce: bool) {
        self.is_scarce.store(is_scarce, Ordering::SeqCst);
    }

    /// Keeps so many messages of logs without saying so.
    pub fn leave_unanswered(&self, messages: usize) {
        self.unanswered.store(messages, Ordering::SeqCst);
    }

    /// The messages of a log.
    pub fn messages(&self, log: &LogName) -> Vec<Stored> {
        self.kept.lock().logs.get(log).cloned().unwrap_or_default()
    }

    /// The last state of a log.
    pub fn state(&self, log: &LogName) -> Option<State> {
        let kept = self.kept.lock();
        kept.states.get(log).and_then(|stored| State::decode(&stored.bytes).ok())
    }

    fn check(&self) -> Result<(), Away> {
        if self.is_away.load(Ordering::SeqCst) { Err(Away("the test took them away".to_owned())) } else { Ok(()) }
    }

    fn put(&self, chain: &Chain, after: u64, bytes: Bytes) -> Result<u64, Refused> {
        self.check()?;
        let mut kept = self.kept.lock();
        let last = match chain {
            Chain::Log(log) => kept.logs.get(log).and_then(|messages| messages.last()).map_or(0, |stored| stored.at),
            Chain::State(log) => kept.states.get(log).map_or(0, |stored| stored.at),
        };
        if last != after {
            return Err(Refused::Overtaken);
        }
        if matches!(chain, Chain::Log(_)) && self.is_full.load(Ordering::SeqCst) {
            return Err(Refused::Full);
        }
        assert!(bytes.len() <= self.message_max, "a message of {} bytes", bytes.len());
        kept.last += 1;
        let stored = Stored { at: kept.last, bytes };
        let at = stored.at;
        match chain {
            Chain::Log(log) => {
                kept.logs.entry(log.clone()).or_default().push(stored);
                self.appended.fetch_add(1, Ordering::SeqCst);
            }
            Chain::State(log) => drop(kept.states.insert(log.clone(), stored)),
        }
        let unanswered = |left: usize| left.checked_sub(1);
        if matches!(chain, Chain::Log(_))
            && self.unanswered.fetch_update(Ordering::SeqCst, Ordering::SeqCst, unanswered).is_ok()
        {
            return Err(Away("the test took the answer away".to_owned()).into());
        }
        Ok(at)
    }

    fn find(&self, chain: &Chain, which: impl Fn(&[Stored]) -> Option<Stored>) -> Result<Option<Stored>, Away> {
        self.check()?;
        let kept = self.kept.lock();
        Ok(match chain {
            Chain::Log(log) => which(kept.logs.get(log).map_or(&[], |messages| messages)),
            Chain::State(log) => which(kept.states.get(log).map_or(&[], std::slice::from_ref)),
        })
    }
}

impl Servers for InMemory {
    fn append<'a>(&'a self, chain: &'a Chain, after: u64, message: Bytes) -> BoxFuture<'a, Result<u64, Refused>> {
        ready(self.put(chain, after, message)).boxed()
    }

    fn last<'a>(&'a self, chain: &'a Chain) -> BoxFuture<'a, Result<Option<Stored>, Away>> {
        ready(self.find(chain, |messages| messages.last().cloned())).boxed()
    }

    fn next<'a>(&'a self, chain: &'a Chain, from: u64) -> BoxFuture<'a, Result<Option<Stored>, Away>> {
        ready(self.find(chain, |messages| messages.iter().find(|stored| stored.at >= from).cloned())).boxed()
    }

    fn remove<'a>(&'a self, log: &'a LogName, before: u64) -> BoxFuture<'a, Result<(), Away>> {
        let removed = self.check().map(|()| {
            if let Some(messages) = self.kept.lock().logs.get_mut(log) {
                messages.retain(|stored| stored.at >= before);
            }
        });
        ready(removed).boxed()
    }

    fn logs(&self) -> BoxFuture<'_, Result<Vec<LogName>, Away>> {
        ready(self.check().map(|()| self.kept.lock().states.keys().cloned().collect())).boxed()
    }

    fn fill(&self) -> BoxFuture<'_, Result<Fill, Away>> {
        let bytes = if self.is_scarce.load(Ordering::SeqCst) { 15 } else { 0 };
        ready(self.check().map(|()| Fill { bytes, max: 16 })).boxed()
    }

    fn message_max(&self) -> usize {
        self.message_max
    }
}
