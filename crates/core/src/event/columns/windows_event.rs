//! An event as a row of `WindowsEvent`.
//!
//! What an event tells beyond `System` goes into the dynamic column `EventData`, by name. Nothing of it is lost: values
//! without a name stand under their element's name, repeated names become lists, attributes stand under
//! `element@attribute`. What Windows rendered for people stands there too, under `RenderingInfo/…`: the table has no column
//! for it. So does what a record in JSON tells beside the event; objects and lists stay what they are there. Only an event that is damaged or beyond all measure goes as text, in `RawEventData`.

use std::borrow::Cow;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::convert::Reading;
use super::data_xml::Body;
use super::line::Line;
use super::system::{int, level_name, time_generated};
use crate::event::document::{Document, Node};

/// Writes the columns of the table.
pub(super) fn write(reading: &Reading<'_>, line: &mut Line<'_>) {
    let (fields, system) = (&reading.event.fields, &reading.system);
    line.text("TimeGenerated", &time_generated(fields));
    line.text("Provider", fields.provider.as_deref().unwrap_or_default());
    line.text("Channel", fields.channel.as_deref().unwrap_or_default());
    line.text("Computer", fields.computer.as_deref().unwrap_or_default());
    line.int("EventID", fields.event_id);
    line.int("EventLevel", fields.level);
    line.text("EventLevelName", level_name(fields.level));
    line.int("Task", int(system.task));
    line.text("Opcode", system.opcode);
    line.text("Keywords", system.keywords);
    line.int("Version", int(system.version));
    line.text("EventRecordId", &fields.record_id.map(|id| id.to_string()).unwrap_or_default());
    line.int("SystemProcessId", int(system.process_id));
    line.int("SystemThreadId", int(system.thread_id));
    line.text("SystemUserId", system.user_id);
    line.text("Correlation", system.activity_id);
    if let Body::Damaged(text) = reading.body {
        return line.text("RawEventData", text.trim());
    }
    let mut data = Data { document: reading.document, values: Vec::with_capacity(32) };
    reading.sections().for_each(|section| data.section(section, ""));
    if let Some(rendering) = reading.rendering() {
        data.section(rendering, "RenderingInfo/");
    }
    for leftover in reading.leftovers.iter().filter(|leftover| !leftover.is_told(line)) {
        let value = leftover.value.json().map_or_else(|| Datum::Text(leftover.text()), Datum::Json);
        data.values.push((Cow::Borrowed(&leftover.name), value));
    }
    if !data.values.is_empty() {
        // Values of one name stay in the order of the event.
        data.values.sort_by(|left, right| left.0.cmp(&right.0));
        line.put("EventData", &data);
    }
}

/// Names and values of what an event tells.
struct Data<'d> {
    document: &'d Document,
    values: Vec<(Cow<'d, str>, Datum<'d>)>,
}

/// A value, which is text unless it is of no event but of a record in JSON, and an object or list there.
#[derive(Serialize)]
#[serde(untagged)]
enum Datum<'d> {
    Text(Cow<'d, str>),
    Json(Box<RawValue>),
}

impl<'d> Data<'d> {
    /// A part of the event, whose own name is of no interest. What stands in it gets the prefix.
    fn section(&mut self, section: Node, prefix: &str) {
        let name = self.document.name(section).unwrap_or_default();
        self.attributes(section, name, name, prefix);
        let text = self.own_text(section);
        if !text.trim().is_empty() {
            self.push(Cow::Borrowed(name), prefix, text);
        }
        for child in self.elements(section) {
            self.element(child, prefix);
        }
    }

    fn element(&mut self, element: Node, prefix: &str) {
        let name = self.document.name(element).unwrap_or_default();
        let key = self.attributes(element, name, name, prefix);
        let is_leaf = self.elements(element).next().is_none();
        let text = self.own_text(element);
        if is_leaf || !text.trim().is_empty() {
            self.push(Cow::Borrowed(key), prefix, text);
        }
        for child in self.elements(element) {
            self.element(child, prefix);
        }
    }

    /// Takes the attributes, and returns the name that an element's value goes by.
    fn attributes(&mut self, element: Node, name: &'d str, mut key: &'d str, prefix: &str) -> &'d str {
        let document = self.document;
        for attribute in document.attributes(element) {
            let (attribute, value) = (document.name(attribute).unwrap_or_default(), document.value(attribute));
            if name == "Data" && attribute == "Name" && !value.is_empty() {
                key = value;
            } else {
                self.push(Cow::Owned(format!("{name}@{attribute}")), prefix, Cow::Borrowed(value));
            }
        }
        key
    }

    fn push(&mut self, name: Cow<'d, str>, prefix: &str, value: Cow<'d, str>) {
        let name = if prefix.is_empty() { name } else { Cow::Owned(format!("{prefix}{name}")) };
        self.values.push((name, Datum::Text(value)));
    }

    fn elements(&self, node: Node) -> impl Iterator<Item = Node> + use<'d> {
        let document = self.document;
        document.children(node).filter(|child| !document.is_text(*child))
    }

    /// The text that stands in an element itself.
    fn own_text(&self, element: Node) -> Cow<'d, str> {
        let document = self.document;
        let mut texts = document.children(element).filter(|child| document.is_text(*child));
        let first = texts.next().map_or("", |text| document.value(text));
        let mut own = Cow::Borrowed(first);
        texts.for_each(|text| own.to_mut().push_str(document.value(text)));
        own
    }
}

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let groups = self.values.chunk_by(|left, right| left.0 == right.0);
        serializer.collect_map(groups.map(|group| (&group[0].0, OneOrMany(group))))
    }
}

struct OneOrMany<'v, 'd>(&'v [(Cow<'d, str>, Datum<'d>)]);

impl Serialize for OneOrMany<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            [(_, one)] => one.serialize(serializer),
            many => serializer.collect_seq(many.iter().map(|(_, value)| value)),
        }
    }
}

#[cfg(test)]
#[path = "windows_event_tests.rs"]
mod tests;
