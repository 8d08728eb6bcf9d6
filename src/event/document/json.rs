//! A document out of an event in JSON: the tree that the same event has in XML.
//!
//! Agents write the parts of an event in many shapes. What is looked for, in this order:
//!
//! - the whole event as XML text where the field scanner reads it as well (`System`, `body`);
//! - `System`: the values of [`Fields`], and the other parts as `json_system` finds them;
//! - `EventData` and `UserData` as objects, lists or XML text, wherever the known shapes keep them;
//! - an event as XML text under the other names that agents use for it; its `System` is not read;
//! - else every scalar of a flat record is a `Data` of its name, except for those that can only be part of
//!   `System`.

use serde_json::{Map, Value};

use super::{Document, xml};
use crate::event::{Event, from_json, from_xml};

/// Where the parts of an event may be, the more specific first.
const PLACES: [&str; 6] = ["/Event", "", "/body/Event", "/body", "/winlog", "/event"];

/// Names under which agents keep what in XML is `EventData`.
const EVENT_DATA: [&str; 3] = ["EventData", "event_data", "eventdata"];

/// Names under which agents keep what in XML is `UserData`.
const USER_DATA: [&str; 2] = ["UserData", "user_data"];

/// Names under which agents keep the whole event as XML beside its fields.
const RAW_EVENT: [&str; 6] = ["/RawXml", "/EventXml", "/RawEventData", "/xml", "/event/original", "/event.original"];

/// What Winlogbeat puts before each name when it writes dotted keys.
const DOTTED_DATA: &str = "winlog.event_data.";

impl Document {
    /// Reads the whole record; JSON has no order that would let a part of it do.
    pub(super) fn read_json(&mut self, event: &Event<'_>) {
        let record: Value = serde_json::from_slice(event.raw).unwrap_or_default();
        match whole_event(&record) {
            Some(xml) => self.read_xml(xml.as_bytes(), 0, xml::Until::End),
            None => {
                self.open("Event");
                self.system_of(&record, &event.fields);
                self.data_of(&record);
                self.finish();
            }
        }
    }

    fn data_of(&mut self, record: &Value) {
        let user_data = part(record, &USER_DATA);
        if let Some(value) = user_data {
            self.section("UserData", value);
        }
        if let Some(value) = part(record, &EVENT_DATA) {
            self.section("EventData", value);
        } else if user_data.is_none() {
            match RAW_EVENT.iter().find_map(|path| record.pointer(path)?.as_str()).filter(|text| is_xml(text)) {
                Some(xml) => self.read_fragment(xml),
                None => self.flat_data(record),
            }
        }
    }

    /// `EventData` or `UserData`, in whatever form.
    fn section(&mut self, name: &str, value: &Value) {
        match value {
            Value::String(text) if is_xml(text) => self.xml_section(name, text),
            Value::String(text) if text.trim_ascii_start().starts_with('{') => match serde_json::from_str(text) {
                Ok(inner @ Value::Object(_)) => self.section(name, &inner),
                _ => self.element(name, value),
            },
            Value::Object(members) if name == "EventData" => {
                self.open(name);
                self.attributes_of(members);
                for (name, value) in members.iter().filter(|(name, _)| !is_attributes(name)) {
                    self.datum(name, value);
                }
                self.close();
            }
            Value::Object(_) => self.element(name, value),
            _ => {
                self.open(name);
                self.datum("Data", value);
                self.close();
            }
        }
    }

    /// XML text that may or may not bring the element that it is the inside of.
    fn xml_section(&mut self, name: &str, text: &str) {
        let whole = ["<Event", "<UserData", "<?xml"].iter().any(|start| text.trim_ascii_start().starts_with(start));
        if whole {
            self.read_fragment(text);
        } else {
            self.open(name);
            self.read_fragment(text);
            self.close();
        }
    }

    /// A member of `EventData`.
    fn datum(&mut self, name: &str, value: &Value) {
        match (name, value) {
            (_, Value::Array(values)) => values.iter().for_each(|value| self.datum(name, value)),
            ("Binary", _) => self.element(name, value),
            ("Data" | "#text", Value::Object(members)) => self.listed_datum(members),
            ("Data" | "#text", _) => self.named_datum(None, value),
            _ => self.named_datum(Some(name), value),
        }
    }

    /// A `Data` that tells its name inside: `{"#attributes": {"Name": ..}, "#text": ..}`, `{"Name": .., "Value": ..}`.
    fn listed_datum(&mut self, members: &Map<String, Value>) {
        let attributes = members.iter().find(|(name, _)| is_attributes(name)).map(|(_, value)| value);
        let first = |names: &[&str]| names.iter().find_map(|name| members.get(*name));
        let name = attributes.and_then(|inner| inner.get("Name")).or_else(|| first(&["Name", "@Name", "name"]));
        match first(&["#text", "_text", "Text", "text", "Value", "value", "content"]) {
            Some(Value::Array(values)) => values.iter().for_each(|value| self.named_datum(scalar(name), value)),
            Some(value) => self.named_datum(scalar(name), value),
            None if name.is_some() || members.is_empty() => self.named_datum(scalar(name), &Value::Null),
            None => members.iter().for_each(|(name, value)| self.datum(name, value)),
        }
    }

    fn named_datum(&mut self, name: Option<&str>, value: &Value) {
        if !self.has_room() || self.is_too_deep() {
            return;
        }
        self.open("Data");
        if let Some(name) = name {
            self.attribute("Name", name);
        }
        self.inside(value);
        self.close();
    }

    /// An element with attributes, elements and text as XML-to-JSON tools write them.
    pub(super) fn element(&mut self, name: &str, value: &Value) {
        if let Value::Array(values) = value {
            return values.iter().for_each(|value| self.element(name, value));
        }
        if !self.has_room() || self.is_too_deep() {
            return;
        }
        self.open(name);
        if let Value::Object(members) = value {
            self.attributes_of(members);
        }
        self.inside(value);
        self.close();
    }

    fn inside(&mut self, value: &Value) {
        match value {
            Value::Null => {}
            Value::Bool(truth) => self.text(if *truth { "true" } else { "false" }),
            Value::Number(number) => self.text(&number.to_string()),
            Value::String(text) => self.text(text),
            Value::Array(values) => values.iter().for_each(|value| self.inside(value)),
            Value::Object(members) => {
                for (name, value) in members.iter().filter(|(name, _)| !is_attributes(name) && !name.starts_with('@')) {
                    match name.as_str() {
                        "#text" | "_text" | "$t" => self.inside(value),
                        _ => self.element(name, value),
                    }
                }
            }
        }
    }

    /// The attributes among an object's members.
    pub(super) fn attributes_of(&mut self, members: &Map<String, Value>) {
        for (name, value) in members {
            if is_attributes(name) {
                value.as_object().into_iter().flatten().for_each(|(name, value)| self.attribute_of(name, value));
            } else if let Some(name) = name.strip_prefix('@') {
                self.attribute_of(name, value);
            }
        }
    }

    pub(super) fn attribute_of(&mut self, name: &str, value: &Value) {
        match value {
            _ if name == "xmlns" || name.starts_with("xmlns:") => {}
            Value::String(text) => self.attribute(name, text),
            Value::Number(_) | Value::Bool(_) => self.attribute(name, &value.to_string()),
            _ => {}
        }
    }

    fn flat_data(&mut self, record: &Value) {
        let Some(members) = record.as_object() else { return };
        let is_data = |name: &str, value: &Value| {
            !value.is_object()
                && !value.is_array()
                && !from_json::is_field(name)
                && !super::json_system::is_only_part(name)
        };
        self.open("EventData");
        for (name, value) in members.iter().filter(|(name, value)| is_data(name, value)) {
            self.named_datum(Some(name.strip_prefix(DOTTED_DATA).unwrap_or(name)), value);
        }
        self.close();
    }
}

/// The event as XML text, where the field scanner takes its fields from it.
fn whole_event(record: &Value) -> Option<&str> {
    let texts =
        ["/body", "/System", "/body/System", "/body/body"].iter().filter_map(|path| record.pointer(path)?.as_str());
    texts.map(str::trim_ascii_start).find(|text| is_xml(text) && from_xml::scan(text.as_bytes()).is_ok())
}

/// The first part of one of these names that is there.
fn part<'v>(record: &'v Value, names: &[&str]) -> Option<&'v Value> {
    let places = PLACES.iter().filter_map(|place| record.pointer(place)?.as_object());
    places.flat_map(|place| names.iter().filter_map(|name| place.get(*name))).find(|value| match value {
        Value::String(text) => !text.is_empty(),
        value => !value.is_null(),
    })
}

fn scalar(value: Option<&Value>) -> Option<&str> {
    value.and_then(Value::as_str)
}

fn is_attributes(name: &str) -> bool {
    matches!(name, "#attributes" | "_attributes" | "@attributes" | "attributes" | "$") || name.ends_with("_attributes")
}

fn is_xml(text: &str) -> bool {
    text.trim_ascii_start().starts_with('<')
}
