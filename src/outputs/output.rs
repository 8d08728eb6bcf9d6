//! The trait every output implements, and what an endpoint can say about a batch.
//!
//! An output knows its protocol and nothing of retries, balancing or the spool: it says how large an event will be
//! on the wire, turns a batch into a body, sends a body to the endpoint it is told, and reports an [`Outcome`].

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::event::Format;

/// One event on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingEvent {
    /// How `raw` is written.
    pub format: Format,
    /// The stream it was uploaded to; empty when the input has no streams.
    pub stream: std::sync::Arc<str>,
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
pub type Row = Bytes;

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

/// What an endpoint said about a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Every event was taken.
    Accepted,
    /// Nothing was taken; try again, not before the given time if there is one.
    Retry {
        /// What the endpoint asked for (`Retry-After`).
        after: Option<Duration>,
        /// Why, for logs and metrics.
        reason: RetryReason,
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
    /// The endpoint is busy or over quota (429, 503).
    Throttled,
    /// The endpoint failed (other 5xx, disk full for the file output).
    Failed,
    /// The endpoint does not know us (401, 403) or our rule (404): a person has to act; the events are kept.
    Refused,
}

/// One address of an output, as configured.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointSpec {
    /// A short name for metrics and logs, unique within the output.
    pub name: String,
    /// Relative share of traffic among endpoints of one priority; above 0.
    pub weight: f64,
    /// Lower numbers are used first; the next one only when none of these is available.
    pub priority: u32,
    /// Most events a second, if capped.
    pub events_per_second: Option<u32>,
    /// Most requests in flight.
    pub max_in_flight: usize,
}

/// A destination with its protocol and its endpoints.
pub trait Output: Send + Sync + 'static {
    /// The kind, as in the configuration: `logs_ingestion`, `http`, `file`.
    fn kind(&self) -> &'static str;

    /// Its endpoints, in configuration order; never empty.
    fn endpoints(&self) -> &[EndpointSpec];

    /// What one batch may hold.
    fn limits(&self) -> BatchLimits;

    /// One event as it will be sent. Errors when this event can never be sent by this output; the text says why.
    fn row(&self, event: &OutgoingEvent) -> Result<Row, String>;

    /// Rows as one request. CPU-heavy (compression): called off the async runtime.
    fn encode(&self, batch_id: String, rows: &[Row]) -> Request;

    /// Sends a request to the endpoint at this index of [`Output::endpoints`]. Bounded in time by the output.
    fn send<'a>(&'a self, endpoint: usize, request: &'a Request) -> BoxFuture<'a, Outcome>;

    /// Asks the endpoint whether it is there, without sending events. `Ok` when it would take a batch.
    fn probe<'a>(&'a self, endpoint: usize) -> BoxFuture<'a, Result<(), String>>;
}
