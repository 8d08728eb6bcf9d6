//! The plain door for scripts: `POST /v1/events` with a JSON array, JSON objects one after the other, `<Event>` elements, or an
//! event log file (.evtx).
//!
//! Answered with 200 and the receipt as JSON: `{"received":2,"filtered":0,"duplicate":1,"set_aside":0,"spooled":1}`.

#[cfg(test)]
pub(super) mod specimen;

use std::sync::Arc;

use axum::body::Body;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Response, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::http::reply;
use super::intake::Intake;
use super::protocol::{Ask, Head, OpenError, Place, Protocol, Reading, Settings};
use super::reason::Failure;
use crate::event::Syntax;
use crate::event::foreign::{self, Foreign};
use crate::ingest::accept::Receipt;
use crate::net::target::decode;

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

impl Settings for Config {
    fn is_enabled(&self) -> bool {
        self.enabled
    }

    fn open(&self, _: &Place<'_>) -> Result<Arc<dyn Protocol>, OpenError> {
        Ok(Arc::new(self.clone()))
    }
}

impl Protocol for Config {
    fn ask(&self, head: &Head<'_>) -> Option<Box<dyn Ask>> {
        is_ours(&head.segments()).then(|| Box::new(Events) as Box<dyn Ask>)
    }
}

/// Events of any kind that is understood.
struct Events;

impl Ask for Events {
    fn read<'a>(&'a mut self, intake: &'a mut Intake<'_>) -> BoxFuture<'a, Result<Reading, Failure>> {
        let headers = intake.head().headers();
        let foreign = |body: &[u8]| foreign_type(headers).or_else(|| foreign::recognise(body));
        Box::pin(async move { intake.events(Syntax::Sniff, foreign).await.map(Reading::Events) })
    }

    fn taken(&self, receipt: &Receipt) -> Response<Body> {
        reply::json(&Counts::from(*receipt))
    }

    fn refused(&self, failure: &Failure) -> Response<Body> {
        reply::failure(failure)
    }

    fn code(&self, failure: &Failure) -> &'static str {
        reply::code(failure)
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
struct Counts {
    received: u64,
    filtered: u64,
    duplicate: u64,
    set_aside: u64,
    spooled: u64,
}

impl From<Receipt> for Counts {
    fn from(receipt: Receipt) -> Self {
        let Receipt { received, filtered, duplicate, set_aside, spooled, .. } = receipt;
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
