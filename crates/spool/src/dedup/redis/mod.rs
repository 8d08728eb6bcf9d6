//! Deduplication for several gateways together, in Redis or Valkey.
//!
//! What it promises, beside what [`super::store`] does: an event that reaches several gateways is forwarded by one of them. The
//! protocol is told, with its states and what each failure costs, in `docs/several-gateways.md`; in short:
//!
//! - A *claim* is an optimisation. It keeps gateways from storing the same event at the same time, names its owner, and ends with
//!   its lease at the latest. Nothing rests on it.
//! - The *confirmation* of a durable record decides. The first one wins; whoever comes later drops its own copy. Nothing is
//!   forwarded before it was won.
//! - A gateway that cannot know whether it won asks again before it forwards ([`SharedStore::contest`]), with a claim that
//!   says that its events are durable: that pushes aside whoever has not stored them yet.
//! - An engine that forgets costs duplicates, never an event.
//!
//! Two invariants carry it: open claims of different gateways never overlap, and a page changes only by a confirmation whose
//! claim still stands. So what a claim was told is still true when it is confirmed, and the script decodes nothing.
//!
//! The client stands here, not in `net`: the store's promise is kept or broken by what a call may have done, and the client of
//! the crate `redis` brings its TLS along, on the same rustls.

mod call;
mod config;
mod connect;
mod documents;
mod engine;
mod entries;
#[cfg(test)]
mod faults_tests;
mod grouped;
#[cfg(test)]
mod model_tests;
mod neighbours;
#[cfg(test)]
mod scripted;
pub mod segment;
mod sentinel;
mod session;
mod store;

pub use config::{Config, WhenUnavailable};
pub use engine::{Counts, Standing, Watcher};
pub use entries::SharedEntries;
pub use neighbours::Neighbour;
pub use segment::Gateway;
pub use session::About;
pub use store::{Decisions, Outcome, SharedStore, Work};
