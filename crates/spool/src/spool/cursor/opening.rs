//! What a cursor is taken for when it is opened: exact, or older than the truth, or lost.
//!
//! A killed process loses nothing that it wrote, so what it noted is exact. A power cut loses what was not synced: all
//! that is not settled below the ceiling may have been sent. A damaged file, one from a backup, and one that is missing
//! are an older position, at worst the oldest record that is kept: all of the spool may have been sent. What may have
//! been sent is sent again, and is in doubt until then.

use std::ops::Range;

use serde::Serialize;

use super::replay::Replay;
use super::state::{Settlement, State};
use super::{Boot, CEILING_STEP};
use crate::clock;
use crate::spool::{LogId, Ordinal};

/// What whoever opens a cursor knows.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The log that it reads.
    pub log: LogId,
    /// What the log keeps: from the oldest item to the end.
    pub kept: Range<Ordinal>,
    /// This start of the machine.
    pub boot: Boot,
    /// How old the position is at least, if there ever was one; see [`super::Cursor::life`].
    pub life: Option<u64>,
}

/// How a position was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Cause {
    /// The file is gone.
    Missing = 0,
    /// The file does not check out.
    Damaged = 1,
    /// The file is an older one.
    Older = 2,
    /// The file belongs to another log.
    OtherLog = 3,
}

impl Cause {
    pub(super) fn of(code: u8) -> Option<Self> {
        [Self::Missing, Self::Damaged, Self::Older, Self::OtherLog].into_iter().find(|cause| *cause as u8 == code)
    }

    /// As a label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Damaged => "damaged",
            Self::Older => "older",
            Self::OtherLog => "other_log",
        }
    }
}

/// A position that was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// How.
    pub cause: Cause,
    /// When it was noticed, in milliseconds since 1970.
    pub at_ms: u64,
    /// How many items are sent that may have been sent before.
    pub events: u64,
}

/// What opening found wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Found {
    /// The position was lost, by this.
    pub loss: Option<Cause>,
    /// The machine went down while the cursor was in use.
    pub power_cut: bool,
}

/// The state to go on with.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) state: State,
    pub(super) found: Found,
    /// The journal cannot be continued.
    pub(super) anew: bool,
}

impl Surroundings {
    /// For an output without a journal.
    pub(super) fn without_journal(&self) -> Verdict {
        match self.life {
            Some(_) => self.lost(Cause::Missing, 0),
            // New: what is in the log was there before it.
            None => self.enter(State::at(self.kept.end), Found::default(), true),
        }
    }

    /// For an output with this journal.
    pub(super) fn judge(&self, journal: Replay) -> Verdict {
        let Replay { mut state, has_base, is_old, is_damaged, has_gap, has_spoilt_room, .. } = journal;
        if !has_base {
            return self.lost(Cause::Damaged, state.high);
        }
        // Without damage the log's id is there.
        if self.is_of_another_log(&state) && !(is_damaged && state.log == LogId::UNKNOWN) {
            return self.lost(Cause::OtherLog, 0);
        }
        let went_down = !is_old && !state.boot.is_still(self.boot);
        let power_cut = went_down && !state.closed;
        // The machine may also have gone down in the middle of an opening, which leaves a gap behind the note of a stop.
        let loss = if is_damaged || (has_gap && !went_down) {
            Some(Cause::Damaged)
        } else {
            self.life.filter(|life| state.life < *life).map(|_| Cause::Older)
        };
        if loss.is_some() {
            // Below, everything was settled once, or the log would still have it.
            state.settle(state.low..self.kept.start, Settlement::Forgotten);
            state.doubt_below(self.kept.end);
        } else if power_cut {
            state.doubt_below(state.ceiling.min(self.kept.end));
        }
        self.enter(state, Found { loss, power_cut }, is_old || has_gap || has_spoilt_room || loss.is_some())
    }

    /// Whether items of the log have ordinals that mean others in this state.
    fn is_of_another_log(&self, state: &State) -> bool {
        let other = self.log.is_known() && state.log != self.log;
        other && !self.kept.is_empty() && self.kept.start < state.high
    }

    /// Begins with the oldest item that is kept.
    fn lost(&self, cause: Cause, high: Ordinal) -> Verdict {
        let mut state = State::at(self.kept.start);
        state.high = state.high.max(high);
        state.doubt_below(self.kept.end);
        self.enter(state, Found { loss: Some(cause), power_cut: false }, true)
    }

    /// Begins another life here.
    fn enter(&self, mut state: State, found: Found, anew: bool) -> Verdict {
        if self.log.is_known() {
            state.log = self.log;
        }
        if let Some(cause) = found.loss {
            state.lost = Some(Loss { cause, at_ms: clock::wall_ms(), events: state.doubt.len() });
        }
        state.life = state.life.max(self.life.unwrap_or(0)) + 1;
        state.ceiling = state.ceiling.max(state.high + CEILING_STEP);
        (state.boot, state.closed) = (self.boot, false);
        Verdict { state, found, anew }
    }
}
