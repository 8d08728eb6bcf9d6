//! Stand-ins for both ends of a gateway: Windows hosts, upstream collectors and Azure, in this process.
//!
//! The demo, the tests and the benchmarks share them, so what one of them shows is what the others checked. A
//! [`Host`](events::Host) is an endless stream of realistic events that the same seed repeats byte for byte; a
//! [`Collector`](collector::Collector) remembers what it accepted and misbehaves on request; a
//! [`LossyRelay`](lossy_relay::LossyRelay) loses replies, never requests; a
//! [`FakeAzure`](azure::FakeAzure) gives tokens and is as strict as the real one. `gatepost simulate` lets people play with
//! it.

pub mod agents;
pub mod azure;
pub mod collector;
pub mod dns_server;
pub mod events;
pub mod evtx;
pub mod held;
pub mod http1_vectors;
pub mod lossy_relay;
pub mod traffic;
pub mod wef;

mod catalogue;
mod port;
mod render;

#[cfg(test)]
mod tests;
