//! Who may come in: load is shed here, before any work is done for an upload.
//!
//! Room ([`Room`]) is counted in bytes of memory that uploads take beside their bodies, which the listener has counted. An upload that
//! takes more than there is for one still enters when no other large one is inside, so that no sender is refused for ever. What
//! its records take is known only when they are decoded; the upload then gives room back, or takes more.

use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::accept::Refusal;
use super::config::Config;
use super::room::{Room, Taken};
use crate::dedup::store::Unavailable;
use crate::memory::Shares;
use crate::metrics::{self, Gauge};
use crate::replication::NotReplicated;
use crate::turns::Who;

/// Label value: no room for more bytes in flight.
pub const IN_FLIGHT_BYTES: &str = "in_flight_bytes";
/// Label value: the gateway is draining.
pub const STOPPING: &str = "stopping";
/// Label value: the spool is at its watermark, or its disk is full.
pub const SPOOL_FULL: &str = "spool_full";
/// Label value: the disk failed.
pub const SPOOL_FAILED: &str = "spool_failed";

/// Label value: the upload takes longer to read than one may take.
pub const TOO_SLOW: &str = "too_slow";
/// Label value: the sender has gone before anything was kept.
pub const GONE: &str = "gone";
/// Label value: too much work of the same client is waiting.
pub const CROWDED: &str = "crowded";
/// Label value: what was seen before this start is being read.
pub const LOADING: &str = "loading";
/// Label value: rules or state are missing.
pub const HELD: &str = "held";

/// Label value: nobody can say which events were seen.
pub const DEDUP_UNAVAILABLE: &str = "dedup_unavailable";
/// Label value: another upload of the same events does not come to its end.
pub const PENDING: &str = "pending";

/// Label value: the servers of the replicated log do not have it.
pub const NOT_REPLICATED: &str = "not_replicated";

/// Label value: an event is larger than a record of the spool may be.
pub const TOO_LARGE: &str = "too_large";

/// The refusal of an upload of which nobody can say what was seen before.
pub(super) fn unjudged(unavailable: &Unavailable) -> Refusal {
    metrics::UPLOADS_SHED.add(&[DEDUP_UNAVAILABLE], 1);
    Refusal::Unjudged { retry_after: unavailable.retry_after, because: unavailable.reason.clone() }
}

/// The refusal of an upload that the servers of the replicated log may not have.
pub(super) fn unreplicated(error: NotReplicated) -> Refusal {
    metrics::UPLOADS_SHED.add(&[NOT_REPLICATED], 1);
    Refusal::Unreplicated { because: error.because }
}

/// The refusal of an upload whose events somebody else is storing, and does not get done with.
pub(super) fn pending() -> Refusal {
    metrics::UPLOADS_SHED.add(&[PENDING], 1);
    Refusal::Busy { retry_after: Duration::from_secs(5), reason: PENDING }
}

/// The gate.
#[derive(Debug)]
pub struct Admission {
    room: Arc<Room>,
    /// The bytes in it, as they are shown.
    in_flight: Gauge,
    wait: Duration,
    stopping: AtomicBool,
    loading: AtomicBool,
    held: Mutex<Option<&'static str>>,
}

/// Room taken by one upload; given back when dropped.
#[derive(Debug)]
pub struct Admitted {
    taken: Taken,
    in_flight: Gauge,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.in_flight.decrement(f64::from(self.taken.bytes()));
    }
}

impl Admission {
    /// A gate with the configured room.
    pub fn new(config: &Config, shares: &Shares) -> Self {
        let bytes = u32::try_from(config.in_flight_max(shares)).unwrap_or(u32::MAX).max(1);
        let wait = config.wait_max.get();
        Self {
            room: Room::new(bytes),
            in_flight: metrics::INGEST_IN_FLIGHT_BYTES.gauge(&[]),
            wait,
            stopping: AtomicBool::default(),
            loading: AtomicBool::default(),
            held: Mutex::default(),
        }
    }

    /// Lets an upload of so many bytes of a client in, or says why not.
    pub async fn admit(&self, who: &Who, bytes: usize) -> Result<Admitted, Refusal> {
        if self.stopping.load(Ordering::Relaxed) {
            metrics::UPLOADS_SHED.add(&[STOPPING], 1);
            return Err(Refusal::Stopping);
        }
        if self.loading.load(Ordering::Relaxed) {
            metrics::UPLOADS_SHED.add(&[LOADING], 1);
            return Err(Refusal::Loading);
        }
        if let Some(reason) = *self.held() {
            metrics::UPLOADS_SHED.add(&[HELD], 1);
            return Err(Refusal::Held(reason));
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let taken = match tokio::time::timeout(self.wait, self.room.take(who, bytes)).await {
            Ok(Ok(taken)) => taken,
            Ok(Err(_)) => return Err(self.crowded()),
            Err(_) => return Err(self.busy(IN_FLIGHT_BYTES)),
        };
        self.in_flight.increment(f64::from(taken.bytes()));
        Ok(Admitted { taken, in_flight: self.in_flight.clone() })
    }

    /// What is said, and counted, when too much work of one client is waiting.
    pub fn crowded(&self) -> Refusal {
        self.busy(CROWDED)
    }

    fn busy(&self, reason: &'static str) -> Refusal {
        metrics::UPLOADS_SHED.add(&[reason], 1);
        Refusal::Busy { retry_after: self.wait, reason }
    }

    /// Makes the room of an upload so many bytes: gives back what is too much, and takes more if that can be had at once.
    /// Whether it has as much now, or all there is for one.
    pub fn resize(&self, admitted: &mut Admitted, bytes: usize) -> bool {
        let before = admitted.taken.bytes();
        let fits = admitted.taken.resize(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.in_flight.increment(f64::from(admitted.taken.bytes()) - f64::from(before));
        fits
    }

    /// As long as it is not known which events were seen everybody is refused.
    pub fn load(&self, is_loading: bool) {
        self.loading.store(is_loading, Ordering::Relaxed);
    }

    /// As long as there is a reason everybody is refused.
    pub fn hold(&self, reason: Option<&'static str>) {
        *self.held() = reason;
    }

    fn held(&self) -> MutexGuard<'_, Option<&'static str>> {
        self.held.lock()
    }

    /// From now on everybody is refused.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// From now on nobody is refused for that any more.
    pub fn go_on(&self) {
        self.stopping.store(false, Ordering::Relaxed);
    }

    /// Whether no upload is inside.
    pub fn is_empty(&self) -> bool {
        self.room.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::ByteSize;

    fn gate(bytes: u64) -> Admission {
        let config = Config { in_flight_max: Some(ByteSize::bytes(bytes)), ..Config::default() };
        Admission::new(&config, &Shares::of(0))
    }

    fn who(name: &str) -> Who {
        Who::new(&name.into(), None)
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_limit_uploads_wait_and_are_then_shed() {
        let gate = gate(100);
        let first = gate.admit(&who("a"), 70).await.unwrap();
        let refusal = gate.admit(&who("b"), 40).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Busy { reason: IN_FLIGHT_BYTES, .. }), "{refusal}");
        drop(first);
        assert!(gate.admit(&who("b"), 40).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_largest_enters_alone_and_leaves_room_for_the_small() {
        let gate = gate(100);
        let large = gate.admit(&who("a"), 1_000_000).await.unwrap();
        assert!(gate.admit(&who("b"), 1_000_000).await.is_err());
        let small = gate.admit(&who("b"), 6).await.unwrap();
        drop((small, large));
        assert!(gate.is_empty());
        assert!(gate.admit(&who("b"), 1_000_000).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_takes_room_for_what_it_proves_to_be() {
        let gate = gate(100);
        let mut upload = gate.admit(&who("a"), 50).await.unwrap();
        assert!(gate.resize(&mut upload, 10));
        let other = gate.admit(&who("b"), 60).await.unwrap();
        assert!(gate.resize(&mut upload, 15));
        assert!(!gate.resize(&mut upload, 30), "nobody waits while it holds room");
        drop(other);
        assert!(gate.resize(&mut upload, 1_000_000), "all there is for one is enough for the largest");
        assert!(gate.admit(&who("b"), 30).await.is_err());
        drop(upload);
        assert!(gate.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_gateway_that_cannot_judge_events_refuses_until_it_can() {
        let gate = gate(100);
        gate.hold(Some("a rule is missing"));
        assert_eq!(gate.admit(&who("a"), 1).await.unwrap_err(), Refusal::Held("a rule is missing"));
        gate.hold(None);
        assert!(gate.admit(&who("a"), 1).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_gateway_that_does_not_know_yet_what_was_seen_refuses_until_it_does() {
        let gate = gate(100);
        gate.load(true);
        assert_eq!(gate.admit(&who("a"), 1).await.unwrap_err(), Refusal::Loading);
        gate.load(false);
        assert!(gate.admit(&who("a"), 1).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stopping_gateway_refuses() {
        let gate = gate(100);
        gate.stop();
        assert_eq!(gate.admit(&who("a"), 1).await.unwrap_err(), Refusal::Stopping);
    }
}
