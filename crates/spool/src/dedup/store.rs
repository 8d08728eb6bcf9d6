//! The trait of a dedup store: claim keys, then confirm or release them.
//!
//! A key is *pending* from its claim until the events that carry it are durable. Nobody may call an event a duplicate
//! of a pending one: if the first append then fails, the event would be lost. So a claim tells for each key whether it
//! is new, a duplicate of something durable, or pending in somebody else's hands, with a way to wait for that result.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::event::EventKey;

/// What the store says about one key of a claim.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// Not seen within the window: the caller holds it now.
    New,
    /// Durable already, or seen earlier in this very claim.
    Duplicate,
    /// Another claim holds it and has not ended yet.
    Pending(Arc<dyn Settled>),
}

/// The end of somebody else's claim, to wait for.
pub trait Settled: Send + Sync + std::fmt::Debug {
    /// Resolves when that claim was confirmed or released. Claim the key again to learn which.
    fn wait(&self) -> BoxFuture<'_, ()>;
}

/// Keys held by one upload until its append ends. Dropping it releases what was not confirmed.
pub trait Claim: Send {
    /// One verdict for each key, in the order of the keys.
    fn verdicts(&self) -> &[Verdict];

    /// The append is durable, as these items of the log (none, when nothing had to be appended): remember the held keys.
    fn confirm(self: Box<Self>, record: Range<u64>);

    /// The append failed: forget the held keys and wake everybody who waits for them.
    fn release(self: Box<Self>);
}

/// Nobody can say which events were seen: the caller keeps nothing, and comes back later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("which events were seen cannot be asked: {reason}")]
pub struct Unavailable {
    /// Why.
    pub reason: String,
    /// When to come back.
    pub retry_after: Duration,
}

/// What is remembered, for metrics and the status page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Remembered {
    /// Keys within the window.
    pub keys: u64,
    /// Bytes of memory they take.
    pub bytes: u64,
    /// Keys that went before the end of the window because a bound was reached, since the start.
    pub evicted: u64,
}

/// The set of seen event keys.
pub trait Store: Send + Sync + 'static {
    /// Claims all keys at once.
    fn claim<'a>(&'a self, keys: &'a [EventKey]) -> BoxFuture<'a, Result<Box<dyn Claim>, Unavailable>>;

    /// Forgets keys whose events were lost after all, so that they are taken when they come again; returns how many it knew.
    /// Keys that a claim holds stay: their events are being made durable anew.
    fn forget(&self, keys: &[EventKey]) -> u64;

    /// What is remembered now.
    fn remembered(&self) -> Remembered;
}
