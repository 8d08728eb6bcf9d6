//! Deduplication for several gateways together.
//!
//! What it promises, beside what [`super::store`] does: an event that reaches several gateways is forwarded by one of them. The
//! protocol is told, with its states and what each failure costs, in `docs/several-gateways.md`; in short:
//!
//! - A *claim* is an optimisation. It keeps gateways from storing the same event at the same time, names its owner, and ends with
//!   its lease at the latest. Nothing rests on it; an engine may know none.
//! - The *confirmation* of a durable record decides. The first one wins; whoever comes later drops its own copy. Nothing is
//!   forwarded before it was won.
//! - A gateway that cannot know whether it won asks again before it forwards ([`SharedStore::contest`]), with a claim that
//!   says that its events are durable: that pushes aside whoever has not stored them yet.
//! - An engine that forgets costs duplicates, never an event.
//!
//! [`store`](SharedStore) is what uploads ask. What it asks itself is an [`Engine`](engine::Engine): Redis or Valkey
//! ([`super::redis`]), or servers of NATS (`replication::seen`).

pub(crate) mod ask;
pub(crate) mod engine;
pub(crate) mod grouped;
pub(crate) mod neighbours;
pub mod segment;
mod store;
mod unavailable;

#[cfg(test)]
mod model_tests;

pub use engine::{About, Counts, Standing, Watcher, Work};
pub use neighbours::Neighbour;
pub use segment::Gateway;
pub use store::{Decisions, Outcome, SharedStore};
pub use unavailable::WhenUnavailable;
