//! The limits of one listener.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::memory::Shares;
use crate::values::{ByteSize, Span};

/// Connections from one address at once, unless something else is configured.
const PER_ADDRESS_MAX: usize = 256;

/// The limits of one listener. At each limit the client gets an answer that says so, and nothing grows further.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The largest body as it comes over the wire; above it 413. Default 32 MiB: Azure takes 1 MiB, but agents in the
    /// field send up to 10 MB.
    pub wire_max: ByteSize,
    /// The largest body once decompressed; above it 413. Default 64 MiB. There is no limit on the ratio: honest uploads
    /// reach 290 to 1.
    pub body_max: ByteSize,
    /// Memory for all bodies of this listener together, until they are in the spool; above it 503 with Retry-After. An eighth
    /// is only for clients that hold little, and of the rest no client gets more than three times what is left free, but for
    /// one upload at a time. At least 8/7 of `wire_max` + `body_max`. Default: one share for all listeners that name none,
    /// three eighths of what this process may use (the limit of its container, or the machine's memory), at most 256 MiB.
    /// Where that is less than 8/7 of `wire_max` + `body_max`, larger bodies get 413.
    pub memory_max: Option<ByteSize>,
    /// From the first byte of a request's head to its last; above it 408 and the connection is closed. Also the time
    /// for the TLS handshake. Default 10 s.
    pub head_timeout: Span,
    /// For a whole body; above it 408 and the connection is closed. Default 60 s.
    pub body_timeout: Span,
    /// The slowest body that is waited for, in bytes a second on average, once `rate_grace` is over. Default 1 KiB.
    pub rate_min: ByteSize,
    /// How long a body may be slower than `rate_min`. Default 10 s.
    pub rate_grace: Span,
    /// How long a connection may stay open with nothing to do. Default 120 s: longer than agents' usual intervals.
    pub keep_alive_idle: Span,
    /// Connections to this listener at once. When there is one more, the one goes that has had no request for longest, of the
    /// address that has most; where each has one, the new one is closed. Default 2048; fewer where memory is scarce: an eighth
    /// of it is for the connections of all listeners, at 64 KiB each.
    pub max_connections: Option<usize>,
    /// Connections from one address at once (IPv6: from one /64); more are closed at once. Behind a balancer in
    /// `proxy_protocol_from` its clients are counted, not the balancer. Default a quarter of `max_connections`, at most
    /// 256, which leaves room for a router that many hosts stand behind.
    pub max_connections_per_address: Option<usize>,
    /// Requests at once on one HTTP/2 connection. Default 32.
    pub max_concurrent_streams: u32,
    /// How long a stopping listener, after `drain_grace`, waits for requests in flight before it cuts them. Default 20 s.
    pub drain_timeout: Span,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            wire_max: ByteSize::mib(32),
            body_max: ByteSize::mib(64),
            memory_max: None,
            head_timeout: Span::secs(10),
            body_timeout: Span::secs(60),
            rate_min: ByteSize::bytes(1024),
            rate_grace: Span::secs(10),
            keep_alive_idle: Span::secs(120),
            max_connections: None,
            max_connections_per_address: None,
            max_concurrent_streams: 32,
            drain_timeout: Span::secs(20),
        }
    }
}

impl Config {
    /// Connections at once to one of so many listeners, where there is so much memory.
    pub fn max_connections(&self, listeners: usize, shares: &Shares) -> usize {
        self.max_connections.unwrap_or_else(|| shares.connections(listeners))
    }

    /// Connections at once from one address, where there are so many in all.
    pub fn connections_of_address(&self, max_connections: usize) -> usize {
        self.max_connections_per_address.unwrap_or_else(|| (max_connections / 4).clamp(1, PER_ADDRESS_MAX))
    }

    /// Whether both limit connections alike. What limits single requests can be changed while a listener runs.
    pub fn limits_connections_like(&self, other: &Self) -> bool {
        let requests_of_other = Self {
            wire_max: other.wire_max,
            body_max: other.body_max,
            memory_max: other.memory_max,
            body_timeout: other.body_timeout,
            rate_min: other.rate_min,
            rate_grace: other.rate_grace,
            ..self.clone()
        };
        requests_of_other == *other
    }

    /// What contradicts itself, with the key and what would be right.
    pub fn problems(&self) -> Vec<String> {
        let both = self.wire_max.as_u64().saturating_add(self.body_max.as_u64());
        let need = super::body::Memory::least_for(both);
        let mut problems = Vec::new();
        if let Some(given) = self.memory_max.filter(|given| given.as_u64() < need) {
            problems.push(format!(
                "limits.memory_max is {given}, too little for wire_max + body_max and the eighth that is for small uploads; \
                 write at least {}",
                ByteSize::bytes(need.checked_next_multiple_of(1 << 20).unwrap_or(need))
            ));
        }
        if let Some(given) = self.memory_max.filter(|given| given.as_u64() > super::body::MEMORY_LIMIT_MAX) {
            let most = ByteSize::bytes(super::body::MEMORY_LIMIT_MAX);
            problems.push(format!("limits.memory_max is {given}; write at most {most}"));
        }
        let zeros = [
            ("wire_max", self.wire_max.as_u64() == 0),
            ("body_max", self.body_max.as_u64() == 0),
            ("rate_min", self.rate_min.as_u64() == 0),
            ("max_connections", self.max_connections == Some(0)),
            ("max_connections_per_address", self.max_connections_per_address == Some(0)),
            ("max_concurrent_streams", self.max_concurrent_streams == 0),
        ];
        problems.extend(
            zeros.iter().filter(|(_, zero)| *zero).map(|(key, _)| format!("limits.{key} is 0; write 1 or more")),
        );
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_a_quarter_of_all_connections_at_most() {
        let limits = Config::default();
        assert_eq!([1, 512, 100_000].map(|all| limits.connections_of_address(all)), [1, 128, 256]);
        let given = Config { max_connections_per_address: Some(4096), ..limits };
        assert_eq!(given.connections_of_address(512), 4096);
    }
}
