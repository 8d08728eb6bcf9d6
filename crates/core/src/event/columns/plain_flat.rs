//! Plain records: the members of a flat record in JSON, each a part of `System`, a piece of the event's data, or told beside it,
//! read in one pass and without a tree. So rows of one table become rows of another, and so come the records of most agents.
//!
//! Plain is a record of known names, each once and none with dots, of which every part of `System` fits its column. What an agent
//! writes otherwise goes by way of the tree, which tests and the fuzz target hold this against. The text has been found to be
//! JSON before.

use std::borrow::Cow;
use std::sync::LazyLock;

use super::convert::is_own_column;
use super::data_xml::Body;
use super::leftovers::{Left, Leftover};
use super::plain::{Datum, Plain};
use super::plain_json::{data_of, keywords, scalar};
use super::system::{System, int, is_datetime};
use crate::event::document::json_system::named_parts;
use crate::event::document::json_told::says;
use crate::event::document::record::Seen;
use crate::event::from_json::keys::{Place, Target, target};
use crate::event::lookup::Lookup;
use crate::event::sound::{Cursor, Value};
use crate::event::{Event, Fields};

/// Names whose members are more than a value, or of one agent that calls everything otherwise.
const NOT_PLAIN: [&str; 20] = [
    "Event",
    "System",
    "body",
    "winlog",
    "event",
    "log",
    "correlation",
    "execution",
    "security",
    "UserData",
    "user_data",
    "event_data",
    "eventdata",
    "RawXml",
    "EventXml",
    "RawEventData",
    "xml",
    "MachineName",
    "Binary",
    "",
];

/// What a name of a flat record means.
#[derive(Debug, Clone, Copy)]
enum Meaning {
    /// The member is not plain, whatever it holds.
    Otherwise,
    /// A part of `System` beside the fields.
    Part {
        part: Part,
        /// Whether the name is one of event data as well.
        may_be_datum: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Version,
    Task,
    Opcode,
    Keywords,
    ActivityId,
    ProcessId,
    ThreadId,
    UserId,
}

/// What a member becomes that is no part of `System`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// A piece of data where the record keeps none apart, else told beside the event.
    Either,
    /// The same, but told already.
    DatumOnly,
    /// Told beside the event.
    Beside,
}

static MEANINGS: LazyLock<(Lookup, Vec<Meaning>)> = LazyLock::new(|| {
    let parts =
        named_parts().filter(|(name, ..)| !name.contains('.')).filter_map(|(name, element, attribute, is_only)| {
            Some((name, Meaning::Part { part: Part::of(element, attribute)?, may_be_datum: !is_only }))
        });
    let others = NOT_PLAIN.into_iter().map(|name| (name, Meaning::Otherwise));
    let (names, meanings): (Vec<_>, Vec<_>) = parts.chain(others).unzip();
    (Lookup::new(names.into_iter()), meanings)
});

impl Part {
    fn of(element: &str, attribute: Option<&str>) -> Option<Self> {
        Some(match (element, attribute) {
            ("Version", None) => Self::Version,
            ("Task", None) => Self::Task,
            ("Opcode", None) => Self::Opcode,
            ("Keywords", None) => Self::Keywords,
            ("Correlation", Some("ActivityID")) => Self::ActivityId,
            ("Execution", Some("ProcessID")) => Self::ProcessId,
            ("Execution", Some("ThreadID")) => Self::ThreadId,
            ("Security", Some("UserID")) => Self::UserId,
            _ => return None,
        })
    }
}

/// A record while it is read.
#[derive(Default)]
struct Record<'e> {
    system: System<'e>,
    /// The parts that were seen, as bits.
    parts: u8,
    names: Vec<&'e str>,
    seen: Seen,
    /// Its data, where it keeps them apart.
    data: Option<Vec<Datum<'e>>>,
    others: Vec<(&'e str, Value<'e>, Role)>,
}

/// Reads a record of which `text` is all. `None` when it is not plain.
pub(super) fn read<'e>(event: &Event<'_>, text: &'e str) -> Option<Plain<'e>> {
    let fields = &event.fields;
    // A year that no column holds is left over for `EventData`.
    let has_time = fields.time.is_none_or(is_datetime);
    let mut cursor = Cursor::new(text);
    if fields.quoted.is_some() || !has_time || !cursor.enter(b'{') {
        return None;
    }
    let mut record = Record { names: Vec::with_capacity(48), others: Vec::with_capacity(48), ..Record::default() };
    while let Some(key) = cursor.key() {
        record.member(key.plain()?, &mut cursor, fields)?;
    }
    record.finish()
}

impl<'e> Record<'e> {
    /// Takes the member of this name, whose value comes next.
    fn member(&mut self, name: &'e str, cursor: &mut Cursor<'e>, fields: &Fields<'_>) -> Option<()> {
        let is_new = self.names.len() < Seen::NAMES_MAX && !(self.seen.may_hold(name) && self.names.contains(&name));
        (is_new && !is_own_column(name)).then_some(())?;
        self.names.push(name);
        if name == "EventData" {
            // What is no object there is told in other ways.
            (cursor.peek()? == b'{').then_some(())?;
            self.data = Some(data_of(cursor)?);
            return Some(());
        }
        let (places, meanings) = &*MEANINGS;
        let value = match places.find(name).map(|place| meanings[place]) {
            Some(Meaning::Otherwise) => return None,
            Some(Meaning::Part { part, may_be_datum }) => {
                return self.part(part, may_be_datum, name, cursor.value()?);
            }
            None => cursor.value()?,
        };
        match target(Place::Root, name) {
            Target::Value(field, _) => match value {
                Value::Tree(_) => return None,
                Value::Text(text) if says(&text.text(), field, fields) => {}
                Value::Word(word) if word != "null" && says(word, field, fields) => {}
                _ => self.others.push((name, value, Role::Beside)),
            },
            _ if name.contains('.') || is_like_part(name) => return None,
            _ => self.others.push((name, value, Role::Either)),
        }
        Some(())
    }

    /// Takes a part of `System`, which must have no other name beside this one.
    fn part(&mut self, part: Part, may_be_datum: bool, name: &'e str, value: Value<'e>) -> Option<()> {
        let bit = 1 << part as u8;
        let text = scalar(value)?.trim();
        if self.parts & bit != 0 || matches!(value, Value::Word("true" | "false")) {
            return None;
        }
        self.parts |= bit;
        let is_number = text.is_empty() || int(text).is_some();
        let system = &mut self.system;
        match part {
            Part::Version | Part::Task | Part::ProcessId | Part::ThreadId if !is_number => return None,
            Part::Version => system.version = text,
            Part::Task => system.task = text,
            Part::Opcode => system.opcode = text,
            Part::Keywords => system.keywords = keywords(text, matches!(value, Value::Word(_))),
            Part::ActivityId => system.activity_id = text,
            Part::ProcessId => system.process_id = text,
            Part::ThreadId => system.thread_id = text,
            Part::UserId => system.user_id = text,
        }
        if may_be_datum {
            self.others.push((name, value, Role::DatumOnly));
        }
        Some(())
    }

    fn finish(self) -> Option<Plain<'e>> {
        let Self { system, data, others, .. } = self;
        let keeps_data_apart = data.is_some();
        let mut data = data.unwrap_or_else(|| Vec::with_capacity(others.len()));
        let mut leftovers = Vec::new();
        for (name, value, role) in others {
            let is_datum = role != Role::Beside && !keeps_data_apart && !matches!(value, Value::Tree(_));
            if is_datum {
                data.push(Datum { name, value: text_of(value)? });
            } else if role != Role::DatumOnly
                && let Some(value) = left(value)
            {
                leftovers.push(Leftover { name: Cow::Borrowed(name), value });
            }
        }
        Some(Plain { system, body: Body::OfData, data, leftovers })
    }
}

/// Whether a name is that of an element of `System` in another letter case: what it says may be told by the element.
fn is_like_part(name: &str) -> bool {
    const ELEMENTS: [&str; 7] = ["Version", "Task", "Opcode", "Keywords", "Correlation", "Execution", "Security"];
    ELEMENTS.iter().any(|element| element.eq_ignore_ascii_case(name))
}

/// The text that a value is; `None` for a tree.
fn text_of(value: Value<'_>) -> Option<Cow<'_, str>> {
    match value {
        Value::Text(text) => Some(text.text()),
        value => scalar(value).map(Cow::Borrowed),
    }
}

/// What a value tells, if it is not empty.
fn left(value: Value<'_>) -> Option<Left<'_>> {
    match value {
        Value::Tree(raw) => {
            let is_empty = raw.len() < 2 || raw[1..raw.len() - 1].trim_ascii().is_empty();
            (!is_empty).then_some(Left::Json(raw))
        }
        value => text_of(value).filter(|text| !text.is_empty()).map(Left::Text),
    }
}

#[cfg(test)]
#[path = "plain_flat_tests.rs"]
mod tests;
