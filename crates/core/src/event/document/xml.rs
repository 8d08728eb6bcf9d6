//! A document out of event XML, on the tokens that the field scanner reads as well.

use std::borrow::Cow;

use super::{Document, Progress, holder};
use crate::event::Timestamp;
use crate::event::from_xml::RAW_TIME;
use crate::event::quoted;
use crate::event::xml::{Token, Tokens, attribute, attributes};

/// How far to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// The end of the first `System`.
    System,
    /// The end of the event.
    End,
    /// The end of the event, without what is in `System`.
    EndWithout {
        /// Where that ends.
        system_end: usize,
    },
}

struct Reader<'a> {
    tokens: Tokens<'a>,
    /// What the tokens are of, if all of it is UTF-8: seen once instead of piece by piece.
    text: Option<&'a str>,
    /// Whether a `System` was seen; a second one is none.
    has_system: bool,
    /// Where `System` ends, if what is in it is not wanted.
    system_end: Option<usize>,
    /// How many elements are open around what is read.
    outside: usize,
}

/// What became of a token.
enum Step {
    Go,
    /// `System` is read.
    System,
    /// The event is read, or no more of it can be.
    End,
}

impl Document {
    /// Reads XML from a byte on, into the element that is open.
    pub(super) fn read_xml(&mut self, xml: &[u8], at: usize, until: Until) {
        let text = std::str::from_utf8(xml).ok();
        let system_end = match until {
            Until::EndWithout { system_end } => Some(system_end),
            Until::System | Until::End => None,
        };
        let tokens = Tokens::new(xml, at);
        let mut reader = Reader { tokens, text, has_system: at > 0, system_end, outside: 1 };
        loop {
            match self.step(&mut reader) {
                Step::System if until == Until::System => {
                    self.progress = Progress::System(reader.tokens.pos);
                    return;
                }
                Step::Go | Step::System => {}
                Step::End => return self.finish(),
            }
        }
    }

    /// Reads what an XML text holds into the element that is open: of a whole event what is in it, but never a `System`.
    pub(super) fn read_fragment(&mut self, xml: &str) {
        let outside = self.open.len();
        let xml = quoted::trimmed(xml);
        let mut tokens = Tokens::new(xml.as_bytes(), 0);
        match tokens.next_token() {
            Ok(Some(Token::Open { name, empty: false, .. })) if local(name) == b"Event" => {}
            _ => tokens.pos = 0,
        }
        let mut reader = Reader { tokens, text: Some(xml), has_system: true, system_end: None, outside };
        while matches!(self.step(&mut reader), Step::Go) {}
        // What follows on an end tag without a start tag.
        self.left_out |= !xml[reader.tokens.pos.min(xml.len())..].trim_ascii().is_empty();
        while self.open.len() > outside {
            self.close();
        }
    }

    fn step(&mut self, reader: &mut Reader<'_>) -> Step {
        let token = match reader.tokens.next_token() {
            Ok(Some(token)) => token,
            Ok(None) => return Step::End,
            Err(_) => {
                self.left_out = true;
                return Step::End;
            }
        };
        match token {
            Token::Open { .. } if !self.has_room() => return Step::End,
            Token::Open { name: written, attributes, empty } => {
                let name = local(written);
                let is_system = self.open.len() == 2 && name == b"System";
                let is_second_system = is_system && reader.has_system;
                // A fragment tells of its event's data only; of a whole event a second one has no place anywhere.
                self.left_out |= is_second_system && reader.outside == 1;
                self.untold |= is_second_system;
                if is_second_system || self.is_too_deep() || self.is_in_field() || self.has_field_of(written, name) {
                    return if reader.tokens.pass(empty).is_ok() { Step::Go } else { Step::End };
                }
                reader.has_system |= is_system;
                self.open_tag(&reader.utf8(name), attributes);
                if let (true, false, Some(end)) = (is_system, empty, reader.system_end) {
                    reader.tokens.pos = end;
                    return self.close_tag();
                }
                if empty {
                    return self.close_tag();
                }
            }
            Token::Close { .. } if self.open.len() <= reader.outside => return Step::End,
            Token::Close { .. } => return self.close_tag(),
            // Around the event there is only white space.
            Token::Text(_) | Token::Literal(_) if self.open.len() < 2 => {}
            Token::Text(raw) => self.escaped_text(&reader.utf8(raw)),
            Token::Literal(raw) => self.text(&reader.utf8(raw)),
        }
        Step::Go
    }

    /// Whether an element is a field with a prefix, of one that is there: the scanner does not take those for fields.
    fn has_field_of(&self, written: &[u8], local: &[u8]) -> bool {
        let field = if written.len() == local.len() { None } else { std::str::from_utf8(local).ok() };
        field.and_then(|name| self.field_named(name)).is_some_and(|field| self.fields[field].is_some())
    }

    fn open_tag(&mut self, name: &str, raw: &[u8]) {
        self.open(name);
        let mut holder = if self.is_in_field() { Holder::of(name) } else { Holder::default() };
        for (name, value) in attributes(raw) {
            let local = &name[prefix(name.as_bytes())..];
            if name != "xmlns" && !name.starts_with("xmlns:") && holder.allows(name, local) {
                self.attribute(local, &value);
            }
        }
        if holder.name == Some("SystemTime") && !holder.was_seen {
            let ticks = attribute(raw, RAW_TIME).and_then(|ticks| Timestamp::from_raw(&ticks));
            ticks.iter().for_each(|time| self.attribute("SystemTime", &time.to_string()));
        }
    }

    fn close_tag(&mut self) -> Step {
        let is_system = self.is_in_system();
        self.close();
        match self.open.len() {
            0 | 1 => Step::End,
            _ if is_system => Step::System,
            _ => Step::Go,
        }
    }
}

/// The attribute of an element that is a field, if there is one.
#[derive(Default)]
struct Holder {
    name: Option<&'static str>,
    was_seen: bool,
}

impl Holder {
    fn of(element: &str) -> Self {
        Self { name: holder(element), was_seen: false }
    }

    /// Whether an attribute is another one, or is this one for the first time.
    fn allows(&mut self, written: &str, local: &str) -> bool {
        if self.name != Some(local) {
            return true;
        }
        written == local && !std::mem::replace(&mut self.was_seen, true)
    }
}

/// A name without its prefix.
fn local(name: &[u8]) -> &[u8] {
    &name[prefix(name)..]
}

/// How long a name's prefix is, with its colon. Names are too short for a vector search to pay.
fn prefix(name: &[u8]) -> usize {
    name.iter().rposition(|byte| *byte == b':').map_or(0, |colon| colon + 1)
}

impl<'a> Reader<'a> {
    /// A piece of what is read, as text.
    fn utf8(&self, piece: &'a [u8]) -> Cow<'a, str> {
        let whole = self.tokens.xml;
        let start = (piece.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
        match self.text.and_then(|text| text.get(start..start + piece.len())) {
            Some(text) => Cow::Borrowed(text),
            None => String::from_utf8_lossy(piece),
        }
    }
}

/// What stands inside of an element that is around everything else, or the text as it is when that is another one.
pub(super) fn within<'x>(xml: &'x str, element: &str) -> &'x str {
    let mut tokens = Tokens::new(xml.as_bytes(), xml.len() - quoted::trimmed(xml).len());
    let is_open =
        matches!(tokens.next_token(), Ok(Some(Token::Open { name, empty: false, .. })) if name == element.as_bytes());
    let end = xml.rfind("</").filter(|end| *end >= tokens.pos && xml[*end + 2..].starts_with(element));
    end.filter(|_| is_open).map_or(xml, |end| &xml[tokens.pos..end])
}
