//! The HTTP output: events by POST to any collector.
//!
//! A 2xx answer takes the whole batch. The batch's id travels as `Idempotency-Key`, equal for every try, so that a
//! collector can recognise what it already has; `x-gatepost-events` says how many events there are.

mod client;
mod config;

pub use client::Http;
pub use config::{Config, Probe};
