//! Event logs, in the form that was asked for.

use std::io::{Read, Seek};

use bytes::Bytes;
use evtx::EvtxRecord;
use evtx::err::EvtxError;
use serde_json::{Map, Value};

use super::{Form, Out, Unwanted};
use crate::event::from_evtx::{self, Found, Log};

pub(super) fn read(log: impl Read + Seek, form: Form, out: &mut Out<'_>) -> Result<(), Unwanted> {
    let log = match Log::open(log) {
        Ok(log) => log,
        Err(problem) => return out.damaged(problem),
    };
    log.read(
        |record| write(record, form),
        |found| match found {
            Found::Record(record) => out.record(record),
            Found::Damaged(damage) => out.damaged(damage.problem),
        },
    )
}

fn write(record: EvtxRecord<'_>, form: Form) -> Result<Bytes, EvtxError> {
    match form {
        Form::Xml => from_evtx::xml(record),
        Form::Json => Ok(record.into_json()?.data.into()),
        Form::Row => Ok(row(record.into_json_value()?.data).to_string().into()),
    }
}

/// The nested JSON of an event as a row of the WindowsEvent table. Nothing of its data is lost.
fn row(mut nested: Value) -> Value {
    let mut event = nested["Event"].take();
    let system = event["System"].take();
    let mut row = Map::new();
    let mut column = |name: &str, value: Value| {
        if !value.is_null() {
            row.insert(name.to_owned(), value);
        }
    };
    let plain = |name: &str| match &system[name] {
        Value::Object(with_attributes) => with_attributes.get("#text").cloned().unwrap_or_default(),
        value => value.clone(),
    };
    let attribute = |name: &str, attribute: &str| system[name]["#attributes"][attribute].clone();
    let text = |value: Value| match value {
        Value::Number(n) => Value::String(n.to_string()),
        value => value,
    };
    column("TimeGenerated", attribute("TimeCreated", "SystemTime"));
    column("Provider", attribute("Provider", "Name"));
    for name in ["Channel", "Computer", "EventID", "Task", "Version"] {
        column(name, plain(name));
    }
    column("EventLevel", plain("Level"));
    column("Keywords", plain("Keywords"));
    column("Opcode", text(plain("Opcode")));
    column("EventRecordId", text(plain("EventRecordID")));
    column("SystemProcessId", attribute("Execution", "ProcessID"));
    column("SystemThreadId", attribute("Execution", "ThreadID"));
    column("SystemUserId", attribute("Security", "UserID"));
    column("Correlation", attribute("Correlation", "ActivityID"));
    for data in ["EventData", "UserData", "ProcessingErrorData", "RenderingInfo"] {
        let name = if data == "RenderingInfo" { data } else { "EventData" };
        column(name, event[data].take());
    }
    Value::Object(row)
}
