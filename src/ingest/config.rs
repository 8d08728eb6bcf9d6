//! The settings of ingest.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::{ByteSize, Span};

/// How much work ingest takes on at once, and what it does at the limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Most bytes of decompressed uploads that are worked on at once. One upload may always enter, however large. At
    /// the limit uploads wait for `wait_max`, then are answered 429 with Retry-After.
    pub in_flight_max: ByteSize,
    /// How long an upload waits for room before it is shed.
    pub wait_max: Span,
    /// Most bytes of events in one record of the spool. Larger uploads become several records; smaller records cost
    /// more overhead, larger ones more memory in each output that reads them.
    pub record_max: ByteSize,
}

impl Default for Config {
    fn default() -> Self {
        Self { in_flight_max: ByteSize::mib(64), wait_max: Span::secs(2), record_max: ByteSize::mib(4) }
    }
}
