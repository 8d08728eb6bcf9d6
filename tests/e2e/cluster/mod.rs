//! Several gateways as one: real processes over one real Redis, each upload sent to several of them.
//!
//! The engine is killed, emptied, cut off and made to lie about confirmations by a relay in front of it; the gateways are killed
//! beside it. What is asked at the end is always the same: nothing acknowledged is missing, and what arrived twice was counted
//! by somebody.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

pub(crate) mod agents;
mod away;
mod bookmarks;
mod demo;
mod engine;
pub(crate) mod kills;
mod long_away;
pub(crate) mod once;
mod posts;
mod quotas;
mod relay;
mod rolling;
pub(crate) mod rules;
pub(crate) mod scene;
pub(crate) mod tokens;
mod topologies;
mod twins;
mod undecided;
