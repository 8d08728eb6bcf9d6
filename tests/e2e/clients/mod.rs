//! Azure's own client libraries, and requests written after those of forwarders, against a real gateway that is their
//! Entra too.
//!
//! The libraries come from PyPI and npm through scripts/tools.sh; a test whose library is missing fails and says so.

mod curl;
mod front;
mod libraries;
mod published;
mod recorded;
mod world;

pub(crate) use published::otlp_spans;
