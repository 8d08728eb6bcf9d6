//! An event as the Microsoft Monitoring Agent sends it (`System.Event.LinkedData`), and the same event as Windows renders it.
//!
//! Rules, identity and tables then see one event, whatever way it came. The agent's item has no record id of its own; where its
//! sender has put one, and the time of the log, into the event's data, they are the event's.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::event_data::{Logged, RECORD_ID, TIME_CREATED};
use super::places::{Holds, Places, SLOTS, Slot};
use super::reader::{Element, Reader, value_of};
use super::{VALUE_MAX, XmlFault};
use crate::event::xml::{Token, Tokens, attribute, unescape};
use crate::event::{Fields, Timestamp};
use crate::inputs::grown::{Grown, NoRoom};

/// What a search for the data must find before anything is looked at.
static RECORD_WORD: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("RecordI"));
static TIME_WORD: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(TIME_CREATED));

const NAMESPACE: &str = "http://schemas.microsoft.com/win/2004/08/events/event";
/// Levels of the old event log for audits, with the keywords that Windows has for them, as a number too.
const AUDITS: [(&str, &str, u64); 2] =
    [("8", "0x8020000000000000", 0x8020_0000_0000_0000), ("16", "0x8010000000000000", 0x8010_0000_0000_0000)];
/// The level that Windows has for audits.
const AUDIT_LEVEL: &str = "0";

/// What an item tells.
#[derive(Debug, Default)]
pub(super) struct Linked<'a> {
    texts: [Cow<'a, str>; SLOTS],
    record_id: Option<u64>,
    time: Cow<'a, str>,
    /// `EventData` or `UserData`, as it came.
    data: &'a str,
    logged: Option<Logged<'a>>,
}

/// What was written of an event, and what of it can be written again for the next one.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Its `System` up to and with its provider, where the next has the same.
    pub(super) head: Option<Range<usize>>,
    /// Its `System` from its channel on, where the next has the same.
    pub(super) tail: Option<Range<usize>>,
    /// Where its `System` ends.
    pub(super) system_end: usize,
}

impl Written {
    /// The next event has another text there.
    pub(super) fn differs_in(&mut self, slot: Slot) {
        match slot {
            Slot::ProviderId | Slot::Provider | Slot::Source => self.head = None,
            Slot::Channel | Slot::Computer | Slot::User => self.tail = None,
            _ => {}
        }
    }
}

impl<'a> Linked<'a> {
    /// Reads an item that has just begun, and tells this time. Where its values stand is noted beside it.
    pub(super) fn read(
        reader: &mut Reader<'a>,
        item: &Element<'a>,
        time: Cow<'a, str>,
        places: &mut Places,
    ) -> Result<Self, XmlFault> {
        let mut found = Self { time, ..Self::default() };
        places.time_of(reader, reader.start()..reader.pos(), Holds::Time);
        loop {
            if let Some((name, value, span)) = reader.short_child(item, VALUE_MAX) {
                if name == b"EventData" {
                    // Text alone is no data.
                    (found.data, found.logged) = ("", None);
                    places.other_data();
                }
                let holds = Holds::of(name);
                found.take(holds, value);
                places.text(span, holds);
                continue;
            }
            let Some(part) = reader.child(item)? else { break };
            match part.local() {
                b"EventData" => found.read_data(reader, &part, places)?,
                name if Holds::of(name) != Holds::Nothing => {
                    let holds = Holds::of(name);
                    let value = reader.value(&part, VALUE_MAX)?;
                    found.take(holds, value);
                    places.override_with(holds);
                }
                _ => _ = reader.whole(&part)?,
            }
        }
        Ok(found)
    }

    /// Takes what an element holds, if it tells something.
    fn take(&mut self, holds: Holds, value: Cow<'a, str>) {
        match holds {
            Holds::Text(slot) => self.texts[slot as usize] = value,
            Holds::RecordId => self.record_id = value.parse().ok(),
            Holds::Time => self.time = value,
            Holds::Nothing | Holds::Data => {}
        }
    }

    /// Takes another value, which stands there.
    pub(super) fn change(&mut self, holds: Holds, text: &'a str, at: Range<usize>) {
        let value = &text[at];
        match holds {
            Holds::Nothing | Holds::Data => {}
            Holds::Time => self.take(holds, unescape(value)),
            Holds::Text(_) | Holds::RecordId => self.take(holds, value_of(value)),
        }
    }

    /// Takes other data.
    pub(super) fn change_data(&mut self, data: &'a str, logged: Option<Logged<'a>>) {
        (self.data, self.logged) = (data, logged);
    }

    /// The event's data in its wrapping.
    fn read_data(
        &mut self,
        reader: &mut Reader<'a>,
        wrapping: &Element<'a>,
        places: &mut Places,
    ) -> Result<(), XmlFault> {
        let start = reader.start();
        reader.check(wrapping)?;
        let mut inner: Option<(usize, usize)> = None;
        let (mut holds_data, mut plain) = (false, None);
        while let Some(part) = reader.child(wrapping)? {
            if part.local() != b"DataItem" {
                holds_data = true;
                reader.whole(&part)?;
                continue;
            }
            places.time_of(reader, reader.start()..reader.pos(), Holds::Nothing);
            let read = if part.is_empty() || inner.is_some() { None } else { reader.event_data() };
            inner = read.as_ref().map(|(span, _)| (span.start, span.end)).or(inner);
            plain = read;
            while let Some(data) = reader.child(&part)? {
                let span = reader.whole(&data)?;
                inner = Some((inner.map_or(span.start, |(first, _)| first), span.end));
                plain = None;
            }
        }
        let data = match inner {
            Some((first, end)) => reader.text(first..end)?,
            // Without its wrapping.
            None if holds_data => reader.text(start..reader.pos())?,
            None => "",
        };
        let logged = match plain {
            Some((span, logged)) => {
                places.data(span);
                logged
            }
            None => {
                places.other_data();
                look_into(data)
            }
        };
        self.change_data(data, logged);
        Ok(())
    }

    /// What decoding finds in the event as it is [written](write()): each value once more, without what it is written in.
    pub(super) fn fields<'f>(&'f self, computer: Option<&'f str>, system_end: usize) -> Fields<'f> {
        let told = |text: &'f str| Some(text.trim()).filter(|text| !text.is_empty()).map(Cow::Borrowed);
        let audit = self.audit();
        let logged = self.logged();
        Fields {
            computer: told(self.computer_or(computer)),
            channel: Some(Cow::Borrowed(self.text(Slot::Channel).trim())),
            provider: told(self.provider_or_source()),
            event_id: self.id().parse().ok(),
            record_id: self.record_id(),
            time: logged.map(|logged| logged.time_read).or_else(|| Timestamp::parse(self.time())),
            level: audit.map_or(self.text(Slot::Level), |_| AUDIT_LEVEL).parse().ok(),
            keywords: audit.map(|(_, _, keywords)| keywords),
            system_end: Some(system_end),
            quoted: None,
        }
    }

    /// The time that the item tells by itself.
    pub(super) fn time_of_item(&self) -> &str {
        &self.time
    }

    fn text(&self, slot: Slot) -> &str {
        &self.texts[slot as usize]
    }

    fn text_or(&self, slot: Slot, other: Slot) -> &str {
        if self.text(slot).is_empty() { self.text(other) } else { self.text(slot) }
    }

    fn id(&self) -> &str {
        self.text_or(Slot::Id, Slot::Number)
    }

    /// What the data says of the log, which counts where no element of the item does.
    fn logged(&self) -> Option<&Logged<'a>> {
        self.logged.as_ref().filter(|_| self.record_id.is_none())
    }

    fn record_id(&self) -> Option<u64> {
        self.record_id.or_else(|| self.logged().map(|logged| logged.record_id))
    }

    fn time(&self) -> &str {
        self.logged().map_or(&*self.time, |logged| logged.time)
    }

    fn audit(&self) -> Option<(&'static str, &'static str, u64)> {
        AUDITS.into_iter().find(|(level, ..)| *level == self.text(Slot::Level))
    }

    fn computer_or<'f>(&'f self, computer: Option<&'f str>) -> &'f str {
        let own = self.text(Slot::Computer);
        if own.is_empty() { computer.unwrap_or_default() } else { own }
    }

    fn provider_or_source(&self) -> &str {
        self.text_or(Slot::Provider, Slot::Source)
    }
}

/// A record id in the data counts only with the time of the log beside it: an event may have data of such a name.
fn look_into(data: &str) -> Option<Logged<'_>> {
    let bytes = data.as_bytes();
    let (id_at, time_at) = (RECORD_WORD.find(bytes)?, TIME_WORD.find(bytes)?);
    let (mut id, mut time) = (None, None);
    // Nothing before the first of the two counts.
    let from = memchr::memrchr(b'<', &bytes[..id_at.min(time_at)]).unwrap_or_default();
    let mut tokens = Tokens::new(bytes, from);
    let mut name = None;
    while let Ok(Some(token)) = tokens.next_token() {
        match token {
            Token::Open { name: b"Data", attributes, empty: false } => name = attribute(attributes, "Name"),
            Token::Text(text) => {
                let text = std::str::from_utf8(text).unwrap_or_default().trim();
                match name.take().as_deref() {
                    Some(TIME_CREATED) => time = Timestamp::parse(text).map(|read| (text, read)),
                    Some(known) if RECORD_ID.contains(&known) => id = text.parse().ok(),
                    _ => {}
                }
            }
            _ => name = None,
        }
    }
    id.zip(time).map(|(record_id, (time, time_read))| Logged { record_id, time, time_read })
}

/// The tags around the text of an element.
macro_rules! element {
    ($name:literal) => {
        [concat!("<", $name, ">").as_bytes(), concat!("</", $name, ">").as_bytes()]
    };
}

/// What stands around the value of an attribute.
macro_rules! attribute {
    ($name:literal) => {
        [concat!(" ", $name, "=\"").as_bytes(), b"\"".as_slice()]
    };
}

/// Writes the event, with what is the same as in the one that was written `before`. `computer` is whose it is where it does not say.
pub(super) fn write(
    event: &Linked<'_>,
    computer: Option<&str>,
    out: &mut Grown<'_>,
    before: &Written,
) -> Result<Written, NoRoom> {
    let head = part(out, before.head.as_ref(), |out| head(event, out))?;
    text(element!("EventID"), event.id(), out)?;
    let audit = event.audit();
    text(element!("Level"), audit.map_or(event.text(Slot::Level), |_| AUDIT_LEVEL), out)?;
    text(element!("Task"), event.text(Slot::Task), out)?;
    text(element!("Keywords"), audit.map_or("", |(_, keywords, _)| keywords), out)?;
    tag(b"<TimeCreated", &[(attribute!("SystemTime"), event.time())], out)?;
    if let Some(id) = event.record_id() {
        text(element!("EventRecordID"), &id.to_string(), out)?;
    }
    let tail = part(out, before.tail.as_ref(), |out| tail(event, computer, out))?;
    let system_end = out.len();
    out.push(event.data.as_bytes())?;
    let message = [b"<RenderingInfo><Message>".as_slice(), b"</Message></RenderingInfo>"];
    text(message, event.text_or(Slot::Description, Slot::Raw), out)?;
    out.push(b"</Event>")?;
    Ok(Written { head: Some(head), tail: Some(tail), system_end })
}

/// Writes a part of a record, or the same again. Where it stands.
fn part<'s>(
    out: &mut Grown<'s>,
    before: Option<&Range<usize>>,
    write: impl FnOnce(&mut Grown<'s>) -> Result<(), NoRoom>,
) -> Result<Range<usize>, NoRoom> {
    let from = out.len();
    match before {
        Some(before) => out.repeat(before.clone())?,
        None => write(out)?,
    }
    Ok(from..out.len())
}

fn head(event: &Linked<'_>, out: &mut Grown<'_>) -> Result<(), NoRoom> {
    out.push_all([b"<Event xmlns=\"", NAMESPACE.as_bytes(), b"\"><System>"])?;
    let provider = event.provider_or_source();
    let source = if event.text(Slot::Source) == provider { "" } else { event.text(Slot::Source) };
    let attributes = [
        (attribute!("Name"), provider),
        (attribute!("Guid"), event.text(Slot::ProviderId)),
        (attribute!("EventSourceName"), source),
    ];
    tag(b"<Provider", &attributes, out)
}

fn tail(event: &Linked<'_>, computer: Option<&str>, out: &mut Grown<'_>) -> Result<(), NoRoom> {
    // A channel that is empty is one.
    out.push_escaped(element!("Channel"), event.text(Slot::Channel))?;
    text(element!("Computer"), event.computer_or(computer), out)?;
    tag(b"<Security", &[(attribute!("UserID"), event.text(Slot::User))], out)?;
    out.push(b"</System>")
}

/// A text between the tags of its element; nothing where there is none.
fn text(tags: [&[u8]; 2], value: &str, out: &mut Grown<'_>) -> Result<(), NoRoom> {
    if value.is_empty() { Ok(()) } else { out.push_escaped(tags, value) }
}

/// An element with attributes, those that are there; nothing where there is none.
fn tag(begin: &[u8], attributes: &[([&[u8]; 2], &str)], out: &mut Grown<'_>) -> Result<(), NoRoom> {
    if attributes.iter().all(|(_, value)| value.is_empty()) {
        return Ok(());
    }
    out.push(begin)?;
    attributes.iter().try_for_each(|(around, value)| text(*around, value, out))?;
    out.push(b"/>")
}
