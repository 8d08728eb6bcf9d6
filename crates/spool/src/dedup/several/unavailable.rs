//! What an operator wants of uploads when gateways cannot ask each other.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happens to uploads while the engine cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenUnavailable {
    /// They are taken, and deduplicated by this gateway alone.
    #[default]
    Available,
    /// They are refused with 503.
    Strict,
}
