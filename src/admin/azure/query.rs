//! The query of a request: which version of the interface it speaks, and its few options.

use std::borrow::Cow;

use super::error::Refusal;
use crate::net::target::parameter;

/// The versions that are known. They differ in what a rule may hold, and rules of all of them are taken.
const VERSIONS: [&str; 7] =
    ["2019-11-01-preview", "2021-04-01", "2021-09-01-preview", "2022-06-01", "2023-03-11", "2024-03-11", "2025-05-11"];

/// A query that is understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) version: &'static str,
    /// Whether a rule goes together with its associations.
    pub(super) delete_associations: bool,
    /// Where a list goes on.
    pub(super) skip_token: Option<String>,
}

impl Query {
    pub(super) fn parse(query: &str) -> Result<Self, Refusal> {
        let delete_associations = match parameter(query, "deleteAssociations").as_deref() {
            None | Some("") => false,
            Some(word) if word.eq_ignore_ascii_case("true") => true,
            Some(word) if word.eq_ignore_ascii_case("false") => false,
            Some(_) => return Err(Refusal::bad("BadRequest", "deleteAssociations must be true or false")),
        };
        let version = version(parameter(query, "api-version").unwrap_or_default().trim())?;
        Ok(Self { version, delete_associations, skip_token: parameter(query, "$skiptoken").map(Cow::into_owned) })
    }
}

fn version(given: &str) -> Result<&'static str, Refusal> {
    if given.is_empty() {
        let message = "the api-version query parameter (?api-version=) is required for all requests";
        return Err(Refusal::bad("MissingApiVersionParameter", message));
    }
    let known = VERSIONS.join(", ");
    if let Some(version) = VERSIONS.into_iter().find(|version| version.eq_ignore_ascii_case(given)) {
        return Ok(version);
    }
    Err(if is_dated(given) {
        let message = format!("the API version {given} is not known here; the supported api-versions are {known}");
        Refusal::bad("NoRegisteredProviderFound", message)
    } else {
        let message = format!("the api-version {given:?} is invalid; the supported versions are {known}");
        Refusal::bad("InvalidApiVersionParameter", message)
    })
}

fn is_dated(version: &str) -> bool {
    let date = version.get(..10).unwrap_or_default();
    let fits = |(byte, at): (u8, usize)| if [4, 7].contains(&at) { byte == b'-' } else { byte.is_ascii_digit() };
    date.len() == 10 && date.bytes().zip(0..).all(fits) && ["", "-preview"].contains(&&version[10..])
}
