//! What was heard so far, for those who ask, those who read and those who speak.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::log::Log;
use super::message::Name;
use super::replica::Replica;
use crate::dedup::several::ask::{Answer, Away, Held};
use crate::dedup::several::engine::Board;

/// What the parts of it have in common.
pub(super) struct Inner {
    pub(super) log: Arc<dyn Log>,
    pub(super) board: Arc<Board>,
    pub(super) replica: Mutex<Heard>,
    /// Whether all was read that was there when it was begun.
    pub(super) is_loaded: AtomicBool,
    /// Who waits for a message of this process to be read: of each of its pieces whether it was won.
    pub(super) waiting: Mutex<HashMap<Name, oneshot::Sender<Vec<bool>>>>,
    /// For how long events are remembered, in seconds.
    pub(super) window_s: u32,
    /// In how many bytes of memory.
    pub(super) most_bytes: usize,
    /// Longest wait for an answer.
    pub(super) timeout: Duration,
    /// What gateways compare to know whether their secrets are the same.
    pub(super) check: String,
}

/// What was read, and when the last of it.
pub(super) struct Heard {
    pub(super) replica: Replica,
    pub(super) at: Instant,
}

impl Inner {
    /// Whose the keys of these parts are, as far as it was read.
    pub(super) fn claim(&self, parts: &[Held]) -> Result<Vec<Answer>, Away> {
        if !self.is_loaded.load(Ordering::Acquire) {
            return Err(self.board.away());
        }
        let heard = self.replica.lock();
        let later_s = u32::try_from(heard.at.elapsed().as_secs()).unwrap_or(u32::MAX);
        let found = parts.iter().map(|held| Answer::Claimed(heard.replica.look_up(&held.part, later_s)));
        Ok(found.collect())
    }
}
