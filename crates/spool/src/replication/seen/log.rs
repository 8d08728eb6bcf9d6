//! What is asked of the servers: one stream, to which all add and which all read in the same order.

use std::sync::Arc;

use async_nats::jetstream::Message;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use super::super::connection::{Connection, View};
use super::super::servers::{Away, Refused, Stored};
use super::super::streams::Which;

/// A message, where it is and when it came there by the servers' clock, in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) at: u64,
    pub(super) time_s: u32,
    /// Its subject, without what all of the stream begin with.
    pub(super) place: String,
    pub(super) bytes: Bytes,
}

/// Messages as they come.
pub(super) type Entries = BoxStream<'static, Result<Entry, Away>>;

/// The stream.
pub(super) trait Log: Send + Sync + 'static {
    /// Adds a message, behind the one of its place at `after` (0: where none is there; none: whatever is). Where it is, once a
    /// quorum has it.
    fn put<'a>(&'a self, place: &'a str, after: Option<u64>, bytes: Bytes) -> BoxFuture<'a, Result<u64, Refused>>;

    /// How it is.
    fn look(&self) -> BoxFuture<'_, Result<View, Away>>;

    /// What its leader has at this place or behind it, and where.
    fn get(&self, at: u64) -> BoxFuture<'_, Result<Option<Stored>, Away>>;

    /// The messages from a place on.
    fn follow(&self, from: u64) -> BoxFuture<'_, Result<Entries, Away>>;

    /// Most bytes of a message.
    fn message_max(&self) -> usize;

    /// Where it was found, and the version of what was found there.
    fn server(&self) -> BoxFuture<'_, Result<(String, String), Away>>;
}

/// The one at servers of NATS.
pub(super) struct AtServers {
    pub(super) connection: Arc<Connection>,
    pub(super) which: Which,
    /// What its subjects begin with.
    pub(super) subjects: String,
}

impl Log for AtServers {
    fn put<'a>(&'a self, place: &'a str, after: Option<u64>, bytes: Bytes) -> BoxFuture<'a, Result<u64, Refused>> {
        Box::pin(self.connection.put(self.which, place, after, bytes))
    }

    fn look(&self) -> BoxFuture<'_, Result<View, Away>> {
        // Its subjects are not asked for: there are as many as gateways.
        Box::pin(self.connection.look(self.which, super::FILLING))
    }

    fn get(&self, at: u64) -> BoxFuture<'_, Result<Option<Stored>, Away>> {
        Box::pin(self.connection.get(self.which, ">", Some(at)))
    }

    fn follow(&self, from: u64) -> BoxFuture<'_, Result<Entries, Away>> {
        Box::pin(async move {
            let followed = self.connection.follow(self.which, from).await?;
            let subjects = self.subjects.clone();
            let read = move |message: Result<Message, _>| match message {
                Ok(message) => entry(&message, &subjects),
                Err(error) => Err(Away(format!("the stream of what was seen cannot be read: {error}"))),
            };
            Ok(followed.map(read).boxed())
        })
    }

    fn message_max(&self) -> usize {
        self.connection.message_max()
    }

    fn server(&self) -> BoxFuture<'_, Result<(String, String), Away>> {
        Box::pin(async move {
            let about = self.connection.client().await?.server_info();
            Ok((format!("{}:{}", about.host, about.port), about.version))
        })
    }
}

fn entry(message: &Message, subjects: &str) -> Result<Entry, Away> {
    let about = message.info().map_err(|error| Away(error.to_string()))?;
    let place = message.subject.as_str();
    Ok(Entry {
        at: about.stream_sequence,
        time_s: u32::try_from(about.published.unix_timestamp()).unwrap_or_default(),
        place: place.strip_prefix(subjects).unwrap_or(place).to_owned(),
        bytes: message.payload.clone(),
    })
}
