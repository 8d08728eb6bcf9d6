//! The plain door for scripts: `POST /v1/events` with a JSON array, one JSON object a line, or `<Event>` elements.
//!
//! Answered with 200 and the receipt as JSON: `{"received":2,"filtered":0,"duplicate":1,"set_aside":0,"spooled":1}`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::target::decode;
use crate::ingest::accept::Receipt;

/// The plain door for scripts on a listener.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether this listener takes `POST /v1/events`. Default true.
    pub enabled: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// Whether a path is this door's.
pub fn is_ours(path: &[&str]) -> bool {
    let [version, events] = path else { return false };
    let is = |segment: &str, name: &str| decode(segment).is_some_and(|segment| segment.eq_ignore_ascii_case(name));
    is(version, "v1") && is(events, "events")
}

/// A receipt as clients see it.
#[derive(Debug, Serialize)]
pub struct Body {
    received: u64,
    filtered: u64,
    duplicate: u64,
    set_aside: u64,
    spooled: u64,
}

impl From<Receipt> for Body {
    fn from(receipt: Receipt) -> Self {
        let Receipt { received, filtered, duplicate, set_aside, spooled } = receipt;
        Self { received, filtered, duplicate, set_aside, spooled }
    }
}
