//! The tunnel plane from outside: a real process, real clients, a name server and destinations that do what a test
//! tells them to.
//!
//! Tools come from scripts/tools.sh; a test whose tool is missing fails and names its package.

mod chain;
mod faults;
mod handshake_threats;
mod https;
mod limits;
mod real_clients;
mod take_over;
mod take_over_agents;
mod take_over_cli;
mod threats;
mod who;
