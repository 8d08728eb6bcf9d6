//! What has left the spool, read from the dedup journal, to be told to other gateways.
//!
//! What was taken alone while the engine was away may be forwarded and gone by the time that it is back; and an engine that has
//! forgotten knows nothing of what left the spool long ago. The journal has the keys of all of it for as long as they matter.
//! It is read beside whoever appends to it, as fast as the engine is told, and never more than a few records ahead.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::window::signed;
use crate::dedup::journal::numbered;
use crate::event::EventKey;
use crate::fs::Fs;
use crate::spool::{Ordinal, Spool};

/// Records that are read ahead.
const AHEAD: usize = 16;

/// Where the keys of what left the spool are.
#[derive(Clone)]
pub struct JournalPlace {
    /// The file system of the state.
    pub fs: Arc<dyn Fs>,
    /// The folder of the journal.
    pub folder: PathBuf,
    /// How long keys are remembered.
    pub window: Duration,
}

impl JournalPlace {
    /// Reads the keys of events in these ranges, in the background. Whoever drops the receiver ends it.
    pub(super) fn read(
        &self,
        spool: &Spool,
        wanted: Vec<Range<Ordinal>>,
    ) -> mpsc::Receiver<(Range<Ordinal>, Vec<EventKey>)> {
        let (sender, receiver) = mpsc::channel(AHEAD);
        let (kept, since) = (self.clone(), spool.clock().horizon_ms(self.window) / 1_000);
        tokio::task::spawn_blocking(move || {
            let each = |ordinals: Range<Ordinal>, keys| sender.blocking_send((ordinals, keys)).is_ok();
            if let Err(error) = numbered(&*kept.fs, &kept.folder, signed(since), &wanted, each) {
                tracing::error!(%error, "what left the spool cannot be told to the other gateways: repetitions of it may be forwarded twice");
            }
        });
        receiver
    }
}
