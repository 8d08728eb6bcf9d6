//! What a protocol is to an upload listener: the two traits that every one of them implements.
//!
//! [`Protocol`] knows which requests are its own. What such a request asks for is an [`Ask`], which lives as long as the
//! request: it says who sends it, reads its body, and has the protocol's words for every answer. The way between is the
//! same for all of them and stands in `routes.rs`: route, admit, look at method and destination, read, accept, answer.
//!
//! ```text
//! Protocol::ask ─▶ Ask::admit ─▶ Ask::destination ─▶ Ask::read ─▶ ingest ══ durable ══▶ Content::then ─▶ Ask::taken
//!                      └──────────────────┴───────────────┴─ any Failure ─────────────────────┴──────────▶ Ask::refused
//! ```
//!
//! A protocol cannot answer with success before the events of a request are durable: it hands over what it read and is asked
//! for its words afterwards, with the receipt in its hands. What it must remember of a request besides (a bookmark, an agent
//! that was seen) it hands over as [`Content::then`], which runs when the events are durable and before the answer.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};
use http::request::Parts;
use http::{HeaderMap, Response};

use super::http::auth::{Admitted, Gate, Peer};
use super::intake::Intake;
use super::reason::Failure;
use super::{Config, ods, wef};
#[expect(unused_imports, reason = "named by the documentation")]
use crate::event::Client;
use crate::event::{Damaged, Known, Syntax};
use crate::filter::{EventSet, Rules};
use crate::ingest::accept::Receipt;
use crate::net::target;
use crate::shared::Store;

/// A protocol on one listener. It is opened with the listener's configuration and anew with each reload; requests that have
/// begun end with the one they began with.
pub trait Protocol: Any + Send + Sync {
    /// What a request with this head asks for; `None` when its path is none of this protocol's. Whether what it asks for is
    /// there and allowed is not said before its sender is known: see [`Ask::destination`].
    fn ask(&self, head: &Head<'_>) -> Option<Box<dyn Ask>>;
}

/// One request, from its head to its answer, in the words of its protocol.
///
/// The methods are called in the order in which they stand here. Whatever they learn of the request they may keep: an answer
/// can need what only the body told.
pub trait Ask: Send {
    /// Who sends it. Whoever brings credentials of its own still asks [`Gate::admit_address`] first.
    ///
    /// The default is what the listener's `auth` says: bearer tokens, client certificates, networks.
    fn admit<'a>(&'a mut self, head: &'a Head<'_>) -> BoxFuture<'a, Result<Admitted, Failure>> {
        Box::pin(ready(head.gate.admit(head.peer, head.headers()).map_err(Failure::from)))
    }

    /// The methods that its path takes, as `Allow` lists them.
    fn methods(&self) -> &'static str {
        "POST"
    }

    /// Where it wants its events to go, before its body is read.
    ///
    /// # Errors
    ///
    /// When that is not there, or a parameter or header is missing or wrong.
    fn destination(&self, head: &Head<'_>) -> Result<Destination, Failure> {
        let _ = head;
        Ok(Destination::default())
    }

    /// Reads its body, with what [`Intake`] has for that.
    fn read<'a>(&'a mut self, intake: &'a mut Intake<'_>) -> BoxFuture<'a, Result<Reading, Failure>>;

    /// What tells this upload from others, once it was read: see [`Client::upload_mark`]. The default is `None`: records without an
    /// identity of their own are known by their content.
    fn mark(&self) -> Option<[u8; 32]> {
        None
    }

    /// The answer when its events are durable.
    fn taken(&self, receipt: &Receipt) -> Response<Body>;

    /// The answer when it failed; nothing of it was kept, or it does no harm to send it again. For a reason that
    /// [passes](super::reason::Reason::passes) it must be one that makes the protocol's clients keep their copy and send it again.
    fn refused(&self, failure: &Failure) -> Response<Body>;

    /// The name of a failure that the answer has, for the access log.
    fn code(&self, failure: &Failure) -> &'static str {
        failure.name.unwrap_or(failure.reason.code)
    }
}

/// A request without its body.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    /// The name of the listener.
    pub listener: &'a Arc<str>,
    /// Its head. Connections put what they know into the extensions.
    pub parts: &'a Parts,
    /// Where it comes from.
    pub peer: &'a Peer,
    /// Who may use the listener.
    pub gate: &'a Gate,
}

impl<'a> Head<'a> {
    /// The segments of its path, still encoded.
    pub fn segments(&self) -> Vec<&'a str> {
        target::segments(self.parts.uri.path())
    }

    /// Its query; empty without one.
    pub fn query(&self) -> &'a str {
        self.parts.uri.query().unwrap_or_default()
    }

    /// Its headers.
    pub fn headers(&self) -> &'a HeaderMap {
        &self.parts.headers
    }
}

/// Where the events of a request are to go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Destination {
    /// The data collection rule that is named; empty where the protocol has none.
    pub rule: String,
    /// The stream; empty where the protocol has none.
    pub stream: Arc<str>,
}

/// What a body was.
pub enum Reading {
    /// Events to be kept.
    Events(Content),
    /// Nothing to be kept: this is the answer.
    Answer(Response<Body>),
}

/// Events to be kept.
pub struct Content {
    /// The stream that they belong to; empty where the protocol has none.
    pub stream: Arc<str>,
    /// How `body` is written.
    pub syntax: Syntax,
    /// The events, as text in UTF-8; behind the text stands what of it could not be made text.
    pub body: Bytes,
    /// What stands behind the text, in order.
    pub damaged: Vec<Damaged>,
    /// What is known of the records in the text, where whoever wrote it knows of all of them.
    pub known: Option<Arc<Known>>,
    /// What is to be made durable after the events and before the answer. It runs to its end even if the client hangs up.
    pub then: Option<Then>,
}

/// What a protocol makes durable when the events of a request are. With a failure the client sends the request again, and its
/// events are duplicates then.
pub type Then = Box<dyn FnOnce(Receipt) -> BoxFuture<'static, Result<(), Failure>> + Send>;

/// The table of a protocol on a listener.
pub trait Settings {
    /// Whether the listener speaks it.
    fn is_enabled(&self) -> bool;

    /// Whether its clients show credentials of its own, so that the listener's `auth` may name none.
    fn brings_credentials(&self) -> bool {
        false
    }

    /// The clients of its own that are bound to computers or resources: see `identity.policy`.
    fn bound_clients(&self) -> Vec<String> {
        Vec::new()
    }

    /// The agent groups that clients of its own can belong to.
    fn groups(&self) -> Vec<&str> {
        Vec::new()
    }

    /// What cannot work; each begins with its key (`logs_ingestion.streams: …`) and says what would be right.
    fn problems(&self) -> Vec<String> {
        Vec::new()
    }

    /// Opens it for a listener: reads keys and what it remembers. Changes nothing that the running one uses.
    ///
    /// # Errors
    ///
    /// When a file that it needs cannot be used.
    fn open(&self, place: &Place<'_>) -> Result<Arc<dyn Protocol>, OpenError>;
}

/// Where a protocol is opened.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The name of the listener.
    pub listener: &'a str,
    /// The state directory: a protocol keeps what is its own in a folder of its name.
    pub state_dir: &'a Path,
    /// The whole listener.
    pub config: &'a Config,
    /// What outlives reloads.
    pub shared: &'a Shared,
    /// What the listener of that name speaks until now; empty at the start.
    pub running: &'a [Arc<dyn Protocol>],
}

impl Place<'_> {
    /// The protocol that the listener speaks until now, whose memory the new one goes on with.
    pub fn before<P: Protocol>(&self) -> Option<&P> {
        self.running.iter().find_map(|protocol| {
            let protocol: &dyn Any = &**protocol;
            protocol.downcast_ref()
        })
    }
}

/// What the listeners of one gateway share, over reloads too.
#[derive(Clone)]
pub struct Shared {
    /// The state directory.
    pub state_dir: PathBuf,
    /// What Windows Event Forwarding remembers.
    pub wef: Arc<wef::Memory>,
    /// What is known of OMS and Microsoft Monitoring agents.
    pub ods: Arc<ods::Memory>,
    /// Documents that other gateways have too, if any do; whoever runs the engine cannot read them.
    pub documents: Option<Arc<dyn Store>>,
}

impl Shared {
    /// Over a state directory of the machine, without rules: for tests.
    pub fn over(state_dir: &Path) -> Self {
        let rules = Rules::of_event_set(EventSet::Everything);
        let wef = Arc::new(wef::Memory::over(state_dir.to_owned(), rules));
        let ods = Arc::new(ods::Memory::over(state_dir.to_owned()));
        Self { state_dir: state_dir.to_owned(), wef, ods, documents: None }
    }
}

/// Why a protocol cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct OpenError {
    /// The key whose value cannot be used, such as `wef.keytab`.
    pub key: String,
    /// What is wrong and what would be right.
    pub reason: String,
}
