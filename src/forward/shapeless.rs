//! Records whose shape an output did not know: what it took of them, for the status page.

use parking_lot::Mutex;

use super::batch::Batch;
use crate::clock;
use crate::metrics;
use crate::outputs::Output;

/// What an output took of such records since the start.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Shapeless {
    /// How many there were.
    pub events: u64,
    /// When the last one was taken, in Unix milliseconds.
    pub last_at_ms: u64,
    /// The stream that the last one was uploaded to.
    pub stream: String,
    /// What to do about it.
    pub advice: Option<String>,
}

/// Remembers it.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<Option<Shapeless>>);

impl Seen {
    /// Counts those of a batch that was taken.
    pub(super) fn note(&self, name: &str, output: &dyn Output, batch: &Batch) {
        let mut shapeless = batch.events.iter().filter(|event| event.row.is_shapeless);
        let Some(last) = shapeless.next_back() else { return };
        let more = shapeless.count() as u64 + 1;
        metrics::EVENTS_SHAPELESS.add(&[name], more);
        let mut seen = self.0.lock();
        let events = seen.as_ref().map_or(0, |earlier| earlier.events) + more;
        let (stream, advice) = (last.event.stream.to_string(), output.advise_shapeless());
        *seen = Some(Shapeless { events, last_at_ms: clock::wall_ms(), stream, advice });
    }

    /// What there was.
    pub(super) fn get(&self) -> Option<Shapeless> {
        self.0.lock().clone()
    }
}
