//! Keys of the journal, brought into the order in which they are remembered.
//!
//! Uploads of many hosts come one after the other, often several hosts in one; chunks hold neighbours of one host. Put in order
//! first, which any thread can do, keys go into their chunks whole.

use std::time::Duration;

use super::MemoryStore;
use crate::dedup::journal::Entry;
use crate::event::EventKey;

/// Keys that are put in order together take this share of the memory of what is remembered, for each of a few batches at once.
const SHARE: u64 = 16;
/// And no more bytes than this.
const BATCH_MAX: u64 = 8 << 20;
/// Of the keys that may be remembered they are no more than this share: so much is forgotten at once at the bound.
const KEYS_SHARE: u64 = 32;
/// Their times are no further apart than this part of the window.
const WINDOW_PART: i64 = 96;

/// How the keys of a start are taken.
#[derive(Debug, Clone, Copy)]
pub struct Loading {
    /// About so many keys make a batch.
    pub batch_keys: usize,
    span_s: i64,
}

/// What happened at one time, or close to it.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// These keys were seen, the last of them then. In order.
    Seen(i64, Vec<EventKey>),
    /// These were lost after they had been seen.
    Forgotten(Vec<EventKey>),
}

impl Loading {
    pub(super) fn of(max_keys: u64, max_bytes: u64, window: Duration) -> Self {
        let by_memory = (max_bytes / SHARE).min(BATCH_MAX) / size_of::<EventKey>() as u64;
        let batch_keys = by_memory.min(max_keys / KEYS_SHARE).max(1);
        let window_s = i64::try_from(window.as_secs()).unwrap_or(i64::MAX);
        Self { batch_keys: usize::try_from(batch_keys).unwrap_or(usize::MAX), span_s: window_s / WINDOW_PART }
    }

    /// Entries of the journal, with what was seen about the same time together and in order.
    pub fn prepare(self, entries: Vec<(i64, Entry)>) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut seen: Vec<EventKey> = Vec::new();
        let (mut first_s, mut last_s) = (0, 0);
        for (unix_s, entry) in entries {
            let keys = match entry {
                Entry::Seen(keys) => keys,
                Entry::Forgotten(keys) => {
                    close(&mut steps, last_s, &mut seen);
                    steps.push(Step::Forgotten(keys));
                    continue;
                }
            };
            if !seen.is_empty() && unix_s.saturating_sub(first_s) > self.span_s {
                close(&mut steps, last_s, &mut seen);
            }
            (first_s, last_s) = if seen.is_empty() { (unix_s, unix_s) } else { (first_s, last_s.max(unix_s)) };
            if seen.is_empty() { seen = keys } else { seen.extend(keys) }
        }
        close(&mut steps, last_s, &mut seen);
        steps
    }
}

fn close(steps: &mut Vec<Step>, unix_s: i64, seen: &mut Vec<EventKey>) {
    let mut keys = std::mem::take(seen);
    if !keys.is_empty() {
        keys.sort_by_key(place);
        steps.push(Step::Seen(unix_s, keys));
    }
}

/// Where a key stands: those of one chunk together, by record id.
fn place(key: &EventKey) -> (u8, u128, u64) {
    match *key {
        EventKey::Record { stream, record_id, event_id: Some(_), .. } => (0, stream, record_id),
        EventKey::Record { stream, record_id, event_id: None, .. } => (1, stream, record_id),
        EventKey::OldRecord { stream, record_id, .. } => (2, stream, record_id),
        EventKey::Content(_) => (3, 0, 0),
    }
}

impl MemoryStore {
    /// How to prepare keys for [`MemoryStore::load_in_order`].
    pub fn loading(&self) -> Loading {
        self.shared.loading
    }

    /// Remembers keys that were durable before this start, like [`MemoryStore::load`]; quicker where they are in order.
    pub fn load_in_order(&self, unix_s: i64, keys: &[EventKey]) {
        if self.shared.enabled {
            let mut state = self.shared.lock();
            state.table.advance(unix_s.min((self.shared.now_unix_s)()));
            state.table.remember_all(keys);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dedup::Config;
    use crate::values::{ByteSize, Span};

    const NOW: i64 = 1_700_000_000;

    fn key() -> impl Strategy<Value = EventKey> {
        let event_id = prop_oneof![4 => (1u16..3).prop_map(Some), 1 => Just(None)];
        prop_oneof![
            8 => (1u128..4, 0u64..900, prop_oneof![9 => Just(0i64), 1 => 1i64..3], event_id).prop_map(
                |(stream, record_id, second, event_id)| EventKey::Record {
                    stream, record_id, second: second + record_id as i64, event_id,
                }
            ),
            1 => (1u128..3, 0u64..300).prop_map(|(stream, record_id)| EventKey::OldRecord { stream, record_id, second: 5 }),
            1 => (0u128..20).prop_map(EventKey::Content),
        ]
    }

    fn entry() -> impl Strategy<Value = (i64, Entry)> {
        let keys = prop::collection::vec(key(), 1..200);
        (0i64..2_000, keys, prop::bool::weighted(0.1)).prop_map(|(ago, keys, is_forgotten)| {
            (NOW - ago, if is_forgotten { Entry::Forgotten(keys) } else { Entry::Seen(keys) })
        })
    }

    fn store(max_keys: u64) -> MemoryStore {
        let config =
            Config { max_keys, max_memory: Some(ByteSize::mib(8)), window: Span::secs(86_400), ..Config::default() };
        MemoryStore::with_clock(&config, || NOW)
    }

    fn remembers(store: &MemoryStore, key: &EventKey) -> bool {
        use crate::dedup::store::{Claim as _, Verdict};
        matches!(store.claim_now(&[*key]).verdicts(), [Verdict::Duplicate])
    }

    proptest! {
        #[test]
        fn what_is_loaded_in_order_is_what_is_loaded_one_by_one(
            mut entries in prop::collection::vec(entry(), 0..12), batches in 1usize..4,
        ) {
            entries.sort_by_key(|(unix_s, _)| *unix_s);
            let (plain, quick) = (store(1 << 20), store(1 << 20));
            let mut all = Vec::new();
            for (unix_s, entry) in &entries {
                match entry {
                    Entry::Seen(keys) => plain.load(*unix_s, keys),
                    Entry::Forgotten(keys) => drop(crate::dedup::store::Store::forget(&plain, keys)),
                }
                let (Entry::Seen(keys) | Entry::Forgotten(keys)) = entry;
                all.extend_from_slice(keys);
            }
            for entries in entries.chunks(entries.len().div_ceil(batches).max(1)) {
                for step in quick.loading().prepare(entries.to_vec()) {
                    match step {
                        Step::Seen(unix_s, keys) => quick.load_in_order(unix_s, &keys),
                        Step::Forgotten(keys) => drop(crate::dedup::store::Store::forget(&quick, &keys)),
                    }
                }
            }
            use crate::dedup::store::Store as _;
            prop_assert_eq!(quick.remembered().keys, plain.remembered().keys);
            for key in &all {
                prop_assert_eq!(remembers(&quick, key), remembers(&plain, key), "{:?}", key);
            }
        }
    }

    #[test]
    fn the_bound_of_keys_holds_and_the_newest_stay() {
        use crate::dedup::store::Store as _;
        let store = store(1_000);
        let keys = |from: u64| -> Vec<EventKey> {
            let key = |record_id| EventKey::Record { stream: 7, record_id, second: NOW, event_id: Some(1) };
            (from..from + 200).map(key).collect()
        };
        for step in 0..50 {
            store.load_in_order(NOW - 5_000 + step * 100, &keys(step as u64 * 200));
            assert!(store.remembered().keys <= 1_000);
        }
        assert!(keys(49 * 200).iter().all(|key| remembers(&store, key)));
    }

    #[test]
    fn what_was_seen_about_the_same_time_comes_together_and_in_order_but_not_past_what_was_forgotten() {
        let key = |stream, record_id| EventKey::Record { stream, record_id, second: 1, event_id: Some(1) };
        let seen = |unix_s, keys: &[EventKey]| (unix_s, Entry::Seen(keys.to_vec()));
        let entries = vec![
            seen(NOW, &[key(2, 1), EventKey::Content(9)]),
            seen(NOW + 9, &[key(1, 300), key(2, 0)]),
            (NOW + 10, Entry::Forgotten(vec![key(1, 300)])),
            seen(NOW + 11, &[key(1, 300)]),
            seen(NOW + 5_000, &[key(1, 301)]),
        ];
        let steps = store(1 << 20).loading().prepare(entries);
        let together = vec![key(1, 300), key(2, 0), key(2, 1), EventKey::Content(9)];
        assert_eq!(
            steps,
            [
                Step::Seen(NOW + 9, together),
                Step::Forgotten(vec![key(1, 300)]),
                Step::Seen(NOW + 11, vec![key(1, 300)]),
                Step::Seen(NOW + 5_000, vec![key(1, 301)]),
            ]
        );
    }
}
