//! What of an output's requests is counted, for every batch: in series that are found once.

use std::time::Duration;

use super::deliver::label;
use crate::metrics::{self, Counter, Histogram, Many};
use crate::outputs::output::{Outcome, Output, Request};

/// The series of one output.
pub(super) struct Counters {
    output: String,
    accepted: Counter,
    /// Of each endpoint, in their order.
    failures: Vec<Counter>,
    seconds: Histogram,
    wire_bytes: Counter,
    plain_bytes: Counter,
    forwarded: Counter,
    ages: Histogram,
}

impl Counters {
    /// Those of an output of this name.
    pub(super) fn of(name: &str, output: &dyn Output) -> Self {
        let endpoints = output.endpoints().iter();
        let bytes = |counted| metrics::FORWARD_BYTES.counter(&[name, counted]);
        Self {
            output: name.to_owned(),
            accepted: metrics::FORWARD_REQUESTS.counter(&[name, label(&Outcome::Accepted)]),
            failures: endpoints.map(|endpoint| metrics::ENDPOINT_FAILURES.counter(&[name, &endpoint.name])).collect(),
            seconds: metrics::FORWARD_REQUEST_SECONDS.histogram(&[name]),
            wire_bytes: bytes("wire"),
            plain_bytes: bytes("plain"),
            forwarded: metrics::EVENTS_FORWARDED.counter(&[name]),
            ages: metrics::EVENT_AGE_AT_DELIVERY.histogram(&[name]),
        }
    }

    /// Counts a request and what came of it.
    pub(super) fn request(&self, endpoint: usize, request: &Request, outcome: &Outcome, took: Duration) {
        match outcome {
            Outcome::Accepted => self.accepted.increment(1),
            other => {
                metrics::FORWARD_REQUESTS.add(&[&self.output, label(other)], 1);
                self.failures[endpoint].increment(1);
            }
        }
        self.seconds.record(took.as_secs_f64());
        self.wire_bytes.increment(request.body.len() as u64);
        self.plain_bytes.increment(request.plain_bytes as u64);
    }

    /// Counts events that the output took, and how old they were then.
    pub(super) fn taken(&self, ages: impl ExactSizeIterator<Item = f64>) {
        self.forwarded.increment(ages.len() as u64);
        let mut many = Many::of(&metrics::EVENT_AGE_AT_DELIVERY);
        ages.for_each(|age| many.observe(age));
        many.record(&self.ages);
    }
}
