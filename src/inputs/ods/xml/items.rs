//! An upload in XML as records: events as Windows renders them, everything else as JSON.
//!
//! An item that cannot be read is set aside with its reason while the others go on: its agent would send the whole upload again,
//! and lose all of it in the end.

use std::borrow::Cow;

use memchr::memmem;

use super::linked::{self, Linked};
use super::reader::{Element, Reader};
use super::{VALUE_MAX, XmlFault};
use crate::event::{Damaged, MAX_EVENTS, MAX_RECORD_BYTES, Timestamp};
use crate::inputs::grown::Grown;
use crate::inputs::http::body::Share;

/// Longest name of a data type.
const NAME_MAX: usize = 256;

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
    let mut reader = Reader::of_all(body);
    let root = root(&mut reader)?;
    // What wraps an item is left out, so that most get smaller.
    let length = body.len() as u64;
    let mut writer = Writer { out: Grown::new(limit, length, share).expecting(length / 4 * 3), how };
    let mut aside = Vec::new();
    let (mut count, mut timed) = (0, false);
    while let Some(item) = reader.child(&root)? {
        count += 1;
        if count > MAX_EVENTS {
            return Err(XmlFault::TooMany);
        }
        let [kind, time] = item.attributes(["type", "time"]);
        timed = timed || time.as_ref().is_some_and(|time| Timestamp::parse(time).is_some());
        let (start, made) = (reader.start(), writer.out.len());
        let item = Item { element: item, kind: kind.unwrap_or_default(), time };
        let written = writer.item(&mut reader, &item).and_then(|()| {
            let is_text = reader.text(start..reader.pos()).is_ok();
            if is_text { Ok(()) } else { Err(XmlFault::Malformed("it is not UTF-8", start)) }
        });
        let reason = match written {
            Ok(()) if writer.out.len() - made <= MAX_RECORD_BYTES => continue,
            Ok(()) => "the record is larger than 1 MiB",
            Err(XmlFault::Malformed(reason, at)) => {
                // Reading goes on behind what was read, never further back.
                reader.go_to(item_end(body, at.max(start + 1)).ok_or(XmlFault::Malformed(reason, at))?);
                reason
            }
            Err(fault) => return Err(fault),
        };
        writer.out.cut(made);
        aside.push((start..reader.pos(), reason));
    }
    reader.end()?;
    let mut damaged = Vec::new();
    for (span, reason) in aside {
        let from = writer.out.len();
        writer.out.push(&body[span])?;
        damaged.push(Damaged { span: from..writer.out.len(), reason: reason.to_owned() });
    }
    Ok(Rows { text: writer.out.into_text(), damaged, timed })
}

fn root<'a>(reader: &mut Reader<'a>) -> Result<Element<'a>, XmlFault> {
    let root = reader.root()?;
    if root.local() == b"DataItems" { Ok(root) } else { Err(XmlFault::Other("DataItems in XML")) }
}

/// Where the item ends in which reading failed: behind an end tag after which another item begins, or all of them end.
fn item_end(body: &[u8], from: usize) -> Option<usize> {
    const END: &[u8] = b"</DataItem>";
    let rest = body.get(from..)?;
    memmem::find_iter(rest, END).map(|at| from + at + END.len()).find(|end| {
        let behind = body[*end..].trim_ascii_start();
        behind.starts_with(b"<DataItem") || behind.starts_with(b"</DataItems")
    })
}

/// An item that has just begun.
struct Item<'a> {
    element: Element<'a>,
    kind: Cow<'a, str>,
    time: Option<Cow<'a, str>>,
}

/// Writes items as records.
struct Writer<'h, 's> {
    out: Grown<'s>,
    how: How<'h>,
}

impl Writer<'_, '_> {
    fn item<'a>(&mut self, reader: &mut Reader<'a>, item: &Item<'a>) -> Result<(), XmlFault> {
        match &*item.kind {
            EVENT => {
                let linked = Linked::read(reader, &item.element, item.time.clone().unwrap_or_default())?;
                linked::write(&linked, self.how.computer, &mut self.out)?;
            }
            BAG => self.bag(reader, item)?,
            _ => self.other(reader, item)?,
        }
        Ok(self.out.push(b"\n")?)
    }

    /// Properties as members of an object.
    fn bag<'a>(&mut self, reader: &mut Reader<'a>, item: &Item<'a>) -> Result<(), XmlFault> {
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
    fn other<'a>(&mut self, reader: &mut Reader<'a>, item: &Item<'a>) -> Result<(), XmlFault> {
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
