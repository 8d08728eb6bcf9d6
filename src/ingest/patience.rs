//! How long the reading of an upload may go on: as long as its sender waits, and never beyond a limit.
//!
//! It is asked only before anything of the upload is kept.

use std::time::Duration;

use tokio::time::Instant;

use super::accept::Refusal;
use super::admission;
use crate::event::Presence;
use crate::metrics;

/// How long an upload may be read and sorted. Decoders are linear and 64 MiB of honest events take about a second; this is
/// for what nobody thought of.
const TIME_MAX: Duration = Duration::from_secs(30);

/// The patience with one upload.
#[derive(Debug)]
pub(super) struct Patience {
    presence: Presence,
    until: Instant,
}

impl Patience {
    /// From now on, with this sender.
    pub(super) fn of(presence: &Presence) -> Self {
        Self { presence: presence.clone(), until: Instant::now() + TIME_MAX }
    }

    /// Whether to go on.
    ///
    /// # Errors
    ///
    /// Why not.
    pub(super) fn go_on(&self) -> Result<(), Refusal> {
        let (reason, refusal) = if self.presence.has_gone() {
            (admission::GONE, Refusal::Gone)
        } else if Instant::now() > self.until {
            (admission::TOO_SLOW, Refusal::TooSlow { limit: TIME_MAX })
        } else {
            return Ok(());
        };
        metrics::UPLOADS_SHED.add(&[reason], 1);
        Err(refusal)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn patience_ends_with_the_time_or_with_the_sender() {
        let waiting = Arc::new(());
        let patience = Patience::of(&Presence::of(&waiting));
        assert_eq!(patience.go_on(), Ok(()));
        let late =
            Patience { until: Instant::now() - Duration::from_millis(1), ..Patience::of(&Presence::of(&waiting)) };
        assert_eq!(late.go_on(), Err(Refusal::TooSlow { limit: TIME_MAX }));
        drop(waiting);
        assert_eq!(patience.go_on(), Err(Refusal::Gone));
    }
}
