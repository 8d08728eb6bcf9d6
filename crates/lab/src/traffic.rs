//! What passes through a collector at a time: the bodies that it has and has not answered, and its busiest second.

use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedRwLockWriteGuard, RwLock};
use tokio::time::Instant;

/// Bodies that were read whole and not answered yet.
#[derive(Debug, Default)]
pub(super) struct Pending(Mutex<BTreeMap<u64, Bytes>>);

impl Pending {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Bytes>> {
        self.0.lock()
    }

    /// Keeps a body until the place is dropped: answered, or given up by its client.
    pub(super) fn keep(self: &Arc<Self>, body: &Bytes) -> Place {
        let mut bodies = self.lock();
        let number = bodies.last_key_value().map_or(0, |(last, _)| last + 1);
        bodies.insert(number, body.clone());
        drop(bodies);
        Place { pending: Arc::clone(self), number }
    }

    pub(super) fn bodies(&self) -> Vec<Bytes> {
        self.lock().values().cloned().collect()
    }
}

/// The place of one body.
pub(super) struct Place {
    pending: Arc<Pending>,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pending.lock().remove(&self.number);
    }
}

/// While it is kept, a collector takes nothing, or answers nothing.
#[derive(Debug)]
pub struct Frozen {
    pub(super) _gate: OwnedRwLockWriteGuard<()>,
}

/// What requests pass, unless it is shut.
pub(super) type Gate = Arc<RwLock<()>>;

/// The most that came within one second, wherever that second begins.
#[derive(Debug, Default)]
pub(super) struct BusiestSecond {
    recent: VecDeque<(Instant, u64)>,
    sum: u64,
    most: u64,
}

impl BusiestSecond {
    pub(super) fn add(&mut self, events: u64, now: Instant) {
        while let Some((at, gone)) = self.recent.front().copied()
            && now.saturating_duration_since(at) >= Duration::from_secs(1)
        {
            self.sum -= gone;
            self.recent.pop_front();
        }
        self.recent.push_back((now, events));
        self.sum += events;
        self.most = self.most.max(self.sum);
    }

    pub(super) fn most(&self) -> u64 {
        self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_busiest_second_is_found_wherever_it_begins() {
        let mut second = BusiestSecond::default();
        let began = Instant::now();
        for (at, events) in [(0, 5), (900, 5), (1_000, 7), (1_899, 1), (1_900, 1), (5_000, 12)] {
            second.add(events, began + Duration::from_millis(at));
        }
        assert_eq!(second.most(), 13, "5 + 7 + 1, from 900 on");
    }
}
