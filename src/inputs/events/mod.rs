//! The plain door for scripts: `POST /v1/events` with a JSON array, JSON objects one after the other, `<Event>` elements, or an
//! event log file (.evtx).
//!
//! Answered with 200 and the receipt as JSON: `{"received":2,"filtered":0,"duplicate":1,"set_aside":0,"spooled":1}`.

use http::{HeaderMap, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::target::decode;
use crate::event::foreign::Foreign;
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

/// What a request's headers say that its body is, if that is not understood here.
pub fn foreign_type(headers: &HeaderMap) -> Option<Foreign> {
    const TYPES: [(&str, Foreign); 2] = [
        ("msgpack", Foreign { name: "msgpack", remedy: "send JSON: format json, json_lines or json_stream" }),
        ("protobuf", Foreign { name: "protobuf", remedy: "send JSON, each event as one object" }),
    ];
    let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?.to_ascii_lowercase();
    TYPES.into_iter().find(|(name, _)| content_type.contains(name)).map(|(_, foreign)| foreign)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_are_not_understood_are_told_by_the_header() {
        let name = |content_type: &str| {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, content_type.parse().expect("a header"))]);
            foreign_type(&headers).map(|foreign| foreign.name)
        };
        assert_eq!(name("application/msgpack"), Some("msgpack"));
        assert_eq!(name("application/x-protobuf"), Some("protobuf"));
        for content_type in ["application/json", "application/x-www-form-urlencoded", "text/xml"] {
            assert_eq!(name(content_type), None);
        }
    }
}
