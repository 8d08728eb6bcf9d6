//! Events that do not go into a batch.

use std::ops::Range;

use super::batch::Positioned;
use crate::spool::Ordinal;

/// Events that do not go into a batch, and what becomes of them.
#[derive(Debug)]
pub(super) enum Aside {
    /// Meant for other outputs. Ranges that touch are one.
    Skipped(Range<Ordinal>),
    /// Lost to damage of the spool's files, and why.
    Damaged(Range<Ordinal>, String),
    /// To be kept as a dead letter.
    DeadLetter {
        /// The event.
        event: Positioned,
        /// Which rule it broke: a label value.
        reason: &'static str,
        /// In words.
        detail: String,
        /// When it was spooled.
        spooled_at_ms: u64,
    },
}

impl Aside {
    pub(super) fn skipped(&self) -> u64 {
        if let Self::Skipped(range) = self { range.end - range.start } else { 0 }
    }
}

/// Adds what does not go into a batch; skipped events that follow upon skipped ones become one range with them.
pub(super) fn put_aside(asides: &mut Vec<Aside>, aside: Aside) {
    match (asides.last_mut(), aside) {
        (Some(Aside::Skipped(before)), Aside::Skipped(range)) if before.end == range.start => before.end = range.end,
        (_, aside) => asides.push(aside),
    }
}
