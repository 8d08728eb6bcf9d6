//! Crashes, power cuts, lost and damaged files: what was acknowledged is there afterwards, and once.
//!
//! Each of these is short here; `make soak` makes them long.

#[path = "../support/mod.rs"]
mod support;

mod crash;
mod durable;
mod power_cuts;
mod state_table;
mod unread;
