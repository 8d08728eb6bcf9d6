//! How long until the disk is full, or the spool at its limit, by how both grew over the last minutes.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// What the trend is that of.
const WINDOW: Duration = Duration::from_secs(600);

/// How far its points are apart.
const STEP: Duration = Duration::from_secs(10);

/// A shorter time tells no trend: segments are made in leaps.
const LEAST: Duration = Duration::from_secs(60);

/// Bytes that are left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left {
    /// On the disk of the state.
    pub(super) disk: u64,
    /// Until the limit of the spool.
    pub(super) spool: u64,
}

/// What was left during the last minutes.
#[derive(Debug, Default)]
pub(super) struct Growth(VecDeque<(Instant, Left)>);

impl Growth {
    /// Takes what is left now, and says in how many seconds nothing will be; none while it does not shrink.
    pub(super) fn look(&mut self, now: Instant, left: Left) -> Option<f64> {
        if self.0.back().is_none_or(|(at, _)| now.saturating_duration_since(*at) >= STEP) {
            self.0.push_back((now, left));
        }
        while self.0.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > WINDOW) {
            self.0.pop_front();
        }
        let (at, before) = self.0.front()?;
        let passed = now.saturating_duration_since(*at);
        if passed < LEAST {
            return None;
        }
        let until = |before: u64, now: u64| {
            let gone = before.checked_sub(now).filter(|gone| *gone > 0)?;
            Some(now as f64 * passed.as_secs_f64() / gone as f64)
        };
        [until(before.disk, left.disk), until(before.spool, left.spool)].into_iter().flatten().reduce(f64::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_out_first_is_told_and_what_does_not_shrink_is_not() {
        let (mut growth, start) = (Growth::default(), Instant::now());
        let mut at =
            |second: u64, disk: u64, spool: u64| growth.look(start + Duration::from_secs(second), Left { disk, spool });
        assert_eq!(at(0, 10_000, 5_000), None);
        assert_eq!(at(30, 9_700, 5_000), None, "half a minute is no trend");
        // Ten bytes a second.
        assert_eq!(at(100, 9_000, 5_000), Some(900.0));
        // The spool grows faster than the disk fills.
        assert_eq!(at(200, 8_000, 1_000), Some(50.0));
        // What was there before the window is forgotten.
        for second in 210..1_000 {
            at(second, 8_000, 5_000);
        }
        assert_eq!(at(1_000, 8_000, 5_000), None);
        assert_eq!(at(1_010, 8_500, 5_000), None, "it empties");
        assert!(growth.0.len() <= 62, "memory is bounded");
    }
}
