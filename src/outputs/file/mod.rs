//! The file output: NDJSON files in a directory, each event once.
//!
//! A batch is accepted only when it is on disk (`fdatasync`). A batch that is sent again under the same id, after a
//! crash or a full disk, replaces what was written of it, or is recognised as complete: [`position`] says how.

mod client;
mod config;
mod position;
mod writer;

#[cfg(test)]
mod tests;

pub use client::File;
pub use config::Config;
