//! Replicated logs: real gateways over three real servers of NATS.
//!
//! Gateways and servers are killed, cut off and burnt. What is asked at the end is always the same: nothing acknowledged is missing,
//! and what arrived twice was counted by somebody.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod away;
mod burnt;
mod credentials;
mod cut;
mod full;
mod kills;
mod reached;
mod rolling;
mod scene;
mod seen;
mod servers;
mod shared_state;
mod watched;
mod way;
