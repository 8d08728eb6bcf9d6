//! Whole bodies into events.
//!
//! A body is a frame around records. A broken frame refuses the upload (the sender must repair it); a broken record is
//! set aside with its reason while the rest is accepted, so that one bad event cannot hold back the others for ever.
//! Reading goes on where it failed, never further back, so the cost is linear in the body whatever it holds.

use memchr::memchr;

use super::from_json::{self, JsonError};
use super::{Event, Format, MAX_EVENTS, MAX_RECORD_BYTES, Syntax, from_xml};

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// What a body holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decoded<'a> {
    /// The records that were understood, in order.
    pub events: Vec<Event<'a>>,
    /// The records that were not, to be set aside.
    pub unreadable: Vec<Unreadable<'a>>,
}

/// A record that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable<'a> {
    /// The record as it was uploaded.
    pub raw: &'a [u8],
    /// Why it cannot be understood.
    pub reason: String,
}

/// Why a body as a whole cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}, at byte {offset}")]
pub struct DecodeError {
    /// Where in the decompressed body, in bytes from its start.
    pub offset: usize,
    /// What is wrong there and what would be right.
    pub message: String,
}

/// Reads a decompressed body. An empty body and an empty array hold no events.
///
/// # Errors
///
/// When the frame is broken (an array that is no JSON) or there are more than [`MAX_EVENTS`] records. Nothing of the body counts then.
pub fn decode(syntax: Syntax, body: &[u8]) -> Result<Decoded<'_>, DecodeError> {
    let start = skip_blank(body, 0);
    let is_array = match syntax {
        Syntax::JsonArray => true,
        Syntax::Lines => false,
        Syntax::Sniff => body.get(start) == Some(&b'['),
    };
    if is_array { decode_array(body, start) } else { decode_lines(body, start) }
}

impl<'a> Decoded<'a> {
    fn set_aside(&mut self, raw: &'a [u8], reason: impl Into<String>) {
        self.unreadable.push(Unreadable { raw, reason: reason.into() });
    }

    fn check_count(&self, offset: usize) -> Result<(), DecodeError> {
        if self.events.len() + self.unreadable.len() < MAX_EVENTS {
            return Ok(());
        }
        Err(DecodeError {
            offset,
            message: format!("the upload holds more than {MAX_EVENTS} records; send them in several"),
        })
    }

    fn take_json(&mut self, raw: &'a [u8], scanned: from_json::Scanned<'a>) {
        if !scanned.is_object {
            self.set_aside(raw, "the record is JSON, but no object");
        } else if scanned.unpaired_surrogate {
            self.set_aside(raw, "a string of the record holds half of a surrogate pair");
        } else if raw.len() > MAX_RECORD_BYTES {
            self.set_aside(raw, "the record is larger than 1 MiB");
        } else {
            self.events.push(Event { format: Format::Json, raw, fields: scanned.fields });
        }
    }
}

fn decode_array(body: &[u8], start: usize) -> Result<Decoded<'_>, DecodeError> {
    let fail = |offset: usize, message: &str| Err(DecodeError { offset, message: message.to_owned() });
    let text = match std::str::from_utf8(body) {
        Ok(text) => text,
        Err(error) => return fail(error.valid_up_to(), "the body is not UTF-8"),
    };
    let mut decoded = Decoded::default();
    match body.get(start) {
        None => return Ok(decoded),
        Some(b'[') => {}
        Some(b'{') => return fail(start, "the body is one JSON object; send an array of objects"),
        Some(b'<') => return fail(start, "the body is XML; send a JSON array of objects"),
        Some(_) => return fail(start, "the body is no JSON array; send an array of objects"),
    }
    let mut pos = skip_json_blank(body, start + 1);
    if body.get(pos) == Some(&b']') {
        pos += 1;
    } else {
        loop {
            decoded.check_count(pos)?;
            let scanned = from_json::scan(text, pos).map_err(|JsonError { reason, offset }| DecodeError {
                offset,
                message: format!("the body is no valid JSON: {reason}"),
            })?;
            let raw = &body[pos..scanned.end];
            pos = skip_json_blank(body, scanned.end);
            decoded.take_json(raw, scanned);
            match body.get(pos) {
                Some(b',') => pos = skip_json_blank(body, pos + 1),
                Some(b']') => break pos += 1,
                None => return fail(pos, "the array does not end; the upload was cut off"),
                Some(_) => return fail(pos, "expected \",\" or \"]\" after an element of the array"),
            }
        }
    }
    pos = skip_json_blank(body, pos);
    if pos < body.len() {
        return fail(pos, "something follows the array; send one array");
    }
    Ok(decoded)
}

fn decode_lines(body: &[u8], mut pos: usize) -> Result<Decoded<'_>, DecodeError> {
    let mut decoded = Decoded::default();
    loop {
        pos = skip_blank(body, pos);
        if pos == body.len() {
            return Ok(decoded);
        }
        decoded.check_count(pos)?;
        pos = match body[pos] {
            b'<' => take_xml(&mut decoded, body, pos),
            _ => take_line(&mut decoded, body, pos)?,
        };
    }
}

/// Takes one line of JSON; returns the position after it. Objects may stand back to back on it, as streams write them.
fn take_line<'a>(decoded: &mut Decoded<'a>, body: &'a [u8], pos: usize) -> Result<usize, DecodeError> {
    let end = line_end(body, pos);
    let raw = body[pos..end].trim_ascii_end();
    let Ok(text) = std::str::from_utf8(raw) else {
        decoded.set_aside(raw, "the line is not UTF-8");
        return Ok(end);
    };
    let mut at = 0;
    while at < raw.len() {
        decoded.check_count(pos + at)?;
        let scanned = match from_json::scan(text, at) {
            Ok(scanned) => scanned,
            Err(error) => {
                decoded.set_aside(&raw[at..], format!("the line is no valid JSON and no <Event>: {error}"));
                break;
            }
        };
        let after = scanned.end;
        let next = skip_json_blank(raw, after);
        if raw.get(next).is_some_and(|byte| *byte != b'{') {
            decoded.set_aside(&raw[at..], format!("something follows the JSON value, at byte {after}"));
            break;
        }
        decoded.take_json(&raw[at..after], scanned);
        at = next;
    }
    Ok(end)
}

/// Takes one `<Event>`, or passes over the tags of an `<Events>` wrapper; returns the position after it.
fn take_xml<'a>(decoded: &mut Decoded<'a>, body: &'a [u8], pos: usize) -> usize {
    let start = match from_xml::skip_prolog(&body[pos..]) {
        Ok(length) => pos + length,
        Err(error) => return set_aside_xml(decoded, body, pos, pos + error.offset, error.reason),
    };
    if start == body.len() || body[start] != b'<' {
        return start;
    }
    if let Some(after) = skip_wrapper(&body[start..]) {
        return start + after;
    }
    match from_xml::scan(&body[start..]) {
        Err(error) => set_aside_xml(decoded, body, start, start + error.offset, error.reason),
        Ok((fields, length)) => {
            let raw = &body[start..start + length];
            match std::str::from_utf8(raw) {
                Ok(_) => decoded.events.push(Event { format: Format::Xml, raw, fields }),
                Err(_) => decoded.set_aside(raw, "the event is not UTF-8"),
            }
            start + length
        }
    }
}

/// The length of an `<Events …>` or `</Events>` tag, if one stands here.
fn skip_wrapper(xml: &[u8]) -> Option<usize> {
    let rest = xml.strip_prefix(b"<Events").or_else(|| xml.strip_prefix(b"</Events"))?;
    matches!(rest.first()?, b'>' | b' ' | b'\t' | b'\r' | b'\n').then_some(())?;
    Some(xml.len() - rest.len() + memchr(b'>', rest)? + 1)
}

fn set_aside_xml<'a>(decoded: &mut Decoded<'a>, body: &'a [u8], start: usize, failed: usize, reason: &str) -> usize {
    let next = next_record(body, failed.max(start + 1));
    decoded.set_aside(body[start..next].trim_ascii_end(), reason);
    next
}

/// Where the next record begins, from `pos` on: at an `<Event>`, or at a line that begins with an object or a tag.
fn next_record(body: &[u8], mut pos: usize) -> usize {
    while pos < body.len() {
        let end = line_end(body, pos);
        if let Some(found) = event_tag(&body[pos..end]) {
            return pos + found;
        }
        pos = skip_blank(body, end);
        if body.get(pos) == Some(&b'{') {
            return pos;
        }
    }
    body.len()
}

fn event_tag(line: &[u8]) -> Option<usize> {
    let ends = |byte: Option<&u8>| matches!(byte, None | Some(b'>' | b'/' | b' ' | b'\t' | b'\r' | b'\n'));
    memchr::memmem::find_iter(line, b"<Event").find(|at| ends(line.get(at + 6)))
}

fn line_end(body: &[u8], pos: usize) -> usize {
    memchr(b'\n', &body[pos..]).map_or(body.len(), |length| pos + length)
}

fn skip_json_blank(body: &[u8], mut pos: usize) -> usize {
    while matches!(body.get(pos), Some(b' ' | b'\n' | b'\r' | b'\t')) {
        pos += 1;
    }
    pos
}

/// Passes over white space and byte order marks: concatenated files have one in the middle.
fn skip_blank(body: &[u8], mut pos: usize) -> usize {
    loop {
        pos += body[pos..].len() - body[pos..].trim_ascii_start().len();
        if !body[pos..].starts_with(BYTE_ORDER_MARK) {
            return pos;
        }
        pos += BYTE_ORDER_MARK.len();
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
