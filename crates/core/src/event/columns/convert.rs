//! The way of an event into a row that it is not yet.
//!
//! What neither a column nor the event's data tells goes along as a [`Leftover`], so that nothing is lost on the way. Members
//! of a record that are columns of the site's own, by their suffix, stay columns.

use std::cell::RefCell;

use super::data_xml::{self, Body};
use super::leftovers::{self, Leftover};
use super::line::Line;
use super::plain::{Datum, Plain};
use super::system::{System, event_node};
use super::{Additions, Table, event, plain_flat, plain_json, security_event, windows_event};
use crate::event::document::record::Json;
use crate::event::document::{Document, Node};
use crate::event::{Event, Format, quoted};

thread_local! {
    /// Events are read into the memory of the one before.
    static DOCUMENT: RefCell<Document> = RefCell::default();
}

/// How an event is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Without a tree where that gives the same row.
    Shortest,
    /// By way of a tree always.
    Tree,
}

/// An event that has been read, for the tables.
pub(super) struct Reading<'e> {
    /// Its fields.
    pub(super) event: &'e Event<'e>,
    /// The whole of it.
    pub(super) told: Told<'e>,
    /// The rest of its `System`.
    pub(super) system: System<'e>,
    /// Its data as text.
    pub(super) body: Body<'e>,
    /// What stands in neither, and nowhere in `System` as its columns can hold it; none when `body` is the whole event.
    pub(super) leftovers: Vec<Leftover<'e>>,
}

/// What an event tells, in the form in which it was read.
#[derive(Clone, Copy)]
pub(super) enum Told<'e> {
    /// All of it.
    Tree(Tree<'e>),
    /// The `Data` of its `EventData`, beside which there is nothing.
    Plain(&'e [Datum<'e>]),
}

/// A document with the element `Event` in there.
#[derive(Clone, Copy)]
pub(super) struct Tree<'e> {
    pub(super) document: &'e Document,
    root: Node,
    is_damaged: bool,
}

impl<'e> Reading<'e> {
    /// The text of the event as Windows shows it; empty when the event does not bring it.
    pub(super) fn message(&self) -> &'e str {
        match self.told {
            Told::Tree(tree) => tree.message(),
            Told::Plain(_) => "",
        }
    }
}

impl<'e> Tree<'e> {
    /// The elements that hold the event's data: all but `System` and what Windows made of it for people. None when the
    /// data cannot be read.
    pub(super) fn sections(self) -> impl Iterator<Item = Node> + use<'e> {
        let is_data = move |node: &Node| {
            let name = self.document.name(*node);
            !self.is_damaged && name.is_some_and(|name| name != "System" && name != "RenderingInfo")
        };
        self.document.children(self.root).filter(is_data)
    }

    /// What Windows made of the event for people.
    pub(super) fn rendering(self) -> Option<Node> {
        let mut children = self.document.children(self.root);
        children.find(|child| self.document.name(*child) == Some("RenderingInfo")).filter(|_| !self.is_damaged)
    }

    fn message(self) -> &'e str {
        let document = self.document;
        let parts = self.rendering().into_iter().flat_map(|rendering| document.children(rendering));
        parts.into_iter().find(|part| document.name(*part) == Some("Message")).map_or("", |part| document.value(part))
    }

    /// An attribute of an element; `None` when it has none of this name.
    pub(super) fn attribute(self, element: Node, wanted: &str) -> Option<&'e str> {
        let document = self.document;
        let mut attributes = document.attributes(element);
        attributes.find(|node| document.name(*node) == Some(wanted)).map(|node| document.value(node))
    }
}

/// The row of an event, from the columns of its table to the extras. `text` is the event as it came.
pub(super) fn convert(way: Way, table: Table, event: &Event<'_>, text: &str, additions: &Additions<'_>) -> Vec<u8> {
    if way == Way::Shortest
        && !is_nameless(event)
        && let Some(plain) = plain(event, text)
    {
        return of_plain(table, event, plain, additions, text.len() * 2);
    }
    by_tree(table, event, text, additions)
}

/// An event without a tree, if it is a plain one.
fn plain<'e>(event: &Event<'_>, text: &'e str) -> Option<Plain<'e>> {
    match event.format {
        Format::Xml => Plain::read(event, text),
        Format::Json => plain_json::read(event, text).or_else(|| plain_flat::read(event, text)),
    }
}

fn of_plain(table: Table, event: &Event<'_>, plain: Plain<'_>, additions: &Additions<'_>, size: usize) -> Vec<u8> {
    let Plain { system, body, data, leftovers } = plain;
    let reading = Reading { event, told: Told::Plain(&data), system, body, leftovers };
    let mut line = Line::new(size);
    write(table, &reading, &mut line);
    additions.of(event).iter().for_each(|(name, value)| line.add(name, value));
    line.finish()
}

fn by_tree(table: Table, event: &Event<'_>, text: &str, additions: &Additions<'_>) -> Vec<u8> {
    let mut record = if event.format == Format::Json { Json::read(text) } else { None };
    let own_columns = record.as_mut().map(|record| record.take(is_own_column)).unwrap_or_default();
    let mut line = Line::new(text.len() * 2);
    DOCUMENT.with_borrow_mut(|document| {
        match &record {
            Some(record) if event.fields.quoted.is_some() => document.read_quoted(event, record),
            Some(record) => document.read_record(event, record),
            None => {
                document.clear();
                document.read_all(event);
            }
        }
        quoted::within(event, |inner| write(table, &reading(inner, text, record.as_ref(), document), &mut line));
    });
    let added = additions.of(event);
    let is_ours = |name: &str| added.iter().any(|(ours, _)| ours.eq_ignore_ascii_case(name));
    for (name, value) in own_columns.iter().filter(|(name, _)| !is_ours(name)) {
        line.add_json(name, value.raw());
    }
    added.iter().for_each(|(name, value)| line.add(name, value));
    line.finish()
}

/// What has been read of an event; `text` is all of it as it came, and what it was quoted in.
fn reading<'e>(
    event: &'e Event<'e>,
    text: &'e str,
    record: Option<&'e Json<'e>>,
    document: &'e Document,
) -> Reading<'e> {
    let root = event_node(document);
    let system = System::of(document, root);
    let body = if is_nameless(event) { Body::Damaged(text) } else { data_xml::body(event, text, document) };
    let mut leftovers = Vec::new();
    if !body.is_damaged() {
        leftovers::of_system(event, document, root, &system, &mut leftovers);
        record.iter().for_each(|record| leftovers::of_record(record, &mut leftovers));
    }
    let told = Told::Tree(Tree { document, root, is_damaged: body.is_damaged() });
    Reading { event, told, system, body, leftovers }
}

fn write(table: Table, reading: &Reading<'_>, line: &mut Line<'_>) {
    match table {
        Table::WindowsEvent => windows_event::write(reading, line),
        Table::SecurityEvent => security_event::write(reading, line),
        Table::Event => event::write(reading, line),
    }
}

/// Whether a member of a record is a column that the site has added to its table, or the one that ties rows to resources.
pub(super) fn is_own_column(name: &str) -> bool {
    name.ends_with("_CF") || name.eq_ignore_ascii_case("_ResourceId")
}

/// Whether an event tells nothing that a row could be known by: of XML, its `System` is missing, or stands where no Windows
/// would write it; JSON is no Windows event.
fn is_nameless(event: &Event<'_>) -> bool {
    let fields = &event.fields;
    match event.format {
        Format::Json => !fields.is_windows_event(),
        Format::Xml => {
            let has_origin = fields.channel.is_some() || fields.provider.is_some();
            fields.event_id.is_none() && fields.computer.is_none() && !has_origin
        }
    }
}
