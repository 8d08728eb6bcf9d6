//! The servers, as NATS JetStream: two streams for an installation, one of logs and one of their states.

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use futures_util::future::BoxFuture;
use tokio::time::timeout;

use super::config::Config;
use super::connection::{Connection, no_answer};
use super::servers::{Away, Chain, Fill, LogName, Refused, Servers, Stored};
use super::streams::Which;

/// Servers of NATS JetStream. The connection is made with the first question.
pub struct JetStream {
    config: Config,
    connection: Connection,
}

impl JetStream {
    /// As configured.
    pub fn new(config: Config) -> Self {
        Self { connection: Connection::new(config.clone(), &[Which::Logs, Which::States]), config }
    }
}

/// The stream of a chain, and its subject there.
fn place(chain: &Chain) -> (Which, &str) {
    match chain {
        Chain::Log(log) => (Which::Logs, log.as_str()),
        Chain::State(log) => (Which::States, log.as_str()),
    }
}

impl Servers for JetStream {
    fn append<'a>(&'a self, chain: &'a Chain, after: u64, message: Bytes) -> BoxFuture<'a, Result<u64, Refused>> {
        let (which, subject) = place(chain);
        Box::pin(self.connection.put(which, subject, Some(after), message))
    }

    fn last<'a>(&'a self, chain: &'a Chain) -> BoxFuture<'a, Result<Option<Stored>, Away>> {
        let (which, subject) = place(chain);
        Box::pin(self.connection.get(which, subject, None))
    }

    fn next<'a>(&'a self, chain: &'a Chain, from: u64) -> BoxFuture<'a, Result<Option<Stored>, Away>> {
        let (which, subject) = place(chain);
        Box::pin(self.connection.get(which, subject, Some(from)))
    }

    fn remove<'a>(&'a self, log: &'a LogName, before: u64) -> BoxFuture<'a, Result<(), Away>> {
        Box::pin(self.connection.remove(Which::Logs, log.as_str(), before))
    }

    fn logs(&self) -> BoxFuture<'_, Result<Vec<LogName>, Away>> {
        Box::pin(async move {
            let stream = self.connection.stream(Which::States).await?;
            let prefix = Which::States.subjects(&self.config);
            let list = async {
                let subjects =
                    stream.info_with_subjects(prefix.clone() + ">").await.map_err(|error| error.to_string())?;
                subjects.try_collect::<Vec<(String, usize)>>().await.map_err(|error| error.to_string())
            };
            let listed = timeout(self.config.timeout.get(), list).await.map_err(|_| no_answer())?.map_err(Away)?;
            Ok(listed.iter().filter_map(|(subject, _)| LogName::parse(subject.strip_prefix(&prefix)?)).collect())
        })
    }

    fn fill(&self) -> BoxFuture<'_, Result<Fill, Away>> {
        Box::pin(async move {
            let stream = self.connection.stream(Which::Logs).await?;
            let info = timeout(self.config.timeout.get(), stream.get_info()).await.map_err(|_| no_answer())?;
            let info = info.map_err(|error| Away(error.to_string()))?;
            // A stream that somebody made without a limit is as full as its servers let it be.
            let max = u64::try_from(info.config.max_bytes).ok().filter(|max| *max > 0).unwrap_or(u64::MAX);
            Ok(Fill { bytes: info.state.bytes, max })
        })
    }

    fn message_max(&self) -> usize {
        self.connection.message_max()
    }
}
