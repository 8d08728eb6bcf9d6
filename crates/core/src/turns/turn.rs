//! A turn that somebody has.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::time::Instant;

use super::fair::Held;
use super::who::Who;

/// A turn. Work that may be long asks it again and again to give way.
#[derive(Debug)]
pub struct Turn {
    held: RefCell<Option<Held>>,
    /// For whom large work is done, its bytes, and how long it goes on while others wait.
    large: Option<(Who, u64, Duration)>,
    began: Cell<Instant>,
    used: Cell<Duration>,
    slices: Cell<u64>,
}

impl Turn {
    /// Where nobody else wants anything: tools, and one file at a time.
    pub fn alone() -> Self {
        Self::of(None, None)
    }

    pub(super) fn small(held: Held) -> Self {
        Self::of(Some(held), None)
    }

    pub(super) fn large(held: Held, who: Who, bytes: u64, slice: Duration) -> Self {
        Self::of(Some(held), Some((who, bytes, slice)))
    }

    fn of(held: Option<Held>, large: Option<(Who, u64, Duration)>) -> Self {
        let (began, used, slices) = (Cell::new(Instant::now()), Cell::default(), Cell::new(1));
        Self { held: RefCell::new(held), large, began, used, slices }
    }

    /// Lets others go first, if a slice is over and somebody waits. Small work is over too soon for that.
    pub fn give_way(&self) {
        let Some((who, bytes, slice)) = &self.large else { return };
        let worked = self.began.get().elapsed();
        if worked < *slice {
            return;
        }
        if self.held.borrow_mut().as_mut().is_some_and(|held| held.pass_on(who, *bytes)) {
            self.slices.set(self.slices.get() + 1);
        }
        self.used.set(self.used.get() + worked);
        self.began.set(Instant::now());
    }

    /// How long it has worked, without the time that others had.
    pub fn used(&self) -> Duration {
        self.used.get() + self.began.get().elapsed()
    }

    /// In how many slices it has worked so far.
    pub fn slices(&self) -> u64 {
        self.slices.get()
    }
}
