//! The shared vocabulary: what an event, an upload and an event's identity are.
//!
//! An event stays the bytes that were uploaded; beside them stand the few fields that filtering, identity and
//! routing need, borrowed from those bytes and taken in one pass. The same event means the same whatever protocol or
//! shape it came by: its [`EventKey`] is equal.
//!
//! This module does no I/O and reads no clock.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

pub mod client;
pub mod columns;
mod computers;
pub mod decode;
pub mod document;
pub mod foreign;
pub mod from_evtx;
pub mod from_json;
pub mod from_utf16;
pub mod from_xml;
pub mod key;
pub mod known;
mod lookup;
pub mod names;
pub mod near;
mod numbers;
pub mod presence;
mod quoted;
mod sound;
pub mod stored;
pub mod timestamp;
pub mod work;
pub mod xml;

pub use client::{Binding, Client, IdentityPolicy};
pub use decode::{DecodeError, Decoded, Pieces, Unreadable, decode};
pub use key::{EventKey, KeyMaker, ScopedKeys, UploadMark};
pub use known::Known;
pub use presence::Presence;
pub use timestamp::Timestamp;
pub use xml::XmlError;

/// Most bytes of one record. Windows' own limit is 64 KiB of UTF-16 per event; Azure cuts a row at 1 MB.
pub const MAX_RECORD_BYTES: usize = 1 << 20;

/// Most records of one upload. Agents send some thousands, and 64 MiB of real events are about as many as this; it
/// bounds what tiny records cost, which take several hundred bytes of memory each, however short they are.
pub const MAX_EVENTS: usize = 100_000;

/// Deepest nesting of a JSON record. Event shapes need 5; receivers commonly stop at 64.
pub const MAX_JSON_DEPTH: usize = 64;

/// How an event's raw bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Format {
    /// One `<Event>` element, without an XML declaration.
    Xml = 1,
    /// One JSON object.
    Json = 2,
}

/// One event: its raw bytes and the fields found in them.
#[derive(Debug, Clone, PartialEq)]
pub struct Event<'a> {
    /// How `raw` is written.
    pub format: Format,
    /// The event exactly as it was uploaded, without surrounding white space or separators.
    pub raw: &'a [u8],
    /// What was found in `raw`.
    pub fields: Fields<'a>,
}

/// The fields that filtering, identity and routing need. All are optional: real events lack any of them.
///
/// White space around a value is no part of it: it comes from those who write XML for people to read.
///
/// Source of the names and types: the `System` part of Microsoft's event schema.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fields<'a> {
    /// `System/Computer`, in the letter case that was uploaded. `None` when missing or empty.
    pub computer: Option<Cow<'a, str>>,
    /// `System/Channel`, in the letter case that was uploaded. Present but empty channels are `Some("")`.
    pub channel: Option<Cow<'a, str>>,
    /// `System/Provider/@Name`.
    pub provider: Option<Cow<'a, str>>,
    /// `System/EventID`.
    pub event_id: Option<u32>,
    /// `System/EventRecordID`.
    pub record_id: Option<u64>,
    /// `System/TimeCreated/@SystemTime`; `None` when missing, unreadable or the year 1601 (Windows' "no time").
    pub time: Option<Timestamp>,
    /// `System/Level`.
    pub level: Option<u8>,
    /// `System/Keywords` of an event in XML; `None` when it is not `0x` and hexadecimal digits. JSON has too many ways to
    /// write it, of which a query's document knows.
    pub keywords: Option<u64>,
    /// Where `System` ends in the raw bytes of an event in XML, for those who only want what follows.
    pub system_end: Option<usize>,
    /// Where in the raw bytes of a record in JSON the string stands, with its quotes, that is the event, in XML: of such a record
    /// these are that event's fields, and nothing else of it counts.
    pub quoted: Option<Range<usize>>,
}

impl Fields<'_> {
    /// Whether these are the fields of a Windows event. The event forwarder's own events have no channel.
    pub fn is_windows_event(&self) -> bool {
        let has_origin = self.channel.is_some() || self.provider.is_some();
        self.event_id.is_some() && self.computer.is_some() && has_origin
    }

    /// Whether an event is known by these, whatever upload it comes in: by its computer, its record id and its time.
    pub fn has_identity(&self) -> bool {
        let has_computer = self.computer.as_deref().is_some_and(|computer| !computer.is_empty());
        self.record_id.is_some() && self.time.is_some() && has_computer
    }

    /// The same fields, on their own.
    pub(crate) fn into_owned(self) -> Fields<'static> {
        let owned = |text: Option<Cow<'_, str>>| text.map(|text| Cow::Owned(text.into_owned()));
        let Self { computer, channel, provider, event_id, record_id, time, level, keywords, system_end, quoted } = self;
        let (computer, channel, provider) = (owned(computer), owned(channel), owned(provider));
        Fields { computer, channel, provider, event_id, record_id, time, level, keywords, system_end, quoted }
    }
}

/// A value of `System` without the white space around it.
pub(crate) fn trimmed(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) if text.trim().len() == text.len() => Cow::Owned(text),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    }
}

/// How the body of an upload is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// One JSON array of objects (the Logs Ingestion API).
    JsonArray,
    /// One record a line: a JSON object (several may stand back to back on one), or an `<Event>` element (which may also span lines or stand back to back).
    Lines,
    /// As [`Syntax::Lines`], out of an envelope that was understood: a record that is not is set aside, also when it is the only
    /// one. Its sender would send it again for ever, and nothing after it.
    Enveloped,
    /// Decided by the first byte that is not white space: `[` is [`Syntax::JsonArray`], else [`Syntax::Lines`].
    Sniff,
}

/// One client request, decompressed, before ingest.
#[derive(Debug, Clone)]
pub struct Upload {
    /// The input it came by: the name of the listener.
    pub input: Arc<str>,
    /// Who sent it.
    pub client: Client,
    /// The stream it was sent to, such as `Custom-SecurityEvent`; empty for doors without streams.
    pub stream: Arc<str>,
    /// How `body` is written.
    pub syntax: Syntax,
    /// The decompressed body, as text in UTF-8; behind the text stands what of it could not be made text.
    pub body: Bytes,
    /// What stands behind the text, in order.
    pub damaged: Vec<Damaged>,
    /// What the records of the text are, where whoever wrote it knows of all of them.
    pub known: Option<Arc<Known>>,
    /// Whether its sender still waits for the answer.
    pub presence: Presence,
}

/// A part of an uploaded file that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// Where it stands in the body.
    pub span: Range<usize>,
    /// Why it cannot be read.
    pub reason: String,
}

impl Upload {
    /// What the body holds. `go_on` is asked again and again meanwhile.
    ///
    /// # Errors
    ///
    /// When the text as a whole cannot be read, or nothing of it was understood; and when `go_on` says so.
    pub fn decode<E: From<DecodeError>>(&self, go_on: impl Fn() -> Result<(), E>) -> Result<Decoded<'_>, E> {
        let text = self.damaged.first().map_or(self.body.len(), |damaged| damaged.span.start);
        let text = &self.body[..text];
        let mut decoded = match &self.known {
            Some(known) => known.decoded(text, go_on)?,
            None => decode::decode_while(self.syntax, text, go_on)?,
        };
        let unreadable =
            |damaged: &Damaged| Unreadable { raw: &self.body[damaged.span.clone()], reason: damaged.reason.clone() };
        decoded.unreadable.extend(self.damaged.iter().map(unreadable));
        if self.syntax == Syntax::Enveloped { Ok(decoded) } else { Ok(decoded.understood(&self.body)?) }
    }
}
