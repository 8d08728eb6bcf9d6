//! A request as a span of a trace, where somebody collects them.

use std::net::IpAddr;
use std::time::Duration;

use http::StatusCode;
use http::request::Parts;

use super::access_log::Record;
use super::http::reply::Ids;
use super::reason::Failure;
use crate::telemetry::traces::{self, Request};

/// Keeps the span of a request that is answered.
pub(super) fn note(
    (listener, client): (&str, IpAddr),
    (parts, ids): (&Parts, &Ids),
    record: &Record,
    (status, failure): (StatusCode, Option<&Failure>),
    took: Duration,
) {
    let Some(traces) = traces::running() else { return };
    let receipt = record.receipt.unwrap_or_default();
    let mut attributes = vec![
        ("gatepost.listener", listener.into()),
        ("client.address", client.to_canonical().to_string().into()),
        ("http.request.method", parts.method.as_str().into()),
        ("url.path", parts.uri.path().into()),
        ("http.response.status_code", status.as_u16().into()),
        ("gatepost.received", receipt.received.into()),
        ("gatepost.spooled", receipt.spooled.into()),
    ];
    attributes.extend(record.identity.as_deref().map(|identity| ("gatepost.identity", identity.into())));
    attributes.extend(failure.map(|failure| ("gatepost.reason", failure.reason.code.into())));
    traces.answered(Request {
        took,
        ids: (ids.ours(), ids.clients()),
        traceparent: parts.headers.get("traceparent").and_then(|value| value.to_str().ok()),
        positions: receipt.first..receipt.end,
        failure: failure.map(|failure| failure.reason.text),
        attributes,
    });
}
