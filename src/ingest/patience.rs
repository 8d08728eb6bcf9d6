//! How long the reading of an upload may go on: as long as its sender waits, and never beyond a limit. It is also where
//! reading gives way to other clients, whose time does not count.
//!
//! It is asked only before anything of the upload is kept.

use std::time::Duration;

use super::accept::Refusal;
use super::admission;
use crate::event::Presence;
use crate::metrics;
use crate::turns::Turn;

/// How long an upload may be read and sorted. Decoders are linear and 64 MiB of honest events take about a second; this is
/// for what nobody thought of.
const TIME_MAX: Duration = Duration::from_secs(30);

/// The patience with one upload.
#[derive(Debug)]
pub(super) struct Patience<'t> {
    presence: Presence,
    turn: &'t Turn,
    most: Duration,
}

impl<'t> Patience<'t> {
    /// With this sender, from now on in its turn.
    pub(super) fn of(presence: &Presence, turn: &'t Turn) -> Self {
        Self { presence: presence.clone(), turn, most: turn.used() + TIME_MAX }
    }

    /// Whether to go on; lets others go first if it is their turn.
    ///
    /// # Errors
    ///
    /// Why not.
    pub(super) fn go_on(&self) -> Result<(), Refusal> {
        self.turn.give_way();
        let (reason, refusal) = if self.presence.has_gone() {
            (admission::GONE, Refusal::Gone)
        } else if self.turn.used() > self.most {
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
        let (waiting, turn) = (Arc::new(()), Turn::alone());
        let patience = Patience::of(&Presence::of(&waiting), &turn);
        assert_eq!(patience.go_on(), Ok(()));
        std::thread::sleep(Duration::from_millis(2));
        assert!(Patience::of(&Presence::of(&waiting), &turn).most > TIME_MAX, "what was before does not count");
        let late = Patience { most: Duration::from_millis(1), ..Patience::of(&Presence::of(&waiting), &turn) };
        assert_eq!(late.go_on(), Err(Refusal::TooSlow { limit: TIME_MAX }));
        drop(waiting);
        assert_eq!(patience.go_on(), Err(Refusal::Gone));
    }
}
