//! The Azure side against a fake Azure: tokens of every kind, and the fake itself.
//!
//! `contract` holds the fake to what is known of the service, so that the other tests mean something; `tokens` runs
//! real gateways against it.

#![expect(clippy::unwrap_used, reason = "in a test suite helpers are tests too")]

mod assertion;
mod command;
mod contract;
mod contract_entra;
mod contract_machines;
mod meaning;
mod promises;
mod scene;
mod tokens;
mod tokens_in_trouble;
