//! What became of an upload, or of a part of it, and where in the spool its new events are.

use std::ops::Range;

use super::ledger::Tally;
use crate::spool::Ordinal;

/// Numbers, and the positions that whoever reads the logs finds its batches by.
pub(super) struct Kept {
    pub(super) tally: Tally,
    pub(super) positions: Range<Ordinal>,
}

impl Kept {
    /// Adds what was appended later. The records of one upload lie behind each other, perhaps with those of others between them.
    pub(super) fn extend(&mut self, positions: Range<Ordinal>) {
        match (self.positions.is_empty(), positions.is_empty()) {
            (_, true) => {}
            (true, false) => self.positions = positions,
            (false, false) => self.positions.end = positions.end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_one_span_and_what_appended_nothing_changes_nothing() {
        let mut kept = Kept { tally: Tally::default(), positions: 0..0 };
        for part in [0..0, 7..9, 0..0, 12..15] {
            kept.extend(part);
        }
        assert_eq!(kept.positions, 7..15);
    }
}
