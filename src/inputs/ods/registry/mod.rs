//! Which agents are registered: who a client certificate belongs to.
//!
//! An agent makes its certificate itself, so nothing in it proves anything. What counts is that it was registered with a key of a
//! workspace, or by who showed the certificate before it. A certificate that takes the place of another is added, and the other
//! goes when the new one is seen: an agent that never heard the answer goes on with what it has.
//!
//! Behind a trait, because several gateways share them ([`shared`]).

mod file;
mod shared;
mod state;

use std::sync::Arc;

use aws_lc_rs::digest;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer, X509Certificate};

pub use file::FileRegistry;
pub use shared::SharedRegistry;
pub use state::State;

/// The most certificates that are registered at a time.
pub const CERTIFICATES_MAX: usize = 20_000;

/// A certificate, by its SHA-256 in hexadecimal.
pub type Thumbprint = Arc<str>;

/// The thumbprint of an encoded certificate.
pub fn thumbprint(der: &[u8]) -> Thumbprint {
    hex::encode(digest::digest(&digest::SHA256, der)).into()
}

/// A registered certificate, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// The workspace that it registered for, in small letters.
    pub workspace: Arc<str>,
    /// Its GUID, in small letters.
    pub agent: Arc<str>,
    /// The computer that it runs on, as it says.
    pub computer: Arc<str>,
    /// Its operating system, where it tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<Arc<str>>,
    /// The certificate.
    pub certificate: Thumbprint,
    /// The same by SHA-1, as Windows shows it.
    pub windows_thumbprint: Arc<str>,
    /// From when to when it is good, in Unix seconds.
    pub valid_s: [i64; 2],
    /// When it was registered, in Unix seconds.
    pub registered_s: u64,
    /// When it was last noted that it was seen, in Unix seconds.
    pub seen_s: u64,
    /// The same by the time for which the registry was in use.
    pub seen_at_use_s: u64,
    /// Whether it was seen since it was registered.
    #[serde(default)]
    pub is_confirmed: bool,
}

impl Agent {
    /// Of a certificate that was just registered; `None` when it is none.
    pub fn new(
        der: &[u8],
        workspace: &str,
        agent: &str,
        computer: &str,
        system: Option<&str>,
        now_s: u64,
    ) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let validity = certificate.validity();
        let sha1 = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, der);
        Some(Self {
            workspace: workspace.to_ascii_lowercase().into(),
            agent: agent.to_ascii_lowercase().into(),
            computer: computer.into(),
            system: system.map(Arc::from),
            certificate: thumbprint(der),
            windows_thumbprint: hex::encode_upper(sha1).into(),
            valid_s: [validity.not_before.timestamp(), validity.not_after.timestamp()],
            registered_s: now_s,
            seen_s: now_s,
            seen_at_use_s: 0,
            is_confirmed: false,
        })
    }

    /// What tells it from every other agent. Cloned machines share their GUID, and workspaces know nothing of each other.
    pub(super) fn own_name(&self) -> String {
        format!("{}:{}:{}", self.workspace, self.agent, self.computer.to_ascii_lowercase())
    }

    /// Whether another certificate is of the same agent on the same computer. Cloned machines share their GUID.
    fn is_same(&self, other: &Self) -> bool {
        self.workspace == other.workspace
            && self.agent == other.agent
            && self.computer.eq_ignore_ascii_case(&other.computer)
    }
}

/// Whether who registers a certificate has shown that he has its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// In the handshake of the same request.
    Shown,
    /// It stood in the body only, where anybody can write what he has seen of another.
    Missing,
}

/// A change of the registry.
#[derive(Debug, Clone)]
pub enum Change {
    /// This certificate is registered. Whether its key was shown too, in the request that asks for it: without that it
    /// may be anybody's, and stays whose it is.
    Register(Box<Agent>, Proof),
    /// It was seen, at this time: those that it takes the place of go.
    Seen(Thumbprint, u64),
    /// The agents of this GUID are let in no more, and may not register, until they are restored.
    Revoke(Arc<str>, u64),
    /// Those of this GUID may register again.
    Restore(Arc<str>),
    /// Those that were not seen for so many seconds of use are forgotten.
    Expire(u64),
}

/// Why a change was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotKept {
    /// It cannot be read or written, with what the system said.
    #[error("the registry of agents cannot be kept: {0}")]
    Failed(String),
    /// No more certificates are registered.
    #[error(
        "{CERTIFICATES_MAX} certificates are registered, and no more are taken; forget old ones (gatepost agents expire)"
    )]
    Full,
    /// Another agent has registered the certificate, and its key was not shown.
    #[error("the certificate is registered for another agent, and its key was not shown")]
    Others,
    /// The agent was revoked.
    #[error("the agent was revoked here")]
    Revoked,
    /// Nothing is known of such an agent.
    #[error("no such agent is registered")]
    Unknown,
}

/// Keeps registrations.
pub trait Registry: Send + Sync + 'static {
    /// What is registered now.
    fn state(&self) -> Arc<State>;

    /// Resolves when a change is durable, with how many certificates it was about.
    fn change(&self, change: Change) -> BoxFuture<'static, Result<usize, NotKept>>;

    /// For how many seconds it has been in use, over restarts.
    fn use_s(&self) -> u64;
}

#[cfg(test)]
mod shared_tests;
#[cfg(test)]
mod tests;
