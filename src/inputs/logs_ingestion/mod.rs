//! The Logs Ingestion API of Azure Monitor, as its clients speak it:
//! `POST /dataCollectionRules/{rule}/streams/{stream}?api-version=…`, answered with exactly 204.
//!
//! Clients differ in how they write the target. All of these arrive here: absolute-form targets, doubled slashes, fixed
//! parts in any letter case, percent-encoded names (`api%2Dversion`).

use std::borrow::Cow;
use std::sync::Arc;

use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::http::reply::Failure;
use super::target::{decode, parameter};

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

impl Config {
    /// What cannot work, with the key and what would be right.
    pub fn problems(&self) -> Vec<String> {
        let lists = [("rules", &self.rules), ("streams", &self.streams)];
        let malformed = lists.iter().flat_map(|(key, list)| {
            list.iter().filter(|name| !is_name(name)).map(move |name| {
                format!("logs_ingestion.{key}: {name:?} is not a name; write 1 to 128 letters, digits, \"_\", \".\" or \"-\"")
            })
        });
        malformed.collect()
    }

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
        let unknown = |code, what| Failure::new(StatusCode::NOT_FOUND, code, format!("this {what} is not known here"));
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
    let wrong = |code, message| Err(Failure::new(StatusCode::BAD_REQUEST, code, message));
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
