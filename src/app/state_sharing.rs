//! What this gateway shares with others through the servers of replication, where it does: rules, agents, signing keys, bookmarks.
//!
//! Where events are remembered together in Redis or Valkey, all of that is there, and nothing of it here ([`super::sharing`]).

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::objections::STATE_AWAY;
use super::sharing::sealed;
use crate::admin;
use crate::config::Config;
use crate::faults::Fault;
use crate::metrics;
use crate::replication::shared::{SharedState, Standing, Work};
use crate::shared::Store as Documents;
use crate::shared::entries::Entries;

/// It.
pub(super) struct StateSharing {
    state: SharedState,
    documents: Arc<dyn Documents>,
    /// What has to run, until it runs.
    idle: Mutex<Option<Work>>,
}

/// What of other sections keeps it from starting.
pub(super) fn faults(config: &Config) -> Vec<Fault> {
    if !config.replication.shares_state() {
        return Vec::new();
    }
    if config.dedup.is_in_redis() {
        let why = "is true, and dedup.kind = \"redis\" shares the same things: set it to false";
        return vec![Fault::stops("replication.share_state", why)];
    }
    let secret = config.dedup.secret_fault("replication.share_state = true");
    secret.map(|fault| fault.within("dedup")).into_iter().collect()
}

impl StateSharing {
    /// `None` where nothing is shared so. Nothing is asked yet.
    pub(super) fn open(config: &Config) -> anyhow::Result<Option<Self>> {
        if !config.replication.shares_state() {
            return Ok(None);
        }
        let (state, work) = SharedState::new(&config.replication);
        let documents = sealed(&config.dedup, Arc::new(state.documents.clone()))?;
        Ok(Some(Self { state, documents, idle: Mutex::new(Some(work)) }))
    }

    /// Documents that whoever runs the servers can neither read nor make.
    pub(super) fn documents(&self) -> Arc<dyn Documents> {
        Arc::clone(&self.documents)
    }

    /// Where the bookmarks of forwarding hosts are.
    pub(super) fn bookmarks(&self) -> Arc<dyn Entries> {
        Arc::new(self.state.bookmarks.clone())
    }

    /// Runs. What is on the disk here is in force before the servers answer.
    pub(super) fn begin(&self, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
        let Some(work) = self.idle.lock().take() else { return };
        let until = stop.clone();
        tasks.spawn(async move {
            until.run_until_cancelled(Box::pin(work.run())).await;
        });
    }

    fn away(&self) -> Option<String> {
        match &*self.state.standing().borrow() {
            Standing::Starting | Standing::There => None,
            Standing::Away(why) => Some(why.clone()),
        }
    }

    /// What goes on with what is on the disk.
    pub(super) fn warning(&self) -> Option<admin::Reason> {
        self.away().map(|_| STATE_AWAY)
    }

    /// Tells what is news.
    pub(super) fn show(&self, told: &mut Option<String>) {
        let away = self.away();
        let is_there = *self.state.standing().borrow() == Standing::There;
        metrics::STATE_SHARING_UP.set(&[], f64::from(u8::from(is_there)));
        match (&away, &*told) {
            (Some(reason), None) => tracing::error!(reason, "what gateways share at the servers cannot be reached"),
            (None, Some(_)) => tracing::info!("what gateways share at the servers can be reached again"),
            _ => {}
        }
        *told = away;
    }

    /// For `/status`.
    pub(super) fn status(&self) -> Value {
        let (state, because) = match &*self.state.standing().borrow() {
            Standing::Starting => ("starting", None),
            Standing::There => ("there", None),
            Standing::Away(why) => ("away", Some(why.clone())),
        };
        json!({ "state": state, "because": because })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dedup;
    use crate::replication::{self, Kind};
    use crate::values::Secret;

    #[test]
    fn it_needs_a_secret_and_is_not_beside_an_engine_that_shares_the_same() {
        let replication = replication::Config { kind: Kind::Jetstream, share_state: true, ..Default::default() };
        let mut config = Config { replication, ..Config::default() };
        let found = |config: &Config| faults(config).into_iter().map(|fault| fault.key).collect::<Vec<_>>();
        assert_eq!(found(&config), ["dedup.secret"]);
        config.dedup.secret = Some(Secret::new("x".repeat(31)));
        assert_eq!(found(&config), ["dedup.secret"]);
        config.dedup.secret = Some(Secret::new("x".repeat(32)));
        assert_eq!(found(&config), Vec::<String>::new());
        config.dedup.kind = dedup::Kind::Redis;
        assert_eq!(found(&config), ["replication.share_state"]);
        config.replication.share_state = false;
        assert_eq!(found(&config), Vec::<String>::new());
    }
}
