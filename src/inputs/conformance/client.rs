//! Clients of a protocol, as the suite knows them: how they write a request, and how they read an answer.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::super::Config;
use super::super::http::auth::Token;
use super::super::registry::Protocols;
use crate::lab::events::SimulatedEvent;

/// The token that is let in, and its SHA-256.
const RIGHT: (&str, &str) = ("right", "27042f4e6eca7d0b2a7ee4026df2ecfa51d3339e6d122aa099118ecd8563bad9");

/// What a request shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::inputs) enum Shown {
    Nothing,
    Wrong,
    Right,
}

/// A protocol as its clients know it.
pub(in crate::inputs) trait Specimen {
    /// Enables the protocol on a listener, which speaks no other.
    fn enable(&self, protocols: &mut Protocols);

    /// Lets the client in that shows [`Shown::Right`]. The default is a bearer token.
    fn let_in(&self, config: &mut Config) {
        let (name, sha256) = ("plant".to_owned(), RIGHT.1.to_owned());
        config.auth.tokens = vec![Token { name, sha256, group: None, hosts: Vec::new(), resource_ids: Vec::new() }];
    }

    /// Puts on a request what it shows. The default is a bearer token.
    fn show(&self, request: &mut Sent, shown: Shown) {
        let token = match shown {
            Shown::Nothing => return,
            Shown::Wrong => "wrong",
            Shown::Right => RIGHT.0,
        };
        request.headers.push(("authorization", format!("Bearer {token}")));
    }

    /// One upload of these events, and behind them so many records that nobody can understand.
    fn upload(&self, events: &[SimulatedEvent], unreadable: usize) -> Sent;

    /// Whether a client of it forgets its copy upon this answer.
    fn is_success(&self, answer: &Answer) -> bool;

    /// Whether a client of it keeps its copy and sends it again, unchanged, upon this answer.
    fn is_sent_again(&self, answer: &Answer) -> bool;

    /// Received, filtered, duplicate, set aside, spooled; where the answer tells.
    fn counts(&self, answer: &Answer) -> Option<[u64; 5]>;
}

/// A request as a client writes it.
#[derive(Debug, Clone)]
pub(in crate::inputs) struct Sent {
    pub(in crate::inputs) method: &'static str,
    pub(in crate::inputs) target: String,
    pub(in crate::inputs) headers: Vec<(&'static str, String)>,
    pub(in crate::inputs) body: Vec<u8>,
}

impl Sent {
    pub(in crate::inputs) fn post(target: &str, content_type: &str, body: Vec<u8>) -> Self {
        let headers = vec![("content-type", content_type.to_owned())];
        Self { method: "POST", target: target.to_owned(), headers, body }
    }

    pub(super) fn head(&self) -> Vec<u8> {
        let (Self { method, target, .. }, length) = (self, self.body.len());
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: gate\r\nContent-Length: {length}\r\n");
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        [self.head(), self.body.clone()].concat()
    }
}

/// An answer as a client reads it.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::inputs) struct Answer {
    pub(in crate::inputs) status: StatusCode,
    pub(in crate::inputs) headers: HeaderMap,
    pub(in crate::inputs) body: Vec<u8>,
}

impl Answer {
    /// Whether it says when to come back.
    pub(in crate::inputs) fn says_when(&self) -> bool {
        self.headers.contains_key("retry-after")
    }

    /// The answers that stand in these bytes, one after the other.
    pub(super) fn all(mut bytes: &[u8]) -> Vec<Self> {
        let mut answers = Vec::new();
        while let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = std::str::from_utf8(&bytes[..end]).expect("a head is text");
            let mut lines = head.split("\r\n");
            let status = lines.next().and_then(|line| line.get(9..12)).and_then(|code| code.parse().ok());
            let fields = lines.filter_map(|line| line.split_once(": "));
            let headers: HeaderMap = fields
                .map(|(name, value)| {
                    let name = HeaderName::try_from(name).expect("a name");
                    (name, HeaderValue::try_from(value).expect("a value"))
                })
                .collect();
            let length = headers.get("content-length").and_then(|length| length.to_str().ok()?.parse().ok());
            let (start, length) = (end + 4, length.unwrap_or(0usize));
            let body = bytes[start..start + length].to_vec();
            let status = StatusCode::from_u16(status.expect("a status")).expect("a status");
            answers.push(Self { status, headers, body });
            bytes = &bytes[start + length..];
        }
        answers
    }
}
