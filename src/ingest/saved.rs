//! What duplicates and rules saved, in bytes as they were uploaded: workspaces bill what they ingest by its size.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::metrics;

/// Bytes that were dropped since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Savings {
    /// Of events that were seen before.
    pub duplicate_bytes: u64,
    /// Of events that no rule wanted.
    pub filtered_bytes: u64,
}

/// Counts them.
#[derive(Debug, Default)]
pub(super) struct Saved {
    duplicate: AtomicU64,
    filtered: AtomicU64,
}

impl Saved {
    pub(super) fn duplicate(&self, input: &str, bytes: u64) {
        add(&self.duplicate, input, "duplicate", bytes);
    }

    pub(super) fn filtered(&self, input: &str, bytes: u64) {
        add(&self.filtered, input, "filtered", bytes);
    }

    pub(super) fn total(&self) -> Savings {
        let of = |bytes: &AtomicU64| bytes.load(Ordering::Relaxed);
        Savings { duplicate_bytes: of(&self.duplicate), filtered_bytes: of(&self.filtered) }
    }
}

/// Mostly there is nothing; to find the series of a metric costs more than to add to it.
fn add(total: &AtomicU64, input: &str, reason: &str, bytes: u64) {
    if bytes > 0 {
        total.fetch_add(bytes, Ordering::Relaxed);
        metrics::DROPPED_BYTES.add(&[input, reason], bytes);
    }
}
