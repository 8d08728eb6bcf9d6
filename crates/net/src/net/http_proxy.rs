//! The HTTP proxy of a client: the way out of a network that has only one.
//!
//! Everything goes through a tunnel (CONNECT), plain `http` too: the proxy is told a host and a port, and its password
//! stays out of the requests. When there is no tunnel the error names the proxy and what it said: the same failure
//! further out would look like one of the endpoint. hyper-util's own tunnel tells no status, and takes every port that
//! a URL leaves out for 443.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tower::ServiceExt;

use super::url::askable;
use crate::values::Secret;

/// An HTTP proxy that every connection of an output goes through, with CONNECT.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where it is: `http://host:port`.
    pub url: String,
    /// The user name for Basic authentication. Default: none is sent.
    pub username: Option<String>,
    /// The password for Basic authentication.
    pub password: Option<Secret>,
}

impl Config {
    /// What is wrong, by key.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let sound = askable(&self.url).is_some_and(|url| {
            url.scheme_str() == Some("http") && matches!(url.path(), "" | "/") && url.query().is_none()
        });
        if !sound {
            let message = format!("{:?} must be the proxy's address, such as \"http://proxy.example:3128\"", self.url);
            problems.push(("url".to_owned(), message));
        }
        if self.password.is_some() && self.username.is_none() {
            problems.push(("username".to_owned(), "is needed with a password".to_owned()));
        }
        if self.username.as_ref().is_some_and(|name| name.contains(':') || name.contains(char::is_control)) {
            let message = "must hold no ':' and no control characters: Basic authentication cannot carry them";
            problems.push(("username".to_owned(), message.to_owned()));
        }
        problems
    }
}

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
pub(super) enum TunnelError {
    #[error("the proxy {proxy} cannot be reached: {reason}")]
    Unreachable { proxy: Uri, reason: String },
    #[error("the proxy {proxy} answered 407: it wants other credentials (proxy.username, proxy.password)")]
    Credentials { proxy: Uri },
    #[error("the proxy {proxy} refused a tunnel to {target}: it answered {status}")]
    Refused { proxy: Uri, target: String, status: StatusCode },
    #[error("the proxy {proxy} opened no tunnel to {target}: {reason}")]
    Broken { proxy: Uri, target: String, reason: String },
    #[error("{0} names no host")]
    NoHost(Uri),
}

/// A proxy, ready to be asked.
pub(super) struct Proxy {
    url: Uri,
    credentials: Option<HeaderValue>,
}

impl Proxy {
    /// The proxy of a configuration without problems; one with problems is a proxy that cannot be reached.
    pub(super) fn new(config: &Config) -> Self {
        let credentials = config.username.as_ref().map(|name| {
            let password = config.password.as_ref().map_or("", Secret::reveal);
            let encoded = STANDARD.encode(format!("{name}:{password}"));
            let mut value = HeaderValue::try_from(format!("Basic {encoded}")).expect("base64 is visible ASCII");
            value.set_sensitive(true);
            value
        });
        Self { url: config.url.parse().unwrap_or_default(), credentials }
    }

    /// Where it is.
    pub(super) fn url(&self) -> &Uri {
        &self.url
    }

    /// A connection to the host and port of `url`, through the proxy.
    pub(super) async fn tunnel(&self, tcp: HttpConnector, url: &Uri) -> Result<TokioIo<TcpStream>, TunnelError> {
        let proxy = || self.url.clone();
        let target = target(url).ok_or_else(|| TunnelError::NoHost(url.clone()))?;
        let broken = |reason: String| TunnelError::Broken { proxy: proxy(), target: target.clone(), reason };
        let stream = tcp.oneshot(proxy()).await.map_err(|error| {
            let reason = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            TunnelError::Unreachable { proxy: proxy(), reason }
        })?;
        let (mut sender, connection) = http1::handshake(stream).await.map_err(|error| broken(error.to_string()))?;
        // Ends by itself: with the answer's upgrade, or when `sender` is dropped.
        tokio::spawn(connection.with_upgrades());
        let answer = sender.send_request(self.request(&target)).await.map_err(|error| broken(error.to_string()))?;
        match answer.status() {
            status if status.is_success() => {}
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => return Err(TunnelError::Credentials { proxy: proxy() }),
            status => return Err(TunnelError::Refused { proxy: proxy(), target, status }),
        }
        let upgraded = hyper::upgrade::on(answer).await.map_err(|error| broken(error.to_string()))?;
        let parts = upgraded
            .downcast::<TokioIo<TcpStream>>()
            .map_err(|_| broken("its connection was lost on the way".to_owned()))?;
        if !parts.read_buf.is_empty() {
            return Err(broken("bytes came before anything was sent to the endpoint".to_owned()));
        }
        Ok(parts.io)
    }

    fn request(&self, target: &str) -> Request<Empty<&'static [u8]>> {
        let mut request = Request::new(Empty::new());
        *request.method_mut() = Method::CONNECT;
        *request.uri_mut() = Uri::try_from(target).expect("a host and a port of a URL");
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::try_from(target).expect("a host and a port of a URL"));
        if let Some(credentials) = &self.credentials {
            headers.insert(PROXY_AUTHORIZATION, credentials.clone());
        }
        request
    }
}

/// `host:port`, with the port that the scheme stands for where the URL has none.
fn target(url: &Uri) -> Option<String> {
    let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("https") { 443 } else { 80 });
    url.host().map(|host| format!("{host}:{port}"))
}

#[cfg(test)]
#[path = "http_proxy_tests.rs"]
mod tests;
