//! Where the log is replicated: nothing is acknowledged, and nothing remembered, before a quorum of the servers has it.

use std::ops::Range;

use super::accept::Refusal;
use super::{Inner, admission};
use crate::dedup::store::Claim;
use crate::spool::Ordinal;

impl Inner {
    /// Sheds before any work is done what the servers would not get.
    pub(super) fn check_replica(&self) -> Result<(), Refusal> {
        let replicated = self.parts.replicated.as_ref();
        replicated.map_or(Ok(()), |replicated| replicated.check()).map_err(admission::unreplicated)
    }

    /// Waits until the servers have all that is durable here: what an upload has brought, and what it repeats.
    pub(super) async fn replicate(&self) -> Result<(), Refusal> {
        let Some(replicated) = &self.parts.replicated else { return Ok(()) };
        let end = *self.parts.spool.durable_end().borrow();
        replicated.reach(end).await.map_err(admission::unreplicated)
    }

    /// Remembers the keys of a durable record, once the servers have it. Until then other uploads of the same events wait, here and
    /// at other gateways. Where the servers do not answer in time the upload is refused, although its record is kept and will
    /// be forwarded: whoever sends it again waits as well, or learns that it is a duplicate.
    pub(super) async fn confirm(&self, claim: Box<dyn Claim>, record: Range<Ordinal>) -> Result<(), Refusal> {
        let Some(replicated) = &self.parts.replicated else {
            claim.confirm(record);
            return Ok(());
        };
        match replicated.reach(record.end).await {
            Ok(()) => {
                claim.confirm(record);
                Ok(())
            }
            Err(error) => {
                let replicated = replicated.clone();
                tokio::spawn(async move {
                    replicated.reached(record.end).await;
                    claim.confirm(record);
                });
                Err(admission::unreplicated(error))
            }
        }
    }
}
