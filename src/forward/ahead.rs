//! Rows of events that wait for their batch, made ahead on several cores.
//!
//! Making rows is most of the work for a batch, and each row is of its event alone. So the next events of the queue get theirs
//! together, in parts that several threads take, and the batch is then put together in order as if each had been made in its
//! turn. Which events a batch holds, and in which order, does not change by it.

use std::num::NonZero;
use std::sync::LazyLock;
use std::thread;

use crate::outputs::output::{OutgoingEvent, Output, Row};

/// Events whose rows are made ahead at most: enough that beginning a thread is little beside it.
pub(super) const EVENTS_MAX: usize = 256;
/// The same in bytes of the events: what is made ahead lies in memory beside the batch.
pub(super) const BYTES_MAX: usize = 1 << 20;
/// Fewer events are not worth another thread.
const EVENTS_EACH_MIN: usize = 32;
/// More threads than this would only keep the cores from uploads.
const THREADS_MAX: usize = 4;

static THREADS: LazyLock<usize> =
    LazyLock::new(|| thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX));

/// A row, or why there is none.
pub(super) type Made = Result<Row, String>;

/// The rows of these events, in their order.
pub(super) fn rows(output: &dyn Output, events: &[&OutgoingEvent]) -> Vec<Made> {
    let threads = (events.len() / EVENTS_EACH_MIN).clamp(1, *THREADS);
    rows_by(output, events, threads)
}

/// The same by so many threads.
pub(super) fn rows_by(output: &dyn Output, events: &[&OutgoingEvent], threads: usize) -> Vec<Made> {
    let make = |part: &[&OutgoingEvent]| part.iter().map(|event| output.row(event)).collect::<Vec<_>>();
    let mut parts = events.chunks(events.len().div_ceil(threads).max(1));
    let Some(own) = parts.next() else { return Vec::new() };
    thread::scope(|scope| {
        let others: Vec<_> =
            parts.map(|part| (part, thread::Builder::new().spawn_scoped(scope, move || make(part)))).collect();
        let mut made = make(own);
        for (part, other) in others {
            match other.map(thread::ScopedJoinHandle::join) {
                Ok(Ok(rows)) => made.extend(rows),
                Ok(Err(panic)) => std::panic::resume_unwind(panic),
                // The system has no thread left: it takes longer, and that is all.
                Err(_) => made.extend(make(part)),
            }
        }
        made
    })
}
