//! Tunnels: an HTTP CONNECT proxy with an allow-list, for agents that only know a proxy.
//!
//! It is the one hole in the wall, so it does one thing: after the client was let in, the host found on the allow-list,
//! its address checked, the destination reached and the handshake inside looked at, it moves bytes. No cache, no other
//! protocol, no byte of one client ever in another's buffer. Read [`serve`] first: `serve/visit.rs` tells the life of a
//! connection from its first byte to its last.
//!
//! A reload swaps what new connections are judged by. Tunnels that stand keep what they began with.

pub mod access_log;
pub mod addresses;
pub mod allow_list;
pub mod client_hello;
pub mod clients;
pub mod config;
pub mod dial;
mod plane;
mod reason;
pub mod refused;
pub mod relay;
pub mod request;
mod serve;

pub use config::Config;
pub use plane::{Prepared, StartError, Tunnels};
pub use reason::Reason;
