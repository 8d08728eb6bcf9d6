//! What the status page and the metrics see of an endpoint.

use std::time::Duration;

use serde::Serialize;

/// What an endpoint is doing, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointStatus {
    /// In use.
    Closed,
    /// Ejected after failures.
    Open,
    /// After an ejection: a request may try it, or is trying it.
    HalfOpen,
    /// Back in use with a growing share.
    SlowStart,
    /// It asked to be left alone for a while (`Retry-After`).
    Throttled,
}

impl EndpointStatus {
    /// The number as it stands in metrics: the higher, the less it is used.
    pub fn number(self) -> f64 {
        match self {
            Self::Closed => 0.0,
            Self::SlowStart => 1.0,
            Self::HalfOpen => 2.0,
            Self::Throttled => 3.0,
            Self::Open => 4.0,
        }
    }

    /// The word as it stands in metrics and on the status page.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::SlowStart => "slow_start",
            Self::Throttled => "throttled",
        }
    }
}

/// Why an endpoint was taken out of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ejection {
    /// It failed, could not be reached, or its probes went wrong.
    Failures,
    /// It answered nothing while requests waited.
    Silent,
    /// It refused what other endpoints then took.
    Contradicted,
}

/// One endpoint at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EndpointState {
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub state: EndpointStatus,
    /// Why it was taken out of use, until it has recovered; not told when it is in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ejected_for: Option<Ejection>,
    /// Estimated latency in milliseconds, unanswered requests included.
    pub ewma_ms: f64,
    /// Requests in flight.
    pub in_flight: usize,
    /// Requests that may be in flight now.
    pub limit: usize,
    /// Failures since the last success.
    pub consecutive_failures: u32,
    /// Time until it may be used again, in seconds; `None` when it may be used now or waits for a request to end.
    #[serde(rename = "available_in_seconds", serialize_with = "seconds")]
    pub available_in: Option<Duration>,
}

fn seconds<S: serde::Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs_f64()).serialize(serializer)
}
