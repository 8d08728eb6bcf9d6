//! Hosts of a domain: they show a ticket, and seal what they send as Windows does.
//!
//! Tickets come from a real KDC by MIT's library, in a process for each host: its keytab and its configuration are variables of
//! a process. Sealing is the library's too, in the form that Windows has, and shares nothing with what the gateway opens it with.

mod initiator;
pub mod kdc;
mod ticket;
mod wire;

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use tokio::sync::Mutex;

pub use initiator::run as show_tickets;
pub use ticket::{Scheme, Ticket};
pub use wire::{Reply, Wire};

use gatepost_net::net::upload_client::Answer;

/// What a sealed message is called in its frame.
const KIND: &str = "application/soap+xml;charset=UTF-16";

/// How a host gets its tickets.
#[derive(Debug, Clone)]
pub struct Account {
    /// The program that shows them, and its arguments.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// The variables of its process: `KRB5_CONFIG`, `KRB5_CLIENT_KTNAME`, `KRB5CCNAME`.
    pub variables: Vec<(String, String)>,
    /// Whose tickets they are, such as `PC1$@EXAMPLE.COM`. Default: the first of its keytab, or that of its cache.
    pub principal: Option<String>,
    /// The service that it asks for, such as `HTTP/gateway.example.com`.
    pub service: String,
    /// How it shows them.
    pub scheme: Scheme,
}

/// The connection of a host, which is opened anew when it breaks.
pub struct Line {
    account: Account,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ticket: Option<Ticket>,
    wire: Option<Wire>,
}

impl Line {
    /// Nothing is opened yet.
    pub fn new(account: Account) -> Self {
        Self { account, state: Mutex::default() }
    }

    /// Posts a message to a URL (`http://address:port/path`), sealed.
    ///
    /// # Errors
    ///
    /// When there is no answer, or none that can be opened.
    pub async fn post(&self, url: &str, compressed: bool, body: &[u8]) -> anyhow::Result<Answer> {
        let mut state = self.state.lock().await;
        let answer = self.exchange(&mut state, url, compressed, body).await;
        if answer.is_err() {
            state.wire = None;
        }
        answer
    }

    async fn exchange(&self, state: &mut State, url: &str, compressed: bool, body: &[u8]) -> anyhow::Result<Answer> {
        let (address, path) = parts(url)?;
        let ticket = match &mut state.ticket {
            Some(ticket) => ticket,
            none => none.insert(Ticket::start(&self.account)?),
        };
        let wire = match state.wire.take() {
            Some(wire) => wire,
            None => greeted(Wire::open(address).await?, path, ticket, &self.account).await?,
        };
        let wire = state.wire.insert(wire);
        let sealed = framed(self.account.scheme, body.len(), &ticket.seal(body).await?);
        let kind = content_type(self.account.scheme);
        let encoding = [("content-type", kind.as_str()), ("content-encoding", "SLDC")];
        let reply = wire.post(path, if compressed { &encoding } else { &encoding[..1] }, &sealed).await?;
        let body = match unframed(&reply.body) {
            Some(sealed) => ticket.open(sealed).await?,
            None => reply.body.clone(),
        };
        if reply.header("connection") == Some("close") {
            state.wire = None;
        }
        Ok(Answer { status: reply.status, retry_after: None, body: Bytes::from(body) })
    }
}

/// Shows a ticket on a connection, in as many requests as it takes.
async fn greeted(mut wire: Wire, path: &str, ticket: &mut Ticket, account: &Account) -> anyhow::Result<Wire> {
    let mut next = Some(ticket.begin(account).await?);
    while let Some(shown) = next {
        let reply = greet(&mut wire, path, account.scheme, &shown).await?;
        let answer = reply.header("www-authenticate").and_then(|value| value.strip_prefix(account.scheme.name()));
        let answer = answer.map(token).transpose()?.filter(|token| !token.is_empty());
        match (reply.status, answer) {
            (200 | 401, Some(answer)) => next = ticket.go_on(&answer).await?,
            (200, None) => next = None,
            (status, _) => bail!("the ticket is answered with {status}: {}", String::from_utf8_lossy(&reply.body)),
        }
    }
    Ok(wire)
}

/// One request that shows a token.
///
/// # Errors
///
/// When there is no answer.
pub async fn greet(wire: &mut Wire, path: &str, scheme: Scheme, token: &[u8]) -> anyhow::Result<Reply> {
    let shown = format!("{} {}", scheme.name(), STANDARD.encode(token));
    wire.post(path, &[("content-type", KIND), ("authorization", &shown)], b"").await
}

/// A token as it stands in a header.
///
/// # Errors
///
/// When it is no base64.
pub fn token(written: &str) -> anyhow::Result<Vec<u8>> {
    Ok(STANDARD.decode(written.trim())?)
}

/// What a sealed body is called.
pub fn content_type(scheme: Scheme) -> String {
    format!("multipart/encrypted;protocol=\"{}\";boundary=\"Encrypted Boundary\"", scheme.protocol())
}

/// Sealed bytes as Windows frames them.
pub fn framed(scheme: Scheme, length: usize, sealed: &[u8]) -> Vec<u8> {
    let boundary = "--Encrypted Boundary";
    let mut body = format!("{boundary}\r\nContent-Type: {}\r\n", scheme.protocol()).into_bytes();
    body.extend(format!("OriginalContent: type={KIND};Length={length}\r\n{boundary}\r\n").bytes());
    body.extend(b"Content-Type: application/octet-stream\r\n");
    body.extend(sealed);
    body.extend(b"--Encrypted Boundary--\r\n");
    body
}

/// The sealed bytes of an answer, if it has any.
pub fn unframed(body: &[u8]) -> Option<&[u8]> {
    let start = b"application/octet-stream\r\n";
    let at = memchr::memmem::find(body, start)? + start.len();
    body[at..].strip_suffix(b"--Encrypted Boundary--\r\n")
}

fn parts(url: &str) -> anyhow::Result<(&str, &str)> {
    let rest = url.strip_prefix("http://").with_context(|| format!("{url} does not begin with http://"))?;
    let at = rest.find('/').unwrap_or(rest.len());
    Ok((&rest[..at], if at == rest.len() { "/" } else { &rest[at..] }))
}
