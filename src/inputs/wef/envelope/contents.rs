//! The events of a message: where they stand in its text, and how they are moved together there.
//!
//! An event comes as CDATA, as text with entities, or as elements in the open. None of the three is longer than what stands for
//! it, and a tag precedes each, so that moving them forward in the same buffer never overtakes what is still to be read.

use std::ops::Range;

use super::reader::{Element, Node, Reader, decoded};
use super::{EnvelopeError, Gathered};
use crate::event::MAX_EVENTS;

/// A part of an event.
#[derive(Debug)]
pub(super) enum Piece {
    /// It is written as it is.
    Plain(Range<usize>),
    /// It is written with entities.
    Escaped(Range<usize>),
    /// The event ends here.
    End,
}

/// Finds the events of an `Events` element.
pub(super) fn read<'a>(
    reader: &mut Reader<'a>,
    of: &Element<'a>,
    pieces: &mut Vec<Piece>,
) -> Result<(), EnvelopeError> {
    let mut count = 0;
    while let Some(element) = reader.child(of)? {
        if element.local() != b"Event" {
            reader.pass(&element)?;
            continue;
        }
        event(reader, &element, pieces)?;
        count += 1;
        if count > MAX_EVENTS {
            return Err(EnvelopeError::Malformed("it holds too many events", 0));
        }
    }
    Ok(())
}

fn event<'a>(reader: &mut Reader<'a>, of: &Element<'a>, pieces: &mut Vec<Piece>) -> Result<(), EnvelopeError> {
    let before = pieces.len();
    while let Some(node) = reader.node(of)? {
        match node {
            Node::Text(span) => {
                let text = reader.utf8(span.clone())?;
                if !text.trim().is_empty() {
                    pieces.push(if text.contains('&') { Piece::Escaped(span) } else { Piece::Plain(span) });
                }
            }
            Node::Literal(span) => pieces.push(Piece::Plain(span)),
            Node::Element(element) => pieces.push(Piece::Plain(reader.whole(&element)?)),
        }
    }
    // An element with nothing in it is no event.
    if pieces.len() > before {
        pieces.push(Piece::End);
    }
    Ok(())
}

pub(super) fn count(pieces: &[Piece]) -> usize {
    pieces.iter().filter(|piece| matches!(piece, Piece::End)).count()
}

/// Moves the events together, as far as `keep` says so.
pub(super) fn gather(mut text: Vec<u8>, pieces: &[Piece], mut keep: impl FnMut(&[u8]) -> bool) -> Gathered {
    let mut events = Vec::with_capacity(count(pieces));
    let (mut start, mut end) = (0, 0);
    for piece in pieces {
        match piece {
            Piece::Plain(span) => {
                text.copy_within(span.clone(), end);
                end += span.len();
            }
            Piece::Escaped(span) => end += unescape(&mut text, span.clone(), end),
            Piece::End if !keep(&text[start..end]) => end = start,
            Piece::End => {
                events.push(start..end);
                text[end] = b'\n';
                end += 1;
                start = end;
            }
        }
    }
    text.truncate(end);
    Gathered { text, events }
}

/// Writes a span without its entities to a place before it; how long that is.
fn unescape(text: &mut [u8], span: Range<usize>, to: usize) -> usize {
    let plain = decoded(std::str::from_utf8(&text[span]).expect("it was read as UTF-8")).into_owned();
    text[to..to + plain.len()].copy_from_slice(plain.as_bytes());
    plain.len()
}
