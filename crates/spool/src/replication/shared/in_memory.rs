//! Cells in memory, with what can happen to those at servers: they are away, answers get lost, the stream is removed or emptied, its
//! end is lost, a server that leads no more tells what was.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use parking_lot::Mutex;

use super::super::connection::View;
use super::super::servers::{Away, Refused, Stored};
use super::cells::Cells;

/// When it began, in seconds since 1970.
pub(super) const BEGAN_S: i64 = 1_800_000_000;

/// They.
#[derive(Debug, Default)]
pub(super) struct InMemory {
    now: Mutex<Kept>,
    /// What a server that leads no more has; it answers what is only read.
    stale: Mutex<Option<Kept>>,
    is_away: AtomicBool,
    /// So many of the next messages are kept and not answered.
    unanswered: AtomicUsize,
    puts: AtomicUsize,
}

#[derive(Debug, Default, Clone)]
struct Kept {
    made: u32,
    last: u64,
    first_after: u64,
    days: i64,
    places: BTreeMap<String, Stored>,
}

impl InMemory {
    pub(super) fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
    }

    pub(super) fn leave_unanswered(&self, messages: usize) {
        self.unanswered.store(messages, Ordering::SeqCst);
    }

    /// From now on reads are answered as of now, or as they should be again.
    pub(super) fn set_stale(&self, is_stale: bool) {
        *self.stale.lock() = is_stale.then(|| self.now.lock().clone());
    }

    /// The stream is removed, and made anew.
    pub(super) fn remake(&self) {
        let mut now = self.now.lock();
        *now = Kept { made: now.made + 1, days: now.days, ..Kept::default() };
    }

    /// Everything in it is removed.
    pub(super) fn empty(&self) {
        let mut now = self.now.lock();
        now.places.clear();
        now.first_after = now.last;
    }

    /// So many of its last messages are lost by all servers.
    pub(super) fn lose(&self, messages: u64) {
        let mut now = self.now.lock();
        now.last -= messages;
        let last = now.last;
        now.places.retain(|_, stored| stored.at <= last);
    }

    /// Days go by.
    pub(super) fn pass(&self, days: i64) {
        self.now.lock().days += days;
    }

    pub(super) fn places(&self) -> Vec<String> {
        self.now.lock().places.keys().cloned().collect()
    }

    pub(super) fn puts(&self) -> usize {
        self.puts.load(Ordering::SeqCst)
    }

    /// Takes away what is at a place.
    pub(super) fn take(&self, place: &str) {
        self.now.lock().places.remove(place);
    }

    fn check(&self) -> Result<(), Away> {
        if self.is_away.load(Ordering::SeqCst) { Err(Away("the test took them away".to_owned())) } else { Ok(()) }
    }

    fn reading(&self) -> Result<Kept, Away> {
        self.check()?;
        Ok(self.stale.lock().clone().unwrap_or_else(|| self.now.lock().clone()))
    }

    fn set(&self, place: &str, after: Option<u64>, bytes: Bytes) -> Result<u64, Refused> {
        self.check()?;
        assert!(bytes.len() <= self.message_max(), "a message of {} bytes", bytes.len());
        let mut now = self.now.lock();
        let there = now.places.get(place).map_or(0, |stored| stored.at);
        if after.is_some_and(|after| after != there) {
            return Err(Refused::Overtaken);
        }
        now.last += 1;
        let at = now.last;
        now.places.insert(place.to_owned(), Stored { at, bytes });
        self.puts.fetch_add(1, Ordering::SeqCst);
        let left = |left: usize| left.checked_sub(1);
        match self.unanswered.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left) {
            Ok(_) => Err(Away("the test took the answer away".to_owned()).into()),
            Err(_) => Ok(at),
        }
    }
}

fn fits(place: &str, wanted: &str) -> bool {
    let (mut parts, mut wanted) = (place.split('.'), wanted.split('.'));
    loop {
        match (parts.next(), wanted.next()) {
            (None, None) => return true,
            (Some(_), Some(">")) => return true,
            (Some(_), Some("*")) => {}
            (Some(part), Some(wanted)) if part == wanted => {}
            _ => return false,
        }
    }
}

impl Cells for InMemory {
    fn put<'a>(&'a self, place: &'a str, after: Option<u64>, bytes: Bytes) -> BoxFuture<'a, Result<u64, Refused>> {
        async move { self.set(place, after, bytes) }.boxed()
    }

    fn get<'a>(&'a self, place: &'a str) -> BoxFuture<'a, Result<Option<Stored>, Away>> {
        ready(self.reading().map(|kept| kept.places.get(place).cloned())).boxed()
    }

    fn look<'a>(&'a self, places: &'a str) -> BoxFuture<'a, Result<View, Away>> {
        let view = |kept: Kept| View {
            created: kept.made.to_string(),
            first: kept.places.values().map(|stored| stored.at).min().unwrap_or(kept.last.max(kept.first_after) + 1),
            last: kept.last,
            at_s: BEGAN_S + kept.days * 86_400,
            first_s: BEGAN_S,
            is_full: false,
            subjects: kept.places.into_keys().filter(|place| fits(place, places)).collect(),
        };
        ready(self.reading().map(view)).boxed()
    }

    fn remove<'a>(&'a self, places: &'a str, before: u64) -> BoxFuture<'a, Result<(), Away>> {
        let removed = self.check().map(|()| {
            self.now.lock().places.retain(|place, stored| !fits(place, places) || stored.at >= before);
        });
        ready(removed).boxed()
    }

    fn message_max(&self) -> usize {
        1_000
    }
}
