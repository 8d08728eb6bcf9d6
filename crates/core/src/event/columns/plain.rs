//! Plain events in XML, read in one pass and without a tree: what Windows itself writes of nearly every event.
//!
//! Plain is a `System` of the parts that Windows knows, each once and each with one text, and one `EventData` of `Data` with a
//! name or without. Whatever is otherwise (other elements, CDATA, a rendering, a value that no column of `System` can hold) is no
//! plain event, and goes by way of the [`Document`](crate::event::document::Document). So nothing here has to be known that only rare
//! events have, and a row is the same either way: the tree is what the tests hold this against.

use std::borrow::Cow;

use super::data_xml::Body;
use super::leftovers::Leftover;
use super::system::{System, int, is_datetime};
use crate::event::from_xml::skip_prolog;
use crate::event::xml::{Token, Tokens, attributes, unescape};
use crate::event::{Event, Format};

/// More `Data` than any real event has; what has more goes the long way, whose bounds then hold.
const DATA_MAX: usize = 1_000;
/// The same of attributes of one element, in bytes.
const ATTRIBUTES_MAX: usize = 1_024;

/// A plain event.
#[derive(Debug)]
pub(super) struct Plain<'e> {
    /// The rest of its `System`.
    pub(super) system: System<'e>,
    /// Its `EventData`, from tag to tag; empty where it has none.
    pub(super) body: Body<'e>,
    /// What stands in there.
    pub(super) data: Vec<Datum<'e>>,
    /// What a record tells beside the event.
    pub(super) leftovers: Vec<Leftover<'e>>,
}

/// One `Data`.
#[derive(Debug)]
pub(super) struct Datum<'e> {
    /// Its name; empty where it has none.
    pub(super) name: &'e str,
    /// Its value.
    pub(super) value: Cow<'e, str>,
}

impl<'e> Plain<'e> {
    /// Reads an event of which `text` is all. `None` when it is not plain.
    pub(super) fn read(event: &Event<'_>, text: &'e str) -> Option<Self> {
        let system_end = event.fields.system_end.filter(|_| event.format == Format::Xml)?;
        let start = skip_prolog(text.as_bytes()).ok()?;
        let mut reader = Reader { text, tokens: Tokens::new(text.as_bytes(), start) };
        let Token::Open { name: b"Event", attributes, empty: false } = reader.next()? else { return None };
        if attributes.len() > ATTRIBUTES_MAX {
            return None;
        }
        let Token::Open { name: b"System", attributes: [], empty: false } = reader.next_but_blank()? else {
            return None;
        };
        let system = reader.system(event)?;
        if reader.tokens.pos != system_end {
            return None;
        }
        let (body, data) = reader.body()?;
        Some(Self { system, body: Body::Xml(Cow::Borrowed(body)), data, leftovers: Vec::new() })
    }
}

struct Reader<'e> {
    text: &'e str,
    tokens: Tokens<'e>,
}

impl<'e> Reader<'e> {
    fn next(&mut self) -> Option<Token<'e>> {
        self.tokens.next_token().ok()?
    }

    /// The next token but white space between elements.
    fn next_but_blank(&mut self) -> Option<Token<'e>> {
        match self.next()? {
            Token::Text(text) if text.trim_ascii().is_empty() => self.next(),
            token => Some(token),
        }
    }

    /// A part of what is read, as text.
    fn text_of(&self, piece: &'e [u8]) -> Option<&'e str> {
        let start = (piece.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
        self.text.get(start..start.checked_add(piece.len())?)
    }

    /// The parts of `System`, up to and with its end tag.
    fn system(&mut self, event: &Event<'_>) -> Option<System<'e>> {
        let mut system = System::default();
        let mut seen = 0_u16;
        loop {
            let (name, attributes, empty) = match self.next_but_blank()? {
                Token::Open { name, attributes, empty } => (name, attributes, empty),
                Token::Close { name: b"System" } => break,
                _ => return None,
            };
            let part = PARTS.iter().position(|part| *part == name)?;
            if seen & (1 << part) != 0 || attributes.len() > ATTRIBUTES_MAX {
                return None;
            }
            seen |= 1 << part;
            let text = if empty { "" } else { self.only_text(name)?.trim() };
            self.part(event, &mut system, (name, attributes), text)?;
        }
        // What its columns cannot hold is left over for `EventData`.
        let fits = |id: &str| id.is_empty() || int(id).is_some();
        (fits(system.process_id) && fits(system.thread_id)).then_some(system)
    }

    /// Takes a part, unless its column cannot hold what it says.
    fn part(
        &self,
        event: &Event<'_>,
        system: &mut System<'e>,
        (name, attributes): (&[u8], &'e [u8]),
        text: &'e str,
    ) -> Option<()> {
        let fields = &event.fields;
        let of_text = |fits: bool| (fits && !text.contains('&')).then_some(text);
        match name {
            b"EventID" => of_text(fields.event_id.is_some_and(|id| i32::try_from(id).is_ok())).map(drop),
            b"Level" => of_text(fields.level.is_some()).map(drop),
            b"EventRecordID" => of_text(fields.record_id.is_some()).map(drop),
            b"TimeCreated" => {
                // One that the fields were not made of stands in two attributes.
                attribute(attributes, "SystemTime")?;
                fields.time.filter(|time| is_datetime(*time)).map(drop)
            }
            b"Task" => of_text(int(text).is_some()).map(|text| system.task = text),
            b"Version" => of_text(int(text).is_some()).map(|text| system.version = text),
            b"Opcode" => of_text(true).map(|text| system.opcode = text),
            b"Keywords" => of_text(true).map(|text| system.keywords = Cow::Borrowed(text)),
            b"Correlation" => attribute(attributes, "ActivityID").map(|id| system.activity_id = id),
            b"Execution" => {
                system.process_id = attribute(attributes, "ProcessID")?;
                system.thread_id = attribute(attributes, "ThreadID")?;
                Some(())
            }
            b"Security" => attribute(attributes, "UserID").map(|id| system.user_id = id),
            // The fields have what these say.
            _ => Some(()),
        }
    }

    /// The text of the element that has just begun, up to and with its end tag, if it holds nothing else.
    fn only_text(&mut self, element: &[u8]) -> Option<&'e str> {
        let text = match self.next()? {
            Token::Text(text) => self.text_of(text)?,
            Token::Close { name } if name == element => return Some(""),
            _ => return None,
        };
        match self.next()? {
            Token::Close { name } if name == element => Some(text),
            _ => None,
        }
    }

    /// What follows on `System`, up to and with the end of the event.
    fn body(&mut self) -> Option<(&'e str, Vec<Datum<'e>>)> {
        let mut data = Vec::new();
        let mut body = "";
        let mut has_data = false;
        loop {
            // A comment before the tag goes along with it.
            let at = self.tokens.pos;
            match self.next()? {
                Token::Text(text) if text.trim_ascii().is_empty() => {}
                Token::Open { name: b"EventData", attributes: [], empty } if !has_data => {
                    has_data = true;
                    if !empty {
                        data.reserve(32);
                        self.data(&mut data)?;
                    }
                    body = self.text.get(at..self.tokens.pos)?;
                }
                Token::Close { name: b"Event" } => return Some((body, data)),
                _ => return None,
            }
        }
    }

    /// What stands in `EventData`, up to and with its end tag.
    fn data(&mut self, data: &mut Vec<Datum<'e>>) -> Option<()> {
        loop {
            let (attributes, empty) = match self.next_but_blank()? {
                Token::Open { name: b"Data", attributes, empty } if data.len() < DATA_MAX => (attributes, empty),
                Token::Close { name: b"EventData" } => return Some(()),
                _ => return None,
            };
            let name = match (attributes, usual_name(attributes)) {
                ([], _) => "",
                (_, Some(name)) => self.text_of(name)?,
                (_, None) => only_name(attributes)?,
            };
            let value = if empty { "" } else { self.only_text(b"Data")? };
            data.push(Datum { name, value: unescape(value) });
        }
    }
}

/// The elements of a `System` that Windows writes.
const PARTS: [&[u8]; 14] = [
    b"Provider",
    b"EventID",
    b"Version",
    b"Level",
    b"Task",
    b"Opcode",
    b"Keywords",
    b"TimeCreated",
    b"EventRecordID",
    b"Correlation",
    b"Execution",
    b"Channel",
    b"Computer",
    b"Security",
];

/// The value of an attribute, empty where there is none. `None` where an attribute has a prefix, is there twice, or holds entities.
fn attribute<'e>(raw: &'e [u8], wanted: &str) -> Option<&'e str> {
    let mut found = None;
    for (name, value) in attributes(raw) {
        let Cow::Borrowed(value) = value else { return None };
        if name.contains(':') || name == wanted && found.replace(value.trim()).is_some() {
            return None;
        }
    }
    Some(found.unwrap_or_default())
}

/// The same as [`only_name`], written as Windows writes it.
fn usual_name(raw: &[u8]) -> Option<&[u8]> {
    let [b' ', b'N', b'a', b'm', b'e', b'=', quote @ (b'"' | b'\''), name @ .., last] = raw else { return None };
    let is_odd = |byte: &u8| matches!(byte, b'"' | b'\'' | b'&');
    (quote == last && !name.is_empty() && !name.iter().any(is_odd)).then_some(name)
}

/// The value of `Name`, if that is the only attribute and has one.
fn only_name(raw: &[u8]) -> Option<&str> {
    let mut all = attributes(raw);
    let (Some(("Name", Cow::Borrowed(name))), None) = (all.next(), all.next()) else { return None };
    Some(name).filter(|name| !name.is_empty())
}

#[cfg(test)]
#[path = "plain_tests.rs"]
mod tests;
