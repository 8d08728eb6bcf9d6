//! An event as the Microsoft Monitoring Agent sends it (`System.Event.LinkedData`), and the same event as Windows renders it.
//!
//! Rules, identity and tables then see one event, whatever way it came. The agent's item has no record id of its own; where its
//! sender has put one, and the time of the log, into the event's data, they are the event's.

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::reader::{Element, Reader};
use super::{VALUE_MAX, XmlFault};
use crate::event::Timestamp;
use crate::event::xml::{Token, Tokens, attribute};
use crate::inputs::grown::{Grown, NoRoom};

/// Names under which senders tell a record id: elements of the item, or data of the event.
const RECORD_ID: [&str; 3] = ["EventRecordId", "EventRecordID", "RecordId"];
/// Names of data under which they tell the time of the log.
const TIME_CREATED: &str = "TimeCreated";
/// What a search for the data must find before anything is looked at.
static RECORD_WORD: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("RecordI"));
static TIME_WORD: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(TIME_CREATED));

const NAMESPACE: &str = "http://schemas.microsoft.com/win/2004/08/events/event";
/// Levels of the old event log for audits, with the keywords that Windows has for them.
const AUDITS: [(&str, &str); 2] = [("8", "0x8020000000000000"), ("16", "0x8010000000000000")];

/// What an item tells.
#[derive(Debug, Default)]
pub(super) struct Linked<'a> {
    provider: Cow<'a, str>,
    provider_id: Cow<'a, str>,
    source: Cow<'a, str>,
    channel: Cow<'a, str>,
    computer: Cow<'a, str>,
    /// The id of the event, and the one that is shown where it has another.
    number: Cow<'a, str>,
    id: Cow<'a, str>,
    task: Cow<'a, str>,
    level: Cow<'a, str>,
    user: Cow<'a, str>,
    description: Cow<'a, str>,
    /// The description before anything was put into it.
    raw: Cow<'a, str>,
    record_id: Option<u64>,
    time: Cow<'a, str>,
    /// `EventData` or `UserData`, as it came.
    data: &'a str,
}

impl<'a> Linked<'a> {
    /// Reads an item that has just begun, and tells this time.
    pub(super) fn read(reader: &mut Reader<'a>, item: &Element<'a>, time: Cow<'a, str>) -> Result<Self, XmlFault> {
        let mut found = Self { time, ..Self::default() };
        loop {
            if let Some((name, value)) = reader.short_child(item, VALUE_MAX) {
                found.take(name, value);
                continue;
            }
            let Some(part) = reader.child(item)? else { break };
            match part.local() {
                b"EventData" => found.data = data(reader, &part)?,
                name if found.slot(name).is_some() || is_record_id(name) => {
                    let value = reader.value(&part, VALUE_MAX)?;
                    found.take(name, value);
                }
                _ => _ = reader.whole(&part)?,
            }
        }
        if found.id.is_empty() {
            found.id = std::mem::take(&mut found.number);
        }
        if found.description.is_empty() {
            found.description = std::mem::take(&mut found.raw);
        }
        found.look_into_data();
        Ok(found)
    }

    /// Takes what an element holds, if it tells something.
    fn take(&mut self, name: &[u8], value: Cow<'a, str>) {
        if let Some(slot) = self.slot(name) {
            *slot = value;
        } else if name == b"EventData" {
            // Text alone is no data.
            self.data = "";
        } else if is_record_id(name) {
            self.record_id = value.parse().ok();
        }
    }

    /// Where the text of an element belongs.
    fn slot(&mut self, name: &[u8]) -> Option<&mut Cow<'a, str>> {
        Some(match name {
            b"PublisherId" => &mut self.provider_id,
            b"PublisherName" => &mut self.provider,
            b"EventSourceName" => &mut self.source,
            b"Channel" => &mut self.channel,
            b"LoggingComputer" => &mut self.computer,
            b"EventNumber" => &mut self.number,
            b"EventDisplayNumber" => &mut self.id,
            b"EventCategory" => &mut self.task,
            b"EventLevel" => &mut self.level,
            b"UserName" => &mut self.user,
            b"EventDescription" => &mut self.description,
            b"RawDescription" => &mut self.raw,
            _ => return None,
        })
    }

    /// A record id in the data counts only with the time of the log beside it: an event may have data of such a name.
    fn look_into_data(&mut self) {
        let data = self.data.as_bytes();
        let found = |word: &Finder<'_>| word.find(data);
        let (None, Some(id_at), Some(time_at)) = (self.record_id, found(&RECORD_WORD), found(&TIME_WORD)) else {
            return;
        };
        let (mut id, mut time) = (None, None);
        // Nothing before the first of the two counts.
        let from = memchr::memrchr(b'<', &data[..id_at.min(time_at)]).unwrap_or_default();
        let mut tokens = Tokens::new(data, from);
        let mut name = None;
        while let Ok(Some(token)) = tokens.next_token() {
            match token {
                Token::Open { name: b"Data", attributes, empty: false } => name = attribute(attributes, "Name"),
                Token::Text(text) => {
                    let text = std::str::from_utf8(text).unwrap_or_default().trim();
                    match name.take().as_deref() {
                        Some(TIME_CREATED) => time = Timestamp::parse(text).map(|_| text),
                        Some(known) if RECORD_ID.contains(&known) => id = text.parse().ok(),
                        _ => {}
                    }
                }
                _ => name = None,
            }
        }
        if let (Some(id), Some(time)) = (id, time) {
            self.record_id = Some(id);
            self.time = Cow::Borrowed(time);
        }
    }
}

fn is_record_id(name: &[u8]) -> bool {
    RECORD_ID.iter().any(|known| known.as_bytes() == name)
}

/// The event's data in its wrapping.
fn data<'a>(reader: &mut Reader<'a>, wrapping: &Element<'a>) -> Result<&'a str, XmlFault> {
    let start = reader.start();
    reader.check(wrapping)?;
    let mut inner: Option<(usize, usize)> = None;
    let mut holds_data = false;
    while let Some(part) = reader.child(wrapping)? {
        if part.local() == b"DataItem" {
            while let Some(data) = reader.child(&part)? {
                let span = reader.whole(&data)?;
                inner = Some((inner.map_or(span.start, |(first, _)| first), span.end));
            }
        } else {
            holds_data = true;
            reader.whole(&part)?;
        }
    }
    match inner {
        Some((first, end)) => reader.text(first..end),
        // Without its wrapping.
        None if holds_data => reader.text(start..reader.pos()),
        None => Ok(""),
    }
}

/// Writes the event. `computer` is whose it is where it does not say.
pub(super) fn write(event: &Linked<'_>, computer: Option<&str>, out: &mut Grown<'_>) -> Result<(), NoRoom> {
    out.push_all([b"<Event xmlns=\"", NAMESPACE.as_bytes(), b"\"><System>"])?;
    let provider = if event.provider.is_empty() { &event.source } else { &event.provider };
    let source = if event.source == *provider { "" } else { &*event.source };
    tag("Provider", &[("Name", provider), ("Guid", &event.provider_id), ("EventSourceName", source)], out)?;
    text("EventID", &event.id, out)?;
    let audit = AUDITS.iter().find(|(level, _)| *level == event.level);
    text("Level", audit.map_or(&*event.level, |_| "0"), out)?;
    text("Task", &event.task, out)?;
    text("Keywords", audit.map_or("", |(_, keywords)| keywords), out)?;
    tag("TimeCreated", &[("SystemTime", &event.time)], out)?;
    if let Some(id) = event.record_id {
        text("EventRecordID", &id.to_string(), out)?;
    }
    // A channel that is empty is one.
    element("Channel", &event.channel, out)?;
    text("Computer", if event.computer.is_empty() { computer.unwrap_or_default() } else { &event.computer }, out)?;
    tag("Security", &[("UserID", &event.user)], out)?;
    out.push_all([b"</System>", event.data.as_bytes()])?;
    if !event.description.is_empty() {
        out.push(b"<RenderingInfo>")?;
        text("Message", &event.description, out)?;
        out.push(b"</RenderingInfo>")?;
    }
    out.push(b"</Event>")
}

/// An element with its text; nothing where there is none.
fn text(name: &str, value: &str, out: &mut Grown<'_>) -> Result<(), NoRoom> {
    if value.is_empty() { Ok(()) } else { element(name, value, out) }
}

/// An element with its text.
fn element(name: &str, value: &str, out: &mut Grown<'_>) -> Result<(), NoRoom> {
    let name = name.as_bytes();
    out.push_all([b"<", name, b">"])?;
    out.push_escaped(value)?;
    out.push_all([b"</", name, b">"])
}

/// An element with attributes, those that are there; nothing where there is none.
fn tag(name: &str, attributes: &[(&str, &str)], out: &mut Grown<'_>) -> Result<(), NoRoom> {
    if attributes.iter().all(|(_, value)| value.is_empty()) {
        return Ok(());
    }
    out.push_all([b"<", name.as_bytes()])?;
    for (attribute, value) in attributes.iter().filter(|(_, value)| !value.is_empty()) {
        out.push_all([b" ", attribute.as_bytes(), b"=\""])?;
        out.push_escaped(value)?;
        out.push(b"\"")?;
    }
    out.push(b"/>")
}
