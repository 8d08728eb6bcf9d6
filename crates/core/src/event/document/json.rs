//! A document out of an event in JSON: the tree that the same event has in XML.
//!
//! Agents write the parts of an event in many shapes. What is looked for, in this order:
//!
//! - the whole event as XML text, if the record is what it quotes ([`quoted`]): then nothing else of it counts;
//! - `System`: the values of [`Fields`](crate::event::Fields), and the other parts as `json_system` finds them;
//! - `EventData` and `UserData` as objects, lists or XML text, wherever the known shapes keep them;
//! - an event as XML text beside the fields, under the names that agents use for it; its `System` is not read;
//! - else every scalar of a flat record is a `Data` of its name, except for those that can only be part of
//!   `System`.
//!
//! Each value that the tree tells whole is noted as used. The rest of the record is not in the tree: queries know nothing of
//! it, but rows keep it.

use std::borrow::Cow;

use serde_json::Number;

use super::json_system::{self, Shape};
use super::record::{Json, Kind, Members};
use super::{Document, json_told, xml};
use crate::event::{Event, from_json, quoted};

/// Where the parts of an event may be, the more specific first.
const PLACES: [&[&str]; 6] = [&["Event"], &[], &["body", "Event"], &["body"], &["winlog"], &["event"]];

/// Names under which agents keep what in XML is `EventData`.
const EVENT_DATA: [&str; 3] = ["EventData", "event_data", "eventdata"];

/// Names under which agents keep what in XML is `UserData`.
const USER_DATA: [&str; 2] = ["UserData", "user_data"];

/// Names under which agents keep the whole event as XML beside its fields.
const RAW_EVENT: [&[&str]; 6] =
    [&["RawXml"], &["EventXml"], &["RawEventData"], &["xml"], &["event", "original"], &["event.original"]];

/// The element of `EventData` that holds bytes, in hexadecimal.
const BINARY: &str = "Binary";

/// What Winlogbeat puts before each name when it writes dotted keys.
const DOTTED_DATA: &str = "winlog.event_data.";

impl Document {
    /// Reads the whole record; JSON has no order that would let a part of it do.
    pub(super) fn read_json(&mut self, event: &Event<'_>) {
        if event.fields.quoted.is_some() {
            return quoted::within(event, |quoted| self.read_xml(quoted.raw, 0, xml::Until::End));
        }
        match std::str::from_utf8(event.raw).ok().and_then(Json::read) {
            Some(record) => self.tree_of(event, &record),
            None => {
                self.left_out = true;
                self.tree_of(event, &Json::null());
            }
        }
    }

    /// Reads an event of which the record has been read already, in place of any other. All numbers stay as they are written.
    pub fn read_record(&mut self, event: &Event<'_>, record: &Json<'_>) {
        self.clear();
        self.begin();
        self.as_written = true;
        json_told::note(record, &event.fields);
        self.tree_of(event, record);
    }

    /// Reads the event that a record quotes, in place of any other, and notes what of the record it tells.
    pub fn read_quoted(&mut self, event: &Event<'_>, record: &Json<'_>) {
        self.clear();
        self.begin();
        json_told::note(record, &event.fields);
        let string = event.fields.quoted.clone().and_then(|at| event.raw.get(at)).unwrap_or_default();
        record.set_used_like(string);
        quoted::within(event, |quoted| self.read_xml(quoted.raw, 0, xml::Until::End));
    }

    fn tree_of(&mut self, event: &Event<'_>, record: &Json<'_>) {
        self.open("Event");
        self.system_of(record, &event.fields);
        self.data_of(record);
        self.finish();
    }

    fn data_of(&mut self, record: &Json<'_>) {
        let user_data = part(record, &USER_DATA);
        if let Some(value) = user_data {
            self.noted(value, |document| document.section("UserData", value));
        }
        if let Some(value) = part(record, &EVENT_DATA) {
            self.noted(value, |document| document.section("EventData", value));
        } else if user_data.is_none() {
            let mut texts =
                RAW_EVENT.iter().filter_map(|path| record.at(path)).filter_map(|value| Some((value, value.as_str()?)));
            match texts.next().filter(|(_, text)| is_xml(text)) {
                Some((value, xml)) => self.noted(value, |document| document.read_fragment(xml)),
                None => self.flat_data(record),
            }
        }
    }

    /// Reads a value, and notes that it has been used if the tree tells all of it.
    fn noted(&mut self, value: &Json<'_>, read: impl FnOnce(&mut Self)) {
        self.untold = false;
        read(self);
        if !self.untold {
            value.set_used();
        }
    }

    /// `EventData` or `UserData`, in whatever form.
    fn section(&mut self, name: &str, value: &Json<'_>) {
        match &value.kind {
            Kind::String(text) if is_xml(text) => self.xml_section(name, text),
            Kind::String(text) if quoted::trimmed(text).starts_with('{') => {
                match Json::read_unknown(quoted::trimmed(text)) {
                    Some(inner) => self.section(name, &inner),
                    None => self.element(name, value),
                }
            }
            Kind::Object(members) if name == "EventData" => {
                self.open(name);
                self.attributes_of(members);
                match listed_pairs(members) {
                    Some(pairs) => self.pairs(members, pairs),
                    None => {
                        let data = members.iter().filter(|(name, _)| !is_attributes(name));
                        data.for_each(|(name, value)| self.datum(name, value));
                    }
                }
                self.close();
            }
            Kind::Object(_) => self.element(name, value),
            _ => {
                self.open(name);
                self.datum("Data", value);
                self.close();
            }
        }
    }

    /// XML text that may or may not bring the element that it is the inside of. The old agent puts a `DataItem` around it.
    fn xml_section(&mut self, name: &str, text: &str) {
        let text = xml::within(text, "DataItem");
        let whole = ["<Event", "<UserData", "<?xml"].iter().any(|start| quoted::trimmed(text).starts_with(start));
        if whole {
            self.read_fragment(text);
        } else {
            self.open(name);
            self.read_fragment(text);
            self.close();
        }
    }

    /// `EventData` as OpenTelemetry lists it: pairs of a name and a value, in the order of the event, and what stands beside them.
    fn pairs(&mut self, members: &Members<'_>, pairs: &[Json<'_>]) {
        if let Some(name) = members.named("name") {
            self.attribute_of("Name", name);
        }
        for (name, value) in pairs.iter().filter_map(Json::as_object).flatten() {
            self.named_datum(Some(name.as_ref()).filter(|name| !name.is_empty()), value);
        }
        if let Some(bytes) = members.named("binary") {
            self.element(BINARY, bytes);
        }
    }

    /// A member of `EventData`.
    fn datum(&mut self, name: &str, value: &Json<'_>) {
        match (name, &value.kind) {
            (_, Kind::Array(values)) => values.iter().for_each(|value| self.datum(name, value)),
            (BINARY, _) => self.element(name, value),
            ("Data" | "#text", Kind::Object(members)) => self.listed_datum(members),
            ("Data" | "#text", _) => self.named_datum(None, value),
            _ => self.named_datum(Some(name), value),
        }
    }

    /// A `Data` that tells its name inside: `{"#attributes": {"Name": ..}, "#text": ..}`, `{"Name": .., "Value": ..}`.
    fn listed_datum(&mut self, members: &Members<'_>) {
        let attributes = members.iter().find(|(name, _)| is_attributes(name)).map(|(_, value)| value);
        let first = |names: &[&str]| names.iter().find_map(|name| members.named(name));
        let named = attributes.and_then(|inner| inner.get("Name")).or_else(|| first(&["Name", "@Name", "name"]));
        let value = first(&["#text", "_text", "Text", "text", "Value", "value", "content"]);
        let name = named.and_then(Json::as_str);
        match value.map(|value| (value, &value.kind)) {
            None if named.is_none() && !members.is_empty() => {
                return members.iter().for_each(|(name, value)| self.datum(name, value));
            }
            None => self.named_datum(name, &Json::null()),
            Some((_, Kind::Array(values))) => values.iter().for_each(|value| self.named_datum(name, value)),
            Some((value, _)) => self.named_datum(name, value),
        }
        // An empty list is no value, so that its name is not told.
        let told = usize::from(name.is_some()) + usize::from(value.is_some());
        let beside = attributes.and_then(Json::as_object).is_some_and(|inner| inner.len() > 1);
        self.untold |= told < members.len() || beside;
    }

    fn named_datum(&mut self, name: Option<&str>, value: &Json<'_>) {
        if !self.has_room() || self.is_too_deep() {
            return;
        }
        self.open("Data");
        if let Some(name) = name {
            self.attribute("Name", name);
        }
        self.untold |= value.as_object().into_iter().flatten().any(|(name, _)| is_attribute(name));
        self.inside(value);
        self.close();
    }

    /// An element with attributes, elements and text as XML-to-JSON tools write them.
    pub(super) fn element(&mut self, name: &str, value: &Json<'_>) {
        if let Kind::Array(values) = &value.kind {
            return values.iter().for_each(|value| self.element(name, value));
        }
        if !self.has_room() || self.is_too_deep() {
            return;
        }
        self.open(name);
        if let Kind::Object(members) = &value.kind {
            self.attributes_of(members);
        }
        self.inside(value);
        self.close();
    }

    /// Text, and elements without the attributes of what they stand in.
    fn inside(&mut self, value: &Json<'_>) {
        match &value.kind {
            Kind::Null => {}
            Kind::Bool(truth) => self.text(if *truth { "true" } else { "false" }),
            Kind::Number(digits) => self.text(&self.number(digits)),
            Kind::String(text) => self.text(text),
            Kind::Array(values) => {
                self.untold |= values.iter().any(|value| value.as_object().is_some());
                values.iter().for_each(|value| self.inside(value));
            }
            Kind::Object(members) => {
                for (name, value) in members.iter().filter(|(name, _)| !is_attribute(name)) {
                    match name.as_ref() {
                        "#text" | "_text" | "$t" => {
                            self.untold |= value.as_object().is_some();
                            self.inside(value);
                        }
                        _ => self.element(name, value),
                    }
                }
            }
        }
    }

    /// The attributes among an object's members.
    pub(super) fn attributes_of(&mut self, members: &Members<'_>) {
        for (name, value) in members {
            if is_attributes(name) {
                value.as_object().into_iter().flatten().for_each(|(name, value)| self.attribute_of(name, value));
                self.untold |= value.as_object().is_none() && !value.is_null();
            } else if let Some(name) = name.strip_prefix('@') {
                self.attribute_of(name, value);
            }
        }
    }

    pub(super) fn attribute_of(&mut self, name: &str, value: &Json<'_>) {
        if name == "xmlns" || name.starts_with("xmlns:") {
            return;
        }
        match (&value.kind, value.scalar()) {
            (Kind::Number(digits), _) => self.attribute(name, &self.number(digits)),
            (_, Some(text)) => self.attribute(name, text),
            (_, None) => self.untold |= !value.is_null(),
        }
    }

    /// A number as text. Queries do not read exponents.
    fn number<'t>(&self, digits: &'t str) -> Cow<'t, str> {
        let has_exponent = digits.bytes().any(|byte| matches!(byte, b'e' | b'E'));
        let plain = if has_exponent && !self.as_written { serde_json::from_str::<Number>(digits).ok() } else { None };
        plain.map_or(Cow::Borrowed(digits), |number| Cow::Owned(number.to_string()))
    }

    fn flat_data(&mut self, record: &Json<'_>) {
        let Some(members) = record.as_object() else { return };
        let shape = Shape::of(record);
        let is_data = |name: &str, value: &Json<'_>| {
            (value.scalar().is_some() || value.is_null())
                && !from_json::is_field(name)
                && !json_system::is_only_part(shape, name)
        };
        self.open("EventData");
        for (name, value) in members.iter().filter(|(name, value)| is_data(name, value)) {
            match name.strip_prefix(DOTTED_DATA).unwrap_or(name) {
                BINARY => self.element(BINARY, value),
                name => self.named_datum(Some(name), value),
            }
            value.set_used();
        }
        self.close();
    }
}

/// The pairs of `EventData` as OpenTelemetry lists it: `{"data": [{"NAME": …}, …], "binary": …, "name": …}`.
fn listed_pairs<'m, 'a>(members: &'m Members<'a>) -> Option<&'m [Json<'a>]> {
    let Kind::Array(pairs) = &members.named("data")?.kind else { return None };
    let are_known = members.iter().all(|(name, _)| matches!(name.as_ref(), "data" | "binary" | "name"));
    let are_pairs = pairs.iter().all(|pair| pair.as_object().is_some_and(|pair| pair.len() == 1));
    (are_known && are_pairs && !pairs.is_empty()).then_some(pairs)
}

/// The first part of one of these names that is there.
fn part<'v>(record: &'v Json<'_>, names: &[&str]) -> Option<&'v Json<'v>> {
    let places = PLACES.iter().filter_map(|place| record.at(place));
    places.flat_map(|place| names.iter().filter_map(|name| place.get(name))).find(|value| match &value.kind {
        Kind::String(text) => !text.is_empty(),
        kind => !matches!(kind, Kind::Null),
    })
}

fn is_attributes(name: &str) -> bool {
    matches!(name, "#attributes" | "_attributes" | "@attributes" | "attributes" | "$") || name.ends_with("_attributes")
}

/// Whether a member holds attributes, or is one.
fn is_attribute(name: &str) -> bool {
    is_attributes(name) || name.starts_with('@')
}

fn is_xml(text: &str) -> bool {
    quoted::trimmed(text).starts_with('<')
}
