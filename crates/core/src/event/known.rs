//! What is known of the records of a text before it is decoded, because whoever wrote the text has read them.
//!
//! Inputs of old protocols write records anew. Reading the new ones a second time cost as much as writing them, and found nothing
//! that was not known by then. What stands here is what [`decode`](super::decode()) finds in the text, record by record, or nothing
//! is known of the text at all: there is no half of it that two could read in two ways.

use std::borrow::Cow;
use std::ops::Range;

use super::{Decoded, Event, Fields, Format, Timestamp};

/// After so many records it is asked whether to go on.
const ASKED_EVERY: usize = 1024;
/// What a text of its own takes beside its bytes.
const TEXT_COST: usize = size_of::<Box<str>>() + 16;

/// The records of a text, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    records: Vec<Record>,
    texts: Vec<Box<str>>,
    text_bytes: usize,
    /// The last computer, channel and provider: those of most records are those of the one before.
    last: [Option<u32>; 3],
    /// How many are no event with a record id that others can be told by.
    unidentified: usize,
}

/// [`Fields`] that borrow from nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    format: Format,
    span: Range<usize>,
    computer: Option<u32>,
    channel: Option<u32>,
    provider: Option<u32>,
    event_id: Option<u32>,
    record_id: Option<u64>,
    time: Option<Timestamp>,
    level: Option<u8>,
    keywords: Option<u64>,
    system_end: Option<usize>,
}

impl Known {
    /// Notes the next record, which stands there; false, and nothing is noted, where it is one that quotes an event.
    #[must_use]
    pub fn note(&mut self, format: Format, span: Range<usize>, fields: &Fields<'_>) -> bool {
        if fields.quoted.is_some() {
            return false;
        }
        self.unidentified += usize::from(!fields.has_identity());
        let [computer, channel, provider] =
            [&fields.computer, &fields.channel, &fields.provider].map(|text| text.as_deref());
        let record = Record {
            format,
            span,
            computer: self.text(0, computer),
            channel: self.text(1, channel),
            provider: self.text(2, provider),
            event_id: fields.event_id,
            record_id: fields.record_id,
            time: fields.time,
            level: fields.level,
            keywords: fields.keywords,
            system_end: fields.system_end,
        };
        self.records.push(record);
        true
    }

    /// The place of a text, which is that of the record before where that has the same one.
    fn text(&mut self, kind: usize, text: Option<&str>) -> Option<u32> {
        let text = text?;
        let last = self.last[kind].filter(|last| *self.texts[*last as usize] == *text);
        if last.is_none() {
            // There are three of each record, and not so many records.
            self.last[kind] = u32::try_from(self.texts.len()).ok();
            self.text_bytes += text.len();
            self.texts.push(text.into());
        }
        self.last[kind]
    }

    /// How many bytes of memory it may take once another record of so many bytes is noted.
    pub fn bytes_with(&self, record: usize) -> usize {
        // Lists grow to the double of what they need.
        let (records, texts) = (self.records.len() + 1, self.texts.len() + 3);
        2 * (records * size_of::<Record>() + texts * TEXT_COST) + self.text_bytes + record
    }

    /// How many bytes of memory it takes.
    pub fn bytes(&self) -> usize {
        self.records.capacity() * size_of::<Record>() + self.texts.capacity() * TEXT_COST + self.text_bytes
    }

    /// Whether each is an event that is known by its record id, whatever upload it comes in.
    pub fn are_identified(&self) -> bool {
        self.unidentified == 0
    }

    /// The records of the text that this is known of.
    pub(super) fn decoded<'a, E>(
        &'a self,
        text: &'a [u8],
        go_on: impl Fn() -> Result<(), E>,
    ) -> Result<Decoded<'a>, E> {
        let mut events = Vec::with_capacity(self.records.len());
        for (at, record) in self.records.iter().enumerate() {
            if at % ASKED_EVERY == 0 {
                go_on()?;
            }
            events.push(Event { format: record.format, raw: &text[record.span.clone()], fields: self.fields(record) });
        }
        Ok(Decoded { events, unreadable: Vec::new() })
    }

    fn fields(&self, record: &Record) -> Fields<'_> {
        let text = |at: Option<u32>| at.map(|at| Cow::Borrowed(&*self.texts[at as usize]));
        Fields {
            computer: text(record.computer),
            channel: text(record.channel),
            provider: text(record.provider),
            event_id: record.event_id,
            record_id: record.record_id,
            time: record.time,
            level: record.level,
            keywords: record.keywords,
            system_end: record.system_end,
            quoted: None,
        }
    }
}

#[cfg(test)]
#[path = "known_tests.rs"]
mod tests;
