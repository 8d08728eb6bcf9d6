//! What the metadata services of this machine have in common: the question, and the client that asks it.
//!
//! The client has no proxy and trusts no certificate: the answer is a token, and must not take a way around.

use std::time::Duration;

use http::Uri;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, USER_AGENT};

use super::IdentityError;
use super::answer;
use super::entra::origin;
use super::source::Failure;
use crate::net::http_client::{Answer, HttpClient};
use crate::net::tls_client::Trust;
use crate::outputs::sender::{CONNECT_TIMEOUT, USER_AGENT_VALUE};

/// Longest wait for an answer: the service is on this machine, but asks Entra itself.
const WITHIN: Duration = Duration::from_secs(20);
/// Kept out of requests that a page or a redirect could make somebody send.
const METADATA: HeaderName = HeaderName::from_static("metadata");

/// What must hold for the address of a metadata service.
pub(super) const ENDPOINT_RULE: &str = "must be http://host";

/// Whether it can be the address of a metadata service.
pub(super) fn is_endpoint(text: &str) -> bool {
    origin(text).is_some_and(|uri| uri.scheme_str() == Some("http"))
}

/// A metadata service and the question for one resource.
pub(super) struct Metadata {
    client: HttpClient,
    url: Uri,
}

impl Metadata {
    /// Asks `endpoint` with `query`: pairs beside the resource of `scope`.
    ///
    /// # Errors
    ///
    /// When `endpoint` is no address of a metadata service.
    pub(super) fn new(endpoint: &str, scope: &str, query: &[(&str, &str)]) -> Result<Self, IdentityError> {
        let wrong = || IdentityError { key: "endpoint", message: format!("{endpoint:?} {ENDPOINT_RULE}") };
        if !is_endpoint(endpoint) {
            return Err(wrong());
        }
        let mut pairs = form_urlencoded::Serializer::new(String::new());
        pairs.extend_pairs(query);
        pairs.append_pair("resource", scope.strip_suffix("/.default").unwrap_or(scope));
        let url = format!("{}/metadata/identity/oauth2/token?{}", endpoint.trim_end_matches('/'), pairs.finish());
        let client = HttpClient::new(&Trust::Nobody, CONNECT_TIMEOUT).expect("trusting nobody reads nothing");
        Ok(Self { client, url: url.parse().map_err(|_| wrong())? })
    }

    /// Where it is, without the query.
    pub(super) fn shown(&self) -> String {
        format!("http://{}", self.url.authority().map_or("", |authority| authority.as_str()))
    }

    /// Asks, with `authorization` where a challenge was solved.
    pub(super) async fn ask(&self, authorization: Option<HeaderValue>) -> Result<Answer, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, USER_AGENT_VALUE);
        headers.insert(METADATA, HeaderValue::from_static("true"));
        if let Some(mut value) = authorization {
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let answer = self.client.get(&self.url, headers, WITHIN).await;
        answer.map_err(|error| answer::unanswered(&self.shown(), &error))
    }
}
