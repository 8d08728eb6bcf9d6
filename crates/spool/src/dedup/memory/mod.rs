//! The dedup store in memory: exact, bounded in keys and bytes, forgetful after the window.
//!
//! One lock stands around a plain `table::Table`: a claim is a few tens of nanoseconds a key, so a batch is done
//! before anybody could profit from shards. What a key costs was the reason for an own table: record ids come in runs
//! (`runs.rs`), at 1 to 3 bytes a key, where a hash map of keys takes more than 20.
//!
//! The store never waits while it holds keys: a claim answers at once, and who waits for somebody else's claim does so
//! outside. A caller that ends its own claim before it waits for others cannot be in a circle of waiters.

mod bits;
mod blocks;
mod buffer;
mod chunk;
mod claims;
mod loading;
mod open;
mod probing;
mod record;
mod rising;
mod runs;
mod sealed;
mod slices;
mod slots;
mod stamp;
mod stream;
mod table;
#[cfg(test)]
mod tests;

use parking_lot::{Mutex, MutexGuard};
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use self::claims::{Claims, Ending, Held};
pub use self::loading::{Loading, Step};
use self::table::{Bounds, Found, Table};
use super::Config;
use super::store::{Claim, Remembered, Settled, Store, Unavailable, Verdict};
use crate::clock::Clock;
use crate::event::EventKey;
use crate::memory::Shares;

/// Remembers event keys in the memory of this process. Cheap to clone; clones share what they remember.
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

struct Shared {
    enabled: bool,
    loading: Loading,
    now_unix_s: Box<dyn Fn() -> i64 + Send + Sync>,
    state: Mutex<State>,
}

struct State {
    table: Table,
    claims: Claims,
    /// Whether all that was durable before this start is there: only then may time go on to now.
    is_whole: bool,
    /// What was forgotten because its events were lost, where that is noted.
    forgotten: Option<HashSet<EventKey>>,
}

/// Most keys that are noted as forgotten.
const FORGOTTEN_MAX: usize = 4 << 20;

impl MemoryStore {
    /// An empty store over a clock of its own.
    pub fn new(config: &Config) -> Self {
        Self::following(config, Clock::system())
    }

    /// An empty store whose window follows this clock.
    pub fn following(config: &Config, clock: Clock) -> Self {
        Self::with_clock(config, move || i64::try_from(clock.now_s()).unwrap_or(i64::MAX))
    }

    /// An empty store that follows the given clock, in whole Unix seconds. For the store, time never runs back.
    pub fn with_clock(config: &Config, now_unix_s: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        let bytes = config.max_memory(&Shares::here());
        let bounds = Bounds { keys: config.max_keys, bytes: usize::try_from(bytes).unwrap_or(usize::MAX) };
        let window_s = i64::try_from(config.window.get().as_secs()).unwrap_or(i64::MAX).max(1);
        // Time starts far back, so that what is loaded at start is placed where it belongs.
        let state = State {
            table: Table::new(window_s, bounds, 0),
            claims: Claims::default(),
            is_whole: false,
            forgotten: None,
        };
        Self {
            shared: Arc::new(Shared {
                enabled: config.enabled,
                loading: Loading::of(config.max_keys, bytes, config.window.get()),
                now_unix_s: Box::new(now_unix_s),
                state: Mutex::new(state),
            }),
        }
    }

    /// Remembers keys that were durable before this start, as of the Unix second in which they became so. To be called
    /// before the first claim, from old to new: keys that come after newer ones are remembered a little longer. Keys
    /// that are remembered already, or whose time is past the window, do no harm.
    pub fn load(&self, unix_s: i64, keys: &[EventKey]) {
        if !self.shared.enabled {
            return;
        }
        let mut state = self.shared.lock();
        state.table.advance(unix_s.min((self.shared.now_unix_s)()));
        for key in keys {
            state.table.remember(key);
        }
    }

    /// All that was durable before this start was given.
    pub fn is_loaded(&self) {
        self.shared.lock().is_whole = true;
    }

    /// From now on notes what it is told to forget: whoever else remembers these keys must not be believed.
    pub(in crate::dedup) fn note_forgotten(&self) {
        self.shared.lock().forgotten.get_or_insert_default();
    }

    /// Whether the events of a key were lost here, and did not come again.
    pub(in crate::dedup) fn has_forgotten(&self, key: &EventKey) -> bool {
        self.shared.lock().forgotten.as_ref().is_some_and(|forgotten| forgotten.contains(key))
    }

    pub(in crate::dedup) fn claim_now(&self, keys: &[EventKey]) -> MemoryClaim {
        if !self.shared.enabled {
            let verdicts = vec![Verdict::New; keys.len()];
            return MemoryClaim { shared: Arc::clone(&self.shared), verdicts, number: None };
        }
        let mut verdicts = Vec::with_capacity(keys.len());
        let mut held = Held::default();
        let mut state = self.shared.lock();
        let state = &mut *state;
        state.is_whole = true;
        state.table.advance((self.shared.now_unix_s)());
        state.table.fetch(keys);
        for key in keys {
            verdicts.push(state.claim(key, &mut held));
        }
        let number = (!held.keys().is_empty()).then(|| state.claims.add(held, Ending::new()));
        MemoryClaim { shared: Arc::clone(&self.shared), verdicts, number }
    }
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryStore").field("remembered", &self.remembered()).finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic inside would be our own bug; the claims that others hold must still end.
        self.state.lock()
    }

    /// Ends a claim: each of its keys is confirmed or released, then the waiters are told.
    fn end(&self, number: u64, is_kept: bool) {
        let ending: fn(&mut Table, &EventKey) = if is_kept { Table::confirm } else { Table::release };
        let mut state = self.lock();
        let Some((held, news)) = state.claims.take(number) else { return };
        state.table.advance((self.now_unix_s)());
        for key in held.keys() {
            ending(&mut state.table, key);
        }
        if let Some(forgotten) = state.forgotten.as_mut().filter(|forgotten| !forgotten.is_empty() && is_kept) {
            for key in held.keys() {
                forgotten.remove(key);
            }
        }
        drop(state);
        news.announce();
    }
}

impl State {
    fn claim(&mut self, key: &EventKey, held: &mut Held) -> Verdict {
        match self.table.claim(key) {
            Found::New => {
                held.add(*key);
                Verdict::New
            }
            Found::Durable => Verdict::Duplicate,
            Found::PerhapsPending if held.contains(key) => Verdict::Duplicate,
            Found::PerhapsPending => match self.claims.holder(key) {
                Some(ending) => Verdict::Pending(ending as Arc<dyn Settled>),
                None => Verdict::Duplicate,
            },
        }
    }
}

impl Store for MemoryStore {
    fn claim<'a>(&'a self, keys: &'a [EventKey]) -> BoxFuture<'a, Result<Box<dyn Claim>, Unavailable>> {
        Box::pin(async move { Ok(Box::new(self.claim_now(keys)) as Box<dyn Claim>) })
    }

    fn forget(&self, keys: &[EventKey]) -> u64 {
        let mut state = self.shared.lock();
        let state = &mut *state;
        let before = state.table.keys();
        for key in keys {
            if state.claims.holder(key).is_none() {
                state.table.forget(key);
                if let Some(forgotten) = state.forgotten.as_mut().filter(|forgotten| forgotten.len() < FORGOTTEN_MAX) {
                    forgotten.insert(*key);
                }
            }
        }
        before - state.table.keys()
    }

    fn remembered(&self) -> Remembered {
        let now_s = (self.shared.now_unix_s)();
        let mut state = self.shared.lock();
        if self.shared.enabled && state.is_whole {
            state.table.advance(now_s);
        }
        Remembered { keys: state.table.keys(), bytes: state.table.bytes() as u64, evicted: state.table.evicted() }
    }
}

pub(in crate::dedup) struct MemoryClaim {
    shared: Arc<Shared>,
    verdicts: Vec<Verdict>,
    /// The number of the claim in flight, until it ended. None when it holds nothing.
    number: Option<u64>,
}

impl MemoryClaim {
    /// Gives some of its keys back before its end: somebody else has them.
    pub(in crate::dedup) fn hand_back(&self, keys: &HashSet<EventKey>) {
        let Some(number) = self.number else { return };
        let mut state = self.shared.lock();
        let State { table, claims, .. } = &mut *state;
        claims.give_back(number, keys);
        keys.iter().for_each(|key| table.release(key));
    }
}

impl Claim for MemoryClaim {
    fn verdicts(&self) -> &[Verdict] {
        &self.verdicts
    }

    fn confirm(mut self: Box<Self>, _: Range<u64>) {
        if let Some(number) = self.number.take() {
            self.shared.end(number, true);
        }
    }

    fn release(self: Box<Self>) {
        drop(self);
    }
}

impl Drop for MemoryClaim {
    fn drop(&mut self) {
        if let Some(number) = self.number.take() {
            self.shared.end(number, false);
        }
    }
}
