//! What of an event has no place in a row: for `EventData`, so that it is not lost.
//!
//! - Values of `System` that do not fit their column, and elements there that Windows does not know.
//! - Members of a record in JSON that are neither a field nor the event's data: what agents tell beside the event, by their
//!   names on the way there (`winlog.user`).
//!
//! Attributes in `System` without a column (the provider's GUID, the qualifiers of an id) are none: rows of Microsoft's agents
//! do not have them either.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::line::Line;
use super::system::{System, datetime, int};
use crate::event::document::record::Json;
use crate::event::document::{Document, Node};
use crate::event::{Event, Format};

/// A value with its name.
#[derive(Debug)]
pub(super) struct Leftover<'e> {
    pub(super) name: Cow<'e, str>,
    pub(super) value: Left<'e>,
}

#[derive(Debug)]
pub(super) enum Left<'e> {
    Text(Cow<'e, str>),
    /// An object or a list, as it is written.
    Json(&'e str),
}

impl Leftover<'_> {
    /// The value as text.
    pub(super) fn text(&self) -> Cow<'_, str> {
        match &self.value {
            Left::Text(text) => Cow::Borrowed(text),
            Left::Json(raw) => Cow::Owned(one_line(raw)),
        }
    }

    /// Whether a column of this row says the same already.
    pub(super) fn is_told(&self, line: &Line<'_>) -> bool {
        matches!(&self.value, Left::Text(text) if line.tells(&self.name, text))
    }
}

impl<'e> Left<'e> {
    fn of(value: &'e Json<'_>) -> Self {
        value.scalar().map_or(Self::Json(value.raw()), |text| Self::Text(Cow::Borrowed(text)))
    }

    /// The value as JSON in one line, if it is an object or a list that every reader takes for the same.
    pub(super) fn json(&self) -> Option<Box<RawValue>> {
        let Self::Json(raw) = self else { return None };
        Json::read(raw).filter(Json::is_portable)?;
        RawValue::from_string(one_line(raw)).ok()
    }
}

/// In strings, line breaks are always escaped.
fn one_line(json: &str) -> String {
    json.chars().filter(|c| !matches!(c, '\n' | '\r')).collect()
}

/// The members of a record that nothing has been made of.
pub(super) fn of_record<'e>(record: &'e Json<'_>, leftovers: &mut Vec<Leftover<'e>>) {
    let unused = record.unused().into_iter();
    leftovers.extend(unused.map(|(name, value)| Leftover { name: Cow::Owned(name), value: Left::of(value) }));
}

/// What `System` says that no column can hold.
pub(super) fn of_system<'e>(
    event: &Event<'_>,
    document: &'e Document,
    root: Node,
    system: &System<'e>,
    leftovers: &mut Vec<Leftover<'e>>,
) {
    let fields = &event.fields;
    let mut leave = |name: &'e str, value: &'e str| {
        if !value.trim().is_empty() {
            leftovers.push(Leftover { name: Cow::Borrowed(name), value: Left::Text(Cow::Borrowed(value)) });
        }
    };
    let mut elements = document.children(root).filter(|child| document.name(*child) == Some("System"));
    for part in elements.next().into_iter().flat_map(|element| document.children(element)) {
        let (name, value) = (document.name(part).unwrap_or_default(), document.value(part));
        let fits = match name {
            "EventID" => fields.event_id.is_some_and(|id| i32::try_from(id).is_ok()),
            "Level" => fields.level.is_some(),
            "EventRecordID" => fields.record_id.is_some(),
            "Task" | "Version" => int(value).is_some(),
            "TimeCreated" => {
                let holder = document.attributes(part).find(|node| document.name(*node) == Some("SystemTime"));
                if fields.time.and_then(datetime).is_none() {
                    leave(name, holder.map_or("", |node| document.value(node)));
                }
                continue;
            }
            "Channel" | "Computer" | "Provider" | "Keywords" | "Opcode" | "Correlation" | "Execution" | "Security" => {
                true
            }
            // Of JSON, the record itself tells what else there is.
            _ => event.format == Format::Json,
        };
        if !fits {
            leave(name, value);
        }
    }
    for (name, value) in [("ProcessID", system.process_id), ("ThreadID", system.thread_id)] {
        if int(value).is_none() {
            leave(name, value);
        }
    }
}
