//! One JSON array of objects, an element at a time.

use super::{DecodeError, Decoded, fail, scan_json, skip_json_blank};
use crate::event::from_json::JsonError;

/// Where reading is in an array.
pub(super) struct Array<'a> {
    text: &'a str,
    /// Where the next element begins.
    pub(super) pos: usize,
}

impl<'a> Array<'a> {
    /// Goes into the array that begins at `start`; `None` when there is nothing in it, or nothing at all.
    pub(super) fn open(text: &'a str, start: usize) -> Result<Option<Self>, DecodeError> {
        let body = text.as_bytes();
        match body.get(start) {
            None => return Ok(None),
            Some(b'[') => {}
            Some(b'{') => return fail(start, "the body is one JSON object; send an array of objects"),
            Some(b'<') => return fail(start, "the body is XML; send a JSON array of objects"),
            Some(_) => return fail(start, "the body is no JSON array; send an array of objects"),
        }
        let pos = skip_json_blank(body, start + 1);
        if body.get(pos) == Some(&b']') {
            return ends_here(body, pos + 1).map(|()| None);
        }
        Ok(Some(Self { text, pos }))
    }

    /// Goes on in an array at an element.
    pub(super) fn at(text: &'a str, pos: usize) -> Self {
        Self { text, pos }
    }

    /// Takes one element; `false` when it was the last. An element that is not there whole leaves no trace.
    pub(super) fn step(&mut self, decoded: &mut Decoded<'a>) -> Result<bool, DecodeError> {
        let body = self.text.as_bytes();
        let scanned = scan_json(self.text, self.pos).map_err(|JsonError { reason, offset }| DecodeError {
            offset,
            message: format!("the body is no valid JSON: {reason}"),
        })?;
        let raw = &body[self.pos..scanned.end];
        let next = skip_json_blank(body, scanned.end);
        let more = match body.get(next) {
            Some(b',') => true,
            Some(b']') => false,
            None => return fail(next, "the array does not end; the upload was cut off"),
            Some(_) => return fail(next, "expected \",\" or \"]\" after an element of the array"),
        };
        if !more {
            ends_here(body, next + 1)?;
        }
        self.pos = skip_json_blank(body, next + 1);
        decoded.take_json(raw, scanned);
        Ok(more)
    }
}

/// Nothing but white space may stand behind an array.
fn ends_here(body: &[u8], end: usize) -> Result<(), DecodeError> {
    let pos = skip_json_blank(body, end);
    if pos < body.len() { fail(pos, "something follows the array; send one array") } else { Ok(()) }
}
