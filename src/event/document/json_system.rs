//! `System` of an event in JSON: what the field scanner found, and the parts that only queries ask for.

use serde_json::{Map, Value};

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

/// Names of parts that are names of event data as well: nothing in a flat record tells which of both is meant, so they count
/// as both.
const ALSO_DATA: [&str; 7] = ["Version", "Task", "Opcode", "ActivityID", "ProcessID", "ThreadID", "UserID"];

/// Whether a key of a flat record stands for a part of `System` beside the fields, and for nothing else.
pub(super) fn is_only_part(name: &str) -> bool {
    !ALSO_DATA.contains(&name) && PARTS.iter().any(|part| part.names.contains(&name))
}

impl Document {
    /// `System`: the fields exactly as they are, then what else is known.
    pub(super) fn system_of(&mut self, record: &Value, fields: &Fields<'_>) {
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

    fn fields_of(&mut self, nested: Option<&Map<String, Value>>, fields: &Fields<'_>) {
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
    fn field(&mut self, name: &str, nested: Option<&Map<String, Value>>, value: Option<&str>) {
        let Some(value) = value else { return };
        let holder = holder(name);
        self.open(name);
        if let Some(holder) = holder {
            self.attribute(holder, value);
        }
        let own = nested.and_then(|members| members.get(name)?.as_object());
        let beside = nested.and_then(|members| members.get(&format!("{name}_attributes"))?.as_object());
        let lists = own.into_iter().flat_map(|own| own.values()).filter_map(Value::as_object).chain(beside);
        for (attribute, value) in lists.flatten().filter(|(attribute, _)| Some(attribute.as_str()) != holder) {
            self.attribute_of(attribute, value);
        }
        if holder.is_none() {
            self.text(value);
        }
        self.close();
    }

    fn other_members(&mut self, members: &Map<String, Value>) {
        for (name, value) in members.iter().filter(|(name, _)| !is_taken(name)) {
            match (name.strip_suffix("_attributes"), value) {
                (Some(element), Value::Object(attributes)) if !members.contains_key(element) => {
                    if self.has_room() && !is_taken(element) {
                        self.open(element);
                        attributes.iter().for_each(|(name, value)| self.attribute_of(name, value));
                        self.close();
                    }
                }
                (Some(_), _) => {}
                (None, value) => self.part(name, value),
            }
        }
    }

    fn flat_parts(&mut self, record: &Value) {
        for (index, part) in PARTS.iter().enumerate() {
            // Keywords come as a list of words as well.
            let is_usable = |value: &Value| match value {
                Value::String(_) | Value::Number(_) => true,
                value => value.is_array() && part.element == "Keywords",
            };
            let mut values = part.names.iter().filter_map(|name| flat(record, name));
            let Some(value) = values.find(|value| is_usable(value)) else { continue };
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
    fn part(&mut self, name: &str, value: &Value) {
        let keywords = if name == "Keywords" { json_keywords::hexadecimal(value) } else { None };
        match keywords {
            Some(bits) => self.element(name, &Value::String(bits)),
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
fn flat<'v>(record: &'v Value, name: &str) -> Option<&'v Value> {
    let places = [record, &record["body"]];
    let direct = places.iter().find_map(|place| place.get(name));
    direct.or_else(|| name.split('.').try_fold(record, |at, key| at.get(key)))
}

/// Whether an element of `System` is made of the event's fields, so that the record's own value does not count.
fn is_taken(name: &str) -> bool {
    name != "Keywords" && super::FIELDS.contains(&name)
}
