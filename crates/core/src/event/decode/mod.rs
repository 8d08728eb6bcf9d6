//! Whole bodies into events.
//!
//! A body is a frame around records. A broken frame refuses the upload (the sender must repair it); a broken record is
//! set aside with its reason while the rest is accepted, so that one bad event cannot hold back the others for ever.
//! Reading goes on where it failed, never further back, so the cost is linear in the body whatever it holds.

use super::from_json::{self, JsonError, Scanned};
use super::{Event, Format, MAX_EVENTS, MAX_RECORD_BYTES, Syntax, work};

use array::Array;
use lines::Lines;
pub use pieces::Pieces;

mod array;
mod lines;
mod pieces;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
/// After so many bytes it is asked whether to go on.
const ASKED_EVERY: usize = 64 << 10;

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
    decode_while(syntax, body, || Ok(()))
}

/// The same, and asks meanwhile whether to go on.
pub(super) fn decode_while<E: From<DecodeError>>(
    syntax: Syntax,
    body: &[u8],
    go_on: impl Fn() -> Result<(), E>,
) -> Result<Decoded<'_>, E> {
    let start = skip_blank(body, 0);
    let is_array = match syntax {
        Syntax::JsonArray => true,
        Syntax::Lines | Syntax::Enveloped => false,
        Syntax::Sniff => body.get(start) == Some(&b'['),
    };
    let asking = Asking { go_on, next: 0 };
    if is_array { decode_array(body, start, asking) } else { decode_lines(body, start, asking) }
}

fn decode_array<E: From<DecodeError>>(
    body: &[u8],
    start: usize,
    mut asking: Asking<impl Fn() -> Result<(), E>>,
) -> Result<Decoded<'_>, E> {
    work::visited(|| body.len());
    let text = match std::str::from_utf8(body) {
        Ok(text) => text,
        Err(error) => return Ok(fail(error.valid_up_to(), "the body is not UTF-8")?),
    };
    let mut decoded = Decoded::default();
    let Some(mut array) = Array::open(text, start)? else { return Ok(decoded) };
    loop {
        let more = array.step(&mut decoded)?;
        decoded.check_count(array.pos)?;
        asking.at(array.pos)?;
        if !more {
            return Ok(decoded);
        }
    }
}

fn decode_lines<E: From<DecodeError>>(
    body: &[u8],
    start: usize,
    mut asking: Asking<impl Fn() -> Result<(), E>>,
) -> Result<Decoded<'_>, E> {
    let mut decoded = Decoded::default();
    let mut lines = Lines::new(body, start);
    while lines.step(&mut decoded) {
        decoded.check_count(lines.pos)?;
        asking.at(lines.pos)?;
    }
    Ok(decoded)
}

/// Asks whether to go on, but not at every record.
struct Asking<F> {
    go_on: F,
    /// Where it is time to ask again.
    next: usize,
}

impl<E, F: Fn() -> Result<(), E>> Asking<F> {
    fn at(&mut self, pos: usize) -> Result<(), E> {
        if pos < self.next {
            return Ok(());
        }
        self.next = pos + ASKED_EVERY;
        (self.go_on)()
    }
}

impl<'a> Decoded<'a> {
    /// The same, unless records are here and none of them was understood: an upload that nobody understood is not taken.
    /// `body` is what was decoded.
    ///
    /// # Errors
    ///
    /// With the first reason and its place.
    pub fn understood(self, body: &[u8]) -> Result<Self, DecodeError> {
        match self.unreadable.first() {
            Some(first) if self.events.is_empty() => Err(DecodeError {
                offset: first.raw.as_ptr() as usize - body.as_ptr() as usize,
                message: match self.unreadable.len() {
                    1 => format!("its one record was not understood, and nothing was kept: {}", first.reason),
                    count => format!(
                        "none of its {count} records was understood, and nothing was kept; the first: {}",
                        first.reason
                    ),
                },
            }),
            _ => Ok(self),
        }
    }

    fn count(&self) -> usize {
        self.events.len() + self.unreadable.len()
    }

    fn set_aside(&mut self, raw: &'a [u8], reason: impl Into<String>) {
        self.unreadable.push(Unreadable { raw, reason: reason.into() });
    }

    fn check_count(&self, offset: usize) -> Result<(), DecodeError> {
        if self.count() <= MAX_EVENTS {
            return Ok(());
        }
        fail(offset, &format!("the upload holds more than {MAX_EVENTS} records; send them in several"))
    }

    fn take_json(&mut self, raw: &'a [u8], scanned: Scanned<'a>) {
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

fn fail<T>(offset: usize, message: &str) -> Result<T, DecodeError> {
    Err(DecodeError { offset, message: message.to_owned() })
}

fn skip_json_blank(body: &[u8], mut pos: usize) -> usize {
    let start = pos;
    while matches!(body.get(pos), Some(b' ' | b'\n' | b'\r' | b'\t')) {
        pos += 1;
    }
    work::visited(|| pos - start);
    pos
}

/// Passes over white space and byte order marks: concatenated files have one in the middle.
fn skip_blank(body: &[u8], mut pos: usize) -> usize {
    loop {
        pos += work::blank(&body[pos..]);
        if !body[pos..].starts_with(BYTE_ORDER_MARK) {
            return pos;
        }
        pos += BYTE_ORDER_MARK.len();
    }
}

/// The text that bytes begin with.
fn text_at_start(bytes: &[u8]) -> &str {
    let text = std::str::from_utf8(bytes)
        .or_else(|error| std::str::from_utf8(&bytes[..error.valid_up_to()]))
        .unwrap_or_default();
    work::visited(|| text.len());
    text
}

/// Reads one JSON value.
fn scan_json(text: &str, at: usize) -> Result<Scanned<'_>, JsonError> {
    let scanned = from_json::scan(text, at);
    work::visited(|| scanned.as_ref().map_or_else(|error| error.offset, |scanned| scanned.end) - at);
    scanned
}

#[cfg(test)]
mod tests;
