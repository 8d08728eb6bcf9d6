//! What Gatepost keeps on disk: the spool, the memory of events, and the file system and clock below them.

pub mod replication;

pub mod dedup;
pub mod spool;

pub mod clock;
pub mod shared;

pub mod fs;

#[cfg(test)]
mod interleavings;

pub(crate) use gatepost_core::{event, faults, memory, metrics, values};
