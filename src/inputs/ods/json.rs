//! An upload in JSON as records: `{"DataType", "IPName", "DataItems": [..]}`.
//!
//! An item stays what it is, under the names that its table has, and gets the time, the computer and the resource that the
//! protocol tells beside it. What is no object is set aside.
//!
//! An item is proven to be JSON on the way, and what decoding would find in its record is noted beside it. The first that cannot be
//! proven ends that: the records are then decoded like anybody's, which has the words for what is wrong.

use std::borrow::Cow;
use std::sync::Arc;

use memchr::memchr2;

use super::catalogue::Columns;
use crate::event::from_json::JsonError;
use crate::event::from_json::walk::Walk;
use crate::event::{Damaged, Fields, Format, Known, MAX_EVENTS, MAX_RECORD_BYTES, Timestamp, near};
use crate::inputs::grown::{Grown, NoRoom};
use crate::inputs::http::body::Share;
use crate::inputs::members::{Broken, Member, Members, text};
use crate::inputs::reason::{Failure, Reason};

/// Properties that tell the time of an item, the first that is there counts.
const TIMES: [&str; 5] = ["TimeGenerated", "Timestamp", "time", "EventTime", "CollectionTime"];
/// Properties that tell its computer.
const COMPUTERS: [&str; 2] = ["Computer", "Host"];
/// The property that tells its Azure resource.
const RESOURCE_ID: &str = "_ResourceId";
/// Longest name of a computer.
const COMPUTER_MAX: usize = 255;
/// What stands behind each record.
const LINE_END: &[u8] = b"\n";

/// The frame of an upload.
#[derive(Debug)]
pub struct Envelope<'a> {
    /// What the items are; diagnostics name none.
    pub data_type: Option<Cow<'a, str>>,
    text: &'a str,
    /// At the items.
    items: Members<'a>,
    /// Whether what stands behind them was read as well.
    was_read_whole: bool,
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
    /// What is known of the records, if all of them are.
    pub known: Option<Arc<Known>>,
    /// Whether an item tells a time.
    pub timed: bool,
}

impl<'a> Envelope<'a> {
    /// Reads the frame up to the items, and all of it where the data type does not stand before them.
    ///
    /// # Errors
    ///
    /// When this is no upload.
    pub fn read(body: &'a [u8]) -> Result<Self, JsonFault> {
        let text = std::str::from_utf8(body).map_err(|error| JsonFault::Malformed(error.to_string()))?;
        let text = text.trim_start_matches('\u{feff}');
        let (mut members, mut frame) = (Members::of(text), Frame::default());
        members.enter(b'{')?;
        let mut is_first = true;
        while let Some(name) = members.name(is_first)? {
            is_first = false;
            frame.take(name, &mut members)?;
            if let Frame { data_type, items: Some(items), is_at_items: true } = frame {
                return Ok(Self { data_type, text, items, was_read_whole: false });
            }
        }
        members.end()?;
        let items = frame.items.ok_or_else(|| JsonFault::Malformed("it has no DataItems".to_owned()))?;
        Ok(Self { data_type: frame.data_type, text, items, was_read_whole: true })
    }

    /// Makes records of the items, of at most `limit` bytes. `share` holds the body, of `beside` bytes, and grows before they do.
    ///
    /// # Errors
    ///
    /// When the items are no array, are too many, or there is no room.
    pub fn rewrite(&self, how: How<'_>, limit: u64, beside: u64, share: &mut Share) -> Result<Rows, JsonFault> {
        let out = Grown::new(limit, beside, share).expecting(beside);
        let mut writer = Writer { how, out, text: self.text, items: 0, timed: false, aside: Vec::new() };
        let mut members = self.items.clone();
        members.enter(b'[')?;
        while members.has_element(writer.items == 0)? {
            writer.item(&mut members)?;
        }
        if !self.was_read_whole {
            let mut frame = Frame::both_taken(&members);
            while let Some(name) = members.name(false)? {
                frame.take(name, &mut members)?;
            }
            members.end()?;
        }
        let Writer { mut out, aside, timed, .. } = writer;
        let mut damaged = Vec::new();
        for (raw, reason) in aside {
            let from = out.len();
            out.push(raw.as_bytes())?;
            damaged.push(Damaged { span: from..out.len(), reason: reason.to_owned() });
        }
        let (text, known) = out.into_records();
        Ok(Rows { text, damaged, known, timed })
    }
}

/// What was read of a frame.
#[derive(Debug, Default)]
struct Frame<'a> {
    data_type: Option<Cow<'a, str>>,
    items: Option<Members<'a>>,
    /// Whether the items are next, and can be read with what is known.
    is_at_items: bool,
}

impl<'a> Frame<'a> {
    /// One that has both of what it may have once.
    fn both_taken(members: &Members<'a>) -> Self {
        Self { data_type: Some(Cow::Borrowed("")), items: Some(members.clone()), is_at_items: false }
    }

    /// Takes the member of this name, whose value is next. One that is there twice could mean either.
    fn take(&mut self, name: &str, members: &mut Members<'a>) -> Result<(), JsonFault> {
        match &*read(name)? {
            "DataType" if self.data_type.is_some() => return Err(JsonFault::Malformed("DataType twice".to_owned())),
            "DataItems" if self.items.is_some() => return Err(JsonFault::Malformed("DataItems twice".to_owned())),
            "DataType" => {
                let value = members.value()?;
                self.data_type = if value == "null" { None } else { Some(read(value)?) };
            }
            "DataItems" => {
                self.items = Some(members.clone());
                self.is_at_items = self.data_type.is_some();
                if !self.is_at_items {
                    members.value()?;
                }
            }
            _ => _ = members.value()?,
        }
        Ok(())
    }
}

fn read(string: &str) -> Result<Cow<'_, str>, JsonFault> {
    text(string).ok_or_else(|| JsonFault::Malformed("a name or the data type is no text".to_owned()))
}

impl From<Broken> for JsonFault {
    fn from(broken: Broken) -> Self {
        Self::Malformed(broken.to_string())
    }
}

/// Writes items as records.
struct Writer<'h, 's, 'a> {
    how: How<'h>,
    out: Grown<'s>,
    text: &'a str,
    items: usize,
    timed: bool,
    aside: Vec<(&'a str, &'static str)>,
}

impl<'h, 'a> Writer<'h, '_, 'a> {
    /// Writes the next item, or puts it aside.
    fn item(&mut self, members: &mut Members<'a>) -> Result<(), JsonFault> {
        self.items += 1;
        if self.items > MAX_EVENTS {
            return Err(JsonFault::TooMany);
        }
        if !members.begins_with(b'{') {
            self.aside.push((members.value()?, "the record is JSON, but no object"));
            return Ok(());
        }
        let (from, made) = (members.pos(), self.out.len());
        let (told, walk) = self.told(members)?;
        let item = &self.text[from..members.pos()];
        if told.is_unreadable {
            self.aside.push((item, "a name of the record cannot be read"));
            return Ok(());
        }
        self.timed |= told.time.is_some();
        // Most items go on as they came, but for their end.
        if told.is_as_it_is && memchr2(b'\n', b'\r', item.as_bytes()).is_none() {
            self.out.push(&item.as_bytes()[..item.len() - 1])?;
        } else {
            self.members(item)?;
        }
        let fields = self.end_item(told, walk)?;
        if self.out.len() - made > MAX_RECORD_BYTES {
            self.out.cut(made);
            self.aside.push((item, "the record is larger than 1 MiB"));
            return Ok(());
        }
        match fields {
            Some(fields) => self.out.note(Format::Json, made, LINE_END.len(), &fields),
            None => self.out.give_up(),
        }
        Ok(())
    }

    /// What the item that is next tells, and the walk that proved it. One that cannot be proven is passed over without.
    fn told(&mut self, members: &mut Members<'a>) -> Result<(Told<'a>, Option<Walk<'a>>), JsonFault> {
        if self.out.is_known()
            && let Ok((told, walk)) = Told::proven(self.text, members.pos(), self.how.columns)
            && !told.is_unreadable
        {
            members.go_to(walk.pos());
            return Ok((told, Some(walk)));
        }
        self.out.give_up();
        Ok((Told::of(members, self.how.columns)?, None))
    }

    /// Writes an item member by member, without its end.
    fn members(&mut self, item: &str) -> Result<(), JsonFault> {
        let mut members = Members::of(item);
        members.enter(b'{')?;
        self.out.push(b"{")?;
        let mut is_first = true;
        while let Some(Member { name, value }) = members.member(is_first)? {
            let name = read(name)?;
            self.name(is_first, column(&name, self.how.columns).unwrap_or(&name))?;
            self.value(value)?;
            is_first = false;
        }
        Ok(())
    }

    /// A value as it is written, in one line: line breaks are allowed nowhere in it but in white space.
    fn value(&mut self, value: &str) -> Result<(), NoRoom> {
        if memchr2(b'\n', b'\r', value.as_bytes()).is_none() {
            return self.out.push(value.as_bytes());
        }
        value.split(['\n', '\r']).try_for_each(|part| self.out.push(part.as_bytes()))
    }

    fn name(&mut self, is_first: bool, name: &str) -> Result<(), NoRoom> {
        if !is_first {
            self.out.push(b",")?;
        }
        self.out.push_quoted(name)?;
        self.out.push(b":")
    }

    /// Writes what an item lacks, and its end. The fields of its record, where it was proven.
    fn end_item<'w>(&mut self, told: Told<'w>, mut walk: Option<Walk<'w>>) -> Result<Option<Fields<'w>>, NoRoom>
    where
        'h: 'w,
    {
        let time = told.time.filter(|(rank, _)| *rank > 0).map(|(_, time)| time.to_string().into());
        let computer = told.computer.or(self.how.computer.map(Cow::Borrowed)).filter(|_| !told.has_computer);
        let id = self.how.resource_id.filter(|_| !told.has_resource).map(Cow::Borrowed);
        let mut is_first = told.is_empty;
        for (name, text) in [(TIMES[0], time), (COMPUTERS[0], computer), (RESOURCE_ID, id)] {
            let Some(text) = text else { continue };
            self.name(is_first, name)?;
            self.out.push_quoted(&text)?;
            if let Some(walk) = &mut walk {
                walk.add(name, text);
            }
            is_first = false;
        }
        self.out.push_all([b"}", LINE_END])?;
        Ok(walk.and_then(Walk::end))
    }
}

/// The column that a property is; `None` where it keeps its name.
fn column<'n>(name: &str, columns: &[(&str, &'n str)]) -> Option<&'n str> {
    columns.iter().find(|(from, _)| *from == name).map(|(_, to)| *to)
}

/// What is known of an item.
#[derive(Debug)]
struct Told<'a> {
    is_empty: bool,
    /// Whether every name stays, and is written without escapes.
    is_as_it_is: bool,
    is_unreadable: bool,
    /// Its time, and the place of the name that told it.
    time: Option<(usize, Timestamp)>,
    has_computer: bool,
    computer: Option<Cow<'a, str>>,
    has_resource: bool,
}

impl<'a> Told<'a> {
    fn nothing() -> Self {
        Self {
            is_empty: true,
            is_as_it_is: true,
            is_unreadable: false,
            time: None,
            has_computer: false,
            computer: None,
            has_resource: false,
        }
    }

    /// Of the object that begins there, which is proven.
    fn proven(text: &'a str, at: usize, columns: &[(&str, &str)]) -> Result<(Self, Walk<'a>), JsonError> {
        let (mut told, mut walk) = (Self::nothing(), Walk::open(text, at)?);
        loop {
            if let Some(plain) = walk.plain() {
                let own = &text[plain.at + 1..plain.name_end - 1];
                let renamed = column(own, columns);
                told.is_empty = false;
                told.is_as_it_is &= renamed.is_none();
                walk.keep_plain(&plain, renamed.unwrap_or(own))?;
                told.see(own, &text[plain.value_at..plain.end]);
                continue;
            }
            let Some(name) = walk.name(near::letters)? else { break };
            told.is_empty = false;
            let (own, value_at) = (walk.text_of(&name), walk.pos());
            let renamed = column(&own, columns);
            told.is_as_it_is &= name.is_plain && renamed.is_none();
            walk.keep(renamed.unwrap_or(&own))?;
            told.see(&own, &text[value_at..walk.pos()]);
        }
        told.is_unreadable = walk.is_unreadable();
        Ok((told, walk))
    }

    /// Of the object that is next.
    fn of(members: &mut Members<'a>, columns: &[(&str, &str)]) -> Result<Self, Broken> {
        let mut told = Self::nothing();
        members.enter(b'{')?;
        while let Some(seen) = members.seen(told.is_empty)? {
            told.is_empty = false;
            let Some(name) = seen.name() else {
                told.is_unreadable = true;
                continue;
            };
            told.is_as_it_is &= seen.has_plain_name && columns.iter().all(|(from, _)| *from != name);
            told.see(&name, seen.value());
        }
        Ok(told)
    }

    fn see(&mut self, name: &str, value: &'a str) {
        // Most names are told from those that count by their length.
        if !matches!(name.len(), 4 | 8 | 9 | 11 | 13 | 14) {
            return;
        }
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
        self.has_resource |= name == RESOURCE_ID;
    }
}

fn time_of(value: &str) -> Option<Timestamp> {
    match value.as_bytes().first()? {
        b'"' => text(value).and_then(|text| Timestamp::parse(&text)),
        b'0'..=b'9' => Timestamp::from_number(value),
        _ => None,
    }
}

#[cfg(test)]
#[path = "json_known_tests.rs"]
mod known_tests;
#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
