//! Who may come in: load is shed here, before any work is done for an upload.
//!
//! Room is counted in bytes of decompressed uploads. An upload larger than the whole room still enters when it is
//! alone, so that no sender is refused for ever. What tiny records take beyond the bytes of their upload is known only
//! when they are decoded; the upload then takes more room, or is shed after all.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::accept::Refusal;
use super::config::Config;
use crate::metrics;

/// Label value: no room for more bytes in flight.
pub const IN_FLIGHT_BYTES: &str = "in_flight_bytes";
/// Label value: the gateway is draining.
pub const STOPPING: &str = "stopping";
/// Label value: the spool is at its watermark, or its disk is full.
pub const SPOOL_FULL: &str = "spool_full";
/// Label value: the disk failed.
pub const SPOOL_FAILED: &str = "spool_failed";

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
    pub fn new(config: &Config) -> Self {
        let bytes = u32::try_from(config.in_flight_max.as_u64()).unwrap_or(u32::MAX).max(1);
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

    /// Makes the room of an upload so many bytes, if that is more than it has. It keeps what it has while it waits.
    pub async fn widen(&self, admitted: &mut Admitted, bytes: usize) -> Result<(), Refusal> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.bytes);
        let more = bytes.saturating_sub(admitted.bytes);
        if more > 0 {
            admitted.permit.merge(self.room_for(more).await?);
            admitted.bytes = bytes;
        }
        Ok(())
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
        Admission::new(&Config { in_flight_max: ByteSize::bytes(bytes), ..Config::default() })
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
    async fn an_upload_that_takes_more_memory_than_its_bytes_takes_more_room_or_is_shed() {
        let gate = gate(100);
        let mut dense = gate.admit(10).await.unwrap();
        gate.widen(&mut dense, 5).await.unwrap();
        gate.widen(&mut dense, 80).await.unwrap();
        assert!(gate.admit(30).await.is_err());
        let other = gate.admit(20).await.unwrap();
        assert!(gate.widen(&mut dense, 1_000_000).await.is_err());
        drop(other);
        gate.widen(&mut dense, 1_000_000).await.unwrap();
        drop(dense);
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
