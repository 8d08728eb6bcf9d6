//! Gatepost: an event-forwarding gateway for isolated Windows servers.
//!
//! Two half-paths meet at the spool, a durable log on disk:
//!
//! - [`ingest`]: an upload is admitted, filtered, deduplicated and appended; only when the append is
//!   durable does the client get its success status;
//! - [`forward`]: each output reads the spool at its own position, sends batches to balanced endpoints, and
//!   moves its position only when a batch was accepted or its events are kept as dead letters.
//!
//! The modules below stand in reading order. Imports only go down this list (`tests/tidy.rs` is the referee);
//! `ARCHITECTURE.md` says why.

pub mod cli;

pub mod app;

pub mod config;

pub mod admin;
pub mod inputs;
pub mod tunnel;

pub mod forward;
pub mod ingest;

pub mod balancer;
pub mod dedup;
pub mod filter;
pub mod hosts;
pub mod outputs;
pub mod spool;

pub mod access_log;
pub mod clock;
pub mod event;
pub mod net;
pub mod turns;

pub mod faults;
pub mod fs;
pub mod limits;
pub mod memory;
pub mod metrics;
pub mod telemetry;
pub mod values;
