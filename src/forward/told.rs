//! What is told of a request to an endpoint: in the log, on the status page, and as a span where somebody collects traces.

use std::ops::Range;
use std::time::Duration;

use super::deliver::label;
use super::{Forwarder, LastError};
use crate::clock;
use crate::outputs::output::{Outcome, Request};
use crate::spool::Ordinal;
use crate::telemetry::traces::{self, Sent};

impl Forwarder {
    /// Notes what an endpoint said of a batch. Its positions in the spool join it to the uploads that its events came in.
    pub(super) fn tell(
        &self,
        endpoint: usize,
        request: &Request,
        range: &Range<Ordinal>,
        outcome: &Outcome,
        took: Duration,
    ) {
        let name = self.output.endpoints()[endpoint].name.as_str();
        let (output, batch, said) = (&*self.name, request.batch_id.as_str(), label(outcome));
        let Range { start: first, end } = *range;
        let detail = detail(outcome);
        match detail {
            Some(detail) => {
                tracing::info!(output, endpoint = name, batch, first, end, outcome = said, detail, "not taken");
            }
            None => tracing::debug!(output, endpoint = name, batch, first, end, events = request.events, "taken"),
        }
        if let Some(traces) = traces::running() {
            let attributes = vec![
                ("gatepost.output", output.into()),
                ("gatepost.endpoint", name.into()),
                ("gatepost.outcome", said.into()),
                ("gatepost.events", request.events.into()),
                ("gatepost.wire_bytes", request.body.len().into()),
            ];
            traces.sent(Sent { took, batch, positions: range.clone(), failure: detail, attributes });
        }
        *self.last_error.lock() = detail.map(|detail| LastError {
            at_ms: clock::wall_ms(),
            endpoint: name.to_owned(),
            outcome: said,
            detail: detail.to_owned(),
            advice: self.output.advise(outcome),
        });
    }
}

/// What an endpoint said instead of yes.
fn detail(outcome: &Outcome) -> Option<&str> {
    match outcome {
        Outcome::Accepted => None,
        Outcome::Retry { detail, .. }
        | Outcome::Ambiguous { detail }
        | Outcome::Split { detail, .. }
        | Outcome::Rejected { detail, .. } => Some(detail),
    }
}
