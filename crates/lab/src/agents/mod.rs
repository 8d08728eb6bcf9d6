//! Agents of the kind that Microsoft no longer supports: the OMS agent for Linux and the Microsoft Monitoring Agent, as far as a
//! gateway can tell.
//!
//! Each makes its own certificate, registers with a key of a workspace, refreshes that registration, renews the certificate when
//! it is told to, and uploads what it has: JSON as the one does, XML as the other. A chunk that is refused is sent again whole, as
//! often as the agent would; then it is lost, as it would be there. Answers are read as those agents read them, line by line and
//! without knowing XML.
//!
//! Nothing of this shares code with the input.

mod agent;
mod buffer;
mod certificate;
mod messages;

pub use agent::{Agent, Setting, Told};
pub use buffer::{Budget, Lost};
pub use certificate::OwnCertificate;

/// What agents write, for those who measure what reading it costs.
pub mod uploads {
    pub use super::messages::{signed, topology, xml};
}

/// Which agent it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The OMS agent for Linux: JSON.
    Linux,
    /// The Microsoft Monitoring Agent: XML.
    Windows,
}

#[cfg(test)]
mod tests;
