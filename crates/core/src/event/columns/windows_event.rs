//! An event as a row of `WindowsEvent`.
//!
//! What an event tells beyond `System` goes into the dynamic column `EventData`, by name. Nothing of it is lost: values
//! without a name stand under their element's name, repeated names become lists, attributes stand under
//! `element@attribute`. What Windows rendered for people stands there too, under `RenderingInfo/…`: the table has no column
//! for it. So does what a record in JSON tells beside the event; objects and lists stay what they are there. Only an event that is damaged or beyond all measure goes as text, in `RawEventData`.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::convert::{Reading, Told, Tree};
use super::data_xml::Body;
use super::line::Line;
use super::plain;
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
    line.text("Keywords", &system.keywords);
    line.int("Version", int(system.version));
    line.text("EventRecordId", &fields.record_id.map(|id| id.to_string()).unwrap_or_default());
    line.int("SystemProcessId", int(system.process_id));
    line.int("SystemThreadId", int(system.thread_id));
    line.text("SystemUserId", system.user_id);
    line.text("Correlation", system.activity_id);
    if let Body::Damaged(text) = reading.body {
        return line.text("RawEventData", text.trim());
    }
    let mut values = match reading.told {
        Told::Tree(tree) => Data::of(tree),
        Told::Plain(data) => data.iter().map(named).collect(),
    };
    for leftover in reading.leftovers.iter().filter(|leftover| !leftover.is_told(line)) {
        let value = leftover.value.json().map_or_else(|| Datum::Text(leftover.text()), Datum::Json);
        values.push((Cow::Borrowed(&leftover.name), value));
    }
    if !values.is_empty() {
        // Values of one name stay in the order of the event.
        values.sort_by(|left, right| left.0.cmp(&right.0));
        line.object("EventData", |line| write_values(&values, line));
    }
}

/// A value with its name.
type Named<'d> = (Cow<'d, str>, Datum<'d>);

/// `Data` goes by its name, or else by that of its element.
fn named<'d>(datum: &'d plain::Datum<'_>) -> Named<'d> {
    let name = if datum.name.is_empty() { "Data" } else { datum.name };
    (Cow::Borrowed(name), Datum::Text(Cow::Borrowed(&datum.value)))
}

/// One member for each name, and a list where one comes again.
fn write_values(values: &[Named<'_>], line: &mut Line<'_>) {
    for group in values.chunk_by(|left, right| left.0 == right.0) {
        line.member(&group[0].0);
        match group {
            [(_, one)] => one.write(line),
            many => line.list(many, |line, (_, value)| value.write(line)),
        }
    }
}

/// Names and values of what an event tells.
struct Data<'d> {
    document: &'d Document,
    values: Vec<Named<'d>>,
}

/// A value, which is text unless it is of no event but of a record in JSON, and an object or list there.
enum Datum<'d> {
    Text(Cow<'d, str>),
    Json(Box<RawValue>),
}

impl Datum<'_> {
    fn write(&self, line: &mut Line<'_>) {
        match self {
            Self::Text(text) => line.string(text),
            Self::Json(json) => line.json(json.get()),
        }
    }
}

impl<'d> Data<'d> {
    /// All that a tree has beyond `System`.
    fn of(tree: Tree<'d>) -> Vec<Named<'d>> {
        let mut data = Self { document: tree.document, values: Vec::with_capacity(32) };
        tree.sections().for_each(|section| data.section(section, ""));
        if let Some(rendering) = tree.rendering() {
            data.section(rendering, "RenderingInfo/");
        }
        data.values
    }

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

#[cfg(test)]
#[path = "windows_event_tests.rs"]
mod tests;
