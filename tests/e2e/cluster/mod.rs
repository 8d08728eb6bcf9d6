//! Several gateways as one: real processes over one real Redis, each upload sent to several of them.
//!
//! The engine is killed, emptied, cut off and made to lie about confirmations by a relay in front of it; the gateways are killed
//! beside it. What is asked at the end is always the same: nothing acknowledged is missing, and what arrived twice was counted
//! by somebody.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod agents;
mod away;
mod bookmarks;
mod demo;
mod engine;
mod kills;
mod once;
mod relay;
mod rolling;
mod rules;
mod scene;
mod tokens;
mod topologies;
mod twins;
mod undecided;
