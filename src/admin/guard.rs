//! Who may change things: the bearer token, the Host allow-list, and no foreign web pages.

use std::net::SocketAddr;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use axum::Json;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use serde_json::json;

use super::Config;

/// The door before everything that changes something or shows events.
#[derive(Clone)]
pub struct Guard(Arc<Rules>);

struct Rules {
    /// SHA-256 of the token: equal lengths make the comparison tell nothing about the token's.
    token: Option<digest::Digest>,
    loopback: bool,
    hosts: Vec<String>,
}

/// The status, and the reason.
pub(super) type Refused = (StatusCode, &'static str);

impl Guard {
    /// A guard for a listener that is bound to this address.
    pub fn new(config: &Config, bound: SocketAddr) -> Self {
        let own = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned);
        let configured = config.allowed_hosts.iter().map(|host| host.to_ascii_lowercase());
        Self(Arc::new(Rules {
            token: config.token.as_ref().map(|token| digest::digest(&digest::SHA256, token.reveal().as_bytes())),
            loopback: bound.ip().to_canonical().is_loopback(),
            hosts: own.into_iter().chain(configured).collect(),
        }))
    }

    /// Whether a request may pass.
    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<(), Refused> {
        self.host(headers)?;
        self.origin(headers)?;
        self.token(headers)
    }

    /// DNS rebinding: a foreign name that resolves to our address still carries the foreign name.
    fn host(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let known = |host: &str| self.known(without_port(host));
        let mut hosts = headers.get_all(header::HOST).iter();
        match (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) {
            (Some(host), None) if known(host) => Ok(()),
            _ => Err((StatusCode::FORBIDDEN, "this Host is not in admin.allowed_hosts")),
        }
    }

    /// Browsers name the page that a POST comes from; people's tools send no Origin.
    fn origin(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let own = |origin: &str| origin.split_once("://").is_some_and(|(_, host)| self.known(without_port(host)));
        match headers.get(header::ORIGIN) {
            None => Ok(()),
            Some(origin) if origin.to_str().is_ok_and(own) => Ok(()),
            Some(_) => Err((StatusCode::FORBIDDEN, "requests from foreign web pages are refused")),
        }
    }

    fn token(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let Some(expected) = &self.0.token else {
            let beyond =
                (StatusCode::FORBIDDEN, "the admin plane is not on loopback: this needs admin.token to be set");
            return if self.0.loopback { Ok(()) } else { Err(beyond) };
        };
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(bearer);
        let given = digest::digest(&digest::SHA256, given.unwrap_or_default().as_bytes());
        verify_slices_are_equal(given.as_ref(), expected.as_ref())
            .map_err(|_| (StatusCode::UNAUTHORIZED, "this needs the bearer token of admin.token"))
    }

    fn known(&self, host: &str) -> bool {
        self.0.hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
    }
}

/// Lets a request through, or answers 401 or 403 with the reason.
pub(super) async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.admit(request.headers()) {
        Ok(()) => next.run(request).await,
        Err((status, error)) => {
            let mut response = (status, Json(json!({ "error": error }))).into_response();
            if status == StatusCode::UNAUTHORIZED {
                response.headers_mut().insert(header::WWW_AUTHENTICATE, http::HeaderValue::from_static("Bearer"));
            }
            response
        }
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    }
}
