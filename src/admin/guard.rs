//! Who may do what: the bearer token, the Host allow-list, and no foreign web pages.
//!
//! Whoever shows the token is who they say, under whatever name they call. Without it a request must name a host of ours: a
//! configured one, or the very address that it arrived at, which no name server can be made to lie about.

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use axum::Json;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::json;

use super::Config;
use super::config::Scope;

/// How a browser and everybody else can show the token where nothing is changed by it.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer, Basic realm=\"gatepost: the token as password\"");
const CHALLENGE_FOR_CHANGES: HeaderValue = HeaderValue::from_static("Bearer");

/// How a request came in, as the listener knows it. An extension of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Our address, which the client connected to.
    pub at: IpAddr,
    /// Whether it came in TLS.
    pub in_tls: bool,
}

/// The door before everything but health.
#[derive(Clone)]
pub struct Guard(Arc<Rules>);

struct Rules {
    /// SHA-256 of the token: equal lengths make the comparison tell nothing about the token's.
    token: Option<digest::Digest>,
    require_token: Scope,
    check_host: Scope,
    loopback: bool,
    hosts: Vec<String>,
}

/// The status, and the reason.
pub(super) type Refused = (StatusCode, &'static str);

impl Guard {
    /// A guard for a listener that is bound to this address.
    pub fn new(config: &Config, bound: std::net::SocketAddr) -> Self {
        let own = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned);
        let configured = config.allowed_hosts.iter().map(|host| host.to_ascii_lowercase());
        Self(Arc::new(Rules {
            token: config.token.as_ref().map(|token| digest::digest(&digest::SHA256, token.reveal().as_bytes())),
            require_token: config.require_token,
            check_host: config.check_host,
            loopback: bound.ip().to_canonical().is_loopback(),
            hosts: own.into_iter().chain(configured).collect(),
        }))
    }

    /// Whether a request may pass that changes something or shows events.
    pub(super) fn admit<B>(&self, request: &http::Request<B>) -> Result<(), Refused> {
        let has_token = self.shows_token(bearer(request.headers()));
        if !has_token {
            self.host(request)?;
        }
        Self::origin(request)?;
        match (&self.0.token, self.0.loopback) {
            (Some(_), _) if !has_token => Err((StatusCode::UNAUTHORIZED, "this needs the bearer token of admin.token")),
            (None, false) => {
                Err((StatusCode::FORBIDDEN, "the admin plane is not on loopback: this needs admin.token to be set"))
            }
            _ => Ok(()),
        }
    }

    /// Whether a request may pass that only looks at numbers. A browser can show the token as a password.
    pub(super) fn admit_to_look<B>(&self, request: &http::Request<B>) -> Result<(), Refused> {
        let given = bearer(request.headers());
        if self.shows_token(given.or(password(request.headers()).as_deref())) {
            return Ok(());
        }
        if self.0.check_host == Scope::Everything {
            self.host(request)?;
        }
        match self.0.require_token {
            Scope::Changes => Ok(()),
            Scope::Everything => Err((StatusCode::UNAUTHORIZED, "this needs the token of admin.token")),
        }
    }

    /// DNS rebinding: a foreign name that resolves to our address still carries the foreign name.
    fn host<B>(&self, request: &http::Request<B>) -> Result<(), Refused> {
        let refused = "this Host is not in admin.allowed_hosts, and the request has no valid token";
        let host = host(request.headers()).map(|host| Authority::of(host, 0).host).unwrap_or_default();
        let arrived_at = |arrival: &Arrival| address(host) == Some(arrival.at.to_canonical());
        let known = self.0.hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
            || request.extensions().get().is_some_and(arrived_at);
        if known { Ok(()) } else { Err((StatusCode::FORBIDDEN, refused)) }
    }

    /// Browsers name the page that a POST comes from; people's tools send no Origin. A page of another port of this machine
    /// is somebody else's.
    fn origin<B>(request: &http::Request<B>) -> Result<(), Refused> {
        let Some(origin) = request.headers().get(header::ORIGIN) else { return Ok(()) };
        let scheme = scheme(request);
        let port = if scheme == "https" { 443 } else { 80 };
        let page = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        let is_ours = page.zip(host(request.headers())).is_some_and(|((page_scheme, page), host)| {
            page_scheme.eq_ignore_ascii_case(scheme) && Authority::of(page, port) == Authority::of(host, port)
        });
        if is_ours { Ok(()) } else { Err((StatusCode::FORBIDDEN, "requests from foreign web pages are refused")) }
    }

    fn shows_token(&self, given: Option<&str>) -> bool {
        let given = given.map(|given| digest::digest(&digest::SHA256, given.as_bytes()));
        let pair = given.as_ref().zip(self.0.token.as_ref());
        pair.is_some_and(|(given, right)| verify_slices_are_equal(given.as_ref(), right.as_ref()).is_ok())
    }
}

/// Lets a request through that changes something, or answers 401 or 403 with the reason.
pub(super) async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.admit(&request) {
        Ok(()) => next.run(request).await,
        Err(refused) => answer(refused, CHALLENGE_FOR_CHANGES),
    }
}

/// Lets a request through that only looks, or answers 401 or 403 with the reason.
pub(super) async fn check_look(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.admit_to_look(&request) {
        Ok(()) => next.run(request).await,
        Err(refused) => answer(refused, CHALLENGE),
    }
}

fn answer((status, error): Refused, challenge: HeaderValue) -> Response {
    let mut response = (status, Json(json!({ "error": error }))).into_response();
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

/// The scheme that the client used: ours, or that of a proxy before us that ends TLS.
pub(super) fn scheme<B>(request: &http::Request<B>) -> &'static str {
    let proxied = request.headers().get("x-forwarded-proto");
    let in_tls = request.extensions().get().is_some_and(|arrival: &Arrival| arrival.in_tls)
        || proxied.is_some_and(|scheme| scheme.as_bytes().eq_ignore_ascii_case(b"https"));
    if in_tls { "https" } else { "http" }
}

/// The one Host header.
fn host(headers: &HeaderMap) -> Option<&str> {
    let mut hosts = headers.get_all(header::HOST).iter();
    hosts.next().filter(|_| hosts.next().is_none()).and_then(|host| host.to_str().ok())
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    credentials(headers, "bearer")
}

/// The password of HTTP Basic, whoever the user.
fn password(headers: &HeaderMap) -> Option<String> {
    let decoded = STANDARD.decode(credentials(headers, "basic")?).ok()?;
    String::from_utf8(decoded).ok()?.split_once(':').map(|(_, password)| password.to_owned())
}

fn credentials<'h>(headers: &'h HeaderMap, wanted: &str) -> Option<&'h str> {
    let (scheme, value) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case(wanted).then(|| value.trim())
}

/// A host and its port.
struct Authority<'t> {
    host: &'t str,
    port: Option<u16>,
}

impl<'t> Authority<'t> {
    /// Where no port is written it is `port`.
    fn of(text: &'t str, port: u16) -> Self {
        match text.rfind(':') {
            Some(colon) if !text[colon..].contains(']') => {
                Self { host: &text[..colon], port: text[colon + 1..].parse().ok() }
            }
            _ => Self { host: text, port: Some(port) },
        }
    }
}

impl PartialEq for Authority<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.host.eq_ignore_ascii_case(other.host) && self.port.is_some() && self.port == other.port
    }
}

fn address(host: &str) -> Option<IpAddr> {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.parse().ok().map(|address: IpAddr| address.to_canonical())
}
