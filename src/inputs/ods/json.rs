//! An upload in JSON as records: `{"DataType", "IPName", "DataItems": [..]}`.
//!
//! An item stays what it is, under the names that its table has, and gets the time, the computer and the resource that the
//! protocol tells beside it. What is no object is set aside.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer as _, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::value::RawValue;

use super::catalogue::Columns;
use crate::event::{Damaged, MAX_EVENTS, MAX_RECORD_BYTES, Timestamp};
use crate::inputs::grown::{Grown, NoRoom};
use crate::inputs::http::body::Share;
use crate::inputs::reason::{Failure, Reason};

/// Properties that tell the time of an item, the first that is there counts.
const TIMES: [&str; 5] = ["TimeGenerated", "Timestamp", "time", "EventTime", "CollectionTime"];
/// Properties that tell its computer.
const COMPUTERS: [&str; 2] = ["Computer", "Host"];
/// Longest name of a computer.
const COMPUTER_MAX: usize = 255;

/// The frame of an upload.
#[derive(Debug, Deserialize)]
pub struct Envelope<'a> {
    /// What the items are; diagnostics name none.
    #[serde(borrow, rename = "DataType")]
    pub data_type: Option<Cow<'a, str>>,
    /// The solution that they belong to.
    #[serde(borrow, rename = "IPName")]
    pub solution: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "DataItems")]
    items: &'a RawValue,
}

/// Why an upload is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// It is no upload.
    #[error("the body is not a JSON object with DataType, IPName and an array DataItems: {0}")]
    Malformed(String),
    /// More items than one upload may have.
    #[error("the upload holds more than {MAX_EVENTS} items; send them in several")]
    TooMany,
    /// No room for what is made of it.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
}

impl From<JsonFault> for Failure {
    fn from(fault: JsonFault) -> Self {
        match fault {
            JsonFault::NoRoom(no_room) => no_room.into(),
            JsonFault::TooMany => Self::new(Reason::BODY_TOO_LARGE, fault.to_string()),
            JsonFault::Malformed(_) => Self::new(Reason::UNREADABLE, fault.to_string()),
        }
    }
}

/// What is done to an upload.
#[derive(Debug, Clone, Copy)]
pub struct How<'a> {
    /// Properties, and the columns that they are.
    pub columns: &'a [(&'a str, &'a str)],
    /// The computer of items that name none.
    pub computer: Option<&'a str>,
    /// The Azure resource of items that name none.
    pub resource_id: Option<&'a str>,
}

impl How<'_> {
    /// With these columns.
    pub(super) fn with(self, columns: Columns) -> Self {
        Self { columns, ..self }
    }
}

/// An upload as records.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// One object a line; then what was none, as it came.
    pub text: Vec<u8>,
    /// Where that stands, and why.
    pub damaged: Vec<Damaged>,
}

impl<'a> Envelope<'a> {
    /// Reads the frame.
    ///
    /// # Errors
    ///
    /// When this is no upload.
    pub fn read(body: &'a [u8]) -> Result<Self, JsonFault> {
        let malformed = |error: &dyn fmt::Display| JsonFault::Malformed(error.to_string());
        let text = std::str::from_utf8(body).map_err(|error| malformed(&error))?;
        serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| malformed(&error))
    }

    /// Makes records of the items, of at most `limit` bytes. `share` holds the body, of `beside` bytes, and grows before they do.
    ///
    /// # Errors
    ///
    /// When the items are no array, are too many, or there is no room.
    pub fn rewrite(&self, how: How<'_>, limit: u64, beside: u64, share: &mut Share) -> Result<Rows, JsonFault> {
        let out = Grown::new(limit, beside, share);
        let mut writer = Writer { how, out, items: 0, aside: Vec::new(), failed: None };
        let mut json = serde_json::Deserializer::from_str(self.items.get());
        let read = json.deserialize_seq(Items(&mut writer)).and_then(|()| json.end());
        let Writer { mut out, aside, failed, .. } = writer;
        match (failed, read) {
            (Some(failed), _) => return Err(failed),
            (None, Err(error)) => return Err(JsonFault::Malformed(error.to_string())),
            (None, Ok(())) => {}
        }
        let mut damaged = Vec::new();
        for (raw, reason) in aside {
            let from = out.len();
            out.push(raw.as_bytes())?;
            damaged.push(Damaged { span: from..out.len(), reason: reason.to_owned() });
        }
        Ok(Rows { text: out.into_text(), damaged })
    }
}

/// Writes items as records.
struct Writer<'h, 's, 'a> {
    how: How<'h>,
    out: Grown<'s>,
    items: usize,
    aside: Vec<(&'a str, &'static str)>,
    /// What went wrong beside the JSON.
    failed: Option<JsonFault>,
}

impl<'a> Writer<'_, '_, 'a> {
    /// Writes one item, or puts it aside.
    fn item(&mut self, item: &'a str) -> Result<(), JsonFault> {
        self.items += 1;
        if self.items > MAX_EVENTS {
            return Err(JsonFault::TooMany);
        }
        let made = self.out.len();
        let reason = if !item.starts_with('{') {
            "the record is JSON, but no object"
        } else {
            match serde_json::Deserializer::from_str(item).deserialize_map(Members(self)) {
                Ok(()) if self.out.len() - made <= MAX_RECORD_BYTES => return Ok(()),
                Ok(()) => "the record is larger than 1 MiB",
                Err(_) => match self.failed.take() {
                    Some(failed) => return Err(failed),
                    None => "a name of the record cannot be read",
                },
            }
        };
        self.out.cut(made);
        self.aside.push((item, reason));
        Ok(())
    }

    fn member(&mut self, told: &mut Told, name: &str, value: &str) -> Result<(), NoRoom> {
        told.see(name, value);
        self.name(told, self.how.columns.iter().find(|(from, _)| *from == name).map_or(name, |(_, to)| to))?;
        self.value(value)
    }

    /// A value as it is written, in one line: line breaks are allowed nowhere in it but in white space.
    fn value(&mut self, value: &str) -> Result<(), NoRoom> {
        if memchr::memchr2(b'\n', b'\r', value.as_bytes()).is_none() {
            return self.out.push(value.as_bytes());
        }
        value.split(['\n', '\r']).try_for_each(|part| self.out.push(part.as_bytes()))
    }

    fn name(&mut self, told: &mut Told, name: &str) -> Result<(), NoRoom> {
        self.out.push(if told.is_empty { b"{" } else { b"," })?;
        told.is_empty = false;
        self.out.push_quoted(name)?;
        self.out.push(b":")
    }

    fn end_item(&mut self, mut told: Told) -> Result<(), NoRoom> {
        if let Some((rank, time)) = told.time.filter(|(rank, _)| *rank > 0) {
            debug_assert!(rank < TIMES.len(), "it is the place of a name");
            self.name(&mut told, TIMES[0])?;
            self.out.push_quoted(&time.to_string())?;
        }
        let computer = told.computer.take();
        if let Some(computer) = computer.as_deref().or(self.how.computer).filter(|_| !told.has_computer) {
            self.name(&mut told, COMPUTERS[0])?;
            self.out.push_quoted(computer)?;
        }
        if let Some(id) = self.how.resource_id.filter(|_| !told.has_resource) {
            self.name(&mut told, "_ResourceId")?;
            self.out.push_quoted(id)?;
        }
        self.out.push(if told.is_empty { b"{}\n" } else { b"}\n" })
    }
}

/// What is known of the item that is being written.
#[derive(Debug)]
struct Told {
    is_empty: bool,
    /// Its time, and the place of the name that told it.
    time: Option<(usize, Timestamp)>,
    has_computer: bool,
    computer: Option<String>,
    has_resource: bool,
}

impl Told {
    fn see(&mut self, name: &str, value: &str) {
        if let Some(rank) = TIMES.iter().position(|time| *time == name)
            && self.time.is_none_or(|(known, _)| rank < known)
            && let Some(time) = time_of(value)
        {
            self.time = Some((rank, time));
        }
        if name == COMPUTERS[0] {
            self.has_computer = true;
        } else if name == COMPUTERS[1] {
            self.computer = text(value).filter(|name| (1..=COMPUTER_MAX).contains(&name.len()));
        }
        self.has_resource |= name == "_ResourceId";
    }
}

fn time_of(value: &str) -> Option<Timestamp> {
    match value.as_bytes().first()? {
        b'"' => text(value).and_then(|text| Timestamp::parse(&text)),
        b'0'..=b'9' => Timestamp::from_number(value),
        _ => None,
    }
}

fn text(value: &str) -> Option<String> {
    serde_json::from_str(value).ok()
}

/// The elements of `DataItems`.
struct Items<'w, 'h, 's, 'a>(&'w mut Writer<'h, 's, 'a>);

impl<'de> Visitor<'de> for Items<'_, '_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        while let Some(item) = sequence.next_element::<&RawValue>()? {
            if let Err(failed) = self.0.item(item.get()) {
                let error = A::Error::custom(&failed);
                self.0.failed = Some(failed);
                return Err(error);
            }
        }
        Ok(())
    }
}

/// The members of one item.
struct Members<'w, 'h, 's, 'a>(&'w mut Writer<'h, 's, 'a>);

impl<'de> Visitor<'de> for Members<'_, '_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let writer = self.0;
        let mut told = Told { is_empty: true, time: None, has_computer: false, computer: None, has_resource: false };
        let mut written = Ok(());
        while let Some(name) = map.next_key_seed(Name)? {
            let value = map.next_value::<&RawValue>()?;
            written = written.and_then(|()| writer.member(&mut told, &name, value.get()));
        }
        written.and_then(|()| writer.end_item(told)).map_err(|no_room| {
            writer.failed = Some(no_room.into());
            A::Error::custom(no_room)
        })
    }
}

/// A name that is copied only when it is written with escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        #[derive(Deserialize)]
        struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);
        Borrowed::deserialize(deserializer).map(|Borrowed(name)| name)
    }
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
