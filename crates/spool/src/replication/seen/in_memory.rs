//! A stream in memory, with what can happen to one at servers: it is away, answers get lost, it is removed or emptied, its oldest messages
//! go, its end is lost, and what was added is not told for a while.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::super::connection::View;
use super::super::servers::{Away, Refused, Stored};
use super::log::{Entries, Entry, Log};

/// It. Cheap to clone.
#[derive(Clone)]
pub(super) struct InMemory(Arc<(Mutex<Kept>, watch::Sender<()>)>);

#[derive(Debug, Clone)]
struct Kept {
    made: u32,
    last: u64,
    now_s: u32,
    entries: VecDeque<Entry>,
    is_away: bool,
    is_silent: bool,
    is_full: bool,
    /// So many of the next words are kept and not answered.
    unanswered: usize,
}

impl InMemory {
    pub(super) fn new() -> Self {
        let kept = Kept {
            made: 0,
            last: 0,
            now_s: 1_800_000_000,
            entries: VecDeque::new(),
            is_away: false,
            is_silent: false,
            is_full: false,
            unanswered: 0,
        };
        Self(Arc::new((Mutex::new(kept), watch::Sender::new(()))))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Kept) -> T) -> T {
        let changed = change(&mut self.0.0.lock());
        self.0.1.send_replace(());
        changed
    }

    pub(super) fn set_away(&self, is_away: bool) {
        self.change(|kept| kept.is_away = is_away);
    }

    /// Nothing that is added is told to anybody.
    pub(super) fn set_silent(&self, is_silent: bool) {
        self.change(|kept| kept.is_silent = is_silent);
    }

    pub(super) fn leave_unanswered(&self, words: usize) {
        self.change(|kept| kept.unanswered = words);
    }

    /// It is removed, and made anew.
    pub(super) fn remake(&self) {
        self.change(|kept| (kept.made, kept.last, kept.entries) = (kept.made + 1, 0, VecDeque::new()));
    }

    /// Everything in it is removed.
    pub(super) fn empty(&self) {
        self.change(|kept| kept.entries.clear());
    }

    /// Its oldest messages go, for want of room.
    pub(super) fn evict(&self, messages: usize) {
        self.change(|kept| {
            kept.entries.drain(..messages);
            kept.is_full = true;
        });
    }

    /// So many of its last messages are lost by all servers.
    pub(super) fn lose(&self, messages: usize) {
        self.change(|kept| {
            kept.entries.truncate(kept.entries.len() - messages);
            kept.last = kept.entries.back().map_or(0, |entry| entry.at);
        });
    }

    /// Seconds go by.
    pub(super) fn pass(&self, seconds: u32) {
        self.change(|kept| kept.now_s += seconds);
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        self.0.0.lock().entries.iter().cloned().collect()
    }

    fn read<T>(&self, read: impl FnOnce(&Kept) -> T) -> Result<T, Away> {
        let kept = self.0.0.lock();
        if kept.is_away { Err(Away("the test took it away".to_owned())) } else { Ok(read(&kept)) }
    }
}

impl Log for InMemory {
    fn put<'a>(&'a self, place: &'a str, after: Option<u64>, bytes: Bytes) -> BoxFuture<'a, Result<u64, Refused>> {
        let put = self.change(|kept| {
            if kept.is_away {
                return Err(Away("the test took it away".to_owned()).into());
            }
            let there = kept.entries.iter().rev().find(|entry| entry.place == place).map_or(0, |entry| entry.at);
            if after.is_some_and(|after| after != there) {
                return Err(Refused::Overtaken);
            }
            kept.last += 1;
            let (at, time_s) = (kept.last, kept.now_s);
            kept.entries.push_back(Entry { at, time_s, place: place.to_owned(), bytes });
            if place == super::WORDS && kept.unanswered > 0 {
                kept.unanswered -= 1;
                return Err(Away("the test took the answer away".to_owned()).into());
            }
            Ok(at)
        });
        ready(put).boxed()
    }

    fn look(&self) -> BoxFuture<'_, Result<View, Away>> {
        let view = self.read(|kept| View {
            created: kept.made.to_string(),
            first: kept.entries.front().map_or(kept.last + 1, |entry| entry.at),
            last: kept.last,
            at_s: kept.entries.back().map_or(0, |entry| entry.time_s.into()),
            first_s: kept.entries.front().map_or(0, |entry| entry.time_s.into()),
            is_full: kept.is_full,
            subjects: Vec::new(),
        });
        ready(view).boxed()
    }

    fn get(&self, at: u64) -> BoxFuture<'_, Result<Option<Stored>, Away>> {
        let found = self.read(|kept| {
            let found = kept.entries.iter().find(|entry| entry.at >= at);
            found.map(|entry| Stored { at: entry.at, bytes: entry.bytes.clone() })
        });
        ready(found).boxed()
    }

    fn follow(&self, from: u64) -> BoxFuture<'_, Result<Entries, Away>> {
        let followed = self.read(|kept| kept.made).map(|made| {
            let (log, changes) = (self.clone(), self.0.1.subscribe());
            let entries = stream::unfold((log, changes, from), move |(log, mut changes, from)| async move {
                loop {
                    changes.borrow_and_update();
                    let next = log.read(|kept| {
                        let next = kept.entries.iter().find(|entry| entry.at >= from && kept.made == made);
                        next.filter(|_| !kept.is_silent).cloned()
                    });
                    match next {
                        Ok(Some(entry)) => {
                            let behind = entry.at + 1;
                            return Some((Ok(entry), (log, changes, behind)));
                        }
                        Ok(None) => changes.changed().await.ok()?,
                        Err(away) => return Some((Err(away), (log, changes, from))),
                    }
                }
            });
            entries.boxed()
        });
        ready(followed).boxed()
    }

    fn message_max(&self) -> usize {
        128 << 10
    }

    fn server(&self) -> BoxFuture<'_, Result<(String, String), Away>> {
        ready(self.read(|_| ("memory:1".to_owned(), "1".to_owned()))).boxed()
    }
}
