//! The Logs Ingestion API as Azure's libraries speak it.

use http::StatusCode;

use crate::inputs::conformance::{self, Answer, Sent};
use crate::inputs::registry::Protocols;
use crate::lab::events::{Shape, SimulatedEvent};

const TARGET: &str = "/dataCollectionRules/dcr-0123/streams/Custom-SecurityEvent?api-version=2023-01-01";

pub(in crate::inputs) struct Specimen;

/// An array of rows, and behind them so many elements that are no objects.
pub(in crate::inputs) fn array(events: &[SimulatedEvent], unreadable: usize) -> Vec<u8> {
    let rows = events.iter().map(|event| event.render(Shape::Row));
    let rows: Vec<Vec<u8>> = rows.chain((0..unreadable).map(|_| b"5".to_vec())).collect();
    [b"[".as_slice(), &rows.join(&b','), b"]"].concat()
}

/// What Azure's libraries do: 408, 429, 500 and 503 are tried again, and when is said with the latter two.
pub(in crate::inputs) fn is_sent_again(answer: &Answer) -> bool {
    match answer.status {
        StatusCode::REQUEST_TIMEOUT => true,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => answer.says_when(),
        _ => false,
    }
}

impl conformance::Specimen for Specimen {
    fn enable(&self, protocols: &mut Protocols) {
        protocols.logs_ingestion.enabled = true;
    }

    fn upload(&self, events: &[SimulatedEvent], unreadable: usize) -> Sent {
        Sent::post(TARGET, "application/json", array(events, unreadable))
    }

    fn is_success(&self, answer: &Answer) -> bool {
        answer.status == StatusCode::NO_CONTENT
    }

    fn is_sent_again(&self, answer: &Answer) -> bool {
        is_sent_again(answer)
    }

    fn counts(&self, _: &Answer) -> Option<[u64; 5]> {
        None
    }
}
