//! Events in XML that a record in JSON quotes: agents put what Windows rendered into one text, under whatever name.
//!
//! A record that tells an event by its own members is that event, and the text is one more thing that it tells. A record that
//! does not *is* the event that it quotes: its fields, its identity, its tree and its row are those of the XML. Names of
//! members do not matter, because there are as many as agents (`Event`, `event.original`, `_raw`, `message`, `body`).
//! Text that holds more than one event is none: it could only be taken for its first.

use std::borrow::Cow;
use std::ops::Range;

use super::{Event, Fields, Format, from_xml};

/// Whether a text in JSON, as it is written there, may hold an event. Most texts are ruled out by their first byte.
#[inline]
pub(super) fn may_begin(escaped: &[u8]) -> bool {
    matches!(escaped.first(), Some(b'<' | b'\\' | b' ' | 0xC2..)) && begins(escaped)
}

fn begins(escaped: &[u8]) -> bool {
    let tag = match escaped.first() {
        Some(b'<') => &escaped[1..],
        Some(b'\\' | b' ' | 0xC2..) => match opening(escaped) {
            Some(tag) => tag,
            None => return false,
        },
        _ => return false,
    };
    [&b"Event"[..], b"?xml", b"!--"].iter().any(|start| tag.starts_with(start))
}

/// What follows the first `<` of a text in JSON, if only white space and byte order marks stand before it.
fn opening(mut escaped: &[u8]) -> Option<&[u8]> {
    loop {
        match first_character(escaped)? {
            ('<', rest) => return Some(rest),
            (blank, rest) if is_blank(blank) => escaped = rest,
            _ => return None,
        }
    }
}

/// The first character of a text in JSON, and what follows it.
fn first_character(escaped: &[u8]) -> Option<(char, &[u8])> {
    let [b'\\', kind, rest @ ..] = escaped else {
        let head = &escaped[..escaped.len().min(char::MAX.len_utf8())];
        let character = head.utf8_chunks().next()?.valid().chars().next()?;
        return Some((character, &escaped[character.len_utf8()..]));
    };
    match kind {
        b'n' => Some(('\n', rest)),
        b'r' => Some(('\r', rest)),
        b't' => Some(('\t', rest)),
        b'f' => Some(('\u{c}', rest)),
        b'u' => {
            let digits = std::str::from_utf8(rest.get(..4)?).ok()?;
            Some((char::from_u32(u32::from_str_radix(digits, 16).ok()?)?, &rest[4..]))
        }
        _ => None,
    }
}

/// Whether a character may stand before XML.
fn is_blank(character: char) -> bool {
    character.is_whitespace() || character == '\u{feff}'
}

/// The text without what may stand before XML: white space of any kind and byte order marks.
pub(super) fn trimmed(text: &str) -> &str {
    text.trim_start_matches(is_blank)
}

/// The fields of the event that a text is, and where in the text it stands.
pub(super) fn read(text: &str) -> Option<(Fields<'_>, Range<usize>)> {
    let xml = trimmed(text);
    let before = text.len() - xml.len();
    let start = from_xml::skip_prolog(xml.as_bytes()).ok()?;
    let (fields, length) = from_xml::scan(xml.as_bytes().get(start..)?).ok()?;
    let is_all = trimmed(xml.get(start + length..)?).is_empty();
    let is_named = fields.event_id.is_some() && (fields.channel.is_some() || fields.provider.is_some());
    (is_all && is_named).then_some((fields, before + start..before + start + length))
}

/// The text of a string in JSON that has been found to be one, from its first quote to its last.
pub(super) fn unescaped(string: &str) -> Cow<'_, str> {
    match string.get(1..string.len().saturating_sub(1)) {
        Some(inner) if memchr::memchr(b'\\', inner.as_bytes()).is_none() => Cow::Borrowed(inner),
        _ => Cow::Owned(serde_json::from_str(string).unwrap_or_default()),
    }
}

/// Hands out the event that a record quotes, in XML, or the event as it is when it quotes none.
pub(super) fn within<T>(event: &Event<'_>, take: impl FnOnce(&Event<'_>) -> T) -> T {
    let string = event.fields.quoted.clone().and_then(|at| event.raw.get(at));
    let Some(text) = string.and_then(|string| std::str::from_utf8(string).ok()).map(unescaped) else {
        return take(event);
    };
    match read(&text) {
        Some((fields, at)) => take(&Event { format: Format::Xml, raw: text[at].as_bytes(), fields }),
        None => take(event),
    }
}

#[cfg(test)]
#[path = "quoted_tests.rs"]
mod tests;
