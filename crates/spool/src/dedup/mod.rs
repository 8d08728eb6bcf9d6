//! Deduplication: which events were seen within the window.
//!
//! [`store`] is the promise: keys are claimed, then confirmed when the events are durable, or released. [`memory`]
//! keeps it, exactly, within a bound of keys and of bytes. [`journal`] is what is remembered on disk, for longer than
//! the spool keeps the events, so that a restart forgets nothing. [`several`] keeps the promise for several gateways together, in [`redis`] or elsewhere.

mod config;
pub mod journal;
pub mod memory;
pub mod redis;
pub mod several;
pub mod store;

pub use config::{Config, Jetstream, Kind};
