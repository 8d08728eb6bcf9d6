//! The plain door for scripts: `POST /v1/events` with a JSON array, JSON objects one a line or back to back, or `<Event>` elements.
//!
//! Answered with 200 and the receipt as JSON: `{"received":2,"filtered":0,"duplicate":1,"set_aside":0,"spooled":1}`.

use http::{HeaderMap, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::http::reply::Failure;
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

/// Refuses what forwarders can be told to send and what would otherwise become dead letters, or events without their fields.
///
/// # Errors
///
/// 415 with the format to choose instead.
pub fn check_format(headers: &HeaderMap, body: &[u8]) -> Result<(), Failure> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name = if content_type.to_ascii_lowercase().contains("msgpack") {
        "msgpack"
    } else if is_gelf(body) {
        "gelf"
    } else {
        return Ok(());
    };
    let message = format!(
        "{name} is not understood here and nothing was kept; send JSON: format json, json_lines or json_stream"
    );
    Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedFormat", message))
}

/// Whether a body begins with a message in the Graylog Extended Log Format.
fn is_gelf(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Message {
        version: String,
        #[serde(rename = "short_message")]
        _text: String,
        #[serde(rename = "host")]
        _host: String,
    }
    let first = body.trim_ascii_start();
    let first = first.strip_prefix(b"[").unwrap_or(first);
    let mut messages = serde_json::Deserializer::from_slice(first).into_iter::<Message>();
    messages.next().is_some_and(|message| message.is_ok_and(|message| message.version == "1.1"))
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
    fn formats_that_would_not_become_events_are_refused_by_name() {
        let with = |content_type: &str| {
            HeaderMap::from_iter([(header::CONTENT_TYPE, content_type.parse().expect("a header"))])
        };
        let json = with("application/json");
        let gelf = br#"{"version":"1.1","host":"a","short_message":"b","_Computer":"c"}"#;
        for (headers, body, name) in
            [(&with("application/msgpack"), b"\x91".as_slice(), "msgpack"), (&json, gelf.as_slice(), "gelf")]
        {
            let failure = check_format(headers, body).expect_err(name);
            assert!(
                failure.status == StatusCode::UNSUPPORTED_MEDIA_TYPE && failure.message.contains(name),
                "{failure:?}"
            );
        }
        for body in [&b"[]"[..], b"{\"version\":\"1.1\"}", b"<Event/>", b""] {
            assert_eq!(check_format(&json, body), Ok(()));
        }
    }
}
