//! The protocol as agents speak it, but for their certificates: the suite has tokens, as agents in containers do.

use http::StatusCode;

use super::config::Workspace;
use crate::inputs::conformance::{self, Answer, Sent, Shown};
use crate::inputs::data_collector::specimen::{KEY, WORKSPACE};
use crate::inputs::logs_ingestion::specimen::array;
use crate::inputs::registry::Protocols;
use crate::lab::events::SimulatedEvent;
use crate::values::Secret;

pub(in crate::inputs) struct Specimen;

/// A workspace with a key, of which nothing special is said.
pub(in crate::inputs) fn workspace() -> Workspace {
    Workspace {
        id: WORKSPACE.to_owned(),
        keys: vec![Secret::new(KEY)],
        name: None,
        group: None,
        hosts: Vec::new(),
        resource_ids: Vec::new(),
    }
}

impl conformance::Specimen for Specimen {
    fn enable(&self, protocols: &mut Protocols) {
        protocols.ods.enabled = true;
        protocols.ods.workspaces = vec![workspace()];
    }

    /// A request shows one thing only.
    fn show(&self, request: &mut Sent, shown: Shown) {
        request.headers.retain(|(name, _)| *name != "authorization");
        let token = match shown {
            Shown::Nothing => return,
            Shown::Wrong => "wrong",
            Shown::Right => "right",
        };
        request.headers.push(("authorization", format!("Bearer {token}")));
    }

    fn upload(&self, events: &[SimulatedEvent], unreadable: usize) -> Sent {
        let items = String::from_utf8(array(events, unreadable)).expect("JSON is text");
        let body = format!("{{\"DataType\":\"SECURITY_EVENT_BLOB\",\"IPName\":\"Security\",\"DataItems\":{items}}}");
        let target = "/OperationalData.svc/PostJsonDataItems?api-version=2016-04-01";
        let mut sent = Sent::post(target, "application/json", body.into_bytes());
        self.show(&mut sent, Shown::Right);
        sent
    }

    fn is_success(&self, answer: &Answer) -> bool {
        answer.status == StatusCode::OK
    }

    /// Agents send everything again that is not taken.
    fn is_sent_again(&self, answer: &Answer) -> bool {
        !answer.status.is_success()
    }

    fn counts(&self, _: &Answer) -> Option<[u64; 5]> {
        None
    }
}
