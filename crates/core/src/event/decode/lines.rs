//! Records one after the other: JSON objects, `<Event>` elements, and what people and tools put between them.
//!
//! Whatever was looked at once is remembered as long as it can be asked for again (where a line ends, how far the text is
//! UTF-8, how far an object was followed), so each byte is visited a small number of times.

use super::{Decoded, scan_json, skip_blank, skip_json_blank, text_at_start};
use crate::event::work::{find, find_byte, visited};
use crate::event::{Event, Format, MAX_RECORD_BYTES, from_xml};

/// The longest text before an event on its line that is taken for a relay's heading, as syslog has it, and passed over.
const HEADING_MAX: usize = 1024;

/// Where reading is in a body.
pub(super) struct Lines<'a> {
    body: &'a [u8],
    /// Where the next record, or what stands before it, begins.
    pub(super) pos: usize,
    line: Line,
    /// Text that is known to be UTF-8, and where it begins.
    text: &'a str,
    text_start: usize,
    /// How far the last object that was followed over its line was no object.
    followed: usize,
}

/// The end of a line, and of what is no white space on it.
#[derive(Clone, Copy, Default)]
struct Line {
    end: usize,
    trimmed: usize,
}

impl<'a> Lines<'a> {
    pub(super) fn new(body: &'a [u8], pos: usize) -> Self {
        Self { body, pos, line: Line::default(), text: "", text_start: 0, followed: 0 }
    }

    /// Takes what stands here: a record, or something between records. `false` at the end.
    pub(super) fn step(&mut self, decoded: &mut Decoded<'a>) -> bool {
        self.pos = skip_blank(self.body, self.pos);
        match self.body.get(self.pos) {
            None => return false,
            Some(b'<') => self.take_xml(decoded),
            Some(b'{' | b'[' | b'"') => self.take_json(decoded),
            Some(_) => self.take_text(decoded),
        }
        true
    }

    /// Takes one `<Event>`, or passes over the tags of an `<Events>` wrapper.
    fn take_xml(&mut self, decoded: &mut Decoded<'a>) {
        let (body, pos) = (self.body, self.pos);
        let start = match from_xml::skip_prolog(&body[pos..]) {
            Ok(length) => pos + length,
            Err(error) => return self.set_aside_xml(decoded, pos, pos + error.offset, error.reason),
        };
        self.pos = start;
        if body.get(start) != Some(&b'<') {
            return;
        }
        if let Some(after) = skip_wrapper(&body[start..]) {
            self.pos = start + after;
            return;
        }
        match from_xml::scan(&body[start..]) {
            Err(error) => self.set_aside_xml(decoded, start, start + error.offset, error.reason),
            Ok((fields, length)) => {
                let raw = &body[start..start + length];
                self.pos = start + length;
                visited(|| length);
                match std::str::from_utf8(raw) {
                    Ok(_) => decoded.events.push(Event { format: Format::Xml, raw, fields }),
                    Err(_) => decoded.set_aside(raw, "the event is not UTF-8"),
                }
            }
        }
    }

    fn set_aside_xml(&mut self, decoded: &mut Decoded<'a>, start: usize, failed: usize, reason: &str) {
        let next = self.next_record(failed.max(start + 1));
        decoded.set_aside(self.body[start..next].trim_ascii_end(), reason);
        self.pos = next;
    }

    /// Where the next record begins, from `pos` on: at an `<Event>`, or at a line that begins with an object or a tag.
    fn next_record(&mut self, mut pos: usize) -> usize {
        while pos < self.body.len() {
            let end = self.line_at(pos).end;
            if let Some(found) = event_tag(&self.body[pos..end]) {
                return pos + found;
            }
            pos = skip_blank(self.body, end);
            if self.body.get(pos) == Some(&b'{') {
                return pos;
            }
        }
        self.body.len()
    }

    /// Takes a line of text for which there is no other name. An event behind it on the line is kept, as relays send it.
    fn take_text(&mut self, decoded: &mut Decoded<'a>) {
        let line = self.line_at(self.pos);
        let Some(before) = event_tag(&self.body[self.pos..line.trimmed]) else { return self.take_json(decoded) };
        let heading = &self.body[self.pos..self.pos + before];
        if heading.len() > HEADING_MAX || find_byte(b'<', heading).is_some() {
            decoded.set_aside(heading.trim_ascii_end(), "the text before an <Event> is no heading of a relay");
        }
        self.pos += before;
    }

    /// Takes one JSON object. Others may stand back to back on its line, as streams write them; it may go on over the next
    /// lines, as people's tools write it.
    fn take_json(&mut self, decoded: &mut Decoded<'a>) {
        let line = self.line_at(self.pos);
        let raw = &self.body[self.pos..line.trimmed];
        let Some(text) = self.text_to(line.trimmed) else {
            decoded.set_aside(raw, "the line is not UTF-8");
            self.pos = line.end;
            return;
        };
        let scanned = match scan_json(text, 0) {
            Ok(scanned) => scanned,
            Err(error) if error.offset == raw.len() && self.follow_object(decoded) => return,
            Err(error) => {
                decoded.set_aside(raw, format!("the line is no valid JSON and no <Event>: {error}"));
                self.pos = line.end;
                return;
            }
        };
        let after = scanned.end;
        if raw.get(skip_json_blank(raw, after)).is_some_and(|byte| *byte != b'{') {
            decoded.set_aside(raw, format!("something follows the JSON value, at byte {after}"));
            self.pos = line.end;
            return;
        }
        self.pos += after;
        decoded.take_json(&raw[..after], scanned);
    }

    /// Takes an object that goes on over the end of its line, if it is one.
    fn follow_object(&mut self, decoded: &mut Decoded<'a>) -> bool {
        if self.pos < self.followed || self.body[self.pos] != b'{' {
            return false;
        }
        let text = &self.text[self.pos - self.text_start..];
        match scan_json(text, 0) {
            Ok(scanned) => {
                let raw = &text.as_bytes()[..scanned.end];
                self.pos += scanned.end;
                decoded.take_json(raw, scanned);
                true
            }
            Err(error) => {
                self.followed = self.pos + error.offset;
                false
            }
        }
    }

    /// The line on which `pos` stands. Positions only go up.
    fn line_at(&mut self, pos: usize) -> Line {
        if pos > self.line.end || self.line.end == 0 {
            let end = find_byte(b'\n', &self.body[pos..]).map_or(self.body.len(), |length| pos + length);
            let trimmed = pos + self.body[pos..end].trim_ascii_end().len();
            visited(|| end - trimmed);
            self.line = Line { end, trimmed };
        }
        self.line
    }

    /// The text from here to `end`, if it is UTF-8.
    fn text_to(&mut self, end: usize) -> Option<&'a str> {
        if self.pos >= self.text_start + self.text.len() {
            self.text = text_at_start(&self.body[self.pos..]);
            self.text_start = self.pos;
        }
        self.text.get(self.pos - self.text_start..end - self.text_start)
    }
}

/// The length of an `<Events …>` or `</Events>` tag, if one stands here.
fn skip_wrapper(xml: &[u8]) -> Option<usize> {
    let xml = &xml[..xml.len().min(MAX_RECORD_BYTES)];
    let rest = xml.strip_prefix(b"<Events").or_else(|| xml.strip_prefix(b"</Events"))?;
    matches!(rest.first()?, b'>' | b' ' | b'\t' | b'\r' | b'\n').then_some(())?;
    Some(xml.len() - rest.len() + find_byte(b'>', rest)? + 1)
}

/// Where an `<Event>` begins.
fn event_tag(line: &[u8]) -> Option<usize> {
    let mut pos = 0;
    loop {
        let at = pos + find(b"<Event", &line[pos..])?;
        pos = at + 6;
        if matches!(line.get(pos), None | Some(b'>' | b'/' | b' ' | b'\t' | b'\r' | b'\n')) {
            return Some(at);
        }
    }
}
