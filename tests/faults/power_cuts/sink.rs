//! What stands outside of the gateway: a sink that counts how often each event arrived.

use parking_lot::Mutex;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use gatepost::fs::volatile::VolatileFs;
use gatepost::outputs::output::{
    BatchLimits, Body, EndpointSpec, Outcome, OutgoingEvent, Output, Request, RetryReason, Row,
};

/// What the sink holds, over all lives of the gateway.
pub(crate) struct World {
    held: Mutex<Held>,
}

struct Held {
    copies: BTreeMap<u64, u64>,
    known: HashSet<String>,
    recognises: bool,
    misbehaves: bool,
    rng: fastrand::Rng,
}

/// How a request goes.
enum Turn {
    Accept,
    Refuse,
    AnswerNothing { kept: bool },
}

impl World {
    /// A sink that takes a batch id only once, or knows no ids.
    pub(crate) fn new(rng: fastrand::Rng, recognises: bool) -> Self {
        let held = Held { copies: BTreeMap::new(), known: HashSet::new(), recognises, misbehaves: false, rng };
        Self { held: Mutex::new(held) }
    }

    pub(crate) fn misbehave(&self, on: bool) {
        self.held.lock().misbehaves = on;
    }

    pub(crate) fn behave(&self) {
        self.misbehave(false);
    }

    /// How often each event arrived.
    pub(crate) fn held(&self) -> BTreeMap<u64, u64> {
        self.held.lock().copies.clone()
    }

    fn latency(&self) -> Duration {
        Duration::from_micros(self.held.lock().rng.u64(..1_500))
    }

    fn take(&self, request: &Request) -> Outcome {
        let mut held = self.held.lock();
        match held.turn() {
            Turn::Refuse => Outcome::Retry {
                after: None,
                reason: RetryReason::Busy,
                may_be_taken: false,
                detail: "busy".to_owned(),
            },
            Turn::AnswerNothing { kept: false } => Outcome::Ambiguous { detail: "gone".to_owned() },
            Turn::AnswerNothing { kept: true } => {
                held.keep(request);
                Outcome::Ambiguous { detail: "kept, and gone".to_owned() }
            }
            Turn::Accept => {
                held.keep(request);
                Outcome::Accepted
            }
        }
    }
}

impl Held {
    fn turn(&mut self) -> Turn {
        match self.rng.u8(..8) {
            0 | 1 if self.misbehaves => Turn::Refuse,
            2 if self.misbehaves => Turn::AnswerNothing { kept: self.rng.bool() },
            _ => Turn::Accept,
        }
    }

    fn keep(&mut self, request: &Request) {
        if self.recognises && !self.known.insert(request.batch_id.clone()) {
            return;
        }
        for event in std::str::from_utf8(&request.body).unwrap().lines() {
            let number = event.split_once("\"EventRecordId\":").unwrap().1.trim_end_matches('}');
            *self.copies.entry(number.parse().unwrap()).or_default() += 1;
        }
    }
}

/// The output of one life: it reaches the sink only while there is power.
pub(crate) struct Line {
    pub(crate) world: Arc<World>,
    pub(crate) disk: VolatileFs,
    endpoints: [EndpointSpec; 2],
}

impl Line {
    pub(crate) fn new(world: Arc<World>, disk: VolatileFs) -> Self {
        let endpoint = |name: &str| EndpointSpec {
            name: name.to_owned(),
            address: String::new(),
            weight: 1.0,
            priority: 0,
            events_per_second: None,
            max_in_flight: 2,
        };
        Self { world, disk, endpoints: [endpoint("a"), endpoint("b")] }
    }
}

impl Output for Line {
    fn kind(&self) -> &'static str {
        "test"
    }

    fn endpoints(&self) -> &[EndpointSpec] {
        &self.endpoints
    }

    fn limits(&self) -> BatchLimits {
        BatchLimits { max_bytes: 1 << 20, max_events: 60, frame_bytes: 0, separator_bytes: 1 }
    }

    fn row(&self, event: &OutgoingEvent) -> Result<Row, String> {
        Ok(Row::timeless(event.raw.clone()))
    }

    fn body(&self, rows: &[Row]) -> Body {
        let body = rows.iter().map(|row| &row.bytes[..]).collect::<Vec<_>>().join(&b'\n');
        Body { events: rows.len(), plain_bytes: body.len(), bytes: body.into() }
    }

    fn send<'a>(&'a self, _: usize, request: &'a Request) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let (there, back) = (self.world.latency(), self.world.latency());
            tokio::time::sleep(there).await;
            let outcome = self.disk.while_on(|| self.world.take(request));
            tokio::time::sleep(back).await;
            match outcome {
                Some(outcome) if self.disk.is_on() => outcome,
                _ => std::future::pending().await,
            }
        })
    }

    fn probe<'a>(&'a self, _: usize) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
