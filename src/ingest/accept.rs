//! What ingest promises to whoever takes uploads: the trait, the receipt, the refusals.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::event::{DecodeError, KeyMaker, Upload};
use crate::spool::dead_letter::PutError;

/// Proof that an upload is durable: what became of each of its events.
///
/// `received = filtered + duplicate + set_aside + spooled`, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Receipt {
    /// Records in the upload.
    pub received: u64,
    /// Dropped by a rule.
    pub filtered: u64,
    /// Dropped because they were seen before.
    pub duplicate: u64,
    /// Kept as dead letters because they could not be understood.
    pub set_aside: u64,
    /// Appended to the spool.
    pub spooled: u64,
    /// The position in the spool of the first of these, and the one behind the last: by them whoever reads the logs finds the
    /// batches that they went out in. Both 0 where nothing was appended. Of a large upload events of others may lie between.
    pub first: u64,
    /// See `first`.
    pub end: u64,
}

/// Why an upload was not accepted. Nothing of it was kept; the sender keeps its copy.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The body as a whole cannot be read: sending it again will not help.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// An event is larger than the spool takes: it will never fit.
    #[error("an event is larger than the gateway can keep")]
    TooLarge,
    /// An event is not its sender's to send, or nobody said whose events the sender may send.
    #[error("{0}")]
    Foreign(String),
    /// It takes longer to read than one upload may take: sending less at once will help.
    #[error("the upload takes longer to read than the {} s that one may take; send it in several", limit.as_secs())]
    TooSlow {
        /// How long it may take.
        limit: Duration,
    },
    /// Its sender has gone, and nothing of it was kept yet.
    #[error("the sender has gone")]
    Gone,
    /// Too much work is waiting.
    #[error("the gateway is busy: {reason}")]
    Busy {
        /// When to come back.
        retry_after: Duration,
        /// Which limit was reached: a label value.
        reason: &'static str,
    },
    /// Which of its events were seen cannot be asked: the shared deduplication engine is unreachable, or cannot be used.
    #[error("the gateway cannot know which events were seen")]
    Unjudged {
        /// When to come back.
        retry_after: Duration,
        /// Why, for the operator.
        because: String,
    },
    /// The servers that replicate the log do not have it, as far as is known.
    #[error("the log is not replicated: {because}")]
    Unreplicated {
        /// Why, for the operator.
        because: String,
    },
    /// The gateway is draining.
    #[error("the gateway is stopping")]
    Stopping,
    /// The gateway has just begun, and does not know yet which events were seen.
    #[error("the gateway is starting: it reads which events were seen")]
    Loading,
    /// Something that the gateway needs to judge or keep events is missing: a person has to mend it.
    #[error("the gateway takes no uploads: {0}")]
    Held(&'static str),
    /// The spool has no room, or the disk is full.
    #[error("the spool is full")]
    SpoolFull,
    /// The disk of the spool failed, with what the system said.
    #[error("the spool cannot write: {0}")]
    SpoolFailed(String),
    /// A record was not understood, and the disk has no room to set it aside. What clients may keep is never in the way.
    #[error("a record was not understood, and the disk has no room to set it aside as a dead letter")]
    DeadLettersFull,
    /// A record was not understood, and setting it aside failed, with what the system said.
    #[error("a record was not understood, and dead letters cannot be written: {0}")]
    DeadLettersFailed(String),
    /// The state was removed or replaced under the running gateway: what is written now nobody would ever find again.
    #[error("the state of the gateway was removed")]
    StateRemoved,
    /// A fault of the gateway itself, with what is known of it.
    #[error("the gateway failed at this upload: {0}")]
    Internal(String),
}

impl From<PutError> for Refusal {
    fn from(error: PutError) -> Self {
        match error {
            PutError::Full | PutError::ShareFull { .. } => Self::DeadLettersFull,
            PutError::Io(_) | PutError::ReadOnly => Self::DeadLettersFailed(error.to_string()),
        }
    }
}

impl Refusal {
    /// Whether it is what the upload held that was refused: another gateway, or a later time, would not change that.
    pub fn is_about_its_content(&self) -> bool {
        matches!(self, Self::Malformed(_) | Self::TooLarge | Self::Foreign(_) | Self::TooSlow { .. })
    }
}

/// Takes uploads and makes them durable.
pub trait Accept: Send + Sync + 'static {
    /// Resolves when the upload's events are durable (or filtered, or duplicates of durable ones), or refuses it whole.
    /// Once called, the work runs to its end even if the returned future is dropped: a client that hangs up must not
    /// leave a half-accepted upload behind. As long as nothing was kept it ends when the upload's sender has gone.
    fn accept(&self, upload: Upload) -> BoxFuture<'static, Result<Receipt, Refusal>>;

    /// What makes the marks of uploads: the keys of their events are made of these. The default is for those who remember nothing
    /// over a restart.
    fn keys(&self) -> Arc<KeyMaker> {
        Arc::new(KeyMaker::new(&[0; 32]))
    }
}
