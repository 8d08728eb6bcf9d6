//! Records that cannot be understood: kept as dead letters, durable before the answer leaves.
//!
//! What they take is their sender's share of the dead letters. At its end the sender's older ones go, and are counted, so
//! that the good events beside them are never refused for want of room; only a disk that refuses can do that.

use std::sync::Arc;

use super::sort::{Part, Sorted};
use super::{Inner, Refusal, Trouble, ended_badly};
use crate::spool::dead_letter::{DeadLetters, Letter, SENT_BY, Source};

impl Inner {
    /// Keeps the records that cannot be understood, durably. The numbers of their letters.
    pub(super) async fn set_aside(&self, sorted: &Sorted, part: &Part, new: &[usize]) -> Result<Vec<u64>, Refusal> {
        let letters = part.letters(sorted, new, self.parts.spool.clock().shown_now_ms());
        let put = self.parts.dead_letters.work(move |kept| kept.put(letters));
        let ids = put.await.map_err(|ended| ended_badly("setting aside", &ended))??;
        self.troubles.over(&[Trouble::DEAD_LETTERS_FULL, Trouble::DEAD_LETTERS_FAILED]);
        Ok(ids)
    }

    /// Takes letters back whose upload is refused after all: its sender keeps the records, and sends them again.
    pub(super) async fn take_back(&self, input: &Arc<str>, letters: Vec<u64>) {
        if letters.is_empty() {
            return;
        }
        let (spool, of) = (self.parts.spool.clone(), Arc::clone(input));
        // What stands where the state was is somebody else's.
        let withdraw =
            move |kept: &mut DeadLetters| if spool.is_in_place() { kept.withdraw(&of, &letters) } else { Ok(()) };
        if let Ok(Err(error)) = self.parts.dead_letters.work(withdraw).await {
            tracing::warn!(input = &**input, %error, "dead letters of an upload that was refused after all stay");
        }
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

#[cfg(test)]
mod tests {
    use arc_swap::ArcSwap;

    use super::*;
    use crate::dedup::memory::MemoryStore;
    use crate::event::{Client, KeyMaker, Presence, Syntax, Upload};
    use crate::filter::{EventSet, Rules};
    use crate::fs::RealFs;
    use crate::fs::faulty::FaultyFs;
    use crate::hosts::{self, Hosts};
    use crate::ingest::ledger::Waiting;
    use crate::ingest::{self, Accept as _, Ingest};
    use crate::spool::Spool;
    use crate::spool::dead_letter::SharedLetters;

    /// One record that is understood and one that is not.
    const ONE_UNREADABLE: &str = r#"[{"a":1},5]"#;

    #[tokio::test]
    async fn an_upload_that_the_spool_cannot_keep_leaves_no_letter_behind_however_often_it_comes() {
        let dir = tempfile::tempdir().unwrap();
        let (fs, disk) = FaultyFs::new(Arc::new(RealFs));
        let (spool, _) = Spool::open(&Default::default(), &dir.path().join("spool"), fs).unwrap();
        let letters = DeadLetters::open(Arc::new(RealFs), &dir.path().join("dead-letters"), 1 << 20).unwrap();
        let letters = SharedLetters::from(letters);
        let parts = ingest::Parts {
            rules: Arc::new(ArcSwap::from_pointee(Rules::of_event_set(EventSet::Everything))),
            keys: Arc::new(KeyMaker::new(&[7; 32])),
            dedup: Arc::new(MemoryStore::new(&Default::default())),
            hosts: Hosts::new(hosts::Config::default(), spool.clock().clone()),
            spool,
            replicated: None,
            dead_letters: letters.clone(),
            waiting: Arc::new(Waiting::default()),
        };
        let ingest = Ingest::new(ingest::Config::default(), parts);
        let upload = || Upload {
            input: "agents".into(),
            client: Client { name: "agent".into(), ..Client::default() },
            stream: "Custom-SecurityEvent".into(),
            syntax: Syntax::JsonArray,
            body: ONE_UNREADABLE.into(),
            damaged: Vec::new(),
            known: None,
            presence: Presence::default(),
        };
        disk.fail_all_syncs();
        for _ in 0..3 {
            assert!(matches!(ingest.accept(upload()).await, Err(Refusal::SpoolFailed(_))));
            assert_eq!(letters.look().totals().count, 0, "nothing of it was kept");
        }
        disk.mend_syncs();
        let receipt = loop {
            // The spool tries again by itself.
            match ingest.accept(upload()).await {
                Err(Refusal::SpoolFailed(_)) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
                other => break other.unwrap(),
            }
        };
        assert_eq!((receipt.spooled, receipt.set_aside, letters.look().totals().count), (1, 1, 1));
    }
}
