//! How far back events are remembered, in the time of a clock that does not jump.

use std::time::Duration;

use crate::clock::Clock;

/// The dedup window, in the time of a clock that does not jump.
#[derive(Clone)]
pub(super) struct Window {
    pub(super) clock: Clock,
    pub(super) span: Duration,
}

impl Window {
    /// The second from which the window reaches back. It reaches back to all there is while the clock is younger than the
    /// window: stamps from before it were made by another one, and nothing is known to have left the window.
    pub(super) fn now_s(&self) -> i64 {
        match self.clock.horizon_ms(self.span) {
            0 => i64::MIN,
            _ => signed(self.clock.now_s()),
        }
    }

    /// When keys became durable, as far as their stamp can be believed.
    pub(super) fn believed_s(&self, unix_s: i64) -> i64 {
        let stamp_ms = u64::try_from(unix_s).unwrap_or(0).saturating_mul(1000);
        signed(self.clock.believed_ms(stamp_ms) / 1000)
    }
}

/// Seconds as the dedup journal and the store count them.
pub(super) fn signed(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}
