//! A request in plain HTTP, which one host of a rule may be asked: certificates and revocation lists are fetched so.
//!
//! What goes to the destination is written anew from the parsed request: no byte that was not understood goes through.

use super::{Authority, Fault, Sender};
use crate::tunnel::Reason;

/// The only port that is asked in plain HTTP.
pub(super) const PORT: u16 = 80;

/// Fields that concern only the client and this proxy, or that the request to the destination gets anew.
const NOT_FORWARDED: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// A request for one answer in plain HTTP, without a body.
#[derive(Debug, Clone, PartialEq)]
pub struct Plain {
    /// The method.
    pub method: Method,
    /// Where to; the port is 80.
    pub authority: Authority,
    /// Path and query; begins with a slash.
    pub path_and_query: String,
    /// What it says about who sent it.
    pub sender: Sender,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The methods that have no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `GET`.
    Get,
    /// `HEAD`.
    Head,
}

impl Method {
    pub(super) fn parse(method: &[u8]) -> Option<Self> {
        match method {
            b"GET" => Some(Self::Get),
            b"HEAD" => Some(Self::Head),
            _ => None,
        }
    }

    /// The method as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
        }
    }
}

impl Plain {
    pub(super) fn new(
        method: Method,
        target: Target,
        sender: Sender,
        fields: &[(&[u8], &[u8])],
        named_by_connection: &[&[u8]],
    ) -> Self {
        let is_named = |name: &[u8]| named_by_connection.iter().any(|named| named.eq_ignore_ascii_case(name));
        let forwarded = fields.iter().filter(|(name, _)| !is_for_this_proxy(name) && !is_named(name));
        Self {
            method,
            authority: target.authority,
            path_and_query: target.path_and_query,
            sender,
            fields: forwarded.map(|(name, value)| (name.to_vec(), value.to_vec())).collect(),
        }
    }

    /// The head of the request that goes to the destination. `via` names the proxies that it has been through.
    pub fn to_destination(&self, via: &str) -> Vec<u8> {
        let host = self.authority.host.to_string();
        let start = [self.method.as_str().as_bytes(), b" ", self.path_and_query.as_bytes(), b" HTTP/1.1"].concat();
        let ours: [(&[u8], &[u8]); 3] =
            [(b"Host", host.as_bytes()), (b"Via", via.as_bytes()), (b"Connection", b"close")];
        let fields = ours.into_iter().chain(self.fields.iter().map(|(name, value)| (&name[..], &value[..])));
        let mut head = start;
        for (name, value) in fields {
            for part in [b"\r\n", name, b": ", value] {
                head.extend_from_slice(part);
            }
        }
        head.extend_from_slice(b"\r\n\r\n");
        head
    }
}

fn is_for_this_proxy(name: &[u8]) -> bool {
    let is_proxys = name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case(b"proxy-"));
    is_proxys || NOT_FORWARDED.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// A target in absolute form, taken apart.
pub(super) struct Target {
    pub(super) authority: Authority,
    path_and_query: String,
}

impl Target {
    /// Reads `http://host[:80]/path?query`.
    pub(super) fn parse(target: &[u8]) -> Result<Self, Fault> {
        let not_absolute = || Fault::not_connect("the target of a plain request is not an absolute http URL");
        let scheme =
            target.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case(b"http://")).ok_or_else(not_absolute)?;
        let rest = std::str::from_utf8(&target[scheme.len()..]).map_err(|_| not_absolute())?;
        if !rest.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'\\')) {
            return Err(Fault::malformed("the URL holds a byte that must be percent-encoded, or a fragment"));
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let authority = Authority::parse_with_default_port(authority.as_bytes(), PORT).map_err(Fault::target)?;
        if authority.port != PORT {
            return Err(Fault { reason: Reason::PORT, detail: "plain HTTP is passed on to port 80 only" });
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self { authority, path_and_query: format!("{slash}{path}") })
    }
}
