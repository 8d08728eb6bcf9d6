//! `System` of an event in JSON: what the field scanner found, and the parts that only queries ask for.

use std::sync::LazyLock;

use super::record::{Json, Kind, Members};
use super::{Document, Node, holder, json_keywords, json_told};
use crate::event::Fields;
use crate::event::lookup::Lookup;

/// A part of `System` with the names that flat records have for it.
struct Part {
    element: &'static str,
    /// `None`: the element's text.
    attribute: Option<&'static str>,
    names: &'static [&'static str],
    /// What PowerShell calls it: a name that in other flat records is one of the event's data.
    in_powershell: Option<&'static str>,
}

const fn text(element: &'static str, names: &'static [&'static str]) -> Part {
    Part { element, attribute: None, names, in_powershell: None }
}

const fn attribute(element: &'static str, attribute: &'static str, names: &'static [&'static str]) -> Part {
    Part { element, attribute: Some(attribute), names, in_powershell: None }
}

impl Part {
    const fn in_powershell(self, name: &'static str) -> Self {
        Self { in_powershell: Some(name), ..self }
    }

    /// Whether a member of such a record stands for it.
    fn is_named(&self, shape: Shape, name: &str) -> bool {
        self.names.contains(&name) || (shape == Shape::PowerShell && self.in_powershell == Some(name))
    }
}

/// What is known about who wrote a flat record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// `Get-WinEvent | ConvertTo-Json`, whose names for computer and id are nobody else's. The event's data have no names there.
    PowerShell,
    Other,
}

impl Shape {
    pub(super) fn of(record: &Json<'_>) -> Self {
        let is_powershell = record.get("MachineName").is_some() && record.get("Id").is_some();
        if is_powershell { Self::PowerShell } else { Self::Other }
    }
}

/// In the order of Microsoft's schema; attributes of one element stand together. Of an opcode's names the first are those of
/// its number: NXLog has its word beside it.
static PARTS: [Part; 8] = [
    text("Version", &["Version", "version", "winlog.version"]),
    text("Task", &["Task", "task", "task_value", "TaskValue"]),
    text("Opcode", &["OpcodeValue", "opcode_value", "Opcode"]),
    text("Keywords", &["Keywords", "keywords", "winlog.keywords"]),
    attribute(
        "Correlation",
        "ActivityID",
        &["Correlation", "ActivityID", "activity_id", "winlog.activity_id", "correlation.activity_id"],
    )
    .in_powershell("ActivityId"),
    attribute(
        "Execution",
        "ProcessID",
        &[
            "SystemProcessId",
            "ExecutionProcessID",
            "process_id",
            "winlog.process.pid",
            "execution.process_id",
            "ProcessID",
        ],
    )
    .in_powershell("ProcessId"),
    attribute(
        "Execution",
        "ThreadID",
        &[
            "SystemThreadId",
            "ExecutionThreadID",
            "thread_id",
            "winlog.process.thread.id",
            "execution.thread_id",
            "ThreadID",
        ],
    )
    .in_powershell("ThreadId"),
    attribute(
        "Security",
        "UserID",
        &["SystemUserId", "UserID", "user_id", "winlog.user.identifier", "security.user_id"],
    )
    .in_powershell("UserId"),
];

/// The parts of which flat records that are not PowerShell's may hold the value, by the names that they have there: name,
/// element, attribute, and whether the name is nothing else.
pub(in crate::event) fn named_parts() -> impl Iterator<Item = (&'static str, &'static str, Option<&'static str>, bool)>
{
    PARTS.iter().flat_map(|part| {
        part.names.iter().map(move |name| (*name, part.element, part.attribute, is_only_part(Shape::Other, name)))
    })
}

/// Where flat records have the attributes of fields that only queries ask for: no table has a column for them, and rows keep
/// those members as they are.
const GUIDS: [&str; 5] = ["ProviderGuid", "ProviderId", "provider_guid", "provider.guid", "winlog.provider_guid"];
const QUALIFIERS: [&str; 2] = ["Qualifiers", "event_id.qualifiers"];

/// Whether an element of `System` has a column, or stands for nothing that a row of an agent has.
pub(super) fn is_part(element: &str) -> bool {
    PARTS.iter().any(|part| part.element == element)
}

/// Names of parts that are names of event data as well: nothing in a flat record tells which of both is meant, so they count
/// as both, unless it is one whose data have no names.
const ALSO_DATA: [&str; 7] = ["Version", "Task", "Opcode", "ActivityID", "ProcessID", "ThreadID", "UserID"];

/// Whether a key of a flat record stands for a part of `System` beside the fields, and for nothing else.
pub(super) fn is_only_part(shape: Shape, name: &str) -> bool {
    is_known(name)
        && (shape == Shape::PowerShell || !ALSO_DATA.contains(&name))
        && PARTS.iter().any(|part| part.is_named(shape, name))
}

/// Whether a key may stand for a part of `System`, in records of any shape. Few keys do.
fn is_known(name: &str) -> bool {
    static NAMES: LazyLock<Lookup> = LazyLock::new(|| {
        Lookup::new(PARTS.iter().flat_map(|part| part.names.iter().copied().chain(part.in_powershell)))
    });
    NAMES.find(name).is_some()
}

/// The members of a flat record, and of the `body` that may be around it.
#[derive(Clone, Copy)]
struct Flat<'v> {
    places: [Option<&'v Json<'v>>; 2],
    /// Whether an object is there that dotted names may lead into.
    has_objects: bool,
}

impl<'v> Flat<'v> {
    fn of(record: &'v Json<'v>) -> Self {
        let places = [Some(record), record.get("body")];
        let is_object = |place: &Json<'_>, name: &str| place.get(name).is_some_and(|value| value.as_object().is_some());
        let has_object = |place: &Json<'_>| OUTER.iter().any(|name| is_object(place, name));
        Self { places, has_objects: places.into_iter().flatten().any(has_object) }
    }

    /// A member; dotted names are also looked for as objects in objects.
    fn get(self, name: &str) -> Option<&'v Json<'v>> {
        let is_outer = self.has_objects && name.contains('.');
        let inner = |place: &'v Json<'v>| name.split('.').try_fold(place, |at, key| at.get(key));
        self.places
            .into_iter()
            .flatten()
            .find_map(|place| place.get(name).or_else(|| if is_outer { inner(place) } else { None }))
    }

    /// The first scalar of these names.
    fn first_of(self, names: &[&str]) -> Option<&'v str> {
        names.iter().find_map(|name| self.get(name)?.scalar())
    }
}

/// Where nested records have their `System`, the more specific first.
const SYSTEMS: [&[&str]; 4] = [&["Event", "System"], &["System"], &["body", "Event", "System"], &["body", "System"]];

/// The objects that dotted names lead into.
const OUTER: [&str; 6] = ["winlog", "correlation", "execution", "security", "provider", "event_id"];

impl Document {
    /// `System`: the fields exactly as they are, then what else is known.
    pub(super) fn system_of(&mut self, record: &Json<'_>, fields: &Fields<'_>) {
        let nested = SYSTEMS.iter().find_map(|path| record.at(path)?.as_object());
        self.open("System");
        let flat = Flat::of(record);
        self.fields_of(record, flat, nested, fields);
        match nested {
            Some(members) => self.other_members(members),
            None => self.flat_parts(record, flat),
        }
        self.close();
    }

    fn fields_of(&mut self, record: &Json<'_>, flat: Flat<'_>, nested: Option<&Members<'_>>, fields: &Fields<'_>) {
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        self.field("Provider", nested, fields.provider.as_deref());
        self.guid_of(flat);
        self.field("EventID", nested, number(fields.event_id.map(u64::from)).as_deref());
        self.qualifiers_of(record, flat, fields);
        self.field("Level", nested, number(fields.level.map(u64::from)).as_deref());
        self.field("TimeCreated", nested, fields.time.map(|time| time.to_string()).as_deref());
        self.field("EventRecordID", nested, number(fields.record_id).as_deref());
        self.field("Channel", nested, fields.channel.as_deref());
        self.field("Computer", nested, fields.computer.as_deref());
    }

    /// One field, with the other attributes that its element has.
    fn field(&mut self, name: &str, nested: Option<&Members<'_>>, value: Option<&str>) {
        let Some(value) = value else { return };
        let holder = holder(name);
        self.open(name);
        if let Some(holder) = holder {
            self.attribute(holder, value);
        }
        let own = nested.and_then(|members| members.named(name)?.as_object());
        let is_beside = |member: &str| member.strip_suffix("_attributes") == Some(name);
        let beside = nested.and_then(|members| {
            members.into_iter().find(|(member, _)| is_beside(member)).and_then(|(_, value)| value.as_object())
        });
        let lists = own.into_iter().flatten().filter_map(|(_, value)| value.as_object()).chain(beside);
        for (attribute, value) in lists.flatten().filter(|(attribute, _)| Some(attribute.as_ref()) != holder) {
            self.attribute_of(attribute, value);
        }
        if holder.is_none() {
            self.text(value);
        }
        self.close();
    }

    fn guid_of(&mut self, flat: Flat<'_>) {
        if !self.as_written {
            self.beside_field("Provider", "Guid", flat.first_of(&GUIDS));
        }
    }

    fn qualifiers_of(&mut self, record: &Json<'_>, flat: Flat<'_>, fields: &Fields<'_>) {
        if !self.as_written {
            let of_number = json_told::qualifiers(record, fields).map(|bits| bits.to_string());
            let qualifiers = of_number.as_deref().or_else(|| flat.first_of(&QUALIFIERS));
            self.beside_field("EventID", "Qualifiers", qualifiers);
        }
    }

    /// Another attribute of the field that was read last, unless it has it.
    fn beside_field(&mut self, field: &str, attribute: &str, value: Option<&str>) {
        let Some(value) = value.filter(|value| !value.is_empty()) else { return };
        if self.reopen_last(field) {
            let has_it = self
                .open
                .last()
                .is_some_and(|open| self.attributes(Node::Inner(*open)).any(|node| self.name(node) == Some(attribute)));
            if !has_it {
                self.attribute(attribute, value);
            }
            self.close();
        }
    }

    fn other_members(&mut self, members: &Members<'_>) {
        for (name, value) in members.iter().filter(|(name, _)| !is_taken(name)) {
            match (name.strip_suffix("_attributes"), &value.kind) {
                (Some(element), Kind::Object(attributes)) if members.named(element).is_none() => {
                    if self.has_room() && !is_taken(element) {
                        self.open(element);
                        attributes.iter().for_each(|(name, value)| self.attribute_of(name, value));
                        self.close();
                    }
                }
                (Some(_), _) => {}
                (None, _) => self.part(name, value),
            }
        }
    }

    fn flat_parts(&mut self, record: &Json<'_>, flat: Flat<'_>) {
        let shape = Shape::of(record);
        for (index, part) in PARTS.iter().enumerate() {
            // Keywords come as a list of words as well.
            let is_usable = |value: &Json<'_>| match value.kind {
                Kind::String(_) | Kind::Number(_) => true,
                Kind::Array(_) => part.element == "Keywords",
                _ => false,
            };
            let in_powershell = part.in_powershell.filter(|_| shape == Shape::PowerShell);
            let values = part.names.iter().copied().chain(in_powershell).filter_map(|name| flat.get(name));
            // PowerShell's object for a SID has its text inside.
            let mut values = values.map(|value| value.get("Value").unwrap_or(value));
            let Some(value) = values.find(|value| is_usable(value)) else { continue };
            // The same under another of its names is no news.
            let members =
                [Some(record), record.get("body")].into_iter().flatten().filter_map(Json::as_object).flatten();
            let is_name = |name: &str| part.is_named(shape, name) || name.eq_ignore_ascii_case(part.element);
            let same = members.filter(|(name, other)| other.raw() == value.raw() && is_name(name));
            same.for_each(|(_, other)| other.set_used());
            value.set_used();
            let Some(attribute) = part.attribute else {
                self.part(part.element, value);
                continue;
            };
            let continues = index > 0 && PARTS[index - 1].element == part.element;
            if !(continues && self.reopen_last(part.element)) {
                self.open(part.element);
            }
            self.attribute_of(attribute, value);
            self.close();
        }
    }

    /// A part that is an element.
    fn part(&mut self, name: &str, value: &Json<'_>) {
        let keywords = if name == "Keywords" { json_keywords::hexadecimal(value) } else { None };
        match keywords {
            Some(bits) => self.element(name, &Json::text(&bits)),
            None => self.element(name, value),
        }
    }

    /// Opens the last child again, for another attribute.
    fn reopen_last(&mut self, element: &str) -> bool {
        let last = self.open.last().and_then(|open| self.nodes[*open as usize].last_child);
        let last = last.filter(|last| self.nodes[*last as usize].name.of(&self.words) == element);
        self.open.extend(last);
        last.is_some()
    }
}

/// Whether an element of `System` is made of the event's fields, so that the record's own value does not count.
fn is_taken(name: &str) -> bool {
    name != "Keywords" && super::FIELDS.contains(&name)
}
