//! What the gateway and the process that accepts tickets say to each other: a line of JSON each, one question at a time. Tokens
//! stand as they do in HTTP, in base64.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::channel::Channel;
use super::cipher::{Key, KeyError};

/// The largest token, in bytes: Windows makes them of 48,000 at most.
pub const TOKEN_MAX: usize = 64 << 10;
/// The longest line: a token, and what stands around it.
pub const LINE_MAX: usize = TOKEN_MAX / 3 * 4 + 4096;

/// What is said of what [`read`] does not take.
pub const NO_TOKEN: &str = "the token is empty, too long or no base64";

/// A token of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Whose turn it is: a negotiation can take several.
    pub conversation: u64,
    /// The token.
    pub token: String,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The host has to go on with this.
    GoOn(String),
    /// The host is who its ticket says.
    Accepted(Accepted),
    /// It is not taken, and why.
    Refused(String),
}

/// A context that was made.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// What the host needs to know that this is the service; empty where it knows already.
    pub token: String,
    /// Who the host is.
    pub principal: String,
    /// The entry of the keytab that fitted.
    pub service: String,
    /// When its ticket ends, in Unix seconds.
    pub ends_s: i64,
    /// The type of the context's key.
    pub enctype: i64,
    /// The key.
    pub key: String,
    /// Where the host begins to number its messages.
    pub next: u64,
    /// How many it may have numbered already.
    pub may_skip: u64,
    /// Where this side begins.
    pub seals: u64,
}

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepted").field("principal", &self.principal).finish_non_exhaustive()
    }
}

impl Accepted {
    /// What seals and opens its messages.
    ///
    /// # Errors
    ///
    /// When its key is none.
    pub fn channel(&self) -> Result<Channel, KeyError> {
        let key = STANDARD.decode(&self.key).map_err(|_| KeyError::Length)?;
        Ok(Channel::new(Key::new(self.enctype, &key)?, self.next, self.may_skip, self.seals))
    }
}

/// Bytes as they stand in a line.
pub fn written(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The bytes of a token.
pub fn read(token: &str) -> Option<Vec<u8>> {
    let is_short = token.len() <= TOKEN_MAX / 3 * 4 + 4;
    STANDARD.decode(token).ok().filter(|bytes| is_short && !bytes.is_empty() && bytes.len() <= TOKEN_MAX)
}
