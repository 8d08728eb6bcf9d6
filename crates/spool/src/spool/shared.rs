//! What the committer, the readers and the callers of the spool share: the queue, the segments, the counts.

use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;

use super::anchors::Anchors;
use super::committer::Waiting;
use super::recent::Recent;
use super::segment::Segment;
use super::{AppendError, Health, Ordinal, lock};
use crate::fs::Fs;

/// How long to wait before looking again whether a failure is over.
const HEAL_PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    release: Ordinal,
    /// Whether `release` was raised since the committer last looked.
    release_due: bool,
    /// Whether a commit went by after which nothing was prepared yet.
    idle_due: bool,
    closing: bool,
    ended: bool,
}

/// What [`super::Status`] is made of, beyond the segments.
#[derive(Debug, Clone)]
pub(super) struct Counts {
    pub(super) commits: u64,
    pub(super) appends: u64,
    pub(super) spares: usize,
    pub(super) health: Health,
    pub(super) oldest_ms: u64,
}

/// What there is to do; an empty group means: nothing waits.
pub(super) struct Work {
    pub(super) group: VecDeque<Waiting>,
    pub(super) release: Ordinal,
}

#[derive(Debug)]
pub(super) struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    segments: Mutex<VecDeque<Arc<Segment>>>,
    counts: Mutex<Counts>,
    durable: watch::Sender<Ordinal>,
    pub(super) anchors: Anchors,
    /// What readers of it have read last.
    pub(super) recent: Recent,
}

impl Shared {
    pub(super) fn new(segments: Vec<Arc<Segment>>, next: Ordinal, spares: usize, fs: &Arc<dyn Fs>) -> Self {
        let counts = Counts { commits: 0, appends: 0, spares, health: Health::Ok, oldest_ms: 0 };
        Self {
            queue: Mutex::default(),
            wake: Condvar::new(),
            segments: Mutex::new(segments.into()),
            counts: Mutex::new(counts),
            durable: watch::Sender::new(next),
            anchors: Anchors::new(Arc::clone(fs)),
            recent: Recent::default(),
        }
    }

    /// Hands an append to the committer.
    pub(super) fn push(&self, waiting: Waiting) -> Result<(), AppendError> {
        let mut queue = lock(&self.queue);
        if queue.closing || queue.ended {
            return Err(AppendError::Closed);
        }
        queue.waiting.push_back(waiting);
        self.wake.notify_one();
        Ok(())
    }

    /// Waits for something to do; `None` when the spool is closed and nothing waits.
    pub(super) fn take_work(&self, commit_max: u64) -> Option<Work> {
        let mut queue = lock(&self.queue);
        loop {
            // Whoever gave up while it waited was not acknowledged; its bytes need not be written.
            queue.waiting.retain(|waiting| !waiting.reply.is_closed());
            if !queue.waiting.is_empty() || queue.release_due || queue.idle_due {
                break;
            }
            if queue.closing {
                return None;
            }
            if self.is_well() || self.anchors.gone().is_some() {
                self.wake.wait(&mut queue);
            } else {
                let waited = self.wake.wait_for(&mut queue, HEAL_PAUSE);
                queue.idle_due |= waited.timed_out();
            }
        }
        let mut bytes = 0;
        let within = queue.waiting.iter().take_while(|waiting| {
            bytes += waiting.packed.stored_len();
            bytes <= commit_max
        });
        let taken = within.count().max(1).min(queue.waiting.len());
        let group: VecDeque<Waiting> = queue.waiting.drain(..taken).collect();
        queue.release_due = false;
        queue.idle_due = !group.is_empty();
        Some(Work { group, release: queue.release })
    }

    pub(super) fn close(&self) {
        lock(&self.queue).closing = true;
        self.wake.notify_one();
    }

    /// The committer is gone: dropping what waits tells whoever waits. If nobody asked it to go, the spool is failing.
    pub(super) fn end_service(&self) {
        let mut queue = lock(&self.queue);
        queue.ended = true;
        queue.waiting.clear();
        if !queue.closing {
            let reason = "the thread that writes has ended; only a restart helps".to_owned();
            self.with_counts(|counts| counts.health = Health::Failing { reason });
        }
    }

    /// Whether segments go when all below is no longer needed.
    pub(super) fn frees(&self, before: Ordinal) -> bool {
        lock(&self.segments).get(1).is_some_and(|second| second.first <= before)
    }

    /// Everything below is no longer needed.
    pub(super) fn ask_release(&self, before: Ordinal) {
        let frees = self.frees(before);
        let mut queue = lock(&self.queue);
        queue.release = queue.release.max(before);
        if frees {
            queue.release_due = true;
            self.wake.notify_one();
        }
    }

    /// Takes out all segments whose items are all below the ordinal; never the last one.
    pub(super) fn take_released(&self, before: Ordinal) -> Vec<Arc<Segment>> {
        let mut segments = lock(&self.segments);
        let mut released = Vec::new();
        while segments.get(1).is_some_and(|second| second.first <= before) {
            if let Some(segment) = segments.pop_front() {
                segment.released.store(true, Ordering::Release);
                released.push(segment);
            }
        }
        released
    }

    /// Puts a segment at the end and seals the one before it.
    pub(super) fn add_segment(&self, segment: Arc<Segment>) {
        let mut segments = lock(&self.segments);
        let first = segment.first;
        let former = segments.back().cloned();
        segments.push_back(segment);
        if let Some(former) = former {
            let mut extent = lock(&former.extent);
            extent.sealed = true;
            extent.until = first;
        }
    }

    pub(super) fn last_segment(&self) -> Option<Arc<Segment>> {
        lock(&self.segments).back().cloned()
    }

    /// The segment to read an ordinal from: the last one that begins at or below it, or the first there is.
    pub(super) fn segment_for(&self, ordinal: Ordinal) -> Option<Arc<Segment>> {
        let segments = lock(&self.segments);
        let behind = segments.partition_point(|segment| segment.first < ordinal);
        // One that begins exactly here comes second: a note without items may stand at the end of the one before.
        segments.get(behind.saturating_sub(1)).cloned()
    }

    pub(super) fn segment_after(&self, number: u64) -> Option<Arc<Segment>> {
        let segments = lock(&self.segments);
        let behind = segments.partition_point(|segment| segment.number <= number);
        segments.get(behind).cloned()
    }

    /// Bytes of disk that the live segments take.
    pub(super) fn live_bytes(&self) -> u64 {
        lock(&self.segments).iter().map(|segment| segment.size).sum()
    }

    /// Bytes that are written: whole segments, but the last one only as far as it is used.
    pub(super) fn used_bytes(&self) -> u64 {
        let segments = lock(&self.segments);
        let last = segments.len().saturating_sub(1);
        segments.iter().enumerate().map(|(i, s)| if i == last { s.extent().end } else { s.size }).sum()
    }

    pub(super) fn segment_count(&self) -> usize {
        lock(&self.segments).len()
    }

    pub(super) fn first(&self) -> Ordinal {
        lock(&self.segments).front().map_or_else(|| self.next(), |segment| segment.first)
    }

    /// The ordinal behind the last durable item, which the next one gets.
    pub(super) fn next(&self) -> Ordinal {
        *self.durable.borrow()
    }

    /// Moves the durable end forward.
    pub(super) fn publish(&self, end: Ordinal) {
        self.durable.send_if_modified(|durable| {
            let moves = end > *durable;
            *durable = end.max(*durable);
            moves
        });
    }

    /// Moves the durable end forward although there is nothing: the items in between, which are returned, are lost.
    pub(super) fn skip_to(&self, end: Ordinal) -> std::ops::Range<Ordinal> {
        let lost = self.next()..end;
        if !lost.is_empty() {
            if let Some(last) = self.last_segment() {
                lock(&last.extent).until = end;
            }
            self.publish(end);
        }
        lost
    }

    pub(super) fn durable(&self) -> watch::Receiver<Ordinal> {
        self.durable.subscribe()
    }

    pub(super) fn with_counts<T>(&self, f: impl FnOnce(&mut Counts) -> T) -> T {
        f(&mut lock(&self.counts))
    }

    pub(super) fn is_well(&self) -> bool {
        lock(&self.counts).health == Health::Ok
    }

    /// Learns when the oldest record was appended.
    pub(super) fn note_oldest(&self, fs: &dyn Fs) {
        let front = lock(&self.segments).front().cloned();
        let oldest = front.map_or(0, |segment| segment.oldest_ms(fs));
        self.with_counts(|counts| counts.oldest_ms = oldest);
    }
}
