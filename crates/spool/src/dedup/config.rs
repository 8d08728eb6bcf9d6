//! What an operator can set about deduplication.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::memory::Shares;
use crate::values::{ByteSize, Span};

/// Which events count as seen before, and how much may be remembered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether events that were seen before are dropped. Default `true`. With `false` nothing is remembered and every
    /// repeated upload of an event is forwarded again: duplicates reach the workspace.
    pub enabled: bool,
    /// For how long an event is remembered after it was stored. Default `"24 h"`: agents that were cut off for a day
    /// repeat what they sent before. A longer window takes more memory and disk.
    pub window: Span,
    /// How many events are remembered at most. Default `50000000`, a day of about 580 events a second. At the bound
    /// the oldest are forgotten first, in whole slices of time, and counted in `gatepost_dedup_evicted_total`.
    pub max_keys: u64,
    /// How much memory the remembered events take at most. Default an eighth of what this process may use, at most
    /// `"64 MiB"`, which is for 30 to 45 million events: events with record ids in runs take
    /// 1 to 2 bytes each, events without a record id about 20. At the bound the oldest are forgotten first, as above.
    pub max_memory: Option<ByteSize>,
}

impl Default for Config {
    fn default() -> Self {
        Self { enabled: true, window: Span::secs(24 * 3600), max_keys: 50_000_000, max_memory: None }
    }
}

impl Config {
    /// The most bytes of memory, where there is so much.
    pub fn max_memory(&self, shares: &Shares) -> u64 {
        self.max_memory.map_or_else(|| shares.keys(), |bytes| bytes.as_u64())
    }
}
