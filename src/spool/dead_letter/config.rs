//! The settings of the dead letters.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::ByteSize;

/// Events that no endpoint will take and records that cannot be understood, kept for a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Bytes of disk they may take. At the limit nothing is thrown away: the events wait in the spool, and the output
    /// that refuses them waits with them, until letters are replayed or purged.
    pub max_size: ByteSize,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_size: ByteSize::gib(1) }
    }
}
