//! Record ids that never come.
//!
//! Uploads of one computer overtake each other, so an id that is not there yet may still come. It is given up when so many
//! higher ones have come that nothing on its way can be it.

use serde::{Deserialize, Serialize};

/// How many ids are waited for.
const WIDTH: u64 = 1024;

/// The ids of one channel of one computer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Window {
    highest: u64,
    /// Which of the ids below and up to the highest have come, by id modulo [`WIDTH`]. After a restart all of them count as
    /// here: what came before is not known any more.
    #[serde(skip, default = "all")]
    here: Vec<u64>,
}

fn all() -> Vec<u64> {
    vec![u64::MAX; (WIDTH / 64) as usize]
}

impl Window {
    /// Begins with this id; what came before is nobody's loss.
    pub(super) fn beginning_with(id: u64) -> Self {
        Self { highest: id, here: all() }
    }

    /// Takes the ids of one upload; tells how many older ones are given up by that. A log that was cleared begins anew.
    pub(super) fn take(&mut self, ids: &mut [u64]) -> u64 {
        ids.sort_unstable();
        if ids.last().is_some_and(|last| self.highest.saturating_sub(*last) >= WIDTH) {
            *self = Self::beginning_with(ids[0]);
        }
        ids.iter().map(|id| self.take_one(*id)).sum()
    }

    fn take_one(&mut self, id: u64) -> u64 {
        let step = id.saturating_sub(self.highest);
        let mut lost = step.saturating_sub(WIDTH);
        for passed in 1..=step.min(WIDTH) {
            // Its place is that of the id which leaves the window.
            lost += u64::from(!self.set(self.highest + passed, false));
        }
        self.highest = self.highest.max(id);
        if self.highest - id < WIDTH {
            self.set(id, true);
        }
        lost
    }

    /// Notes whether an id is here; tells what stood in its place.
    fn set(&mut self, id: u64, is_here: bool) -> bool {
        let (word, bit) = ((id % WIDTH / 64) as usize, 1 << (id % 64));
        let before = self.here[word] & bit != 0;
        if is_here {
            self.here[word] |= bit;
        } else {
            self.here[word] &= !bit;
        }
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(window: &mut Window, ids: impl IntoIterator<Item = u64>) -> u64 {
        window.take(&mut ids.into_iter().collect::<Vec<_>>())
    }

    #[test]
    fn an_id_is_lost_when_it_has_not_come_for_long_and_not_before() {
        let mut window = Window::beginning_with(1);
        assert_eq!(taken(&mut window, (1..=2000).filter(|id| *id != 1500)), 0);
        assert_eq!(taken(&mut window, 2001..=2400), 0);
        assert_eq!(taken(&mut window, 2401..=3000), 1, "it left the window");
        assert_eq!(taken(&mut window, 3001..=9000), 0);
    }

    #[test]
    fn what_comes_late_or_twice_is_not_lost() {
        let mut window = Window::beginning_with(100);
        for ids in [100..=199, 300..=399, 200..=299, 300..=399, 400..=3000] {
            assert_eq!(taken(&mut window, ids), 0);
        }
    }

    #[test]
    fn a_jump_loses_what_it_passes_over_and_a_cleared_log_loses_nothing() {
        let mut window = Window::beginning_with(1);
        assert_eq!(taken(&mut window, [1, 10_001]), 10_000 - WIDTH, "the last ones may still come");
        assert_eq!(taken(&mut window, 10_002..=12_000), WIDTH - 1);
        assert_eq!(taken(&mut window, 1..=50), 0);
        assert_eq!(taken(&mut window, 51..=5000), 0);
        assert_eq!(taken(&mut window, [u64::MAX]), u64::MAX - 5000 - WIDTH);
    }

    #[test]
    fn the_highest_id_there_is_comes_again_and_a_log_that_begins_anew_follows_it() {
        let mut window = Window::beginning_with(u64::MAX);
        for ids in [u64::MAX..=u64::MAX, u64::MAX - 3..=u64::MAX, u64::MAX..=u64::MAX, 1..=3000] {
            assert_eq!(taken(&mut window, ids), 0);
        }
        assert_eq!(taken(&mut window, [0, 3001, u64::MAX - 1]), u64::MAX - 1 - 3001 - WIDTH);
        assert_eq!(taken(&mut window, [u64::MAX, u64::MAX]), 1);
    }
}
