//! Gatepost: an event-forwarding gateway for isolated Windows servers.
//!
//! Two half-paths meet at the spool, a durable log on disk:
//!
//! - [`ingest`]: an upload is admitted, filtered, deduplicated and appended; only when the append is
//!   durable does the client get its success status;
//! - [`forward`]: each output reads the spool at its own position, sends batches to balanced endpoints, and
//!   moves its position only when a batch was accepted or its events are kept as dead letters.
//!
//! The modules below stand in reading order. Imports only go down this list (`tests/tidy` is the referee);
//! `ARCHITECTURE.md` says why.

pub mod cli;

pub mod app;

pub mod config;

pub mod admin;
pub mod inputs;

pub mod forward;
pub mod ingest;

pub mod hosts;
pub mod outputs;

pub use gatepost_core::{event, faults, filter, limits, memory, metrics, telemetry, turns, values};
#[cfg(any(test, feature = "lab"))]
pub use gatepost_lab as lab;
pub use gatepost_net::{access_log, balancer, net, tunnel};
pub use gatepost_spool::{clock, dedup, fs, replication, shared, spool};
