//! What a forwarder notes in its read position, beyond settlements, and when that becomes durable.
//!
//! A begin is noted when a request goes out and taken back when nobody can have it: what stays noted may have been taken,
//! and is counted when it is sent again. Nothing of it is synced on the way of a batch; see [`crate::spool::cursor`].

use std::io;

use super::Forwarder;
use super::batch::Batch;
use super::piece::Doubt;
use crate::spool::Ordinal;
use crate::spool::cursor::Loss;

impl Forwarder {
    /// Sees to it that a batch which ends here may be begun: below a ceiling that is durable. Blocks on the disk, but only
    /// when traffic has outrun the checkpoints.
    pub(super) fn make_room(&self, end: Ordinal) {
        if !self.cursor().has_room_for(end)
            && let Err(error) = self.sync(end)
        {
            tracing::warn!(output = &*self.name, %error, "a power cut now would repeat events without counting them");
        }
    }

    /// Notes that a batch is about to be sent, and counts what of it may have been sent in a former life.
    pub(super) fn begin(&self, batch: &Batch) {
        let mut cursor = self.cursor();
        if batch.resent {
            self.count_ambiguous(Doubt::Restart, cursor.doubtful(&batch.runs()));
        }
        if let Err(error) = cursor.begin(batch.range()) {
            // Sent all the same: without the note a crash now would repeat it uncounted, but holding it back would stop
            // the output for as long as the disk is full.
            tracing::warn!(output = &*self.name, %error, "the start of a batch cannot be recorded");
        }
    }

    /// Takes the begin of a batch back that nobody can have: should the gateway be killed now, it is not counted.
    pub(super) fn take_back(&self, batch: &Batch) {
        if let Err(error) = self.cursor().abandon(batch.range()) {
            tracing::warn!(output = &*self.name, %error, "an unsent batch cannot be recorded");
        }
    }

    /// Makes the read position durable and returns it: nothing below is needed by this output any more. Blocks; the
    /// cursor stays free meanwhile, or a slow disk would hold up every delivery and with them the runtime.
    pub fn checkpoint(&self) -> io::Result<Ordinal> {
        self.sync(0)
    }

    /// A checkpoint, with room for batches behind what ends here.
    fn sync(&self, end: Ordinal) -> io::Result<Ordinal> {
        self.must_be_in_place()?;
        let sync = self.cursor().begin_sync(end)?;
        let result = sync.run();
        let mut cursor = self.cursor();
        cursor.end_sync(&sync, result)?;
        Ok(cursor.durable_low())
    }

    /// Notes, durably, that this output has stopped with nothing on its way; how old its position is then. Only after
    /// [`Forwarder::run`] has returned. Blocks.
    pub fn close(&self) -> io::Result<u64> {
        self.must_be_in_place()?;
        let mut cursor = self.cursor();
        cursor.close()?;
        Ok(cursor.life())
    }

    /// What stands at the position's path when the state was taken away may be another gateway's.
    fn must_be_in_place(&self) -> io::Result<()> {
        match self.spool.is_in_place() {
            true => Ok(()),
            false => Err(io::Error::other("the state was removed or replaced")),
        }
    }

    /// The last time that its position was lost, if it ever was.
    pub fn position_lost(&self) -> Option<Loss> {
        self.cursor().lost()
    }

    /// How many of the events that it still has to send may have been sent before.
    pub fn in_doubt(&self) -> u64 {
        self.cursor().in_doubt()
    }
}
