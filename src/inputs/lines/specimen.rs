//! The example as its clients speak it.

use http::StatusCode;

use crate::inputs::conformance::{self, Answer, Sent};
use crate::inputs::logs_ingestion::specimen::is_sent_again;
use crate::inputs::registry::Protocols;
use crate::lab::events::{Shape, SimulatedEvent};

pub(in crate::inputs) struct Specimen;

impl conformance::Specimen for Specimen {
    fn enable(&self, protocols: &mut Protocols) {
        protocols.lines.enabled = true;
    }

    fn upload(&self, events: &[SimulatedEvent], unreadable: usize) -> Sent {
        let lines = events.iter().map(|event| [b"plant ", event.render(Shape::Row).as_slice()].concat());
        let lines: Vec<Vec<u8>> = lines.chain((0..unreadable).map(|_| b"gibberish".to_vec())).collect();
        Sent::post("/lines", "text/plain", lines.join(&b'\n'))
    }

    fn is_success(&self, answer: &Answer) -> bool {
        answer.status == StatusCode::OK && answer.body.starts_with(b"OK ")
    }

    fn is_sent_again(&self, answer: &Answer) -> bool {
        is_sent_again(answer)
    }

    fn counts(&self, _: &Answer) -> Option<[u64; 5]> {
        None
    }
}
