//! A store over Redis or Valkey, and what else is shared there.

use std::sync::Arc;

use super::engine::{self, Shared};
use crate::dedup;
use crate::dedup::memory::MemoryStore;
use crate::dedup::several::engine::{Board, Work};
use crate::dedup::several::{Decisions, Gateway, SharedStore};

/// What else gateways share there: documents, and values. Cheap to clone.
#[derive(Clone)]
pub struct Redis {
    pub(super) shared: Arc<Shared>,
}

/// A store over the memory of this gateway and the engine that is configured, what else is shared there, and what has to run.
pub fn open(
    config: &dedup::Config,
    local: Arc<MemoryStore>,
    gateway: Gateway,
    decisions: Arc<dyn Decisions>,
) -> (SharedStore, Redis, Work) {
    let board = Arc::new(Board::new(gateway));
    let (asker, shared, worker) = engine::open(config.redis.clone(), Arc::clone(&board), config.check_value());
    let store = SharedStore::new(config, config.redis.when_unavailable, local, (Arc::new(asker), board), decisions);
    (store, Redis { shared }, Work::new(|watcher| worker.run(watcher)))
}
