//! Hosts whose tickets were refused, for people. They have no name yet, and nobody else tells of them: on the host it looks as if
//! the gateway were not there.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::clock::wall_s;
use crate::net::listen::one_subscriber;

/// Most that are remembered; the one that was seen last stays longest.
const MOST: usize = 64;
/// Most of them from one sender: reasons hold what it wrote, so it could have as many as it likes.
const OF_ONE_MAX: usize = 8;
/// Most characters of a reason.
const TEXT_MAX: usize = 512;

/// Those that were seen last.
#[derive(Debug, Default)]
pub(in crate::inputs::wef) struct TurnedAway(Mutex<VecDeque<TurnedAwayHost>>);

/// A host whose ticket was refused, and how often for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnedAwayHost {
    /// Where it came from.
    pub address: IpAddr,
    /// Why.
    pub reason: String,
    /// How often.
    pub times: u64,
    /// When it came last, in seconds since 1970.
    pub last_s: u64,
}

impl TurnedAway {
    /// Notes one.
    pub(in crate::inputs::wef) fn note(&self, address: IpAddr, reason: &str) {
        let reason: String = reason.chars().take(TEXT_MAX).collect();
        let mut known = self.0.lock();
        let before = known.iter().position(|one| one.address == address && one.reason == reason);
        let times = before.and_then(|at| known.remove(at)).map_or(0, |one| one.times) + 1;
        let sender = one_subscriber(address);
        let own = known.iter().enumerate().filter(|(_, one)| one_subscriber(one.address) == sender);
        if let Some((oldest, _)) = own.skip(OF_ONE_MAX - 1).last() {
            known.remove(oldest);
        }
        if known.len() == MOST {
            known.pop_back();
        }
        known.push_front(TurnedAwayHost { address, reason, times, last_s: wall_s() });
    }

    /// The last one first.
    pub(in crate::inputs::wef) fn shown(&self) -> Vec<TurnedAwayHost> {
        self.0.lock().iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_shown_each_once() {
        let away = TurnedAway::default();
        let address = |n: u8| IpAddr::from([10, 0, 0, n]);
        (0..100).for_each(|n| away.note(address(n), "no"));
        away.note(address(99), &"x".repeat(2 * TEXT_MAX));
        away.note(address(50), "no");
        let shown = away.shown();
        assert_eq!(shown.len(), MOST);
        assert_eq!((shown[0].address, shown[0].times), (address(50), 2));
        assert_eq!((shown[1].address, shown[1].reason.len()), (address(99), TEXT_MAX));
    }

    #[test]
    fn whoever_makes_up_reasons_pushes_nobody_else_out() {
        let away = TurnedAway::default();
        away.note(IpAddr::from([10, 0, 0, 1]), "the clocks differ");
        (0..1000).for_each(|n| away.note(IpAddr::from([10, 0, 0, 2]), &format!("no key for HTTP/{n}")));
        let shown = away.shown();
        assert_eq!(shown.len(), 1 + OF_ONE_MAX);
        assert_eq!(shown[0].reason, "no key for HTTP/999", "the newest of them stay");
        assert_eq!(shown.last().map(|one| one.reason.as_str()), Some("the clocks differ"));
    }
}
