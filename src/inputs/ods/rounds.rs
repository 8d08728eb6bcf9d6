//! When an equal upload is the same upload, where nothing in it tells a time.
//!
//! A body that tells a time in one of its items and comes again, byte for byte, is the same upload, however late. One that tells none
//! may be equal on purpose: a daily "all is well" is. Such a body is a repetition for as long as agents try again, and then it is
//! new: each has a *round*, which is part of what it is known by. A round that nobody remembers is that of the hour, so that a retry
//! is recognised over a restart, too; where it is not, a record comes twice, which is better than not at all.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::wall_s;

/// The agents for Windows try for so long, those for Linux for half an hour.
const RETRIED_FOR: Duration = Duration::from_secs(2 * 3600);
/// Most bodies that are remembered. Hardly any tells no time at all.
const REMEMBERED_MAX: usize = 16 << 10;

/// The rounds of bodies that tell no time.
#[derive(Debug, Default)]
pub(super) struct Rounds(Mutex<HashMap<[u8; 32], Round>>);

#[derive(Debug, Clone, Copy)]
struct Round {
    since: Instant,
    hours: u64,
    /// How often the agent began anew within that time.
    begun: u32,
}

impl Rounds {
    /// The round of a body. `is_first_try` where its agent says so: agents for Linux count how often they tried.
    pub(super) fn of(&self, body: &[u8; 32], is_first_try: bool) -> [u8; 12] {
        let now = Instant::now();
        let is_open = |round: &Round| now - round.since < RETRIED_FOR;
        let mut rounds = self.0.lock();
        let round = match rounds.get(body).copied().filter(is_open) {
            Some(open) if is_first_try => Round { since: now, begun: open.begun.wrapping_add(1), ..open },
            Some(open) => open,
            None => Round { since: now, hours: wall_s() / RETRIED_FOR.as_secs(), begun: 0 },
        };
        if rounds.len() >= REMEMBERED_MAX && !rounds.contains_key(body) {
            rounds.retain(|_, round| is_open(round));
        }
        if rounds.len() < REMEMBERED_MAX || rounds.contains_key(body) {
            rounds.insert(*body, round);
        }
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&round.hours.to_le_bytes());
        bytes[8..].copy_from_slice(&round.begun.to_le_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_equal_body_without_a_time_is_a_repetition_while_its_agent_tries_and_new_afterwards() {
        let rounds = Rounds::default();
        let (body, other) = ([1; 32], [2; 32]);
        let first = rounds.of(&body, true);
        assert_eq!(rounds.of(&body, false), first, "the answer was lost");
        tokio::time::advance(Duration::from_secs(7199)).await;
        assert_eq!(rounds.of(&body, false), first);
        let again = rounds.of(&body, true);
        assert_ne!(again, first, "the agent says that it tries for the first time");
        assert_eq!(rounds.of(&body, false), again);
        assert_eq!(rounds.of(&other, false)[8..], [0; 4]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_bounded_and_the_rest_goes_by_the_clock() {
        let rounds = Rounds::default();
        for n in 0..REMEMBERED_MAX + 10 {
            let mut body = [0; 32];
            body[..8].copy_from_slice(&n.to_le_bytes());
            rounds.of(&body, false);
        }
        assert_eq!(rounds.0.lock().len(), REMEMBERED_MAX);
        let stranger = [0xff; 32];
        assert_eq!(rounds.of(&stranger, true), rounds.of(&stranger, true), "of one clock");
        tokio::time::advance(RETRIED_FOR).await;
        rounds.of(&stranger, false);
        assert_eq!(rounds.0.lock().len(), 1, "those that are over made room");
    }
}
