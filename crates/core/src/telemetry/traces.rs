//! Traces, where somebody collects them: each request to a listener and each request to an endpoint as a span, in the JSON of
//! OTLP over HTTP.
//!
//! The ids that join the logs are the ids of the traces. The trace of a batch is its batch id, which the collector gets as
//! `x-ms-client-request-id`; the trace of an upload is the one that its client told (`traceparent`), or else the id that the client
//! gave the request, where that is a UUID, or else ours. So what one gateway sends to the next is one trace without either knowing of
//! the other. An event leaves in another request than it came in: the span of a batch links to the uploads whose events it holds,
//! which are found by their positions in the spool.
//!
//! Nothing waits for a trace. Spans that nobody takes away in time are dropped and counted, and with them goes nothing else. Without a
//! collector nothing is kept at all.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// Spans that wait to be taken away.
const WAITING_MAX: usize = 4_096;

/// Uploads that batches can be linked to.
const RECENT_MAX: usize = 1_024;

/// Most links of one span.
const LINKS_MAX: usize = 32;

/// What a span is to those who look at it, as OTLP numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Server = 2,
    Client = 3,
}

/// Something that was done, from its begin to its end.
#[derive(Debug)]
pub struct Span {
    context: Context,
    parent: Option<String>,
    kind: Kind,
    name: &'static str,
    begin: SystemTime,
    end: SystemTime,
    /// Why it failed.
    failure: Option<String>,
    attributes: Vec<Value>,
    links: Vec<Context>,
}

/// The ids of a span, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Context {
    trace: String,
    span: String,
}

/// A request to a listener that was answered.
#[derive(Debug)]
pub struct Request<'a> {
    /// How long it took until now.
    pub took: Duration,
    /// The id that we gave it, and the one that its client did.
    pub ids: (&'a str, Option<&'a str>),
    /// The header of that name.
    pub traceparent: Option<&'a str>,
    /// Where its new events are in the spool; empty where there are none.
    pub positions: Range<u64>,
    /// Why it was refused.
    pub failure: Option<&'a str>,
    /// What else is known of it.
    pub attributes: Vec<(&'static str, Value)>,
}

/// A request to an endpoint that has ended.
#[derive(Debug)]
pub struct Sent<'a> {
    /// How long it took until now.
    pub took: Duration,
    /// The id of the batch.
    pub batch: &'a str,
    /// Which positions of the spool it is made of.
    pub positions: Range<u64>,
    /// What was said instead of yes.
    pub failure: Option<&'a str>,
    /// What else is known of it.
    pub attributes: Vec<(&'static str, Value)>,
}

/// Keeps spans until they are taken away.
#[derive(Debug, Default)]
pub struct Traces {
    waiting: Mutex<Vec<Span>>,
    recent: Mutex<VecDeque<(Range<u64>, Context)>>,
    dropped: AtomicU64,
    numbers: AtomicU64,
    random: RandomState,
}

static RUNNING: OnceLock<Traces> = OnceLock::new();

/// From now on spans are kept, for whoever calls [`Traces::take`].
pub fn begin() -> &'static Traces {
    RUNNING.get_or_init(Traces::default)
}

/// Where spans go; nowhere, unless somebody collects them.
pub fn running() -> Option<&'static Traces> {
    RUNNING.get()
}

impl Traces {
    /// Keeps the span of a request that was answered.
    pub fn answered(&self, request: Request<'_>) {
        let Request { took, ids: (ours, clients), traceparent, positions, failure, attributes } = request;
        let (told, parent) = traceparent.and_then(parsed).unzip();
        let trace = told.or_else(|| clients.and_then(trace_of)).or_else(|| trace_of(ours)).unwrap_or_default();
        let context = Context { trace, span: self.span_id() };
        if !positions.is_empty() {
            let mut recent = self.recent.lock();
            if recent.len() == RECENT_MAX {
                recent.pop_front();
            }
            recent.push_back((positions.clone(), context.clone()));
        }
        let ids = [("gatepost.request_id", Some(ours)), ("gatepost.client_request_id", clients)];
        let ids = ids.into_iter().filter_map(|(key, id)| Some((key, Value::from(id?))));
        let attributes = ids.chain(of_positions(&positions)).chain(attributes).map(attribute).collect();
        self.keep(Span {
            parent,
            failure: failure.map(str::to_owned),
            attributes,
            ..span(context, Kind::Server, "upload", took)
        });
    }

    /// Keeps the span of a request that was sent.
    pub fn sent(&self, sent: Sent<'_>) {
        let Sent { took, batch, positions, failure, attributes } = sent;
        let context = Context { trace: trace_of(batch).unwrap_or_default(), span: self.span_id() };
        let ids = [("gatepost.batch_id", Value::from(batch))].into_iter();
        let attributes = ids.chain(of_positions(&positions)).chain(attributes).map(attribute).collect();
        let links = self.uploads_of(&positions);
        let failure = failure.map(str::to_owned);
        self.keep(Span { failure, attributes, links, ..span(context, Kind::Client, "batch", took) });
    }

    /// What was kept since the last time, and how many spans there was no room for.
    pub fn take(&self) -> (Vec<Span>, u64) {
        let spans = std::mem::take(&mut *self.waiting.lock());
        (spans, self.dropped.swap(0, Ordering::Relaxed))
    }

    fn keep(&self, span: Span) {
        let mut waiting = self.waiting.lock();
        if waiting.len() < WAITING_MAX {
            waiting.push(span);
        } else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The uploads that brought events at these positions, the latest first, as far as they are remembered.
    fn uploads_of(&self, positions: &Range<u64>) -> Vec<Context> {
        let recent = self.recent.lock();
        let overlaps = |of: &Range<u64>| of.start < positions.end && positions.start < of.end;
        let uploads = recent.iter().rev().filter(|(of, _)| overlaps(of));
        uploads.map(|(_, context)| context.clone()).take(LINKS_MAX).collect()
    }

    fn span_id(&self) -> String {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        format!("{:016x}", self.random.hash_one(number).max(1))
    }
}

fn span(context: Context, kind: Kind, name: &'static str, took: Duration) -> Span {
    let end = SystemTime::now();
    let begin = end.checked_sub(took).unwrap_or(end);
    Span { context, parent: None, kind, name, begin, end, failure: None, attributes: Vec::new(), links: Vec::new() }
}

fn of_positions(positions: &Range<u64>) -> impl Iterator<Item = (&'static str, Value)> + use<> {
    let told = [("gatepost.first", Value::from(positions.start)), ("gatepost.end", Value::from(positions.end))];
    let is_empty = positions.is_empty();
    told.into_iter().filter(move |_| !is_empty)
}

/// A UUID as the id of a trace, which must not be all zeros.
fn trace_of(id: &str) -> Option<String> {
    let digits: String = id.trim_matches(['{', '}']).split('-').collect();
    is_id(&digits, 32).then(|| digits.to_ascii_lowercase())
}

/// Trace and span of a `traceparent`: `00-<trace>-<span>-<flags>`.
fn parsed(traceparent: &str) -> Option<(String, String)> {
    let mut parts = traceparent.split('-');
    let (version, trace, span) = (parts.next()?, parts.next()?, parts.next()?);
    let is_known = version.len() == 2 && version != "ff" && parts.next().is_some_and(|flags| flags.len() == 2);
    (is_known && is_id(trace, 32) && is_id(span, 16)).then(|| (trace.to_ascii_lowercase(), span.to_ascii_lowercase()))
}

fn is_id(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit()) && text.bytes().any(|byte| byte != b'0')
}

/// An attribute as OTLP has it. Whole numbers are texts there, because those of JSON have no 64 bits.
fn attribute((key, value): (&'static str, Value)) -> Value {
    let value = match value {
        Value::Number(number) => json!({ "intValue": number.to_string() }),
        Value::String(text) => json!({ "stringValue": text }),
        other => json!({ "stringValue": other.to_string() }),
    };
    json!({ "key": key, "value": value })
}

fn nanos(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}

impl Span {
    fn json(&self) -> Value {
        let Self { context, parent, kind, name, begin, end, failure, attributes, links } = self;
        let mut span = json!({
            "traceId": context.trace,
            "spanId": context.span,
            "name": name,
            "kind": *kind as u8,
            "startTimeUnixNano": nanos(*begin),
            "endTimeUnixNano": nanos(*end),
            "attributes": attributes,
            "status": {},
        });
        if let Some(parent) = parent {
            span["parentSpanId"] = parent.as_str().into();
        }
        if let Some(failure) = failure {
            span["status"] = json!({ "code": 2, "message": failure });
        }
        if !links.is_empty() {
            span["links"] = links.iter().map(|of| json!({ "traceId": of.trace, "spanId": of.span })).collect();
        }
        span
    }
}

/// The body of a request to a collector: an `ExportTraceServiceRequest`.
pub fn export(spans: &[Span], version: &str, instance: &str) -> Value {
    let resource = [
        ("service.name", "gatepost".into()),
        ("service.version", version.into()),
        ("service.instance.id", instance.into()),
    ];
    json!({
        "resourceSpans": [{
            "resource": { "attributes": resource.map(attribute) },
            "scopeSpans": [{
                "scope": { "name": "gatepost", "version": version },
                "spans": spans.iter().map(Span::json).collect::<Vec<_>>(),
            }],
        }],
    })
}

#[cfg(test)]
#[path = "traces_tests.rs"]
mod tests;
