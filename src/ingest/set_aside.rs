//! Records that cannot be understood: kept as dead letters, durable before the answer leaves.
//!
//! What they take is their sender's share of the dead letters. At its end the sender's older ones go, and are counted, so
//! that the good events beside them are never refused for want of room; only a disk that refuses can do that.

use super::sort::{Part, Sorted};
use super::{Inner, Refusal, Trouble, ended_badly};
use crate::spool::dead_letter::{Letter, SENT_BY, Source};

impl Inner {
    /// Keeps the records that cannot be understood, durably.
    pub(super) async fn set_aside(&self, sorted: &Sorted, part: &Part, new: &[usize]) -> Result<(), Refusal> {
        let letters = part.letters(sorted, new, self.parts.spool.clock().shown_now_ms());
        let put = self.parts.dead_letters.work(move |kept| kept.put(letters));
        put.await.map_err(|ended| ended_badly("setting aside", &ended))??;
        self.troubles.over(&[Trouble::DEAD_LETTERS_FULL, Trouble::DEAD_LETTERS_FAILED]);
        Ok(())
    }
}

/// A record that was not understood, as a letter. Who sent it is whose share it takes.
pub(super) fn letter(sorted: &Sorted, reason: String, raw: &[u8], now_ms: u64) -> Letter {
    Letter {
        id: 0,
        first_seen_ms: now_ms,
        last_seen_ms: now_ms,
        tries: 1,
        answer: None,
        client: None,
        source: Source::Input { name: sorted.input.to_string() },
        reason,
        status: None,
        detail: format!("{SENT_BY}{}", sorted.client),
        format: 0,
        stream: sorted.stream.to_string(),
        raw: raw.to_vec(),
    }
}
