//! What replication asks of the servers: chains of messages, of which each names the one before it.

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::spool::LogId;

/// The name of a replica: the log, and how often it was taken over before.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogName(String);

impl LogName {
    /// The replica of a log after so many takeovers.
    pub fn of(log: LogId, generation: u32) -> Self {
        Self(format!("{:016x}-{generation}", log.number()))
    }

    /// The name as it stands in a subject; `None` when it is none.
    pub fn parse(name: &str) -> Option<Self> {
        let (log, generation) = name.split_once('-')?;
        let is_name = log.len() == 16 && u64::from_str_radix(log, 16).is_ok() && generation.parse::<u32>().is_ok();
        is_name.then(|| Self(name.to_owned()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A chain of messages.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Chain {
    /// What is in a log: it keeps its messages until they are removed.
    Log(LogName),
    /// Whose a log is: only the last message of it is kept.
    State(LogName),
}

/// A message and its place. Places rise, and are not of one chain alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its place.
    pub at: u64,
    /// What stands in it.
    pub bytes: Bytes,
}

/// How full servers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill {
    /// Bytes that they keep.
    pub bytes: u64,
    /// Bytes that they keep at most.
    pub max: u64,
}

impl Fill {
    /// Whether uploads are to leave the rest to takeovers: each needs some room before it makes some. `was_scarce` keeps it
    /// from changing with each upload.
    pub fn is_scarce(self, was_scarce: bool) -> bool {
        let parts = if was_scarce { 13 } else { 14 };
        self.bytes >= self.max / 16 * parts
    }
}

/// Nobody can be asked now. What was asked for may have been done, and may still be done later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Away(pub String);

/// Why a message was not put behind another one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Another message stands there.
    #[error("somebody else has written")]
    Overtaken,
    /// There is no room. Nothing was done.
    #[error("the servers have no room for it")]
    Full,
    /// See [`Away`].
    #[error(transparent)]
    Away(#[from] Away),
}

/// Servers that keep chains of messages, each on a quorum of them before it is called kept.
pub trait Servers: Send + Sync + 'static {
    /// Puts a message behind the one at `after`, which must be the last of its chain (0: there must be none). Its place, once a
    /// quorum has it durably.
    fn append<'a>(&'a self, chain: &'a Chain, after: u64, message: Bytes) -> BoxFuture<'a, Result<u64, Refused>>;

    /// The last message of a chain.
    fn last<'a>(&'a self, chain: &'a Chain) -> BoxFuture<'a, Result<Option<Stored>, Away>>;

    /// The first message of a chain at this place or behind it.
    fn next<'a>(&'a self, chain: &'a Chain, from: u64) -> BoxFuture<'a, Result<Option<Stored>, Away>>;

    /// Removes the messages of a log before this place.
    fn remove<'a>(&'a self, log: &'a LogName, before: u64) -> BoxFuture<'a, Result<(), Away>>;

    /// The logs that have a state.
    fn logs(&self) -> BoxFuture<'_, Result<Vec<LogName>, Away>>;

    /// How full they are, for all logs together.
    fn fill(&self) -> BoxFuture<'_, Result<Fill, Away>>;

    /// Most bytes of a message.
    fn message_max(&self) -> usize;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads_leave_an_eighth_of_the_room_to_takeovers_and_come_back_a_little_below() {
        let scarce = |bytes, was_scarce| Fill { bytes, max: 1_600 }.is_scarce(was_scarce);
        assert_eq!([scarce(1_399, false), scarce(1_400, false), scarce(1_600, false)], [false, true, true]);
        assert_eq!([scarce(1_299, true), scarce(1_300, true)], [false, true]);
    }

    #[test]
    fn a_name_is_read_as_it_is_written_and_nothing_else_is_one() {
        let name = LogName::of(LogId::UNKNOWN, 3);
        assert_eq!(LogName::parse(name.as_str()), Some(name));
        for other in
            ["", "-", "0123456789abcdef", "0123456789abcdef-", "0123-1", "0123456789abcdeg-1", "0123456789abcdef-x"]
        {
            assert_eq!(LogName::parse(other), None, "{other}");
        }
    }
}
