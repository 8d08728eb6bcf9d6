//! An event as a tree of elements, attributes and text, for those who have to look further than its fields.
//!
//! - **One memory.** Nodes are numbers into one list and all text lies in one buffer in document order, so the text of any
//!   element, with all that is inside it, is one piece of that buffer. The next event uses the same memory: once it has
//!   its size, reading an event in XML allocates nothing (but for entities inside attributes, which are rare). JSON goes
//!   through a tree of its own ([`record`]) and allocates.
//! - **As far as needed.** [`Document::read_system`] stops at the end of `System`, [`Document::read_all`] goes on from there.
//! - **An answer about every event.** There are no errors. Of damaged XML counts what was read up to the damage; what is
//!   nested deeper than [`MAX_DEPTH`] or comes after [`MAX_NODES`] nodes is left out.
//! - **One event, whatever its shape.** An event has one `System`, the first, and in that each of the elements that
//!   [`Fields`](super::Fields) knows at most once: the last, as there. Namespaces do not count: prefixes are dropped and
//!   `xmlns` is no attribute. JSON gives the tree that the same event has in XML, with the values of `Fields` in `System`.
//! - **No white space around what `System` says**, as in `Fields`: in text and attributes of its elements.
//! - **Fields as the scanner reads them.** What no well-formed event has must not give a field two values: inside of an element
//!   that is a field there are no elements, one with a prefix never replaces one before it, and of an attribute that is a
//!   field only the first counts, without a prefix.

use super::xml::unescape_into;
use super::{Event, Format};

mod json;
pub(in crate::event) mod json_keywords;
pub(in crate::event) mod json_system;
pub(in crate::event) mod json_told;
pub mod record;
mod xml;

/// Deepest nesting. Event shapes need 6.
pub const MAX_DEPTH: usize = 64;

/// Most elements, attributes and texts. The largest real events have some hundreds.
pub const MAX_NODES: usize = 10_000;

/// The elements of `System` of which [`Fields`](super::Fields) holds something.
pub const FIELDS: [&str; 8] =
    ["Provider", "EventID", "Level", "TimeCreated", "EventRecordID", "Channel", "Computer", "Keywords"];

/// The attribute that is the field, of those [`FIELDS`] whose text is not.
fn holder(field: &str) -> Option<&'static str> {
    match field {
        "Provider" => Some("Name"),
        "TimeCreated" => Some("SystemTime"),
        _ => None,
    }
}

/// A node of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// An element, a piece of text, or the root around `Event`.
    Inner(u32),
    /// An attribute.
    Attribute(u32),
}

impl Node {
    /// What is around `Event`.
    pub const ROOT: Self = Self::Inner(0);
}

/// A tree of one event. Its memory is used again for the next.
#[derive(Debug, Default)]
pub struct Document {
    nodes: Vec<Inner>,
    attributes: Vec<Attribute>,
    /// The names of elements and attributes, and the values of attributes.
    words: String,
    /// All text between tags.
    text: String,
    /// The elements that are not closed yet.
    open: Vec<u32>,
    /// Where each of [`FIELDS`] stands.
    fields: [Option<u32>; FIELDS.len()],
    /// Whether something of the event is not here.
    left_out: bool,
    /// Whether something of the value in JSON that is being read is not here.
    untold: bool,
    /// Whether numbers in JSON stand here as they are written, for rows, or as queries can compare them.
    as_written: bool,
    progress: Progress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Progress {
    #[default]
    Nothing,
    /// Up to and with `System`; the rest begins at this byte.
    System(usize),
    /// Everything but what is in `System`.
    Body,
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    start: u32,
    end: u32,
}

impl Piece {
    fn of(self, buffer: &str) -> &str {
        &buffer[self.start as usize..self.end as usize]
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Element,
    Text,
    /// An element of `System` that came again later.
    Replaced,
}

#[derive(Debug, Clone)]
struct Inner {
    kind: Kind,
    name: Piece,
    text: Piece,
    attributes: Piece,
    first_child: Option<u32>,
    last_child: Option<u32>,
    next: Option<u32>,
}

#[derive(Debug, Clone)]
struct Attribute {
    name: Piece,
    value: Piece,
}

impl Document {
    /// Forgets the event.
    pub fn clear(&mut self) {
        self.nodes.clear();
        self.attributes.clear();
        self.words.clear();
        self.text.clear();
        self.open.clear();
        self.fields = Default::default();
        self.left_out = false;
        self.as_written = false;
        self.progress = Progress::Nothing;
    }

    /// Reads the event at least to the end of its `System`, unless that has been done.
    pub fn read_system(&mut self, event: &Event<'_>) {
        if self.progress == Progress::Body {
            self.clear();
        }
        if self.progress == Progress::Nothing {
            self.begin();
            match event.format {
                Format::Xml => self.read_xml(event.raw, 0, xml::Until::System),
                Format::Json => self.read_json(event),
            }
        }
    }

    /// Reads the whole event, unless that has been done.
    pub fn read_all(&mut self, event: &Event<'_>) {
        self.read_system(event);
        if let Progress::System(at) = self.progress {
            self.read_xml(event.raw, at, xml::Until::End);
        }
    }

    /// Reads the event to its end; what is in its `System` is left out if it can be and has not been read.
    pub fn read_body(&mut self, event: &Event<'_>) {
        match (self.progress, event.format, event.fields.system_end) {
            (Progress::Body, ..) => {}
            (Progress::Nothing, Format::Xml, Some(system_end)) if ends_system(event.raw, system_end) => {
                self.begin();
                self.read_xml(event.raw, 0, xml::Until::EndWithout { system_end });
                self.progress = Progress::Body;
            }
            _ => self.read_all(event),
        }
    }

    /// Whether all that was read is here: nothing was damaged, too deep or too much.
    pub fn is_whole(&self) -> bool {
        !self.left_out
    }

    /// The elements and texts inside a node, in order.
    pub fn children(&self, node: Node) -> impl Iterator<Item = Node> {
        let mut next = match node {
            Node::Inner(index) => self.nodes.get(index as usize).and_then(|inner| inner.first_child),
            Node::Attribute(_) => None,
        };
        std::iter::from_fn(move || {
            loop {
                let index = next?;
                let inner = &self.nodes[index as usize];
                next = inner.next;
                if inner.kind != Kind::Replaced {
                    return Some(Node::Inner(index));
                }
            }
        })
    }

    /// The attributes of a node, in order.
    pub fn attributes(&self, node: Node) -> impl Iterator<Item = Node> {
        let range = match node {
            Node::Inner(index) => self.nodes.get(index as usize).map(|inner| inner.attributes),
            Node::Attribute(_) => None,
        };
        range.map_or(0..0, |range| range.start..range.end).map(Node::Attribute)
    }

    /// The name of an element or attribute; `None` for text and for the root.
    pub fn name(&self, node: Node) -> Option<&str> {
        match node {
            Node::ROOT => None,
            Node::Inner(index) => {
                let inner = &self.nodes[index as usize];
                (inner.kind == Kind::Element).then(|| inner.name.of(&self.words))
            }
            Node::Attribute(index) => Some(self.attributes[index as usize].name.of(&self.words)),
        }
    }

    /// The value of an attribute, a text, or all the text inside an element.
    pub fn value(&self, node: Node) -> &str {
        match node {
            Node::Inner(index) => self.nodes.get(index as usize).map_or("", |inner| inner.text.of(&self.text)),
            Node::Attribute(index) => self.attributes[index as usize].value.of(&self.words),
        }
    }

    /// Whether a node is text.
    pub fn is_text(&self, node: Node) -> bool {
        matches!(node, Node::Inner(index) if self.nodes.get(index as usize).is_some_and(|inner| inner.kind == Kind::Text))
    }
}

/// Building.
impl Document {
    fn begin(&mut self) {
        self.nodes.push(Inner::new(Kind::Element, Piece { start: 0, end: 0 }, 0, 0));
        self.open.push(0);
    }

    /// Whether another node may be made.
    fn has_room(&mut self) -> bool {
        let has_room = self.nodes.len() + self.attributes.len() < MAX_NODES;
        self.left_out |= !has_room;
        has_room
    }

    fn is_too_deep(&mut self) -> bool {
        let is_too_deep = self.open.len() > MAX_DEPTH;
        self.left_out |= is_too_deep;
        is_too_deep
    }

    /// Begins an element inside the one that is open. Its attributes have to follow at once.
    fn open(&mut self, name: &str) {
        let field = self.field_named(name);
        let name = push(&mut self.words, name);
        let index = self.append(Inner::new(Kind::Element, name, size(&self.text), size(&self.attributes)));
        if let Some(earlier) = field.and_then(|field| self.fields[field].replace(index)) {
            self.nodes[earlier as usize].kind = Kind::Replaced;
        }
        self.open.push(index);
    }

    fn attribute(&mut self, name: &str, value: &str) {
        if !self.has_room() {
            return;
        }
        let value = if self.is_in_part() { value.trim() } else { value };
        let (name, value) = (push(&mut self.words, name), push(&mut self.words, value));
        self.attributes.push(Attribute { name, value });
        let end = size(&self.attributes);
        if let Some(index) = self.open.last() {
            self.nodes[*index as usize].attributes.end = end;
        }
    }

    fn text(&mut self, text: &str) {
        let start = self.begin_text();
        self.text.push_str(text);
        self.end_text(start);
    }

    fn escaped_text(&mut self, text: &str) {
        let start = self.begin_text();
        unescape_into(text, &mut self.text);
        self.end_text(start);
    }

    fn begin_text(&self) -> u32 {
        size(&self.text)
    }

    /// Text that follows on text is one node with it: no comment or CDATA section splits a value.
    fn end_text(&mut self, start: u32) {
        let end = size(&self.text);
        if start == end {
            return;
        }
        let last = self.open.last().and_then(|open| self.nodes[*open as usize].last_child);
        match last.filter(|last| self.nodes[*last as usize].kind == Kind::Text) {
            Some(text) => self.nodes[text as usize].text.end = end,
            None if self.has_room() => {
                let nameless = Piece { start: 0, end: 0 };
                let text = self.append(Inner::new(Kind::Text, nameless, start, size(&self.attributes)));
                self.nodes[text as usize].text.end = end;
            }
            None => self.text.truncate(start as usize),
        }
    }

    fn close(&mut self) {
        let end = size(&self.text);
        if let Some(index) = self.open.pop() {
            self.nodes[index as usize].text.end = end;
            if self.is_in_system() {
                self.trim(index);
            }
        }
    }

    /// Takes the white space off the ends of an element's text, and of the only piece that it may consist of.
    fn trim(&mut self, element: u32) {
        let piece = self.nodes[element as usize].text;
        let text = piece.of(&self.text);
        let start = piece.start + (text.len() - text.trim_start().len()) as u32;
        let trimmed = Piece { start, end: start + text.trim().len() as u32 };
        let only = self.nodes[element as usize].first_child.filter(|child| self.nodes[*child as usize].text == piece);
        for node in [Some(element), only].into_iter().flatten() {
            self.nodes[node as usize].text = trimmed;
        }
    }

    /// Closes what is still open: nothing follows.
    fn finish(&mut self) {
        while !self.open.is_empty() {
            self.close();
        }
        self.progress = Progress::All;
    }

    fn append(&mut self, inner: Inner) -> u32 {
        let index = size(&self.nodes);
        self.nodes.push(inner);
        if let Some(parent) = self.open.last() {
            let parent = &mut self.nodes[*parent as usize];
            parent.first_child.get_or_insert(index);
            if let Some(previous) = parent.last_child.replace(index) {
                self.nodes[previous as usize].next = Some(index);
            }
        }
        index
    }

    /// Which field an element of this name would be, where it would stand.
    fn field_named(&self, name: &str) -> Option<usize> {
        if self.is_in_system() { FIELDS.iter().position(|field| *field == name) } else { None }
    }

    /// Whether the innermost open element is a field.
    fn is_in_field(&self) -> bool {
        matches!(self.open.as_slice(), [_, _, _, element] if self.fields.contains(&Some(*element)))
    }

    /// Whether the innermost open element is one of those of `System`.
    fn is_in_part(&self) -> bool {
        matches!(self.open.as_slice(), [_, _, system, _] if self.nodes[*system as usize].name.of(&self.words) == "System")
    }

    fn is_in_system(&self) -> bool {
        // The root and Event stand above it.
        matches!(self.open.as_slice(), [_, _, system] if self.nodes[*system as usize].name.of(&self.words) == "System")
    }
}

/// Whether `System` ends there: fields may have been read from a longer text.
fn ends_system(xml: &[u8], at: usize) -> bool {
    xml.get(..at).is_some_and(|head| head.ends_with(b"</System>"))
}

impl Inner {
    fn new(kind: Kind, name: Piece, text: u32, attributes: u32) -> Self {
        let text = Piece { start: text, end: text };
        let attributes = Piece { start: attributes, end: attributes };
        Self { kind, name, text, attributes, first_child: None, last_child: None, next: None }
    }
}

fn push(buffer: &mut String, text: &str) -> Piece {
    let start = size(buffer);
    buffer.push_str(text);
    Piece { start, end: size(buffer) }
}

/// Lengths fit: a record has at most 1 MiB, and nothing that is read from it is longer.
fn size(buffer: &(impl Length + ?Sized)) -> u32 {
    u32::try_from(buffer.length()).unwrap_or(u32::MAX)
}

trait Length {
    fn length(&self) -> usize;
}

impl Length for String {
    fn length(&self) -> usize {
        self.len()
    }
}

impl<T> Length for Vec<T> {
    fn length(&self) -> usize {
        self.len()
    }
}

#[cfg(test)]
mod tests;
