//! Time in slices: what entered the table together is forgotten together, without a timer for each key.
//!
//! A slice ends after 1/48 of the window, or earlier when it took its share of the bounds: then forgetting the oldest
//! slice at a bound is a small step, even when a burst filled the table within minutes. Keys carry a one-byte
//! [`Code`] of their slice; codes repeat after 254 slices, and fewer than that are ever alive.

use std::collections::VecDeque;

/// One byte that names a living slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Code(pub(super) u8);

/// Codes in use are `1..=254`; 0 and 255 mean free and pending in the slot table.
const CODES: u64 = 254;
const PER_WINDOW: i64 = 48;
/// Slices alive at most, with room to the number of codes.
pub(super) const ALIVE_MAX: usize = 240;

#[derive(Debug)]
pub(super) struct Slices {
    window_s: i64,
    span_s: i64,
    now_s: i64,
    /// The number of the oldest living slice since the beginning.
    first: u64,
    /// When each living slice began, oldest first. Never empty.
    starts: VecDeque<i64>,
}

impl Slices {
    pub(super) fn new(window_s: i64, now_s: i64) -> Self {
        let span_s = window_s.div_euclid(PER_WINDOW).max(1);
        Self { window_s, span_s, now_s, first: 0, starts: VecDeque::from([now_s]) }
    }

    /// Moves time on (never back), opens a slice when it is due, and returns how many of the oldest are past the window.
    pub(super) fn advance(&mut self, now_s: i64) -> usize {
        self.now_s = self.now_s.max(now_s);
        if self.now_s.saturating_sub(self.starts[self.starts.len() - 1]) >= self.span_s {
            self.open();
        }
        let limit = self.now_s.saturating_sub(self.window_s);
        let ends = |i: usize| self.starts[i].saturating_add(self.span_s).min(self.starts[i + 1]);
        (0..self.starts.len() - 1).take_while(|&i| ends(i) <= limit).count()
    }

    /// Begins a new slice now.
    pub(super) fn open(&mut self) {
        self.starts.push_back(self.now_s);
    }

    /// Lets the oldest slices go. The caller forgets their keys first.
    pub(super) fn drop_oldest(&mut self, count: usize) {
        self.starts.drain(..count);
        self.first += count as u64;
    }

    pub(super) fn alive(&self) -> usize {
        self.starts.len()
    }

    pub(super) fn newest(&self) -> Code {
        Code(((self.first + self.starts.len() as u64 - 1) % CODES) as u8 + 1)
    }

    /// Whether a slice began more than half a window ago, or is gone.
    pub(super) fn is_long_ago(&self, code: Code) -> bool {
        let start = self.starts.get(self.position(code));
        start.is_none_or(|start| self.now_s.saturating_sub(*start) >= self.window_s / 2)
    }

    /// Whether a slice is neither the newest nor the one before.
    pub(super) fn is_idle(&self, code: Code) -> bool {
        self.position(code) + 2 < self.starts.len()
    }

    /// How many living slices are older than this one.
    pub(super) fn position(&self, code: Code) -> usize {
        ((u64::from(code.0) - 1 + CODES - self.first % CODES) % CODES) as usize
    }
}
