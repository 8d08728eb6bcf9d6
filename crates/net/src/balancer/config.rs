//! What an operator may set about balancing, one table for each output. Times for retries stand here too, because
//! they answer the same question: how hard may a troubled endpoint be pressed.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::{Ratio, Span};

/// How an output spreads its requests over its endpoints, and when it leaves one alone.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How fast old latencies are forgotten: after this time without an answer an estimate has shrunk to about a
    /// third. Long enough to remember a slow endpoint, short enough to give it another chance soon.
    pub latency_decay: Span,
    /// Failures in a row that take an endpoint out of use. Five is beyond bad luck and still few lost tries.
    pub consecutive_failures: NonZeroU32,
    /// Share of failed requests that takes an endpoint out of use, as long as another one is left.
    pub failure_share: Ratio,
    /// How far back `failure_share` looks.
    pub failure_window: Span,
    /// Requests that `failure_share` needs to see before it judges: fewer say little.
    pub failure_minimum: NonZeroU32,
    /// How long the first ejection lasts at most; the true time is drawn at random below it, so that several gateways
    /// do not come back together. Doubles with every ejection that follows closely.
    pub ejection_base: Span,
    /// The longest an ejection may last, however many came before.
    pub ejection_cap: Span,
    /// Requests that may try an endpoint at once after its ejection. One risks the least.
    pub half_open_requests: NonZeroU32,
    /// Time over which a recovered endpoint goes from a tenth to its full share, so that it is not run over.
    pub slow_start: Span,
    /// An endpoint that has answered nothing for this long, while a request or a probe waits, is taken out of use as long as
    /// another one is left. Below the usual request timeouts, so that a black hole does not cost one timeout each.
    pub stalled_after: Span,
    /// An endpoint this many times slower than the median of the others gets a quarter of its weight.
    pub slow_times: NonZeroU32,
    /// How long an endpoint must be that slow before its weight is cut.
    pub slow_for: Span,
    /// Time between two probes of an endpoint that is out of use or idle; up to a fifth is added at random. One that has
    /// just failed is asked four times a second, until it answers or is taken out of use. Two seconds make a fall known
    /// within five; longer suits collectors that log every connection.
    pub probe_interval: Span,
    /// An endpoint without a request for this long counts as idle and is probed, so that its fall is known early.
    pub probe_idle_after: Span,
    /// The longest wait before the first retry of a batch; doubles with each retry. The true wait is drawn at random
    /// below it.
    pub retry_base: Span,
    /// The longest wait before any retry.
    pub retry_cap: Span,
    /// Retries allowed as a share of first tries: a failing output must not be pressed harder than a healthy one.
    pub retry_share: Ratio,
    /// Retries a second that are allowed whatever `retry_share` says, so that a quiet output can recover.
    pub retries_per_second: NonZeroU32,
}

const fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).expect("defaults are above zero")
}

impl Default for Config {
    fn default() -> Self {
        Self {
            latency_decay: Span::secs(10),
            consecutive_failures: count(5),
            failure_share: Ratio::percent(50),
            failure_window: Span::secs(30),
            failure_minimum: count(20),
            ejection_base: Span::secs(5),
            ejection_cap: Span::secs(60),
            half_open_requests: count(1),
            slow_start: Span::secs(10),
            stalled_after: Span::secs(8),
            slow_times: count(5),
            slow_for: Span::secs(10),
            probe_interval: Span::secs(2),
            probe_idle_after: Span::secs(2),
            retry_base: Span::millis(500),
            retry_cap: Span::secs(60),
            retry_share: Ratio::percent(10),
            retries_per_second: count(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_table_is_the_default_and_nonsense_is_refused() {
        assert_eq!(toml::from_str::<Config>("").expect("valid"), Config::default());
        for wrong in ["consecutive_failures = 0", "failure_share = 2.0", "slow_start = \"0 s\"", "eject = true"] {
            assert!(toml::from_str::<Config>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let text = toml::to_string(&Config::default()).expect("serialises");
        assert_eq!(toml::from_str::<Config>(&text).expect("valid"), Config::default());
    }
}
