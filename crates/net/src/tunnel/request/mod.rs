//! The request of a client: its head, byte by byte as the wire has it, and the authority that it names.
//!
//! [`EndOfHead`] finds where the head ends while bytes come in, [`parse`] reads the whole head. What is not exactly as
//! the grammar has it is refused: an HTTP server in front of or behind this proxy can then read nothing else in it.

mod authority;
mod end;
mod head;
mod plain;
mod sender;
#[cfg(test)]
mod tests;

use std::fmt;

pub use authority::{Authority, Host, Malformed, Name};
pub use end::EndOfHead;
pub use head::{Rules, parse};
pub use plain::{Method, Plain};
pub use sender::{Credentials, Sender};

use super::Reason;

/// A sound request.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// For a tunnel.
    Connect(Connect),
    /// For one answer in plain HTTP.
    Plain(Plain),
}

impl Request {
    /// What it wants to reach.
    pub fn authority(&self) -> &Authority {
        match self {
            Self::Connect(connect) => &connect.authority,
            Self::Plain(plain) => &plain.authority,
        }
    }

    /// What it says about who sent it.
    pub fn sender(&self) -> &Sender {
        match self {
            Self::Connect(connect) => &connect.sender,
            Self::Plain(plain) => &plain.sender,
        }
    }
}

/// A request for a tunnel.
#[derive(Debug, Clone, PartialEq)]
pub struct Connect {
    /// Where to.
    pub authority: Authority,
    /// What it says about who sent it.
    pub sender: Sender,
}

/// Why a head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The answer's reason.
    pub reason: Reason,
    /// What exactly is wrong, for the log, without anything that the client sent.
    pub detail: &'static str,
}

impl Fault {
    fn malformed(detail: &'static str) -> Self {
        Self { reason: Reason::MALFORMED, detail }
    }

    fn target(malformed: Malformed) -> Self {
        Self { reason: Reason::MALFORMED_AUTHORITY, detail: malformed.0 }
    }

    fn host(detail: &'static str) -> Self {
        Self { reason: Reason::HOST_DIFFERS, detail }
    }

    fn not_connect(detail: &'static str) -> Self {
        Self { reason: Reason::NOT_CONNECT, detail }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.text, self.detail)
    }
}

impl std::error::Error for Fault {}
