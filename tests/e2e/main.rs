//! The gateway from outside: a real process, real clients (curl, `gatepost send`, raw TLS), real Prometheus.
//!
//! Tools come from scripts/tools.sh; a test whose tool is missing fails and names its package.

#[path = "../support/authority.rs"]
mod authority;
#[path = "../support/haproxy.rs"]
mod balancer;
#[path = "../support/browser.rs"]
mod browser;
#[path = "../support/disk.rs"]
mod disk;
#[path = "../support/fleet.rs"]
mod fleet;
#[path = "../support/gate.rs"]
mod gate;
#[path = "../support/nginx.rs"]
mod nginx;
#[path = "../support/prometheus.rs"]
mod prometheus;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/tools.rs"]
mod tools;

mod admin_plane;
mod alerts_ring;
mod azure;
mod bad_input;
mod client_certificates;
mod clients;
mod cluster;
mod curl;
mod data_collector;
mod deploy;
mod front_door;
mod json;
mod metrics;
mod ods;
mod ods_agents;
mod ods_hostile;
mod raw;
mod ready;
mod replication;
mod rules_cli;
mod send;
mod senders;
mod status_page;
mod traces;
mod tunnel;
mod wef;
