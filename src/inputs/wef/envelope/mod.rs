//! What a Windows host sends: one SOAP envelope, read in one pass and without a tree.
//!
//! The text is made once, and the events are moved together in it: what ingest gets is that buffer, with one `<Event>` after the
//! other, and nothing is copied for each. A host that gets an error sends the same again for ever, so only what cannot be
//! understood as an envelope is refused; what an event holds is judged by ingest, where a bad one is set aside.

mod contents;
mod header;
mod reader;
pub mod text;

use std::ops::Range;

pub use header::Header;
pub use text::Charset;

use contents::Piece;
use reader::{Element, Reader};

/// Most bytes of one envelope, on the wire and as text. Windows sends no more than 512,000, as it is asked to.
pub const ENVELOPE_MAX: usize = 4 << 20;

/// Why an envelope was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// It is no text.
    #[error("the envelope is no text: {0}")]
    NoText(&'static str),
    /// It is no envelope, or one that breaks a rule.
    #[error("the envelope cannot be read: {0}, at byte {1} of its text")]
    Malformed(&'static str, usize),
    /// Something that every message has is missing.
    #[error("the envelope has no {0}")]
    Missing(&'static str),
    /// More bytes than the limit.
    #[error("the envelope is larger than {ENVELOPE_MAX} bytes")]
    TooLarge,
}

/// A message.
#[derive(Debug)]
pub struct Envelope {
    /// What stands before its body.
    pub header: Header,
    /// What it ends with, if it ends a subscription: the host's reason.
    pub fault: Option<String>,
    /// The whole text.
    text: Vec<u8>,
    pieces: Vec<Piece>,
}

/// The events of a message, moved together.
#[derive(Debug, PartialEq, Eq)]
pub struct Gathered {
    /// One event after the other, each with a line end behind it.
    pub text: Vec<u8>,
    /// Where each of them stands.
    pub events: Vec<Range<usize>>,
}

impl Envelope {
    /// Reads a message.
    ///
    /// # Errors
    ///
    /// When this is no envelope.
    pub fn read(body: &[u8]) -> Result<Self, EnvelopeError> {
        if body.len() > ENVELOPE_MAX {
            return Err(EnvelopeError::TooLarge);
        }
        let text = text::read(body)?;
        let mut reader = Reader::new(&text);
        let root = reader.root()?;
        if root.local() != b"Envelope" {
            return Err(EnvelopeError::Malformed("its first element is no Envelope", 0));
        }
        let mut parts = Parts::default();
        while let Some(part) = reader.child(&root)? {
            parts.take(&mut reader, &part)?;
        }
        reader.end()?;
        let header = parts.header.ok_or(EnvelopeError::Missing("Header"))?;
        Ok(Self { header, fault: parts.fault, pieces: parts.pieces, text })
    }

    /// How many events it holds.
    pub fn count(&self) -> usize {
        contents::count(&self.pieces)
    }

    /// Its events, as far as `keep` says so.
    pub fn gather(self, keep: impl FnMut(&[u8]) -> bool) -> Gathered {
        contents::gather(self.text, &self.pieces, keep)
    }
}

#[derive(Default)]
struct Parts {
    header: Option<Header>,
    fault: Option<String>,
    pieces: Vec<Piece>,
}

impl Parts {
    fn take<'a>(&mut self, reader: &mut Reader<'a>, part: &Element<'a>) -> Result<(), EnvelopeError> {
        match part.local() {
            b"Header" if self.header.is_none() => self.header = Some(Header::read(reader, part)?),
            b"Body" => {
                while let Some(message) = reader.child(part)? {
                    match message.local() {
                        b"Events" => contents::read(reader, &message, &mut self.pieces)?,
                        b"SubscriptionEnd" => self.fault = Some(header::fault(reader, &message)?),
                        _ => _ = reader.pass(&message)?,
                    }
                }
            }
            _ => _ = reader.pass(part)?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
