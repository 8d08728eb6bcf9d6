//! Who may come in: load is shed here, before any work is done for an upload.
//!
//! Room is counted in bytes of memory that uploads take beside their bodies, which the listener has counted. An upload that
//! takes more than the whole room still enters when it is alone, so that no sender is refused for ever. What its records take
//! is known only when they are decoded; the upload then gives room back, or takes more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::accept::Refusal;
use super::config::Config;
use crate::memory::Shares;
use crate::metrics;

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
/// Label value: rules or state are missing.
pub const HELD: &str = "held";

/// Label value: an event is larger than a record of the spool may be.
pub const TOO_LARGE: &str = "too_large";

/// The gate.
#[derive(Debug)]
pub struct Admission {
    room: Arc<Semaphore>,
    bytes: u32,
    wait: Duration,
    stopping: AtomicBool,
    held: Mutex<Option<&'static str>>,
}

/// Room taken by one upload; given back when dropped.
#[derive(Debug)]
pub struct Admitted {
    permit: OwnedSemaphorePermit,
    bytes: u32,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        metrics::INGEST_IN_FLIGHT_BYTES.shift(&[], -f64::from(self.bytes));
    }
}

impl Admission {
    /// A gate with the configured room.
    pub fn new(config: &Config, shares: &Shares) -> Self {
        let bytes = u32::try_from(config.in_flight_max(shares)).unwrap_or(u32::MAX).max(1);
        Self {
            room: Arc::new(Semaphore::new(bytes as usize)),
            bytes,
            wait: config.wait_max.get(),
            stopping: AtomicBool::new(false),
            held: Mutex::default(),
        }
    }

    /// Lets an upload of so many bytes in, or says why not.
    pub async fn admit(&self, bytes: usize) -> Result<Admitted, Refusal> {
        if self.stopping.load(Ordering::Relaxed) {
            metrics::UPLOADS_SHED.add(&[STOPPING], 1);
            return Err(Refusal::Stopping);
        }
        if let Some(reason) = *self.held() {
            metrics::UPLOADS_SHED.add(&[HELD], 1);
            return Err(Refusal::Held(reason));
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).clamp(1, self.bytes);
        Ok(Admitted { permit: self.room_for(bytes).await?, bytes })
    }

    async fn room_for(&self, bytes: u32) -> Result<OwnedSemaphorePermit, Refusal> {
        match tokio::time::timeout(self.wait, Arc::clone(&self.room).acquire_many_owned(bytes)).await {
            Ok(Ok(permit)) => {
                metrics::INGEST_IN_FLIGHT_BYTES.shift(&[], f64::from(bytes));
                Ok(permit)
            }
            Ok(Err(_)) | Err(_) => {
                metrics::UPLOADS_SHED.add(&[IN_FLIGHT_BYTES], 1);
                Err(Refusal::Busy { retry_after: self.wait, reason: IN_FLIGHT_BYTES })
            }
        }
    }

    /// Makes the room of an upload so many bytes: gives back what is too much, and takes more if that can be had at once.
    /// Whether it has as much now, or all there is.
    pub fn resize(&self, admitted: &mut Admitted, bytes: usize) -> bool {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).clamp(1, self.bytes);
        if bytes <= admitted.bytes {
            drop(admitted.permit.split((admitted.bytes - bytes) as usize));
        } else {
            let more = Arc::clone(&self.room).try_acquire_many_owned(bytes - admitted.bytes);
            let Ok(more) = more else { return false };
            admitted.permit.merge(more);
        }
        metrics::INGEST_IN_FLIGHT_BYTES.shift(&[], f64::from(bytes) - f64::from(admitted.bytes));
        admitted.bytes = bytes;
        true
    }

    /// As long as there is a reason everybody is refused.
    pub fn hold(&self, reason: Option<&'static str>) {
        *self.held() = reason;
    }

    fn held(&self) -> MutexGuard<'_, Option<&'static str>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on everybody is refused.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether no upload is inside.
    pub fn is_empty(&self) -> bool {
        self.room.available_permits() == self.bytes as usize
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

    #[tokio::test(start_paused = true)]
    async fn at_the_limit_uploads_wait_and_are_then_shed() {
        let gate = gate(100);
        let first = gate.admit(80).await.unwrap();
        let refusal = gate.admit(30).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Busy { reason: IN_FLIGHT_BYTES, .. }), "{refusal}");
        drop(first);
        assert!(gate.admit(30).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_larger_than_the_room_enters_alone() {
        let gate = gate(100);
        let large = gate.admit(1_000_000).await.unwrap();
        assert!(gate.admit(1).await.is_err());
        drop(large);
        assert!(gate.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_takes_room_for_what_it_proves_to_be() {
        let gate = gate(100);
        let mut upload = gate.admit(50).await.unwrap();
        assert!(gate.resize(&mut upload, 10));
        let other = gate.admit(80).await.unwrap();
        assert!(gate.resize(&mut upload, 20));
        assert!(!gate.resize(&mut upload, 30), "nobody waits while it holds room");
        drop(other);
        assert!(gate.resize(&mut upload, 1_000_000), "all there is is enough for the largest");
        assert!(gate.admit(1).await.is_err());
        drop(upload);
        assert!(gate.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_gateway_that_cannot_judge_events_refuses_until_it_can() {
        let gate = gate(100);
        gate.hold(Some("a rule is missing"));
        assert_eq!(gate.admit(1).await.unwrap_err(), Refusal::Held("a rule is missing"));
        gate.hold(None);
        assert!(gate.admit(1).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stopping_gateway_refuses() {
        let gate = gate(100);
        gate.stop();
        assert_eq!(gate.admit(1).await.unwrap_err(), Refusal::Stopping);
    }
}
