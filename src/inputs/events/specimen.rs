//! The plain door as scripts speak it.

use http::StatusCode;
use serde_json::Value;

use crate::inputs::conformance::{self, Answer, Sent};
use crate::inputs::logs_ingestion::specimen::{array, is_sent_again};
use crate::inputs::registry::Protocols;
use crate::lab::events::SimulatedEvent;

pub(in crate::inputs) struct Specimen;

impl conformance::Specimen for Specimen {
    fn enable(&self, protocols: &mut Protocols) {
        protocols.events.enabled = true;
    }

    fn upload(&self, events: &[SimulatedEvent], unreadable: usize) -> Sent {
        Sent::post("/v1/events", "application/json", array(events, unreadable))
    }

    fn is_success(&self, answer: &Answer) -> bool {
        answer.status == StatusCode::OK
    }

    fn is_sent_again(&self, answer: &Answer) -> bool {
        is_sent_again(answer)
    }

    fn counts(&self, answer: &Answer) -> Option<[u64; 5]> {
        let told: Value = serde_json::from_slice(&answer.body).ok()?;
        let count = |name: &str| told[name].as_u64();
        Some([count("received")?, count("filtered")?, count("duplicate")?, count("set_aside")?, count("spooled")?])
    }
}
