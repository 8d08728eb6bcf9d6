//! What gateways have together beside their logs, at the servers that replicate these: documents, and many small values.
//!
//! For installations that have no Redis or Valkey. It keeps the promises of [`crate::shared`] as that does:
//!
//! 1. A document is changed by comparing its revision, and a quorum of the servers has it before it is called set. Nobody reads half
//!    of one, however large it is ([`documents`]).
//! 2. Of a value that is not there it is known whether there may have been one. "Nothing, and never was" is only said of a stream
//!    that a quorum still led when it was asked, and that nobody has removed, emptied or put back since it was filled ([`values`]).
//!
//! Two streams have them, which keep the last message of each subject: of documents for ever, of values until nobody has renewed
//! one for 400 days. The connection is another one than that of the log: a document of 8 MB must not hold an upload up.

mod cells;
mod documents;
#[cfg(test)]
mod in_memory;
#[cfg(test)]
mod tests;
mod values;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::config::Config;
use super::connection::Connection;
use super::servers::{self, Refused};
use super::streams::Which;
use crate::shared::Away;
use cells::AtServers;
pub use documents::Documents;
pub use values::Values;

/// How often it is looked what others have changed.
const LOOK: Duration = Duration::from_secs(1);

/// What gateways have together. Its parts are cheap to clone.
pub struct SharedState {
    /// Documents.
    pub documents: Documents,
    /// The bookmarks of forwarding hosts.
    pub bookmarks: Values,
    standing: watch::Receiver<Standing>,
}

/// How it stands with the servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// They were not asked yet.
    Starting,
    /// They answer.
    There,
    /// They do not, or what they have cannot be used; because.
    Away(String),
}

/// What has to run for it.
pub struct Work {
    documents: Documents,
    bookmarks: Values,
    standing: watch::Sender<Standing>,
}

impl SharedState {
    /// At these servers; nothing is asked before its [`Work`] runs.
    pub fn new(config: &Config) -> (Self, Work) {
        let connection = Arc::new(Connection::new(config.clone(), &[Which::Documents, Which::Values]));
        let cells = |which| Arc::new(AtServers { connection: Arc::clone(&connection), which });
        let documents = Documents::new(cells(Which::Documents));
        let bookmarks = Values::new(cells(Which::Values), "bookmarks");
        let standing = watch::Sender::new(Standing::Starting);
        let state = Self { documents: documents.clone(), bookmarks: bookmarks.clone(), standing: standing.subscribe() };
        (state, Work { documents, bookmarks, standing })
    }

    /// How it stands, and its changes.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }
}

impl Work {
    /// Looks what others have changed, once a second, until it is dropped.
    pub async fn run(self) {
        loop {
            let (documents, bookmarks) = tokio::join!(self.documents.look(), self.bookmarks.look());
            let standing = match documents.and(bookmarks) {
                Ok(()) => Standing::There,
                Err(Away(why)) => Standing::Away(why),
            };
            self.standing.send_if_modified(|there| {
                let is_other = *there != standing;
                *there = standing;
                is_other
            });
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl From<servers::Away> for Away {
    fn from(away: servers::Away) -> Self {
        Self(away.0)
    }
}

impl From<Refused> for Away {
    fn from(refused: Refused) -> Self {
        Self(refused.to_string())
    }
}
