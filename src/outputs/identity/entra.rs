//! The token endpoint of Microsoft Entra ID: an application asks for itself, with one proof or another.
//!
//! Also the checks of what stands in its address: a tenant is a part of a path, so it may hold nothing that ends one.

use std::time::Duration;

use http::Uri;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};

use super::IdentityError;
use super::advice::{self, About};
use super::answer::{self, Refusal};
use super::source::{Failure, Fetched};
use crate::net::http_client::{Answer, HttpClient};
use crate::net::url::askable;
use crate::outputs::sender::USER_AGENT_VALUE;

/// Longest wait for an answer.
const WITHIN: Duration = Duration::from_secs(30);

/// An application in a tenant, asking for tokens of one scope.
pub(super) struct App {
    client: HttpClient,
    url: Uri,
    tenant: String,
    client_id: String,
    scope: String,
}

/// What Entra answered to one request.
pub(super) enum Reply {
    Token(Fetched),
    Refused(Refusal, Answer),
}

impl App {
    /// Asks through `client`.
    ///
    /// # Errors
    ///
    /// When `authority` and `tenant` make no address. `find_problems` tells more.
    pub(super) fn new(
        client: HttpClient,
        authority: &str,
        tenant: &str,
        client_id: &str,
        scope: &str,
    ) -> Result<Self, IdentityError> {
        if !is_name(tenant) {
            return Err(IdentityError { key: "tenant", message: format!("{tenant:?} {NAME_RULE}") });
        }
        let url = Some(authority).filter(|authority| is_authority(authority));
        let url = url.map(|authority| format!("{}/{tenant}/oauth2/v2.0/token", authority.trim_end_matches('/')));
        let url = url
            .and_then(|url| url.parse().ok())
            .ok_or_else(|| IdentityError { key: "authority", message: format!("{authority:?} {AUTHORITY_RULE}") })?;
        Ok(Self { client, url, tenant: tenant.to_owned(), client_id: client_id.to_owned(), scope: scope.to_owned() })
    }

    pub(super) fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The token endpoint: the audience of assertions.
    pub(super) fn url(&self) -> String {
        self.url.to_string()
    }

    /// One request with `proof`, pairs of a form. Its values are kept out of what is shown.
    pub(super) async fn ask(&self, proof: &[(&str, &str)]) -> Result<Reply, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, USER_AGENT_VALUE);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let asked = self.url();
        let answer = self.client.post(&self.url, headers, self.form(proof).into(), WITHIN).await;
        let answer = answer.map_err(|error| answer::unanswered(&asked, &error))?;
        let secrets: Vec<&str> = proof.iter().map(|(_, value)| *value).collect();
        Ok(match answer::read(&asked, &answer, &secrets)? {
            Ok(fetched) => Reply::Token(fetched),
            Err(refusal) => Reply::Refused(refusal, answer),
        })
    }

    fn form(&self, proof: &[(&str, &str)]) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        form.append_pair("client_id", &self.client_id);
        form.append_pair("scope", &self.scope);
        form.extend_pairs(proof);
        form.finish()
    }

    /// The failure that a refusal is. `thumbprint` is that of the certificate, where there is one.
    pub(super) fn failure(&self, refusal: Refusal, answer: &Answer, thumbprint: Option<&str>) -> Failure {
        let about = About { tenant: &self.tenant, client_id: &self.client_id, scope: &self.scope, thumbprint };
        let advice = refusal.code.and_then(|code| advice::for_code(code, about));
        refusal.into_failure(&self.url(), answer, advice)
    }

    /// Asks once with a proof that cannot be mended at once.
    pub(super) async fn fetch(&self, proof: &[(&str, &str)]) -> Result<Fetched, Failure> {
        match self.ask(proof).await? {
            Reply::Token(fetched) => Ok(fetched),
            Reply::Refused(refusal, answer) => Err(self.failure(refusal, &answer, None)),
        }
    }
}

/// What must hold for tenants and ids.
pub(super) const NAME_RULE: &str = "must be letters, digits, '-' and '.'";

/// Whether a text can be a tenant or an id.
pub(super) fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    (1..=253).contains(&text.len()) && text.bytes().all(fits) && !text.starts_with('.')
}

/// What must hold for an authority.
pub(super) const AUTHORITY_RULE: &str = "must be https://host, or http://host where that is this machine";

/// Whether secrets may be sent there.
pub(super) fn is_authority(text: &str) -> bool {
    origin(text).is_some_and(|uri| uri.scheme_str() == Some("https") || is_loopback(&uri))
}

/// An `http` or `https` URL of only host and port.
pub(super) fn origin(text: &str) -> Option<Uri> {
    askable(text).filter(|uri| matches!(uri.path(), "" | "/") && uri.query().is_none())
}

/// Whether the host is this machine by its address, or by the one name that always is.
pub(super) fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
