//! One upstream proxy as the configuration names it: where it is, how it is spoken to, and the credentials that it gets.
//!
//! Credentials are made into the header line here and stay with their proxy: no other part of the gateway can send them
//! somewhere else.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::Uri;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use crate::tunnel::config;

const URL_PROBLEM: &str =
    "must be http:// or https://, a host and a port, such as \"http://proxy.example.com:3128\", and nothing behind it";

/// Where a proxy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Name(String),
    Address(IpAddr),
}

/// What the URL of a proxy says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) tls: bool,
    pub(super) place: Place,
    pub(super) port: u16,
}

impl Url {
    /// Reads a URL. The complaint never repeats it: there may be a password in it.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let url: Uri = text.parse().map_err(|_| URL_PROBLEM)?;
        let tls = match url.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(URL_PROBLEM),
        };
        if url.path_and_query().is_some_and(|rest| rest != "/") {
            return Err(URL_PROBLEM);
        }
        let authority = url.authority().ok_or(URL_PROBLEM)?;
        if authority.as_str().contains('@') {
            return Err("must not hold credentials; they belong into the keys user and password");
        }
        let host = authority.host();
        let port = match authority.as_str().strip_prefix(host) {
            Some("") if tls => 443,
            Some("") => 80,
            _ => authority.port_u16().ok_or(URL_PROBLEM)?,
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let place = match bare.parse() {
            Ok(address) => Place::Address(address),
            Err(_) if is_name(bare) => Place::Name(bare.trim_end_matches('.').to_ascii_lowercase()),
            Err(_) => return Err(URL_PROBLEM),
        };
        if port == 0 { Err(URL_PROBLEM) } else { Ok(Self { tls, place, port }) }
    }
}

fn is_name(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    host.len() <= 253 && host.trim_end_matches('.').split('.').all(label)
}

/// A proxy that can be spoken to.
pub(super) struct Proxy {
    pub(super) place: Place,
    pub(super) port: u16,
    /// For `https`: how to speak TLS to it, and the name that its certificate must have.
    pub(super) tls: Option<(TlsConnector, ServerName<'static>)>,
    pub(super) priority: u32,
    authorization: Option<String>,
}

impl Proxy {
    pub(super) fn new(proxy: &config::Proxy, url: Url, tls: Option<&Arc<ClientConfig>>) -> Result<Self, &'static str> {
        let server_name = || match &url.place {
            Place::Name(name) => ServerName::try_from(name.clone()).map_err(|_| URL_PROBLEM),
            Place::Address(address) => Ok(ServerName::from(*address)),
        };
        let tls = match tls {
            Some(config) if url.tls => Some((TlsConnector::from(Arc::clone(config)), server_name()?)),
            _ => None,
        };
        let authorization = proxy.user.as_ref().map(|user| {
            let password = proxy.password.as_ref().map_or("", |password| password.reveal());
            format!("Proxy-Authorization: Basic {}\r\n", BASE64_STANDARD.encode(format!("{user}:{password}")))
        });
        Ok(Self { place: url.place, port: url.port, tls, priority: proxy.priority, authorization })
    }

    /// The request for a tunnel to `target`.
    pub(super) fn request(&self, target: &str, via: &str) -> String {
        let authorization = self.authorization.as_deref().unwrap_or_default();
        format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nVia: {via}\r\n{authorization}\r\n")
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Name(name) => write!(f, "{name}:{}", self.port),
            Place::Address(IpAddr::V4(address)) => write!(f, "{address}:{}", self.port),
            Place::Address(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_scheme_a_host_and_a_port() {
        let name = |name: &str| Place::Name(name.to_owned());
        let address = |address: &str| Place::Address(address.parse().unwrap());
        for (text, tls, place, port) in [
            ("http://proxy.example.com:3128", false, name("proxy.example.com"), 3128),
            ("http://Proxy.Example.com.:3128/", false, name("proxy.example.com"), 3128),
            ("https://proxy", true, name("proxy"), 443),
            ("http://10.1.2.3:8080", false, address("10.1.2.3"), 8080),
            ("http://[2001:db8::1]:8080", false, address("2001:db8::1"), 8080),
        ] {
            assert_eq!(Url::parse(text), Ok(Url { tls, place, port }), "{text}");
        }
        for text in [
            "proxy.example.com:3128",
            "socks5://proxy:1080",
            "http://proxy:0",
            "http://proxy:99999",
            "http://proxy:3128/path",
            "http://proxy:3128/?q",
            "http://user:pass@proxy:3128",
            "http://a..b:1",
            "http://:3128",
            "",
        ] {
            assert!(Url::parse(text).is_err_and(|problem| !problem.contains("pass@")), "{text}");
        }
    }
}
