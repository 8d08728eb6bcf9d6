//! Windows hosts that forward their events, as far as a collector can tell.
//!
//! Each has a log and forgets nothing of it; what it knows of its place it knows as Windows does: while a subscription lives,
//! by what was acknowledged, and when it begins anew, by the bookmark that the collector returns and by nothing else. So a
//! collector that acknowledges what it has not kept, or keeps a bookmark before its events, loses events here as it would
//! there.
//!
//! Nothing of this shares code with the input: envelopes are written as texts, and answers read with quick-xml.

pub mod authority;
pub mod forwarder;
#[cfg(feature = "kerberos")]
pub mod kerberos;
mod log;
pub mod sldc;
pub mod soap;

pub use authority::Authority;
pub use forwarder::{Faults, Forwarder, Setting};
pub use sldc::compressed;
pub use soap::wide;

#[cfg(test)]
mod tests;
