//! The settings of forwarding, per output.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::Span;

/// How batches are made and how long their events are worth sending.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How long an unfilled batch waits for more events. Longer means fewer, fuller requests; shorter means fresher
    /// events.
    pub linger: Span,
    /// Events that have waited longer than this in the spool are kept as dead letters instead of being sent. There is
    /// no limit on the number of tries.
    pub max_age: Span,
}

impl Default for Config {
    fn default() -> Self {
        Self { linger: Span::millis(500), max_age: Span::secs(30 * 24 * 3600) }
    }
}
