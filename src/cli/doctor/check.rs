//! What was looked at of forwarding, and what came of it.

use std::time::Duration;

use serde::Serialize;

use super::Verdict;

/// For each step that goes over the network.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    pub(super) listener: String,
    pub(super) check: &'static str,
    pub(super) result: Verdict,
    pub(super) detail: String,
}
