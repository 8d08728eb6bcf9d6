//! Who sends Windows events without a time that can be read.
//!
//! Such an event is taken: its sender could not send it otherwise. But it is known by its content only, no query for a time
//! finds it, and a workspace shows it at the time of its arrival. Somebody has to hear of that, so each input remembers the last
//! who sent one.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::sort::Sorted;
use crate::clock;
use crate::metrics;

/// What to do about it.
const ADVICE: &str = "Windows events without a readable time: they are known by their content only, and a workspace puts the time of \
                      arrival in its place. Have their sender write TimeCreated (or TimeGenerated, EventTime, timestamp) in ISO \
                      8601 with its zone, or as a number since 1970; `gatepost columns` shows what becomes of a record";

/// What one input took of such events since the start.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Timeless {
    /// Which input.
    pub input: Arc<str>,
    /// Who sent the last one.
    pub client: Arc<str>,
    /// How many there were.
    pub events: u64,
    /// When the last one came, in Unix milliseconds.
    pub last_at_ms: u64,
    /// What to do about it.
    pub advice: &'static str,
}

/// Remembers what each input took. As many as there are inputs.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<BTreeMap<Arc<str>, Timeless>>);

impl Seen {
    /// Counts those of an upload that was acknowledged.
    pub(super) fn note(&self, sorted: &Sorted) {
        if sorted.timeless == 0 {
            return;
        }
        metrics::EVENTS_TIMELESS.add(&[&sorted.input], sorted.timeless);
        let mut seen = self.0.lock();
        let events = seen.get(&sorted.input).map_or(0, |earlier| earlier.events) + sorted.timeless;
        let (input, client) = (Arc::clone(&sorted.input), Arc::clone(&sorted.client));
        let last_at_ms = clock::wall_ms();
        seen.insert(Arc::clone(&input), Timeless { input, client, events, last_at_ms, advice: ADVICE });
    }

    /// What there was, by input.
    pub(super) fn list(&self) -> Vec<Timeless> {
        self.0.lock().values().cloned().collect()
    }
}
