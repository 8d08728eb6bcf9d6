//! Answers in Entra's shape: libraries read `error` and `error_codes`, people read the text after `AADSTS`.

use std::time::Duration;

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::inputs::http::reply;

/// A request that gets no token, and why. Tells nothing that was secret in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The HTTP status.
    pub status: StatusCode,
    /// The error of OAuth.
    pub error: &'static str,
    /// The number of Entra for it.
    pub code: u32,
    /// What is wrong and what would be right.
    pub text: String,
    /// When to come back.
    pub retry_after: Option<Duration>,
}

impl Fault {
    fn new(status: StatusCode, error: &'static str, code: u32, text: impl Into<String>) -> Self {
        Self { status, error, code, text: text.into(), retry_after: None }
    }

    /// The request itself is wrong.
    pub fn request(code: u32, text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", code, text)
    }

    /// A field is not there.
    pub fn missing(field: &str) -> Self {
        Self::request(900_144, format!("the request body must contain the following parameter: '{field}'"))
    }

    /// Another way to get tokens.
    pub fn grant_type() -> Self {
        let text = "only grant_type=client_credentials is served here";
        Self::new(StatusCode::BAD_REQUEST, "unsupported_grant_type", 70003, text)
    }

    /// Another service than Azure Monitor.
    pub fn scope() -> Self {
        let text = "the scope is not Azure Monitor's; ask for https://monitor.azure.com/.default";
        Self::new(StatusCode::BAD_REQUEST, "invalid_scope", 70011, text)
    }

    /// A tenant that is not served.
    pub fn tenant() -> Self {
        Self::request(90002, "this tenant is not known here; see entra.tenants of the listener")
    }

    /// The client's proof is none.
    pub fn client(code: u32, text: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_client", code, text)
    }

    /// Too much at once.
    pub fn later(code: u32, text: impl Into<String>, after: Duration) -> Self {
        let fault = Self::new(StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable", code, text);
        Self { retry_after: Some(after), ..fault }
    }

    /// The keys cannot be used; what the disk said is for the log.
    pub fn keys() -> Self {
        let after = Some(Duration::from_secs(30));
        let text = "the gateway's keys cannot be used now";
        Self {
            retry_after: after,
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", 90033, text)
        }
    }

    /// As it goes to the client. `correlation` is the client's own id of the request, if it sent a UUID.
    pub(super) fn response(&self, correlation: Option<&str>) -> Response<Body> {
        let trace = reply::request_id();
        let trace = trace.to_str().unwrap_or_default();
        let at = OffsetDateTime::now_utc();
        let at = at.format(format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z")).unwrap_or_default();
        let correlation = correlation.unwrap_or(trace);
        let text = format!(
            "AADSTS{}: {}. Trace ID: {trace} Correlation ID: {correlation} Timestamp: {at}",
            self.code, self.text
        );
        let mut response = body(
            self.status,
            &json!({
                "error": self.error,
                "error_description": text,
                "error_codes": [self.code],
                "timestamp": at,
                "trace_id": trace,
                "correlation_id": correlation,
            }),
        );
        if let Some(after) = self.retry_after {
            let seconds = after.as_millis().div_ceil(1000).max(1);
            let seconds = HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX));
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}

/// JSON that nobody may keep.
pub(super) fn body(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = reply::json(value);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-cache"));
    response
}

/// What stands at the addresses that clients look at before they ask for a token. `base` is this gateway as the client
/// reached it, such as `https://gateway:8443`.
pub(super) fn metadata(base: &str, tenant: &str) -> Value {
    json!({
        "issuer": format!("{base}/{tenant}/v2.0"),
        "authorization_endpoint": format!("{base}/{tenant}/oauth2/v2.0/authorize"),
        "token_endpoint": format!("{base}/{tenant}/oauth2/v2.0/token"),
        "jwks_uri": format!("{base}/{tenant}/discovery/v2.0/keys"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic", "private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS256", "PS256", "ES256"],
        "grant_types_supported": ["client_credentials"],
        "response_types_supported": ["token"],
        "response_modes_supported": ["query"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": [".default"],
        "claims_supported": ["sub", "iss", "aud", "exp", "iat", "nbf", "appid", "azp", "tid", "roles", "uti"],
    })
}

/// What is said about the names of this authority: it has one.
pub(super) fn instance(base: &str, tenant: &str) -> Value {
    let host = base.strip_prefix("https://").unwrap_or(base);
    json!({
        "tenant_discovery_endpoint": format!("{base}/{tenant}/v2.0/.well-known/openid-configuration"),
        "api-version": "1.1",
        "metadata": [{ "preferred_network": host, "preferred_cache": host, "aliases": [host] }],
    })
}
