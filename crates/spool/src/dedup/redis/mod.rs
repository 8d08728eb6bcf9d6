//! Deduplication for several gateways together, in Redis or Valkey.
//!
//! Two invariants carry the promise of [`super::several`] here: open claims of different gateways never overlap, and a page changes
//! only by a confirmation whose claim still stands. So what a claim was told is still true when it is confirmed, and the script
//! decodes nothing.
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
mod neighbours;
mod opening;
#[cfg(test)]
mod scripted;
mod sentinel;
mod session;

pub use config::Config;
pub use entries::SharedEntries;
pub use opening::{Redis, open};
