//! How far each host has come with each subscription.
//!
//! A bookmark is the host's own: it is kept as it came and given back as it is. It becomes durable after the events before it
//! and before the host is told that they are kept. Then no crash loses an event: an older bookmark makes the host send again
//! what is known already, which costs nothing but the sending. What must not happen is that a bookmark that was there is not
//! missed: a host without one begins with what happens from now on. So whoever keeps bookmarks also knows whether some have
//! been lost, and hosts that have none then begin with the oldest event that they have.
//!
//! Behind a trait, because several gateways share them ([`shared`]).

mod journal;
mod kept;
mod line;
mod shared;
mod together;

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

pub use journal::Journal;
pub use shared::SharedBookmarks;

/// Whose bookmark it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    /// Who has shown a certificate or a ticket, in lower case: a new one may write the same name otherwise.
    pub client: Arc<str>,
    /// What the host calls itself, in lower case: one certificate may stand for several hosts.
    pub machine: Arc<str>,
    /// The subscription's id.
    pub subscription: Arc<str>,
}

impl Owner {
    /// By its names as they came.
    pub fn of(client: &str, machine: &str, subscription: &str) -> Self {
        let (client, machine) = (client.to_lowercase().into(), machine.to_lowercase().into());
        Self { client, machine, subscription: subscription.into() }
    }
}

/// What is known of a host's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// It is here, and came there at this time, in Unix seconds.
    At(Arc<str>, u64),
    /// It has none yet.
    Never,
    /// It has none, and some have been lost, or another client has one for it: it may have had one.
    Lost,
}

/// A bookmark could not be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the bookmark cannot be kept: {0}")]
pub struct NotKept(pub String);

/// What was seen of a bookmark: one that was written since is not replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen(Option<String>);

/// Keeps bookmarks.
pub trait Bookmarks: Send + Sync + 'static {
    /// Where a host is, and what was seen of it. Whoever takes a delivery looks before.
    fn look<'a>(&'a self, owner: &'a Owner) -> BoxFuture<'a, (Known, Seen)>;

    /// Where a host is.
    fn find<'a>(&'a self, owner: &'a Owner) -> BoxFuture<'a, Known> {
        self.look(owner).map(|(known, _)| known).boxed()
    }

    /// Resolves when the bookmark is durable. `seen` is what was seen when the delivery came that it belongs to.
    fn keep(&self, owner: Owner, bookmark: String, seen: Seen) -> BoxFuture<'static, Result<(), NotKept>>;
}

#[cfg(test)]
mod shared_tests;
#[cfg(test)]
mod tests;
