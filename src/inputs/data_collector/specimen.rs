//! The Data Collector API as old clients speak it.

use http::StatusCode;
use time::OffsetDateTime;
use time::format_description::FormatItem;
use time::macros::format_description;

use super::config::Workspace;
use super::signature::sign;
use crate::inputs::Config;
use crate::inputs::conformance::{self, Answer, Sent, Shown};
use crate::inputs::logs_ingestion::specimen::array;
use crate::inputs::registry::Protocols;
use crate::lab::events::SimulatedEvent;
use crate::values::Secret;

pub(in crate::inputs) const WORKSPACE: &str = "01234567-89ab-cdef-0123-456789abcdef";
/// The bytes from 1 to 64 in base64; the other key is longer by one.
pub(in crate::inputs) const KEY: &str =
    "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAhIiMkJSYnKCkqKywtLi8wMTIzNDU2Nzg5Ojs8PT4/QA==";
const RFC_1123: &[FormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

pub(in crate::inputs) struct Specimen;

/// A workspace with a key, of which nothing special is said.
pub(in crate::inputs) fn workspace() -> Workspace {
    let keys = vec![Secret::new(KEY)];
    Workspace {
        id: WORKSPACE.to_owned(),
        keys,
        name: None,
        group: None,
        hosts: Vec::new(),
        resource_ids: Vec::new(),
        log_types: Vec::new(),
        only_listed: false,
        closed: false,
    }
}

/// A post as the documents have it, signed so many seconds from now.
pub(in crate::inputs) fn post(body: Vec<u8>, seconds: i64) -> Sent {
    let time = OffsetDateTime::now_utc() + time::Duration::seconds(seconds);
    let date = time.format(RFC_1123).expect("it can be written");
    let key: Vec<u8> = (1..=64).collect();
    let signature = sign(&key, body.len(), "application/json", &date);
    let mut sent = Sent::post("/api/logs?api-version=2016-04-01", "application/json", body);
    sent.headers.extend([
        ("log-type", "MyRecordType".to_owned()),
        ("x-ms-date", date),
        ("authorization", format!("SharedKey {WORKSPACE}:{signature}")),
    ]);
    sent
}

impl conformance::Specimen for Specimen {
    fn enable(&self, protocols: &mut Protocols) {
        protocols.data_collector.enabled = true;
        protocols.data_collector.workspaces = vec![workspace()];
    }

    /// Who has the key is let in already.
    fn let_in(&self, _: &mut Config) {}

    fn show(&self, request: &mut Sent, shown: Shown) {
        let Some(header) = request.headers.iter_mut().find(|(name, _)| *name == "authorization") else { return };
        match shown {
            Shown::Right => {}
            Shown::Nothing => header.1.clear(),
            Shown::Wrong => header.1 = format!("SharedKey {WORKSPACE}:{}", sign(&[9; 64], 1, "application/json", "")),
        }
    }

    /// Scripts name the time of an event as they like, but not as the table does.
    fn upload(&self, events: &[SimulatedEvent], unreadable: usize) -> Sent {
        let rows = String::from_utf8(array(events, unreadable)).expect("JSON is text");
        post(rows.replace("\"TimeGenerated\"", "\"TimeCreated\"").into_bytes(), 0)
    }

    fn is_success(&self, answer: &Answer) -> bool {
        answer.status == StatusCode::OK
    }

    fn is_sent_again(&self, answer: &Answer) -> bool {
        matches!(answer.status.as_u16(), 429 | 500 | 503)
    }

    fn counts(&self, _: &Answer) -> Option<[u64; 5]> {
        None
    }
}
