//! A rate of requests and bytes, as Azure limits them.

use serde::{Deserialize, Serialize};

/// Requests and bytes a minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PerMinute {
    /// Requests.
    pub requests: u64,
    /// Bytes, as they come over the wire.
    pub bytes: u64,
}

impl std::iter::Sum for PerMinute {
    fn sum<I: Iterator<Item = Self>>(of: I) -> Self {
        of.fold(Self::default(), |sum, one| Self {
            requests: sum.requests.saturating_add(one.requests),
            bytes: sum.bytes.saturating_add(one.bytes),
        })
    }
}
