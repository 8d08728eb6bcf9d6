//! What flowed during the last minute and the last hour, for those who look: rings of fixed size, in memory only. What is kept
//! for longer is Prometheus' to keep.

use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;

use serde::Serialize;
use tokio::time::Instant;

use super::build::Parts;

/// Points of each ring.
const POINTS: usize = 60;

/// Looks of the minute for each point of the hour.
const LOOKS: u64 = 60;

/// What flowed, in events a second, and how much waits, at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct Point {
    received: f64,
    dropped: f64,
    forwarded: f64,
    /// Events of the output that has most of them.
    pending: u64,
    spool_bytes: u64,
}

/// Counters, as they were seen.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Totals {
    received: u64,
    dropped: u64,
    forwarded: u64,
    pending: u64,
    spool_bytes: u64,
}

/// The last minute and the last hour.
#[derive(Default)]
pub(super) struct History(Mutex<Rings>);

#[derive(Default)]
struct Rings {
    minute: Ring,
    hour: Ring,
    looks: u64,
    full_in: Option<f64>,
}

#[derive(Default)]
struct Ring {
    seen: Option<(Instant, Totals)>,
    points: VecDeque<Point>,
}

impl History {
    /// Takes the next point. Called about once a second.
    pub(super) fn look(&self, parts: &Parts) {
        let total = parts.books.ledger().total();
        let forwarders = parts.outputs.forwarders();
        let totals = Totals {
            received: total.received,
            dropped: total.filtered + total.duplicate,
            forwarded: forwarders.iter().map(|forwarder| forwarder.totals().forwarded).sum(),
            pending: forwarders.iter().map(|forwarder| forwarder.pending()).max().unwrap_or_default(),
            spool_bytes: parts.spool.status().bytes,
        };
        self.rings().take(Instant::now(), totals);
    }

    /// Takes when the disk or the spool will be full.
    pub(super) fn full_in(&self, seconds: Option<f64>) {
        self.rings().full_in = seconds;
    }

    /// When the disk or the spool will be full, in seconds, as it was seen last; none while neither fills.
    pub(super) fn seconds_to_full(&self) -> Option<f64> {
        self.rings().full_in
    }

    /// The points of the last minute, each of a second, and those of the last hour, each of a minute; the oldest first.
    pub(super) fn shown(&self) -> serde_json::Value {
        let rings = self.rings();
        serde_json::json!({ "minute": rings.minute.points, "hour": rings.hour.points })
    }

    /// The last point of the minute.
    pub(super) fn last(&self) -> Option<Point> {
        self.rings().minute.points.back().copied()
    }

    fn rings(&self) -> MutexGuard<'_, Rings> {
        self.0.lock()
    }
}

impl Rings {
    fn take(&mut self, now: Instant, totals: Totals) {
        self.minute.take(now, totals);
        if self.looks.is_multiple_of(LOOKS) {
            self.hour.take(now, totals);
        }
        self.looks += 1;
    }
}

impl Ring {
    fn take(&mut self, now: Instant, totals: Totals) {
        let Some((at, before)) = self.seen.replace((now, totals)) else { return };
        let seconds = now.saturating_duration_since(at).as_secs_f64().max(1e-3);
        // An output that left, or a new beginning of the account, makes no negative rate.
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        if self.points.len() >= POINTS {
            self.points.pop_front();
        }
        self.points.push_back(Point {
            received: rate(totals.received, before.received),
            dropped: rate(totals.dropped, before.dropped),
            forwarded: rate(totals.forwarded, before.forwarded),
            pending: totals.pending,
            spool_bytes: totals.spool_bytes,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rates_are_those_between_two_looks_and_no_more_points_are_kept_than_are_shown() {
        let (mut rings, start) = (Rings::default(), Instant::now());
        for second in 0..8_000_u64 {
            let totals =
                Totals { received: second * 7, forwarded: 8_000 - second, pending: second, ..Totals::default() };
            rings.take(start + Duration::from_secs(second), totals);
        }
        let last = *rings.minute.points.back().expect("there are points");
        assert_eq!((last.received, last.forwarded, last.pending), (7.0, 0.0, 7_999));
        assert_eq!((rings.minute.points.len(), rings.hour.points.len()), (POINTS, POINTS));
        assert!(rings.hour.points.iter().all(|point| (point.received - 7.0).abs() < 1e-9));
    }
}
