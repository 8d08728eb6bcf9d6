//! The trait every output implements, and what an endpoint can say about a batch.
//!
//! An output knows its protocol and nothing of retries, balancing or the spool: it says how large an event will be
//! on the wire, turns a batch into a body, sends a body to the endpoint it is told, and reports an [`Outcome`].

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::form::Form;
use super::identity::TokenStatus;
use crate::event::{Format, Timestamp};

/// One event on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingEvent {
    /// How `raw` is written.
    pub format: Format,
    /// The stream it was uploaded to; empty when the input has no streams.
    pub stream: std::sync::Arc<str>,
    /// Who uploaded it, where the input's policy keeps that with the event.
    pub client: Option<std::sync::Arc<str>>,
    /// The event as it was uploaded.
    pub raw: Bytes,
}

/// What makes a batch: the output's own limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Most bytes of a body before compression, separators and brackets included.
    pub max_bytes: usize,
    /// Most events of a batch.
    pub max_events: usize,
    /// Bytes a body has without any event (`[` and `]`).
    pub frame_bytes: usize,
    /// Bytes between two events (a comma or a line feed).
    pub separator_bytes: usize,
}

/// One event in the form in which the output sends it: a JSON row for most. Encoded once; batches are made of these.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row {
    /// What is sent.
    pub bytes: Bytes,
    /// When the event happened, if the output looked for it.
    pub time: Option<Timestamp>,
    /// Whether long texts were cut so that it fits.
    pub is_shortened: bool,
    /// Whether the event had no shape that the output knows, so that the row has all of it in one column.
    pub is_shapeless: bool,
}

impl Row {
    /// A row of an output that does not ask for the event's time.
    pub fn timeless(bytes: Bytes) -> Self {
        Self { bytes, time: None, is_shortened: false, is_shapeless: false }
    }
}

/// Rows as they are sent together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// Compressed if the output compresses.
    pub bytes: Bytes,
    /// How many events it holds.
    pub events: usize,
    /// Bytes before compression.
    pub plain_bytes: usize,
}

/// A batch, encoded and ready to send, again and again if need be: the bytes and the id never change.
#[derive(Debug, Clone)]
pub struct Request {
    /// The batch's id: equal for every try of the same events, also after a restart. A UUID in text form.
    pub batch_id: String,
    /// The body, compressed if the output compresses.
    pub body: Bytes,
    /// How many events it holds.
    pub events: usize,
    /// Bytes before compression.
    pub plain_bytes: usize,
}

impl Request {
    /// A body under the id of its batch.
    pub fn new(batch_id: String, body: Body) -> Self {
        let Body { bytes, events, plain_bytes } = body;
        Self { batch_id, body: bytes, events, plain_bytes }
    }
}

/// What an endpoint said about a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Every event was taken.
    Accepted,
    /// Not taken, as far as anybody says; try again, not before the given time if there is one.
    Retry {
        /// What the endpoint asked for (`Retry-After`).
        after: Option<Duration>,
        /// Why, for logs and metrics.
        reason: RetryReason,
        /// Whether it may have been taken all the same: the endpoint had the whole of it, and its protocol does not
        /// promise that this answer means no.
        may_be_taken: bool,
        /// What the endpoint said, cut to a few hundred bytes.
        detail: String,
    },
    /// The request was sent and no answer came: it may or may not have been taken. Tried again, and counted apart.
    Ambiguous {
        /// What happened instead of an answer.
        detail: String,
    },
    /// The body was too large: try again with half the events.
    Split {
        /// The status of the answer; `None` when nothing was sent, because no endpoint would take it.
        status: Option<u16>,
        /// What the endpoint said.
        detail: String,
    },
    /// At least one event of the batch will never be taken: narrow it down, then set it aside.
    Rejected {
        /// The status of the answer, if there was one.
        status: Option<u16>,
        /// What the endpoint said, cut to 4 KiB.
        detail: String,
    },
}

/// Why a batch has to be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RetryReason {
    /// No connection could be made; nothing was sent.
    Connect,
    /// More than we may send (429).
    Throttled,
    /// The endpoint is busy (503).
    Busy,
    /// The endpoint failed (other 5xx, disk full for the file output).
    Failed,
    /// No token could be had: nothing was sent.
    Token,
    /// The endpoint does not take our token, even a fresh one (401): a person has to act; the events are kept.
    Unauthorized,
    /// The endpoint knows us and does not let us (403): a role is missing, or not propagated yet.
    Forbidden,
    /// The endpoint does not know our rule or stream (404).
    NotFound,
    /// The endpoint does not want our requests for another reason (redirects, 405, 407, 415): a person has to act.
    Refused,
}

impl RetryReason {
    /// Whether waiting alone will hardly help.
    pub fn needs_a_person(self) -> bool {
        matches!(self, Self::Token | Self::Unauthorized | Self::Forbidden | Self::NotFound | Self::Refused)
    }
}

/// One address of an output, as configured.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointSpec {
    /// A short name for metrics and logs, unique within the output.
    pub name: String,
    /// Relative share of traffic among endpoints of one priority; above 0.
    pub weight: f64,
    /// Scheme, host and port, to tell whether two endpoints are one collector; empty where that says nothing.
    pub address: String,
    /// Lower numbers are used first; the next one only when none of these is available.
    pub priority: u32,
    /// Most events a second, if capped.
    pub events_per_second: Option<u32>,
    /// Most requests in flight.
    pub max_in_flight: usize,
}

/// A destination with its protocol and its endpoints.
pub trait Output: Send + Sync + 'static {
    /// The kind, as in the configuration: `workspace`, `http`, `file`.
    fn kind(&self) -> &'static str;

    /// Its endpoints, in configuration order; never empty.
    fn endpoints(&self) -> &[EndpointSpec];

    /// What the next batch may hold. Asked again for each: an output may learn what its endpoints take.
    fn limits(&self) -> BatchLimits;

    /// One event as it will be sent. Errors when this event can never be sent by this output; the text says why.
    fn row(&self, event: &OutgoingEvent) -> Result<Row, String>;

    /// The same row in fewer bytes, with marks where something was cut, for a row that is too large alone. `None` when
    /// nothing can be cut.
    fn shorten(&self, _row: &Row) -> Option<Row> {
        None
    }

    /// Whether an event of this time keeps it when it is sent `now`. Azure puts the time of arrival in place of some.
    fn keeps_time(&self, _time: Timestamp, _now: Timestamp) -> bool {
        true
    }

    /// Rows as one body; the same rows always give the same. CPU-heavy (compression): called off the async runtime.
    fn body(&self, rows: &[Row]) -> Body;

    /// What [`Output::row`] and [`Output::body`] depend on: an output of equal form would give the same. `None` when what they
    /// give is no other output's.
    fn form(&self) -> Option<Form> {
        None
    }

    /// Takes note of a body that is about to be sent, whoever made it.
    fn learn(&self, _body: &Body) {}

    /// Resolves when the output's own quotas let this request pass. Safe to drop at any time.
    fn admit<'a>(&'a self, _request: &'a Request) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Sends a request to the endpoint at this index of [`Output::endpoints`]. Bounded in time by the output.
    fn send<'a>(&'a self, endpoint: usize, request: &'a Request) -> BoxFuture<'a, Outcome>;

    /// Asks the endpoint whether it is there, without sending events. `Ok` when it would take a batch.
    fn probe<'a>(&'a self, endpoint: usize) -> BoxFuture<'a, Result<(), String>>;

    /// Whether a batch that is sent once more under its id is certain to be there once. Then no repetition is counted.
    fn recognises_batches(&self) -> bool {
        false
    }

    /// What an operator should do about an outcome; `None` when waiting is enough.
    fn advise(&self, _outcome: &Outcome) -> Option<String> {
        None
    }

    /// What an operator should do about events of whose shape it knows nothing ([`Row::is_shapeless`]).
    fn advise_shapeless(&self) -> Option<String> {
        None
    }

    /// How it stands with the tokens that it sends; none where it sends none.
    fn token(&self) -> Option<TokenStatus> {
        None
    }

    /// What the status page shows of it beyond its endpoints: token, quota. Never a secret.
    fn status(&self) -> Option<serde_json::Value> {
        None
    }
}
