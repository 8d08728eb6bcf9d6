//! What was read from the log and is in no batch yet.

use super::ahead;
use super::alike::Place;
use super::aside::Aside;
use super::batch::Earlier;
use crate::outputs::output::{OutgoingEvent, Output};
use crate::spool::Ordinal;

/// What comes next in the log.
pub(super) enum Queued {
    Event(Waiting),
    Aside(Aside),
}

/// An event that was read.
pub(super) struct Waiting {
    pub(super) ordinal: Ordinal,
    pub(super) event: OutgoingEvent,
    pub(super) spooled_at_ms: u64,
    pub(super) earlier: Earlier,
    /// Its row, where that was made ahead.
    pub(super) row: Option<ahead::Made>,
    /// Where its row is kept for others.
    pub(super) place: Option<Place>,
}

impl Queued {
    /// Whether it gets a row, and has none.
    pub(super) fn wants_row(&self, oldest_ms: u64) -> bool {
        matches!(self, Self::Event(waiting) if waiting.wants_row(oldest_ms))
    }

    /// Takes the row that another output has made, if it wants one and there is one.
    pub(super) fn find_row(&mut self, oldest_ms: u64) {
        if let Self::Event(waiting) = self
            && waiting.wants_row(oldest_ms)
        {
            waiting.row = waiting.place.as_ref().and_then(Place::row);
        }
    }
}

impl Waiting {
    /// Whether it gets a row, and has none.
    pub(super) fn wants_row(&self, oldest_ms: u64) -> bool {
        self.row.is_none() && self.spooled_at_ms >= oldest_ms
    }

    /// Takes its row, which is made unless another output has.
    pub(super) fn take_row(&mut self, output: &dyn Output) -> ahead::Made {
        let made = self.row.take();
        made.unwrap_or_else(|| {
            let make = || ahead::row(output, &self.event);
            self.place.as_ref().map_or_else(make, |place| place.row_or(make))
        })
    }
}
