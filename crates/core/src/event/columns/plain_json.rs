//! Plain events in nested JSON, read in one pass and without a tree: `{"Event": {"System": {…}, "EventData": {…}}}`, as tools
//! write what in XML is plain.
//!
//! The same is plain as in [`plain`](super::plain): a `System` of the parts that Windows knows, each of them told by the event's
//! fields or held by its column, and data of one value for each name. Whatever is otherwise goes by way of the tree, which
//! tests and the fuzz target hold this against. The text has been found to be JSON before.

use std::borrow::Cow;

use super::data_xml::Body;
use super::plain::{Datum, Plain};
use super::system::{System, int, is_datetime};
use crate::event::document::json_keywords::hexadecimal_of;
use crate::event::document::json_told::says;
use crate::event::document::record::Seen;
use crate::event::from_json::keys::Field;
use crate::event::sound::{Cursor, Value};
use crate::event::{Event, Fields};

/// The member that holds the attributes of an element, and the one that holds its text.
const ATTRIBUTES: &str = "#attributes";
const TEXT: &str = "#text";

/// The names of `System` that Windows writes.
const PARTS: [&str; 14] = [
    "Provider",
    "EventID",
    "Version",
    "Level",
    "Task",
    "Opcode",
    "Keywords",
    "TimeCreated",
    "EventRecordID",
    "Correlation",
    "Execution",
    "Channel",
    "Computer",
    "Security",
];

/// Reads an event of which `text` is all. `None` when it is not plain.
pub(super) fn read<'e>(event: &Event<'_>, text: &'e str) -> Option<Plain<'e>> {
    let fields = &event.fields;
    // A year that no column holds is left over for `EventData`.
    let has_time = fields.time.is_none_or(is_datetime);
    let mut cursor = Cursor::new(text);
    if fields.quoted.is_some() || !has_time || !cursor.enter(b'{') {
        return None;
    }
    if cursor.key()?.plain() != Some("Event") || !cursor.enter(b'{') {
        return None;
    }
    let (mut system, mut data) = (None, None);
    while let Some(key) = cursor.key() {
        match key.plain()? {
            ATTRIBUTES => {
                cursor.value()?;
            }
            "System" if system.is_none() => system = Some(system_of(&mut cursor, fields)?),
            "EventData" if data.is_none() => data = Some(data_of(&mut cursor)?),
            _ => return None,
        }
    }
    let is_all = cursor.key().is_none();
    let plain = Plain { system: system?, body: Body::OfData, data: data.unwrap_or_default(), leftovers: Vec::new() };
    is_all.then_some(plain)
}

/// `System`.
fn system_of<'e>(cursor: &mut Cursor<'e>, fields: &Fields<'_>) -> Option<System<'e>> {
    cursor.enter(b'{').then_some(())?;
    let mut system = System::default();
    let mut seen = 0_u16;
    while let Some(key) = cursor.key() {
        let name = key.plain()?;
        let part = PARTS.iter().position(|part| *part == name)?;
        if seen & (1 << part) != 0 {
            return None;
        }
        seen |= 1 << part;
        let value = cursor.value()?;
        match field(name) {
            Some((field, holder)) => tells(value, field, holder, fields).then_some(())?,
            None => part_of(&mut system, name, value)?,
        }
    }
    let fits = |id: &str| id.is_empty() || int(id).is_some();
    (fits(system.process_id) && fits(system.thread_id)).then_some(system)
}

/// The field that a part is, and the attribute that holds it.
fn field(part: &str) -> Option<(Field, Option<&'static str>)> {
    Some(match part {
        "Provider" => (Field::Provider, Some("Name")),
        "EventID" => (Field::EventId, None),
        "Level" => (Field::Level, None),
        "TimeCreated" => (Field::Time, Some("SystemTime")),
        "EventRecordID" => (Field::RecordId, None),
        "Channel" => (Field::Channel, None),
        "Computer" => (Field::Computer, None),
        _ => return None,
    })
}

/// Whether all that counts of a value is what the field says.
fn tells(value: Value<'_>, field: Field, holder: Option<&str>, fields: &Fields<'_>) -> bool {
    match value {
        Value::Text(text) => says(&text.text(), field, fields),
        Value::Word(word) => word != "null" && says(word, field, fields),
        Value::Tree(inner) => {
            let inner = match holder {
                None => only_member(inner, TEXT, true),
                Some(holder) => only_member(inner, ATTRIBUTES, false).and_then(|attributes| match attributes {
                    Value::Tree(attributes) => only_member(attributes, holder, true),
                    _ => None,
                }),
            };
            inner.is_some_and(|inner| !matches!(inner, Value::Tree(_)) && tells(inner, field, None, fields))
        }
    }
}

/// The member of an object that has it once, and nothing beside it unless others may be.
fn only_member<'e>(object: &'e str, wanted: &str, may_have_others: bool) -> Option<Value<'e>> {
    let mut cursor = Cursor::new(object);
    let mut found = None;
    cursor.enter(b'{').then_some(())?;
    while let Some(key) = cursor.key() {
        let value = cursor.value()?;
        if key.plain()? == wanted {
            found.replace(value).is_none().then_some(())?;
        } else if !may_have_others {
            return None;
        }
    }
    found
}

/// Takes a part that is no field, unless its column cannot hold what it says.
fn part_of<'e>(system: &mut System<'e>, name: &str, value: Value<'e>) -> Option<()> {
    match name {
        "Correlation" => system.activity_id = attributes(value, ["ActivityID"])?[0],
        "Execution" => [system.process_id, system.thread_id] = attributes(value, ["ProcessID", "ThreadID"])?,
        "Security" => system.user_id = attributes(value, ["UserID"])?[0],
        _ => {
            let text = scalar(value)?.trim();
            let is_number = text.is_empty() || int(text).is_some();
            match name {
                "Version" if is_number => system.version = text,
                "Task" if is_number => system.task = text,
                "Opcode" => system.opcode = text,
                "Keywords" => system.keywords = keywords(text, matches!(value, Value::Word(_))),
                _ => return None,
            }
        }
    }
    Some(())
}

/// The attributes of these names, of an element that has nothing else; empty where there are none.
fn attributes<'e, const N: usize>(value: Value<'e>, wanted: [&str; N]) -> Option<[&'e str; N]> {
    let mut found = [None; N];
    let attributes = match value {
        Value::Word("null") => return Some([""; N]),
        Value::Tree(object) => only_member(object, ATTRIBUTES, false)?,
        _ => return None,
    };
    let Value::Tree(attributes) = attributes else { return None };
    let mut cursor = Cursor::new(attributes);
    cursor.enter(b'{').then_some(())?;
    while let Some(key) = cursor.key() {
        let (name, value) = (key.plain()?, cursor.value()?);
        if let Some(place) = wanted.iter().position(|wanted| *wanted == name) {
            found[place].replace(scalar(value)?.trim()).is_none().then_some(())?;
        }
    }
    Some(found.map(Option::unwrap_or_default))
}

/// A text that is written as it is meant, or a number or truth value; empty for `null`.
pub(super) fn scalar(value: Value<'_>) -> Option<&str> {
    match value {
        Value::Text(text) => text.plain(),
        Value::Word("null") => Some(""),
        Value::Word(word) => Some(word),
        Value::Tree(_) => None,
    }
}

/// Keywords as Windows writes them in XML.
pub(super) fn keywords(text: &str, is_number: bool) -> Cow<'_, str> {
    let digits = text.strip_prefix("0x").unwrap_or_default();
    let are_digits = digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    if are_digits && (1..=16).contains(&digits.len()) && !digits.starts_with('0') && !is_number {
        return Cow::Borrowed(text);
    }
    hexadecimal_of(text, is_number).map_or(Cow::Borrowed(text), Cow::Owned)
}

/// `EventData`: of each name one value that is no tree.
pub(super) fn data_of<'e>(cursor: &mut Cursor<'e>) -> Option<Vec<Datum<'e>>> {
    if !cursor.enter(b'{') {
        return matches!(cursor.value()?, Value::Word("null")).then(Vec::new);
    }
    let mut data: Vec<Datum<'e>> = Vec::with_capacity(32);
    let mut seen = Seen::default();
    while let Some(key) = cursor.key() {
        let name = key.plain().filter(|name| is_name_of_datum(name))?;
        if data.len() >= Seen::NAMES_MAX || (seen.may_hold(name) && data.iter().any(|datum| datum.name == name)) {
            return None;
        }
        let value = match cursor.value()? {
            Value::Text(text) => text.text(),
            value => scalar(value)?.into(),
        };
        data.push(Datum { name, value });
    }
    Some(data)
}

/// Whether a member of `EventData` can be nothing but a value by its name.
fn is_name_of_datum(name: &str) -> bool {
    let is_attribute = name.starts_with(['@', '#']) || name.ends_with("_attributes");
    !(is_attribute || matches!(name, "" | "$" | "attributes" | "Data" | "Binary"))
}

#[cfg(test)]
#[path = "plain_json_tests.rs"]
mod tests;
