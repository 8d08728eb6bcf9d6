//! The promises of the design, one file for each theme; every test is named after what it holds the gateway to.
//!
//! A promise is kept by the whole, so the tests run real processes; only what needs a disk that fails on command runs
//! in this process.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "in a test suite helpers are tests too")]

#[path = "../support/haproxy.rs"]
mod balancer;
#[path = "../support/disk.rs"]
mod disk;
#[path = "../support/fleet.rs"]
mod fleet;
#[path = "../support/nginx.rs"]
mod nginx;
#[path = "../support/relay.rs"]
mod relay;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/tools.rs"]
mod tools;

mod accounted_for;
mod bounded;
mod changes_without_restart;
mod check_opens_what_run_opens;
mod collector_faults;
mod counted_twice;
mod damage;
mod durable_acknowledgement;
mod fair_shares;
mod full_disk;
mod good_events_pass;
mod handed_over_sockets;
mod independent_outputs;
mod jumping_clock;
mod load;
mod lost_position;
mod once_per_workspace;
mod paced;
mod restart_fails_no_upload;
mod rules_over_rest;
mod set_aside_not_blocked;
mod several_workspaces;
mod small_container;
mod starts;
mod state_taken_away;
mod stops;
mod truthful_refusals;
mod understood;
