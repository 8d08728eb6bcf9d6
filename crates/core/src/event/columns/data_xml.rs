//! The data of an event as XML text, for columns that queries take apart with `parse_xml`.
//!
//! XML goes out exactly as it came. For JSON it is written anew, well-formed: what cannot be a name in XML becomes a `Data`
//! with that name. (A character that XML forbids stays what it is, as Windows itself writes it: leaving it out would lose it.)

use std::borrow::Cow;
use std::fmt::{self, Display, Write as _};

use crate::event::document::{Document, Node};
use crate::event::xml::{Token, Tokens, XmlError};
use crate::event::{Event, Format, from_xml};

use super::convert::{Reading, Told};
use super::escape;
use super::leftovers::Leftover;
use super::line::Line;
use super::plain::Datum;
use super::system::event_node;

/// What an event tells beyond its `System`.
#[derive(Debug)]
pub(super) enum Body<'e> {
    /// The elements as they stand in the event, one after the other. No rendering.
    Xml(Cow<'e, str>),
    /// To be written of the event's plain data.
    OfData,
    /// The whole event as it came: its data is damaged, too deep or too much.
    Damaged(&'e str),
}

impl Body<'_> {
    /// Whether the event could not be read whole.
    pub(super) fn is_damaged(&self) -> bool {
        matches!(self, Self::Damaged(_))
    }
}

/// Writes the column of a body, with what else is left of the event as `Data` inside of its last element, so that it stays one
/// tree. What a column of the row tells is not told again.
pub(super) fn write(reading: &Reading<'_>, line: &mut Line<'_>) {
    const COLUMN: &str = "EventData";
    let leftovers: Vec<&Leftover<'_>> = reading.leftovers.iter().filter(|leftover| !leftover.is_told(line)).collect();
    let body = match (&reading.body, reading.told) {
        (Body::OfData, Told::Plain(data)) => return line.raw(COLUMN, |out| of_data(data, &leftovers, out)),
        (Body::OfData, Told::Tree(_)) => "",
        (Body::Xml(xml), _) => &**xml,
        (Body::Damaged(text), _) => text.trim(),
    };
    let mut added = String::new();
    for leftover in leftovers {
        let (name, text) = (Escaped(&leftover.name), leftover.text());
        write!(added, "<Data Name=\"{name}\">{}</Data>", Escaped(&text)).expect("text goes into memory");
    }
    match body.rfind("</").filter(|_| !added.is_empty()) {
        _ if added.is_empty() => line.text(COLUMN, body),
        None if body.trim() == "<EventData/>" => line.text(COLUMN, &format!("<EventData>{added}</EventData>")),
        Some(end) => line.text(COLUMN, &[&body[..end], &added, &body[end..]].concat()),
        None => line.text(COLUMN, &format!("{body}<EventData>{added}</EventData>")),
    }
}

/// Writes plain data, and what else is left, as a text of XML in JSON, as [`written`] writes the tree of it.
fn of_data(data: &[Datum<'_>], leftovers: &[&Leftover<'_>], out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"<EventData>");
    let mut datum = |name: &str, value: &str| {
        out.extend_from_slice(b"<Data Name=\\\"");
        escape::xml(name, out);
        out.extend_from_slice(b"\\\">");
        escape::xml(value, out);
        out.extend_from_slice(b"</Data>");
    };
    data.iter().for_each(|plain| datum(plain.name, &plain.value));
    leftovers.iter().for_each(|leftover| datum(&leftover.name, &leftover.text()));
    out.extend_from_slice(b"</EventData>\"");
}

/// The body of an event, of which `document` has been read. `text` is what it came in.
pub(super) fn body<'e>(event: &Event<'e>, text: &'e str, document: &'e Document) -> Body<'e> {
    if !document.is_whole() {
        return Body::Damaged(text);
    }
    match event.format {
        Format::Xml => {
            let is_quoted = event.raw.len() < text.len();
            let xml = if is_quoted { std::str::from_utf8(event.raw).unwrap_or_default() } else { text };
            pieces(xml, event.fields.system_end).map_or(Body::Damaged(text), Body::Xml)
        }
        Format::Json => Body::Xml(Cow::Owned(written(document))),
    }
}

/// Cuts out what is data. Errors when the event is not well-formed from `system_end` on.
fn pieces(text: &str, system_end: Option<usize>) -> Result<Cow<'_, str>, XmlError> {
    let mut tokens = match system_end {
        Some(end) => Tokens::new(text.as_bytes(), end),
        None => {
            let mut tokens = Tokens::new(text.as_bytes(), from_xml::skip_prolog(text.as_bytes())?);
            if let Some(Token::Open { empty: true, .. }) = tokens.next_token()? {
                return Ok(Cow::Borrowed(""));
            }
            tokens
        }
    };
    let mut found = Cow::Borrowed("");
    let mut open = Vec::with_capacity(8);
    let mut start = tokens.pos;
    loop {
        let at = tokens.pos;
        let unexpected = |reason| XmlError { reason, offset: at };
        let ended = match tokens.next_token()? {
            None => return Err(unexpected("an element does not end")),
            Some(Token::Open { name, empty, .. }) => {
                if open.is_empty() {
                    start = at;
                }
                if !empty {
                    open.push(name);
                    continue;
                }
                name
            }
            Some(Token::Close { name }) => match open.pop() {
                Some(begun) if begun == name => name,
                None if name == b"Event" => return Ok(found),
                _ => return Err(unexpected("an end tag has no start tag")),
            },
            Some(Token::Text(_) | Token::Literal(_)) if !open.is_empty() => continue,
            Some(Token::Text(text) | Token::Literal(text)) if text.trim_ascii().is_empty() => continue,
            Some(_) => return Err(unexpected("expected an element or </Event>")),
        };
        if open.is_empty() && !matches!(ended, b"System" | b"RenderingInfo") {
            // A comment may stand before the tag.
            let piece = &text[start..tokens.pos];
            if found.is_empty() {
                found = Cow::Borrowed(piece);
            } else {
                found.to_mut().push_str(piece);
            }
        }
    }
}

/// The data of a document as XML.
fn written(document: &Document) -> String {
    let mut xml = String::with_capacity(1024);
    for section in document.children(event_node(document)) {
        if !matches!(document.name(section), None | Some("System" | "RenderingInfo")) {
            element(document, section, &mut xml);
        }
    }
    xml
}

/// Not deeper than a document is.
fn element(document: &Document, node: Node, xml: &mut String) {
    let Some(name) = document.name(node) else {
        return Escaped(document.value(node)).add_to(xml);
    };
    let tag = if is_name(name) { name } else { "Data" };
    xml.push('<');
    xml.push_str(tag);
    let mut odd = Vec::new();
    let mut even = Vec::new();
    if tag != name {
        attribute(xml, "Name", name);
        even.push("Name");
    }
    for node in document.attributes(node) {
        let (name, value) = (document.name(node).unwrap_or_default(), document.value(node));
        if is_name(name) && !even.contains(&name) {
            attribute(xml, name, value);
            even.push(name);
        } else {
            odd.push((name, value));
        }
    }
    xml.push('>');
    for (name, value) in odd {
        xml.push_str("<Data");
        attribute(xml, "Name", name);
        write!(xml, ">{}</Data>", Escaped(value)).expect("text goes into memory");
    }
    document.children(node).for_each(|child| element(document, child, xml));
    xml.push_str("</");
    xml.push_str(tag);
    xml.push('>');
}

fn attribute(xml: &mut String, name: &str, value: &str) {
    xml.push(' ');
    xml.push_str(name);
    xml.push_str("=\"");
    Escaped(value).add_to(xml);
    xml.push('"');
}

/// Whether a text can be the name of an element or attribute. Colons would mean namespaces.
fn is_name(text: &str) -> bool {
    if text.is_ascii() {
        let begins = text.bytes().next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_');
        let follows = |next: u8| next.is_ascii_alphanumeric() || matches!(next, b'_' | b'-' | b'.');
        return begins && text.bytes().all(follows) && !text.eq_ignore_ascii_case("xmlns");
    }
    let may_begin = |first: char| first.is_alphabetic() || first == '_';
    let may_follow = |next: char| next.is_alphanumeric() || matches!(next, '_' | '-' | '.');
    text.starts_with(may_begin) && text.chars().all(may_follow) && !text.eq_ignore_ascii_case("xmlns")
}

/// Text inside of XML. White space that a parser would change becomes references.
pub(super) struct Escaped<'t>(pub(super) &'t str);

impl Escaped<'_> {
    /// Appends it to a text.
    pub(super) fn add_to(&self, text: &mut String) {
        write!(text, "{self}").expect("text goes into memory");
    }
}

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        // All of them are one byte, and none is a part of another character.
        let special = |byte: &u8| matches!(byte, b'&' | b'<' | b'>' | b'"' | b'\r' | b'\n' | b'\t');
        while let Some(at) = rest.as_bytes().iter().position(special) {
            let (before, special) = rest.split_at(at);
            f.write_str(before)?;
            f.write_str(match special.as_bytes()[0] {
                b'&' => "&amp;",
                b'<' => "&lt;",
                b'>' => "&gt;",
                b'"' => "&quot;",
                b'\r' => "&#13;",
                b'\n' => "&#10;",
                _ => "&#9;",
            })?;
            rest = &special[1..];
        }
        f.write_str(rest)
    }
}
