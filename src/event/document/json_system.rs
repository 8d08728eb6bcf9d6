//! `System` of an event in JSON: what the field scanner found, and the parts that only queries ask for.

use super::record::{Json, Kind, Member, member};
use super::{Document, holder, json_keywords};
use crate::event::Fields;

/// A part of `System` with the names that flat records have for it.
struct Part {
    element: &'static str,
    /// `None`: the element's text.
    attribute: Option<&'static str>,
    names: &'static [&'static str],
}

const fn text(element: &'static str, names: &'static [&'static str]) -> Part {
    Part { element, attribute: None, names }
}

const fn attribute(element: &'static str, attribute: &'static str, names: &'static [&'static str]) -> Part {
    Part { element, attribute: Some(attribute), names }
}

/// In the order of Microsoft's schema; attributes of one element stand together.
const PARTS: [Part; 8] = [
    text("Version", &["Version", "version", "winlog.version"]),
    text("Task", &["Task", "task", "task_value", "TaskValue"]),
    text("Opcode", &["Opcode", "OpcodeValue", "opcode_value"]),
    text("Keywords", &["Keywords", "keywords", "winlog.keywords"]),
    attribute("Correlation", "ActivityID", &["Correlation", "ActivityID", "activity_id", "winlog.activity_id"]),
    attribute(
        "Execution",
        "ProcessID",
        &["SystemProcessId", "ExecutionProcessID", "process_id", "winlog.process.pid", "ProcessID"],
    ),
    attribute(
        "Execution",
        "ThreadID",
        &["SystemThreadId", "ExecutionThreadID", "thread_id", "winlog.process.thread.id", "ThreadID"],
    ),
    attribute("Security", "UserID", &["SystemUserId", "UserID", "user_id", "winlog.user.identifier"]),
];

/// Whether an element of `System` has a column, or stands for nothing that a row of an agent has.
pub(super) fn is_part(element: &str) -> bool {
    PARTS.iter().any(|part| part.element == element)
}

/// Names of parts that are names of event data as well: nothing in a flat record tells which of both is meant, so they count
/// as both.
const ALSO_DATA: [&str; 7] = ["Version", "Task", "Opcode", "ActivityID", "ProcessID", "ThreadID", "UserID"];

/// Whether a key of a flat record stands for a part of `System` beside the fields, and for nothing else.
pub(super) fn is_only_part(name: &str) -> bool {
    !ALSO_DATA.contains(&name) && PARTS.iter().any(|part| part.names.contains(&name))
}

impl Document {
    /// `System`: the fields exactly as they are, then what else is known.
    pub(super) fn system_of(&mut self, record: &Json<'_>, fields: &Fields<'_>) {
        let places = ["/Event/System", "/System", "/body/Event/System", "/body/System"];
        let nested = places.iter().find_map(|path| record.pointer(path)?.as_object());
        self.open("System");
        self.fields_of(nested, fields);
        match nested {
            Some(members) => self.other_members(members),
            None => self.flat_parts(record),
        }
        self.close();
    }

    fn fields_of(&mut self, nested: Option<&[Member<'_>]>, fields: &Fields<'_>) {
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        self.field("Provider", nested, fields.provider.as_deref());
        self.field("EventID", nested, number(fields.event_id.map(u64::from)).as_deref());
        self.field("Level", nested, number(fields.level.map(u64::from)).as_deref());
        self.field("TimeCreated", nested, fields.time.map(|time| time.to_string()).as_deref());
        self.field("EventRecordID", nested, number(fields.record_id).as_deref());
        self.field("Channel", nested, fields.channel.as_deref());
        self.field("Computer", nested, fields.computer.as_deref());
    }

    /// One field, with the other attributes that its element has.
    fn field(&mut self, name: &str, nested: Option<&[Member<'_>]>, value: Option<&str>) {
        let Some(value) = value else { return };
        let holder = holder(name);
        self.open(name);
        if let Some(holder) = holder {
            self.attribute(holder, value);
        }
        let own = nested.and_then(|members| member(members, name)?.as_object());
        let beside = nested.and_then(|members| member(members, &format!("{name}_attributes"))?.as_object());
        let lists = own.into_iter().flatten().filter_map(|(_, value)| value.as_object()).chain(beside);
        for (attribute, value) in lists.flatten().filter(|(attribute, _)| Some(attribute.as_ref()) != holder) {
            self.attribute_of(attribute, value);
        }
        if holder.is_none() {
            self.text(value);
        }
        self.close();
    }

    fn other_members(&mut self, members: &[Member<'_>]) {
        for (name, value) in members.iter().filter(|(name, _)| !is_taken(name)) {
            match (name.strip_suffix("_attributes"), &value.kind) {
                (Some(element), Kind::Object(attributes)) if member(members, element).is_none() => {
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

    fn flat_parts(&mut self, record: &Json<'_>) {
        for (index, part) in PARTS.iter().enumerate() {
            // Keywords come as a list of words as well.
            let is_usable = |value: &Json<'_>| match value.kind {
                Kind::String(_) | Kind::Number(_) => true,
                Kind::Array(_) => part.element == "Keywords",
                _ => false,
            };
            let mut values = part.names.iter().filter_map(|name| flat(record, name));
            let Some(value) = values.find(|value| is_usable(value)) else { continue };
            // The same under another of its names is no news.
            let members =
                [Some(record), record.get("body")].into_iter().flatten().filter_map(Json::as_object).flatten();
            let is_name = |name: &str| part.names.contains(&name) || name.eq_ignore_ascii_case(part.element);
            let same = members.filter(|(name, other)| is_name(name) && other.raw() == value.raw());
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

/// A member of a flat record; dotted names are also looked for as objects in objects.
fn flat<'v>(record: &'v Json<'_>, name: &str) -> Option<&'v Json<'v>> {
    let direct = record.get(name).or_else(|| record.get("body")?.get(name));
    direct.or_else(|| name.split('.').try_fold(record, |at, key| at.get(key)))
}

/// Whether an element of `System` is made of the event's fields, so that the record's own value does not count.
fn is_taken(name: &str) -> bool {
    name != "Keywords" && super::FIELDS.contains(&name)
}
