//! Which events were seen, for all gateways together, at the servers that replicate their logs: for installations without Redis or
//! Valkey.
//!
//! It keeps the promise of [`crate::dedup::several`] in another way. There is one stream, to which each gateway adds what is durable at
//! it: "these keys are mine". All read it in the same order, and whose an event is follows from that order ([`replica`]): it
//! belongs to the first who named it. So a confirmation is one message, whose fate its gateway reads where everybody reads it, and a claim
//! is a look at what this gateway has read: it asks nobody, and what it finds is true for good. What it does not find may be another's
//! all the same; then both store the event, and the confirmation decides which of them forwards it.
//!
//! What must not happen is that two gateways drop an event for each other. It could, where one of them has forgotten its own word: it
//! was older than the window, or the stream was emptied or removed. So each renews a sign of its own there, and one that does not find
//! its sign, or finds an old one, takes the stream for another filling ([`follower`]): what it had not decided before is never dropped.

mod engine;
mod follower;
mod heard;
#[cfg(test)]
mod in_memory;
mod log;
pub mod message;
#[cfg(test)]
mod model_tests;
mod page;
mod presence;
pub mod replica;
mod speaker;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::config::Config;
use super::connection::Connection;
use super::streams::Which;
use crate::dedup;
use crate::dedup::memory::MemoryStore;
use crate::dedup::several::engine::{Board, Work};
use crate::dedup::several::{Decisions, Gateway, SharedStore, WhenUnavailable};
use engine::Seen;
use log::AtServers;
use presence::Presence;

/// Where it stands which filling of the stream this is.
const FILLING: &str = "filling";
/// Where gateways say what is theirs.
const WORDS: &str = "word";

/// A store over the memory of this gateway and the servers of replication, and what has to run for it.
pub fn open(
    config: &dedup::Config,
    servers: &Config,
    local: Arc<MemoryStore>,
    gateway: Gateway,
    decisions: Arc<dyn Decisions>,
) -> (SharedStore, Work) {
    let window_s = config.window.get().as_secs();
    let which = Which::Seen { window_s, max_size: config.jetstream.max_size.as_u64() };
    let connection = Arc::new(Connection::new(servers.clone(), &[which]));
    let board = Arc::new(Board::new(gateway));
    let presence = Presence::new(Arc::clone(&connection), servers, Arc::clone(&board));
    let log = Arc::new(AtServers { connection, which, subjects: which.subjects(servers) });
    let (seen, run) = Seen::new(log, Arc::clone(&board), config, servers.timeout.get());
    let work = Work::new(async move |watcher| {
        // Whoever is said to be there is there as long as something runs.
        tokio::select! {
            () = run.run(watcher) => {}
            () = presence.run() => {}
        }
    });
    // What is replicated waits for the servers anyhow.
    let store = SharedStore::new(config, WhenUnavailable::Strict, local, (Arc::new(seen), board), decisions);
    (store, work)
}
