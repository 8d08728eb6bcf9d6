//! The fields of an event in XML, in one pass.
//!
//! Generic parsers manage about 0.1 million events a second and core; the grammar of an event is fixed, so this one
//! reads tokens only up to `</System>` and then looks for the end of the record at the speed of a byte search. It does
//! not check what lies between: a record with a broken `EventData` is still an event with an identity.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::xml::{Token, Tokens, XmlError, attribute, skip_declaration};
use super::{Fields, MAX_RECORD_BYTES, Timestamp, trimmed, work};

/// The attribute of `TimeCreated` that stands for `SystemTime` where a provider told its time as a number.
pub(super) const RAW_TIME: &str = "RawTime";

static EVENT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("Event"));
/// What comments and CDATA sections begin with.
static HIDING: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("<!"));

/// Reads one `<Event>` element, with whatever stands before it (byte order mark, XML declaration, comments, white
/// space). Returns its fields and the position after `</Event>`; what follows is not looked at.
///
/// # Errors
///
/// When this is no `<Event>` element, has a document type, does not end, or is larger than [`MAX_RECORD_BYTES`]. The offset is
/// where reading may go on.
pub fn scan(xml: &[u8]) -> Result<(Fields<'_>, usize), XmlError> {
    let start = skip_prolog(xml)?;
    let window = &xml[..xml.len().min(start + MAX_RECORD_BYTES)];
    scan_element(window, start).map_err(|error| {
        let cut = error.offset == window.len() && window.len() < xml.len();
        XmlError { reason: if cut { "the record is larger than 1 MiB" } else { error.reason }, ..error }
    })
}

/// The position of the first element: after the byte order mark, white space, declarations and comments.
pub(super) fn skip_prolog(xml: &[u8]) -> Result<usize, XmlError> {
    let mut pos = if xml.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
    loop {
        pos += work::blank(&xml[pos..]);
        pos = match xml[pos..] {
            [b'<', b'?', ..] => match work::find(b"?>", &xml[pos..]) {
                Some(length) => pos + length + 2,
                None => return Err(XmlError { reason: "the XML declaration does not end", offset: xml.len() }),
            },
            [b'<', b'!', ..] => pass_declaration(xml, pos)?,
            _ => return Ok(pos),
        };
    }
}

fn scan_element(xml: &[u8], start: usize) -> Result<(Fields<'_>, usize), XmlError> {
    let mut tokens = Tokens::new(xml, start);
    let mut fields = Fields::default();
    match tokens.next_token()? {
        Some(Token::Open { name: b"Event", empty: true, .. }) => return Ok((fields, tokens.pos)),
        Some(Token::Open { name: b"Event", .. }) => {}
        _ => return Err(XmlError { reason: "this is no <Event> element", offset: tokens.pos }),
    }
    // System is the first child in every event that Windows renders; anything else is left to the byte search.
    loop {
        match tokens.next_token() {
            Ok(Some(Token::Text(_) | Token::Literal(_))) => {}
            Ok(Some(Token::Open { name: b"System", empty: false, .. })) => {
                scan_system(&mut tokens, &mut fields)?;
                fields.system_end = Some(tokens.pos);
                break;
            }
            Ok(Some(Token::Open { name: b"Event", .. })) => return tokens.another_begins(),
            Ok(Some(Token::Close { name: b"Event" })) => return Ok((fields, tokens.pos)),
            // What was looked at to the end of the window is not looked at again.
            Err(error) if error.offset == xml.len() => return Err(error),
            _ => break,
        }
    }
    let end = find_end(xml, tokens.pos)?;
    Ok((fields, end))
}

fn scan_system<'a>(tokens: &mut Tokens<'a>, fields: &mut Fields<'a>) -> Result<(), XmlError> {
    loop {
        let at = tokens.pos;
        let (name, attributes, empty) = match tokens.next_token()? {
            Some(Token::Open { name, attributes, empty }) => (name, attributes, empty),
            Some(Token::Close { name: b"System" }) => return Ok(()),
            Some(Token::Close { .. }) => {
                return Err(XmlError { reason: "an end tag inside <System> has no start tag", offset: at });
            }
            Some(_) => continue,
            None => return tokens.ended("<System> does not end"),
        };
        match name {
            b"Provider" => fields.provider = attribute(attributes, "Name").map(trimmed),
            b"TimeCreated" => {
                fields.time = time(attributes);
            }
            b"Event" => return tokens.another_begins(),
            _ => {}
        }
        if !matches!(name, b"EventID" | b"EventRecordID" | b"Level" | b"Keywords" | b"Channel" | b"Computer") {
            tokens.pass(empty)?;
            continue;
        }
        let text = trimmed(tokens.text(empty)?);
        match name {
            b"EventID" => fields.event_id = text.parse().ok(),
            b"EventRecordID" => fields.record_id = text.parse().ok(),
            b"Level" => fields.level = text.parse().ok(),
            b"Keywords" => fields.keywords = keywords(&text),
            b"Channel" => fields.channel = Some(text),
            b"Computer" => fields.computer = Some(text).filter(|name| !name.is_empty()),
            _ => {}
        }
    }
}

/// The time in `TimeCreated`: schemas give it one of two attributes.
fn time(attributes: &[u8]) -> Option<Timestamp> {
    match attribute(attributes, "SystemTime") {
        Some(time) => Timestamp::parse(&time),
        None => attribute(attributes, RAW_TIME).and_then(|ticks| Timestamp::from_raw(&ticks)),
    }
}

/// Keywords as Windows renders them.
fn keywords(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x").filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u64::from_str_radix(digits, 16).ok()
}

/// Whether an event that someone wrote ends where its text does, looking from behind its `System`.
pub fn ends_at_its_end(event: &[u8], system_end: usize) -> bool {
    find_end(event, system_end) == Ok(event.len())
}

/// The position after `</Event>`, looking from `pos`, which is inside the element.
///
/// `<` is illegal in attributes and text, so only comments and CDATA can hide a tag. Both searches go over each byte once:
/// a tag that was found stays found until a comment has swallowed it. Another `<Event` inside is taken for the start of
/// the next record after one that was cut off.
fn find_end(xml: &[u8], mut pos: usize) -> Result<usize, XmlError> {
    loop {
        let found = EVENT.find(&xml[pos..]);
        work::visited(|| found.unwrap_or(xml.len() - pos));
        let Some(found) = found else {
            return Err(XmlError { reason: "</Event> is missing", offset: xml.len() });
        };
        let name = pos + found;
        let shown = pass_hidden(xml, pos, name)?;
        if shown > name {
            pos = shown;
            continue;
        }
        pos = name + 5;
        let tail = &xml[pos..];
        if xml[..name].ends_with(b"</") {
            let blank = work::blank(tail);
            if tail.get(blank) == Some(&b'>') {
                return Ok(pos + blank + 1);
            }
        } else if xml[..name].ends_with(b"<")
            && matches!(tail.first(), Some(b'>' | b'/' | b' ' | b'\t' | b'\r' | b'\n'))
        {
            return Err(XmlError { reason: "another <Event> begins before </Event>", offset: name - 1 });
        }
    }
}

/// Passes over the comments and CDATA sections that begin between `pos` and `until`; the position behind the last.
fn pass_hidden(xml: &[u8], mut pos: usize, until: usize) -> Result<usize, XmlError> {
    while pos < until {
        let hidden = HIDING.find(&xml[pos..until]);
        work::visited(|| hidden.map_or(until - pos, |at| at + 2));
        let Some(hidden) = hidden else { break };
        pos = pass_declaration(xml, pos + hidden)?;
    }
    Ok(pos)
}

fn pass_declaration(xml: &[u8], pos: usize) -> Result<usize, XmlError> {
    let passed = skip_declaration(xml, pos);
    work::visited(|| passed.as_ref().map_or_else(|error| error.offset, |end| *end) - pos);
    passed
}

#[cfg(test)]
#[path = "from_xml_tests.rs"]
mod tests;
