//! The data of an event where it is written as nearly all is: `EventData` that holds `Data` with texts, and nothing else.
//!
//! It is read at the speed of a byte search. Nothing of it can end its event or begin another, hide a tag, or nest. The record id and
//! the time of the log that senders put there are found on the way.

use crate::event::Timestamp;
use crate::event::near::word;
use crate::event::xml::near;

/// Names under which senders tell a record id: elements of the item, or data of the event.
pub(super) const RECORD_ID: [&str; 3] = ["EventRecordId", "EventRecordID", "RecordId"];
/// Names of data under which they tell the time of the log.
pub(super) const TIME_CREATED: &str = "TimeCreated";

/// What such data tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EventData<'a> {
    /// Where it ends, behind its last tag.
    pub(super) end: usize,
    /// What the log says of the event.
    pub(super) logged: Option<Logged<'a>>,
}

/// What data says of its event: both, or it may be any data of these names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Logged<'a> {
    pub(super) record_id: u64,
    pub(super) time: &'a str,
    pub(super) time_read: Timestamp,
}

impl<'a> EventData<'a> {
    /// Reads the data that begins there; `None` where none does, or it is written in another way.
    pub(super) fn read(text: &'a str, at: usize) -> Option<Self> {
        let all = text.as_bytes();
        let mut rest = behind_start(all.get(at..)?)?;
        let (mut id, mut time) = (None, None);
        while let Some(data) = rest.strip_prefix(b"<Data") {
            let (name, behind) = match data {
                [b'>', ..] => (&[][..], data),
                _ => named(data)?,
            };
            let Some(value) = behind.strip_prefix(b">") else {
                rest = behind.strip_prefix(b"/>")?;
                continue;
            };
            let length = near(b'<', value)?;
            rest = value[length..].strip_prefix(b"</Data>")?;
            // Most names are told from those that count by their length.
            if matches!(name.len(), 8 | 11 | 13) && length > 0 {
                let from = all.len() - value.len();
                let value = text.get(from..from + length)?.trim();
                if name == TIME_CREATED.as_bytes() {
                    time = Timestamp::parse(value).map(|read| (value, read));
                } else if RECORD_ID.iter().any(|known| known.as_bytes() == name) {
                    id = value.parse().ok();
                }
            }
        }
        let rest = rest.strip_prefix(b"</EventData>")?;
        let logged = id.zip(time).map(|(record_id, (time, time_read))| Logged { record_id, time, time_read });
        Some(Self { end: all.len() - rest.len(), logged })
    }
}

/// What follows the first tag, which has at most the name of its space.
fn behind_start(text: &[u8]) -> Option<&[u8]> {
    let behind = text.strip_prefix(b"<EventData")?;
    if let Some(behind) = behind.strip_prefix(b">") {
        return Some(behind);
    }
    let behind = behind.strip_prefix(b" xmlns=\"")?;
    let (space, behind) = behind.split_at(near(b'"', behind)?);
    if near(b'<', space).is_some() { None } else { behind.strip_prefix(b"\">") }
}

/// The name that an element has as its one attribute, and what follows that. Names of nothing but letters, digits and underscores
/// need no entities.
fn named(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let quoted = text.strip_prefix(b" Name=")?;
    let (quote, name) = quoted.split_first()?;
    let (name, behind) = name.split_at(word(name));
    let ends = matches!(quote, b'\'' | b'"') && behind.first() == Some(quote);
    ends.then(|| (name, &behind[1..]))
}
