//! The Logs Ingestion API of Azure Monitor, as its clients speak it:
//! `POST /dataCollectionRules/{rule}/streams/{stream}?api-version=…`, answered with exactly 204.
//!
//! Clients differ in how they write the target. All of these arrive here: absolute-form targets, doubled slashes, fixed
//! parts in any letter case, percent-encoded names (`api%2Dversion`).

#[cfg(test)]
pub(super) mod specimen;

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use futures_util::future::BoxFuture;
use http::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::http::reply;
use super::intake::Intake;
use super::protocol::{Ask, Destination, Head, OpenError, Place, Protocol, Reading, Settings};
use super::reason::{Failure, Reason};
use crate::event::Syntax;
use crate::event::foreign;
use crate::ingest::accept::Receipt;
use crate::net::target::{decode, parameter};

/// The Logs Ingestion API on a listener.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether this listener speaks it. Default true.
    pub enabled: bool,
    /// Immutable ids of the data collection rules that may be named, such as `"dcr-0123…"`; letter case does not
    /// matter. Empty, the default, means any well-formed id: agents keep the id they were set up with.
    pub rules: Vec<String>,
    /// Streams that may be named, such as `"Custom-SecurityEvent"`; letter case does not matter. Empty, the default,
    /// means any well-formed name.
    pub streams: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self { enabled: true, rules: Vec::new(), streams: Vec::new() }
    }
}

impl Settings for Config {
    fn is_enabled(&self) -> bool {
        self.enabled
    }

    fn problems(&self) -> Vec<String> {
        let lists = [("rules", &self.rules), ("streams", &self.streams)];
        let malformed = lists.iter().flat_map(|(key, list)| {
            list.iter().filter(|name| !is_name(name)).map(move |name| {
                format!("logs_ingestion.{key}: {name:?} is not a name; write 1 to 128 letters, digits, \"_\", \".\" or \"-\"")
            })
        });
        malformed.collect()
    }

    fn open(&self, _: &Place<'_>) -> Result<Arc<dyn Protocol>, OpenError> {
        Ok(Arc::new(self.clone()))
    }
}

impl Protocol for Config {
    fn ask(&self, head: &Head<'_>) -> Option<Box<dyn Ask>> {
        let path = head.segments();
        let stream = self.stream(&path, head.query())?;
        let rule = path.get(1).and_then(|rule| decode(rule)).unwrap_or_default().into_owned();
        Some(Box::new(Rows(stream.map(|stream| Destination { rule, stream }))))
    }
}

/// Rows for a stream of a rule, or what is wrong with their names.
struct Rows(Result<Destination, Failure>);

impl Ask for Rows {
    fn destination(&self, _: &Head<'_>) -> Result<Destination, Failure> {
        self.0.clone()
    }

    fn read<'a>(&'a mut self, intake: &'a mut Intake<'_>) -> BoxFuture<'a, Result<Reading, Failure>> {
        // An array is rows of a table that only the sender knows.
        let foreign = |body: &[u8]| if foreign::is_array(body) { None } else { foreign::recognise(body) };
        Box::pin(async move { intake.events(Syntax::JsonArray, foreign).await.map(Reading::Events) })
    }

    fn taken(&self, _: &Receipt) -> Response<Body> {
        reply::no_content()
    }

    fn refused(&self, failure: &Failure) -> Response<Body> {
        reply::failure(failure)
    }

    fn code(&self, failure: &Failure) -> &'static str {
        reply::code(failure)
    }
}

impl Config {
    /// The stream that a target with these path segments and this query is for; in the spelling of the configuration
    /// where it lists the stream. `None` when the path is not of this API.
    pub fn stream(&self, path: &[&str], query: &str) -> Option<Result<Arc<str>, Failure>> {
        let [rules, rule, streams, stream] = path else { return None };
        let is_ours = decode(rules)?.eq_ignore_ascii_case("dataCollectionRules")
            && decode(streams)?.eq_ignore_ascii_case("streams");
        is_ours.then(|| self.known_stream(decode(rule), decode(stream), query))
    }

    fn known_stream(
        &self,
        rule: Option<Cow<'_, str>>,
        stream: Option<Cow<'_, str>>,
        query: &str,
    ) -> Result<Arc<str>, Failure> {
        api_version(query)?;
        let unknown = |code, what| Failure::named(Reason::DESTINATION, code, format!("this {what} is not known here"));
        rule.as_deref()
            .and_then(|rule| listed(&self.rules, rule))
            .ok_or_else(|| unknown("DataCollectionRuleNotFound", "data collection rule"))?;
        stream
            .as_deref()
            .and_then(|stream| listed(&self.streams, stream).map(Arc::from))
            .ok_or_else(|| unknown("StreamNotFound", "stream"))
    }
}

fn listed<'a>(list: &'a [String], name: &'a str) -> Option<&'a str> {
    if list.is_empty() {
        return is_name(name).then_some(name);
    }
    list.iter().find(|entry| entry.eq_ignore_ascii_case(name)).map(String::as_str)
}

/// Whether a text can be the name of a rule, a stream or a client.
pub(super) fn is_name(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// Every version that looks like a date is taken: what matters here has been the same in all of them.
fn api_version(query: &str) -> Result<(), Failure> {
    let wrong = |code, message| Err(Failure::named(Reason::PARAMETER, code, message));
    match parameter(query, "api-version") {
        None => wrong("MissingApiVersionParameter", "the query needs an api-version, such as api-version=2023-01-01"),
        Some(version) if is_date_shaped(&version) => Ok(()),
        Some(_) => wrong("InvalidApiVersion", "api-version is not a date such as 2023-01-01 or 2021-11-01-preview"),
    }
}

fn is_date_shaped(version: &str) -> bool {
    let (Some(date), Some(rest)) = (version.get(..10), version.get(10..)) else { return false };
    let digits_and_dashes = date.bytes().enumerate().all(|(index, byte)| match index {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    digits_and_dashes && (rest.is_empty() || rest.eq_ignore_ascii_case("-preview"))
}
