//! An upload in XML as records: events as Windows renders them, everything else as JSON.
//!
//! An item that cannot be read is set aside with its reason while the others go on: its agent would send the whole upload again,
//! and lose all of it in the end. Beside the records stands what decoding would find in them, which follows from what was written.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::alike::Last;
use super::linked::{self, Linked, Written};
use super::places::Places;
use super::reader::{Element, Reader};
use super::{VALUE_MAX, XmlFault};
use crate::event::from_xml::ends_at_its_end;
use crate::event::{Damaged, Format, Known, MAX_EVENTS, MAX_RECORD_BYTES, Timestamp};
use crate::inputs::grown::Grown;
use crate::inputs::http::body::Share;

/// Longest name of a data type.
const NAME_MAX: usize = 256;

/// What stands behind each record.
const LINE_END: &[u8] = b"\n";

/// Why items are set aside that were read.
const TOO_LARGE: &str = "the record is larger than 1 MiB";
const NOT_ONE: &str = "what it holds would end its event, or begin another";

const EVENT: &str = "System.Event.LinkedData";
const BAG: &str = "System.PropertyBagData";

/// What is done to an upload.
#[derive(Debug, Clone, Copy)]
pub struct How<'a> {
    /// The computer of items that name none.
    pub computer: Option<&'a str>,
    /// The Azure resource of items that are no events and name none.
    pub resource_id: Option<&'a str>,
}

/// An upload as records.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// One record after the other, each with a line end behind it; then what could not be read, as it came.
    pub text: Vec<u8>,
    /// Where that stands, and why.
    pub damaged: Vec<Damaged>,
    /// What is known of the records, if all of them are.
    pub known: Option<Arc<Known>>,
    /// Whether an item tells a time.
    pub timed: bool,
}

/// The data type of an upload. Reads no further.
///
/// # Errors
///
/// When it is no upload.
pub fn data_type(body: &[u8]) -> Result<String, XmlFault> {
    let root = root(&mut Reader::new(body))?;
    let name = root.attribute("DataType").filter(|name| name.len() <= NAME_MAX).map(Cow::into_owned);
    name.map(|name| name.trim().to_owned()).ok_or(XmlFault::Lacks("DataType"))
}

/// Makes records of an upload, of at most `limit` bytes. `share` holds the body and grows before they do.
///
/// # Errors
///
/// When it is no upload, breaks off, or there is no room.
pub fn rewrite(body: &[u8], how: How<'_>, limit: u64, share: &mut Share) -> Result<Rows, XmlFault> {
    rewrite_by(body, how, limit, share, true)
}

/// The same, but each item is read by itself and none is compared with the one before. It is the longer way to what [`rewrite`]
/// makes, for whoever checks that.
///
/// # Errors
///
/// Those of [`rewrite`].
pub fn rewrite_each(body: &[u8], how: How<'_>, limit: u64, share: &mut Share) -> Result<Rows, XmlFault> {
    rewrite_by(body, how, limit, share, false)
}

fn rewrite_by(body: &[u8], how: How<'_>, limit: u64, share: &mut Share, compares: bool) -> Result<Rows, XmlFault> {
    let mut reader = Reader::of_all(body);
    let root = root(&mut reader)?;
    // What wraps an item is left out, so that most get smaller.
    let length = body.len() as u64;
    let out = Grown::new(limit, length, share).expecting(length / 4 * 3);
    let mut writer = Writer { out, how, last: None, aside: Vec::new(), timed: false };
    let mut count = 0;
    loop {
        let is_next = compares && writer.alike(&mut reader, count)? || writer.any(&mut reader, &root, count)?;
        if !is_next {
            break;
        }
        count += 1;
    }
    reader.end()?;
    let Writer { mut out, aside, timed, .. } = writer;
    let mut damaged = Vec::new();
    for (span, reason) in aside {
        let from = out.len();
        out.push(&body[span])?;
        damaged.push(Damaged { span: from..out.len(), reason: reason.to_owned() });
    }
    let (text, known) = out.into_records();
    Ok(Rows { text, damaged, known, timed })
}

fn root<'a>(reader: &mut Reader<'a>) -> Result<Element<'a>, XmlFault> {
    let root = reader.root()?;
    if root.local() == b"DataItems" { Ok(root) } else { Err(XmlFault::Other("DataItems in XML")) }
}

/// That there may be one item more than so many.
fn check_count(before: usize) -> Result<(), XmlFault> {
    if before < MAX_EVENTS { Ok(()) } else { Err(XmlFault::TooMany) }
}

/// An item that has just begun.
struct Item<'a> {
    element: Element<'a>,
    kind: Cow<'a, str>,
    time: Option<Cow<'a, str>>,
}

/// An event that was read and written.
struct Event<'a> {
    linked: Linked<'a>,
    written: Written,
    places: Places,
}

/// Writes items as records.
struct Writer<'h, 's, 'a> {
    out: Grown<'s>,
    how: How<'h>,
    /// The last event, where others may be alike.
    last: Option<Last<'a>>,
    /// What is set aside, and why.
    aside: Vec<(Range<usize>, &'static str)>,
    /// Whether an item tells a time.
    timed: bool,
}

impl<'a> Writer<'_, '_, 'a> {
    /// Writes the next item if it is like the last event; whether it was.
    fn alike(&mut self, reader: &mut Reader<'a>, before: usize) -> Result<bool, XmlFault> {
        let Some(last) = &mut self.last else { return Ok(false) };
        let Some(span) = last.next(reader) else { return Ok(false) };
        check_count(before)?;
        self.timed = self.timed || Timestamp::parse(last.linked.time_of_item()).is_some();
        let made = self.out.len();
        last.written = linked::write(&last.linked, self.how.computer, &mut self.out, &last.written)?;
        self.out.push(LINE_END)?;
        let system_end = last.written.system_end - made;
        let record = &self.out.since(made)[..self.out.len() - made - LINE_END.len()];
        let reason = if record.len() + LINE_END.len() > MAX_RECORD_BYTES {
            TOO_LARGE
        } else if !last.has_known_data() && !ends_at_its_end(record, system_end) {
            NOT_ONE
        } else {
            let fields = last.linked.fields(self.how.computer, system_end);
            self.out.note(Format::Xml, made, LINE_END.len(), &fields);
            return Ok(true);
        };
        self.set_aside(made, span, reason);
        Ok(true)
    }

    /// Writes the next item, whatever it is; whether there was one.
    fn any(&mut self, reader: &mut Reader<'a>, root: &Element<'a>, before: usize) -> Result<bool, XmlFault> {
        let Some(item) = reader.child(root)? else { return Ok(false) };
        check_count(before)?;
        let [kind, time] = item.attributes(["type", "time"]);
        self.timed = self.timed || time.as_ref().is_some_and(|time| Timestamp::parse(time).is_some());
        let (start, made) = (reader.start(), self.out.len());
        let item = Item { element: item, kind: kind.unwrap_or_default(), time };
        let written = self.item(reader, &item).and_then(|written| {
            let is_text = reader.text(start..reader.pos()).is_ok();
            if is_text { Ok(written) } else { Err(XmlFault::Malformed("it is not UTF-8", start)) }
        });
        let reason = match written {
            Ok(_) if self.out.len() - made > MAX_RECORD_BYTES => TOO_LARGE,
            Ok(written) if !self.is_one(made, written.as_ref()) => NOT_ONE,
            Ok(written) => {
                self.note(made, written.as_ref());
                if let Some(Event { linked, written, places }) = written {
                    self.last = Last::of(linked, written, start..reader.pos(), places);
                }
                return Ok(true);
            }
            Err(XmlFault::Malformed(reason, at)) => {
                // Reading goes on behind what was read, never further back.
                reader.go_to(reader.item_end(at.max(start + 1)).ok_or(XmlFault::Malformed(reason, at))?);
                reason
            }
            Err(fault) => return Err(fault),
        };
        self.set_aside(made, start..reader.pos(), reason);
        Ok(true)
    }

    /// Takes back the record that begins there, and sets aside the item that it was made of.
    fn set_aside(&mut self, made: usize, item: Range<usize>, reason: &'static str) {
        self.out.cut(made);
        // What was taken back cannot be written again.
        self.last = self.last.take().filter(|last| last.written.system_end <= made);
        self.aside.push((item, reason));
    }

    /// Writes the record of an item. The event that it is.
    fn item(&mut self, reader: &mut Reader<'a>, item: &Item<'a>) -> Result<Option<Event<'a>>, XmlFault> {
        let mut event = None;
        match &*item.kind {
            EVENT => {
                let (time, mut places) = (item.time.clone().unwrap_or_default(), Places::default());
                let linked = Linked::read(reader, &item.element, time, &mut places)?;
                let written = linked::write(&linked, self.how.computer, &mut self.out, &Written::default())?;
                event = Some(Event { linked, written, places });
            }
            BAG => self.bag(reader, item)?,
            _ => self.other(reader, item)?,
        }
        self.out.push(LINE_END)?;
        Ok(event)
    }

    /// Whether the record that begins there is one event for whoever reads it next: what an event holds went into it as it came, and
    /// instructions and attributes can hide a tag from who looks at elements only.
    fn is_one(&self, from: usize, event: Option<&Event<'_>>) -> bool {
        let record = self.out.since(from);
        event.is_none_or(|event| {
            ends_at_its_end(&record[..record.len() - LINE_END.len()], event.written.system_end - from)
        })
    }

    /// Notes the record that begins there and was just written.
    fn note(&mut self, from: usize, event: Option<&Event<'_>>) {
        let Some(event) = event else { return self.out.note_read(from, LINE_END.len()) };
        let fields = event.linked.fields(self.how.computer, event.written.system_end - from);
        self.out.note(Format::Xml, from, LINE_END.len(), &fields);
    }

    /// Properties as members of an object.
    fn bag(&mut self, reader: &mut Reader<'a>, item: &Item<'a>) -> Result<(), XmlFault> {
        self.out.push(b"{")?;
        let (mut has_computer, mut has_time, mut has_resource) = (false, false, false);
        while let Some(property) = reader.child(&item.element)? {
            let name = property.attribute("Name").unwrap_or_default();
            let value = reader.value(&property, VALUE_MAX)?;
            has_computer |= name == "Computer";
            has_time |= name == "TimeGenerated";
            has_resource |= name == "_ResourceId";
            self.member(&name, &value)?;
        }
        let time = item.time.as_deref().filter(|_| !has_time);
        self.end(time, !has_computer, !has_resource)
    }

    /// An item of a kind that is not known: whole, as text.
    fn other(&mut self, reader: &mut Reader<'a>, item: &Item<'a>) -> Result<(), XmlFault> {
        let span = reader.whole(&item.element)?;
        let text = reader.text(span)?;
        self.out.push(b"{")?;
        self.member("DataItemType", &item.kind)?;
        self.member("DataItem", text)?;
        self.end(item.time.as_deref(), true, true)
    }

    fn end(&mut self, time: Option<&str>, needs_computer: bool, needs_resource: bool) -> Result<(), XmlFault> {
        if let Some(time) = time {
            self.member("TimeGenerated", time)?;
        }
        if let Some(computer) = self.how.computer.filter(|_| needs_computer) {
            self.member("Computer", computer)?;
        }
        if let Some(id) = self.how.resource_id.filter(|_| needs_resource) {
            self.member("_ResourceId", id)?;
        }
        // A comma stands before each but the first.
        Ok(self.out.push(b"}")?)
    }

    fn member(&mut self, name: &str, value: &str) -> Result<(), XmlFault> {
        if !self.out.ends_with(b"{") {
            self.out.push(b",")?;
        }
        self.out.push_quoted(name)?;
        self.out.push(b":")?;
        Ok(self.out.push_quoted(value)?)
    }
}

#[cfg(test)]
#[path = "known_tests.rs"]
mod known_tests;
