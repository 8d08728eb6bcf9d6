//! What an event is, and which rules take it: pure, without a socket, and without a file of its own.
//!
//! Below everything else: limits, metrics, log lines and values that every other crate names.

pub mod filter;

pub mod event;
pub mod turns;

pub mod faults;
pub mod limits;
pub mod memory;
pub mod metrics;
pub mod telemetry;
pub mod values;
