//! The head of a request: `CONNECT host:port HTTP/1.1` and its fields, or where it is switched on a `GET` or `HEAD` of
//! an absolute URL.
//!
//! Only fields that decide something are looked at, and none of them can switch to another mode: `Upgrade`, `Expect`
//! and `HTTP2-Settings` mean nothing here. The Host field never decides where a tunnel goes; it may only contradict.

use super::plain::{self, Method, Plain};
use super::{Authority, Connect, Credentials, EndOfHead, Fault, Request, Sender};
use crate::net::http1_guard::{FIELDS_MAX, field, is_token_byte};
use crate::tunnel::Reason;
use crate::tunnel::config::HostHeader;

/// What a listener wants of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules {
    /// What the Host header must be.
    pub host_header: HostHeader,
    /// `GET` and `HEAD` of absolute `http` URLs are served too.
    pub plain_http: bool,
}

/// Reads a whole head, final empty line included, as [`EndOfHead`] has found it.
pub fn parse(head: &[u8], rules: Rules) -> Result<Request, Fault> {
    if EndOfHead::default().find(head)? != Some(head.len()) {
        return Err(Fault::malformed("the head is not whole"));
    }
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let line = RequestLine::parse(lines.next().unwrap_or_default())?;
    let target = line.target(rules.plain_http)?;
    let mut fields = Fields::default();
    for (index, line) in lines.take_while(|line| !line.is_empty()).enumerate() {
        if index >= FIELDS_MAX {
            return Err(Fault { reason: Reason::HEAD_TOO_LARGE, detail: "more than 64 header fields" });
        }
        let (name, value) = field(line).map_err(|_| {
            Fault::malformed("a header line is folded, has no colon, or holds a byte that it may not have")
        })?;
        fields.note(name, value)?;
    }
    if rules.host_header == HostHeader::Same {
        fields.check_host(target.authority(), line.may_lack_host)?;
    }
    Ok(match target {
        Target::Tunnel(authority) => Request::Connect(Connect { authority, sender: fields.sender }),
        Target::Plain(method, target) => {
            Request::Plain(Plain::new(method, target, fields.sender, &fields.all, &fields.named_by_connection))
        }
    })
}

struct RequestLine<'a> {
    method: &'a [u8],
    target: &'a [u8],
    may_lack_host: bool,
}

enum Target {
    Tunnel(Authority),
    Plain(Method, plain::Target),
}

impl Target {
    fn authority(&self) -> &Authority {
        match self {
            Self::Tunnel(authority) => authority,
            Self::Plain(_, target) => &target.authority,
        }
    }
}

impl<'a> RequestLine<'a> {
    fn parse(line: &'a [u8]) -> Result<Self, Fault> {
        let mut parts = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Fault::malformed(
                "the request line is not a method, a target and a version with one space between",
            ));
        };
        if method.is_empty() || !method.iter().copied().all(is_token_byte) {
            return Err(Fault::malformed("the method is not a token"));
        }
        let may_lack_host = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
                return Err(Fault { reason: Reason::VERSION, detail: "the version is neither HTTP/1.1 nor HTTP/1.0" });
            }
            _ => return Err(Fault::malformed("the request line does not end with a version")),
        };
        Ok(Self { method, target, may_lack_host })
    }

    fn target(&self, plain_http: bool) -> Result<Target, Fault> {
        if self.method == b"CONNECT" {
            return Authority::parse(self.target).map(Target::Tunnel).map_err(Fault::target);
        }
        if !plain_http {
            return Err(Fault::not_connect("the method is not CONNECT"));
        }
        let Some(method) = Method::parse(self.method) else {
            return Err(Fault::not_connect("the method is none of CONNECT, GET and HEAD"));
        };
        plain::Target::parse(self.target).map(|target| Target::Plain(method, target))
    }
}

/// The fields of a head, with what was understood of them.
#[derive(Default)]
struct Fields<'a> {
    host: Option<&'a [u8]>,
    has_credentials: bool,
    has_length: bool,
    sender: Sender,
    named_by_connection: Vec<&'a [u8]>,
    all: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Fields<'a> {
    fn note(&mut self, name: &'a [u8], value: &'a [u8]) -> Result<(), Fault> {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("host") {
            if self.host.replace(value).is_some() {
                return Err(Fault::malformed("Host is repeated"));
            }
        } else if is("content-length") {
            if value != b"0" || self.has_length {
                return Err(Fault::malformed("Content-Length is repeated or not 0: the request may have no body"));
            }
            self.has_length = true;
        } else if is("transfer-encoding") {
            return Err(Fault::malformed("Transfer-Encoding is given: the request may have no body"));
        } else if is("proxy-authorization") {
            if self.has_credentials {
                return Err(Fault::malformed("Proxy-Authorization is repeated"));
            }
            self.has_credentials = true;
            self.sender.credentials = Credentials::parse(value);
        } else if is("via") {
            self.sender.note_via(value);
        } else if is("user-agent") {
            self.sender.note_user_agent(value);
        } else if is("connection") {
            self.named_by_connection.extend(value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii));
        }
        self.all.push((name, value));
        Ok(())
    }

    fn check_host(&self, target: &Authority, may_lack: bool) -> Result<(), Fault> {
        let Some(host) = self.host else {
            return if may_lack { Ok(()) } else { Err(Fault::malformed("Host is missing")) };
        };
        match Authority::parse_with_default_port(host, target.port) {
            Ok(host) if host == *target => Ok(()),
            Ok(_) => Err(Fault::host("Host names something else than the target")),
            Err(_) => Err(Fault::host("Host is not a host with or without a port")),
        }
    }
}
