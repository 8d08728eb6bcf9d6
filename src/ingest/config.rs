//! The settings of ingest.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::sort::EVENT_COST;
use crate::memory::Shares;
use crate::values::{ByteSize, Span};

/// Bytes of the smallest events that are usual. Uploads of smaller ones take more memory than they were let in for.
const RECORD_MIN: usize = 256;

/// How much work ingest takes on at once, and what it does at the limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Most bytes of memory that uploads take beside their bodies while they are worked on: what is made of them for the
    /// spool, and their records. One upload may always enter, however large, but a quarter is only for small ones. At the limit
    /// uploads wait for `wait_max`, clients in turn, then are answered 429 with Retry-After. Default an eighth of what this
    /// process may use, at most 64 MiB.
    pub in_flight_max: Option<ByteSize>,
    /// How long an upload waits for room before it is shed.
    pub wait_max: Span,
    /// Most bytes of events in one record of the spool. Larger uploads become several records; smaller records cost
    /// more overhead, larger ones more memory in each output that reads them.
    pub record_max: ByteSize,
}

impl Default for Config {
    fn default() -> Self {
        Self { in_flight_max: None, wait_max: Span::secs(2), record_max: ByteSize::mib(4) }
    }
}

impl Config {
    /// The most bytes of memory, where there is so much.
    pub fn in_flight_max(&self, shares: &Shares) -> u64 {
        self.in_flight_max.map_or_else(|| shares.work(), |bytes| bytes.as_u64())
    }

    /// What an upload with such a body is let in for: what it takes, with records as small as Windows makes them.
    pub(super) fn estimate(&self, body: usize) -> usize {
        self.work(body).saturating_add(body / RECORD_MIN * EVENT_COST)
    }

    /// What an upload with such a body takes beside it: a part of it stands there as a record of the spool, and once more
    /// when it is packed.
    pub(super) fn work(&self, body: usize) -> usize {
        body.min(self.record_max.as_usize()).saturating_mul(2)
    }
}
