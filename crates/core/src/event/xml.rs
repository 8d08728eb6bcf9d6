//! A pull tokenizer for event XML, and the entities.
//!
//! Real Security events hold characters that XML forbids (0x02 in 4661), so a strict parser would refuse what Windows
//! itself rendered. This one knows tags, attributes, text, CDATA and comments; it never expands a declared entity
//! (a DOCTYPE is refused), never recurses and never allocates.

use std::borrow::Cow;

use memchr::{memchr, memmem};

use super::work;

/// Why bytes are no event in XML.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason}, at byte {offset}")]
pub struct XmlError {
    /// What is wrong, and what would be right.
    pub reason: &'static str,
    /// Where it was noticed, in bytes; the length of the input when its end came too early.
    pub offset: usize,
}

/// One piece of XML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token<'a> {
    /// A start tag, or an empty element.
    Open {
        /// The element's name as written.
        name: &'a [u8],
        /// Everything between the name and the end of the tag.
        attributes: &'a [u8],
        /// Whether the element ends here: `<a/>`.
        empty: bool,
    },
    /// An end tag.
    Close {
        /// The element's name as written.
        name: &'a [u8],
    },
    /// Text with entities.
    Text(&'a [u8]),
    /// Text without entities.
    Literal(&'a [u8]),
}

/// The tokens of a document, from a position on.
#[derive(Debug, Clone)]
pub struct Tokens<'a> {
    pub(super) xml: &'a [u8],
    /// Where the next token is looked for, in bytes.
    pub pos: usize,
    /// Where the last token begins.
    pub start: usize,
}

impl<'a> Tokens<'a> {
    /// The tokens of this document from a position on.
    pub fn new(xml: &'a [u8], pos: usize) -> Self {
        Self { xml, pos, start: pos }
    }

    /// An error at the end of the input.
    pub(super) fn ended<T>(&self, reason: &'static str) -> Result<T, XmlError> {
        Err(XmlError { reason, offset: self.xml.len() })
    }

    /// The next token; `None` at the end of the input. Comments and processing instructions are passed over.
    pub fn next_token(&mut self) -> Result<Option<Token<'a>>, XmlError> {
        let before = self.pos;
        let token = self.advance();
        work::visited(|| token.as_ref().map_or_else(|error| error.offset, |_| self.pos) - before);
        token
    }

    fn advance(&mut self) -> Result<Option<Token<'a>>, XmlError> {
        loop {
            let rest = &self.xml[self.pos..];
            self.start = self.pos;
            if rest.is_empty() {
                return Ok(None);
            }
            if rest[0] != b'<' {
                let length = near(b'<', rest).unwrap_or(rest.len());
                self.pos += length;
                return Ok(Some(Token::Text(&rest[..length])));
            }
            match rest.get(1) {
                Some(b'?') => self.pos = after(self.xml, self.pos + 2, b"?>", "a processing instruction does not end")?,
                Some(b'!') => {
                    let start = self.pos;
                    self.pos = skip_declaration(self.xml, start)?;
                    if rest.starts_with(b"<![") {
                        return Ok(Some(Token::Literal(&self.xml[start + 9..self.pos - 3])));
                    }
                }
                Some(b'/') => return self.close().map(Some),
                _ => return self.open().map(Some),
            }
        }
    }

    fn close(&mut self) -> Result<Token<'a>, XmlError> {
        let rest = &self.xml[self.pos + 2..];
        let Some(length) = near(b'>', rest) else {
            return self.ended("an end tag does not end");
        };
        self.pos += 2 + length + 1;
        Ok(Token::Close { name: rest[..length].trim_ascii_end() })
    }

    fn open(&mut self) -> Result<Token<'a>, XmlError> {
        let start = self.pos + 1;
        let rest = &self.xml[start..];
        let length = rest.iter().position(|byte| !IN_NAMES[usize::from(*byte)]).unwrap_or(rest.len());
        if length == 0 {
            return Err(XmlError { reason: "\"<\" is not followed by a name", offset: self.pos });
        }
        let name_end = start + length;
        let end = end_of_tag(&self.xml[name_end..]);
        let Some(end) = end else { return self.ended("a start tag does not end") };
        let at = name_end + end + 1;
        self.pos = at;
        let empty = at - 2 >= name_end && self.xml[at - 2] == b'/';
        let attributes = &self.xml[name_end..at - 1 - usize::from(empty)];
        Ok(Token::Open { name: &self.xml[start..name_end], attributes, empty })
    }

    /// An event inside an element of `System` is the next one, after one that was cut off.
    pub(super) fn another_begins<T>(&self) -> Result<T, XmlError> {
        Err(XmlError { reason: "another <Event> begins before </Event>", offset: self.start })
    }

    /// Passes over the element of `System` whose start tag was the last token.
    pub(super) fn pass(&mut self, empty: bool) -> Result<(), XmlError> {
        let mut depth = usize::from(!empty);
        while depth > 0 {
            match self.next_token()? {
                None => return self.ended("an element does not end"),
                Some(Token::Open { name: b"Event", .. }) => return self.another_begins(),
                Some(Token::Open { empty, .. }) => depth += usize::from(!empty),
                Some(Token::Close { .. }) => depth -= 1,
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// The text of the element of `System` whose start tag was the last token, up to and with its end tag. Text of inner
    /// elements is left out.
    pub(super) fn text(&mut self, empty: bool) -> Result<Cow<'a, str>, XmlError> {
        let mut found = Cow::Borrowed("");
        let mut depth = usize::from(!empty);
        while depth > 0 {
            let at = self.pos;
            let piece = match self.next_token()? {
                None => return self.ended("an element does not end"),
                Some(Token::Open { name: b"Event", .. }) => return self.another_begins(),
                Some(Token::Open { empty, .. }) => {
                    depth += usize::from(!empty);
                    continue;
                }
                Some(Token::Close { .. }) => {
                    depth -= 1;
                    continue;
                }
                Some(_) if depth > 1 => continue,
                Some(Token::Text(raw)) => unescape(utf8(raw, at)?),
                Some(Token::Literal(raw)) => Cow::Borrowed(utf8(raw, at)?),
            };
            if found.is_empty() {
                found = piece;
            } else {
                found.to_mut().push_str(&piece);
            }
        }
        Ok(found)
    }
}

pub(super) fn utf8(raw: &[u8], at: usize) -> Result<&str, XmlError> {
    std::str::from_utf8(raw).map_err(|e| XmlError { reason: "the text is not UTF-8", offset: at + e.valid_up_to() })
}

/// The bytes of names.
static IN_NAMES: [bool; 256] = {
    let mut known = [false; 256];
    let mut byte = 0;
    while byte < known.len() {
        let ascii = byte as u8;
        known[byte] = ascii.is_ascii_alphanumeric() || matches!(ascii, b'_' | b'-' | b'.' | b':') || ascii >= 0x80;
        byte += 1;
    }
    known
};

/// Where a start tag ends, behind its name.
fn end_of_tag(tag: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += tag.get(at..)?.iter().position(|byte| matches!(byte, b'>' | b'"' | b'\''))?;
        let quote = tag[at];
        if quote == b'>' {
            return Some(at);
        }
        at += 1;
        at += near(quote, &tag[at..])? + 1;
    }
}

/// The first place of a byte that is mostly near: the start of a vector search costs more than eight bytes at a time, up to where it
/// does not.
#[inline]
pub fn near(byte: u8, text: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    const FAR: usize = 64;
    let wanted = ONES * u64::from(byte);
    let mut at = 0;
    while let Some(chunk) = text.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk) ^ wanted;
        let hits = word.wrapping_sub(ONES) & !word & HIGH;
        if hits != 0 {
            // A borrow can only mark bytes above a true hit, so the lowest mark is right.
            return Some(at + hits.trailing_zeros() as usize / 8);
        }
        at += 8;
        if at == FAR {
            return memchr(byte, &text[at..]).map(|found| at + found);
        }
    }
    text[at..].iter().position(|found| *found == byte).map(|found| at + found)
}

fn after(xml: &[u8], from: usize, end: &[u8], reason: &'static str) -> Result<usize, XmlError> {
    let found = xml.get(from..).and_then(|rest| memmem::find(rest, end));
    found.map(|length| from + length + end.len()).ok_or(XmlError { reason, offset: xml.len() })
}

/// The position after the comment or CDATA section that begins at `at`.
pub(super) fn skip_declaration(xml: &[u8], at: usize) -> Result<usize, XmlError> {
    if xml[at..].starts_with(b"<!--") {
        after(xml, at + 4, b"-->", "a comment does not end")
    } else if xml[at..].starts_with(b"<![CDATA[") {
        after(xml, at + 9, b"]]>", "a CDATA section does not end")
    } else {
        Err(XmlError { reason: "a document type declaration is never accepted", offset: at })
    }
}

/// The value of an attribute, with its entities decoded.
pub fn attribute<'a>(raw: &'a [u8], wanted: &str) -> Option<Cow<'a, str>> {
    attributes(raw).find(|(name, _)| *name == wanted).map(|(_, value)| value)
}

/// The attributes of a tag, up to the first that is none.
pub fn attributes(raw: &[u8]) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
    let mut rest = raw;
    std::iter::from_fn(move || {
        let (name, value) = rest.split_at(near(b'=', rest)?);
        let value = value[1..].trim_ascii_start();
        let quote = *value.first().filter(|byte| matches!(byte, b'"' | b'\''))?;
        let length = near(quote, &value[1..])?;
        rest = &value[length + 2..];
        let name = std::str::from_utf8(name.trim_ascii()).ok()?;
        Some((name, unescape(std::str::from_utf8(&value[1..=length]).ok()?)))
    })
}

/// Text with its entities decoded. What is no entity stays as it is: losing it would change the event.
pub fn unescape(text: &str) -> Cow<'_, str> {
    if memchr(b'&', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    let mut decoded = String::with_capacity(text.len());
    unescape_into(text, &mut decoded);
    Cow::Owned(decoded)
}

/// The same, appended to a buffer.
pub(super) fn unescape_into(text: &str, decoded: &mut String) {
    let mut rest = text;
    while let Some(start) = memchr(b'&', rest.as_bytes()) {
        decoded.push_str(&rest[..start]);
        rest = &rest[start..];
        // The longest entity is &#x10FFFF; a semicolon further off belongs to something else.
        let end = rest.bytes().take(12).position(|byte| byte == b';');
        match end.and_then(|end| Some((end, entity(&rest[1..end])?))) {
            Some((end, character)) => {
                decoded.push(character);
                rest = &rest[end + 1..];
            }
            None => {
                decoded.push('&');
                rest = &rest[1..];
            }
        }
    }
    decoded.push_str(rest);
}

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) if hex.bytes().all(|b| b.is_ascii_hexdigit()) => u32::from_str_radix(hex, 16),
                None if number.bytes().all(|b| b.is_ascii_digit()) => number.parse(),
                _ => return None,
            };
            char::from_u32(code.ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_near_is_what_a_search_finds(byte: u8, like in 0u8..4, text in prop::collection::vec(0u8..4, 0..200), other: Vec<u8>) {
            prop_assert_eq!(near(like, &text), memchr(like, &text));
            prop_assert_eq!(near(byte, &other), memchr(byte, &other));
            let neighbours: Vec<u8> = text.iter().map(|near| byte.wrapping_add(*near).wrapping_sub(1)).collect();
            prop_assert_eq!(near(byte, &neighbours), memchr(byte, &neighbours));
        }
    }
}
