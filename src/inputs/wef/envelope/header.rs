//! What a message says about itself.

use super::EnvelopeError;
use super::reader::{Element, Reader};

/// Most bytes of one header.
const VALUE_MAX: usize = 4 << 10;
/// Most bytes of a bookmark: one of 256 channels, with their longest names, has a quarter of it.
const BOOKMARK_MAX: usize = 256 << 10;
/// Most bytes of a fault that are kept.
const FAULT_MAX: usize = 1 << 10;

/// The headers that matter. Texts are without the white space around them, which Windows writes into some.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header {
    /// What the message is.
    pub action: String,
    /// To be repeated in the answer, byte for byte.
    pub message_id: String,
    /// The host's name, as it says.
    pub machine_id: Option<String>,
    /// The subscription that it is about.
    pub identifier: Option<String>,
    /// The version of that subscription.
    pub version: Option<String>,
    /// How far the host has come: a fragment of XML that only the host understands.
    pub bookmark: Option<String>,
    /// Whether an answer is waited for.
    pub wants_answer: bool,
}

impl Header {
    pub(super) fn read<'a>(reader: &mut Reader<'a>, of: &Element<'a>) -> Result<Self, EnvelopeError> {
        let mut header = Self::default();
        while let Some(element) = reader.child(of)? {
            header.take(reader, &element)?;
        }
        if header.action.is_empty() {
            return Err(EnvelopeError::Missing("Action"));
        }
        if header.message_id.is_empty() {
            return Err(EnvelopeError::Missing("MessageID"));
        }
        Ok(header)
    }

    fn take<'a>(&mut self, reader: &mut Reader<'a>, element: &Element<'a>) -> Result<(), EnvelopeError> {
        let mut value = || reader.value(element, VALUE_MAX);
        match element.local() {
            b"Action" => self.action = value()?,
            b"MessageID" => self.message_id = value()?,
            b"MachineID" => self.machine_id = Some(value()?).filter(|name| !name.is_empty()),
            b"Identifier" => self.identifier = Some(value()?).filter(|id| !id.is_empty()),
            b"Version" => self.version = Some(value()?).filter(|version| !version.is_empty()),
            b"Bookmark" => self.bookmark = bookmark(reader, element)?,
            b"AckRequested" => {
                reader.pass(element)?;
                self.wants_answer = true;
            }
            _ => _ = reader.pass(element)?,
        }
        Ok(())
    }
}

fn bookmark<'a>(reader: &mut Reader<'a>, element: &Element<'a>) -> Result<Option<String>, EnvelopeError> {
    let span = reader.pass(element)?;
    if span.len() > BOOKMARK_MAX {
        return Err(EnvelopeError::Malformed("the bookmark is too long", span.start));
    }
    let fragment = reader.utf8(span)?.trim();
    Ok(Some(fragment.to_owned()).filter(|fragment| !fragment.is_empty()))
}

/// Why a host ends a subscription: the texts of its message, one after the other.
pub(super) fn fault<'a>(reader: &mut Reader<'a>, of: &Element<'a>) -> Result<String, EnvelopeError> {
    let span = reader.pass(of)?;
    let mut words = String::new();
    for part in reader.utf8(span)?.split('<') {
        let text = part.split_once('>').map_or(part, |(_, text)| text).trim();
        if !text.is_empty() && words.len() < FAULT_MAX {
            let space = if words.is_empty() { "" } else { " " };
            words.push_str(space);
            words.extend(super::reader::decoded(text).chars().take(FAULT_MAX));
        }
    }
    Ok(words)
}
