//! The body of a post as rows of its custom table, in one pass over its bytes.
//!
//! A record is proven to be JSON on the way, and what decoding would find in its row is noted beside it ([`source`](super::source)).
//! The first that cannot be proven ends that: the rows are then decoded like anybody's, which has the words for what is wrong.
//!
//! It stands where the body comes in, and not at an output, because what a property's column is follows from the protocol alone:
//! rules, the spool and every output then see the row that the service would have made. The text grows within the limits and
//! the memory of the listener.

use std::sync::Arc;

use super::column::{self, Columns, Placed, Written};
use super::source::{Fault, Proven, Source, Unproven};
use crate::event::from_json::walk::Plain;
use crate::event::{Format, Known, MAX_EVENTS, MAX_RECORD_BYTES, Timestamp};
use crate::inputs::grown::{Grown, NoRoom};
use crate::inputs::http::body::Share;
use crate::inputs::members::{Broken, Members, Seen, text};

/// Names that a record may not use: the service answers them with an error.
const RESERVED: [&str; 3] = ["tenant", "TimeGenerated", "RawData"];
const TIME_GENERATED: &str = "TimeGenerated";
/// Where forwarders put the time of a record by themselves.
const TIMESTAMP: &str = "@timestamp";
/// How old, and how far ahead, a record's own time may be to be believed, in seconds.
const OLDEST: i64 = 2 * 24 * 60 * 60;
const NEWEST: i64 = 24 * 60 * 60;
/// The year 2000: a clock that tells an earlier time was never set, and equal records of it may be two.
const CLOCKS_FROM: i64 = 946_684_800;

/// What is done to a body.
#[derive(Debug)]
pub struct How<'a> {
    /// Columns that the table has. `None`: properties keep their names and values.
    pub columns: Option<&'a Columns>,
    /// The property that tells a record's time.
    pub time_field: Option<&'a str>,
    /// The Azure resource that the records belong to.
    pub resource_id: Option<&'a str>,
    /// When the post arrived.
    pub arrival: Timestamp,
}

/// A body as rows.
#[derive(Debug, PartialEq, Eq)]
pub struct Rows {
    /// A JSON array. What was no object stands there as it came.
    pub text: Vec<u8>,
    /// What is known of the records, if all of them are.
    pub known: Option<Arc<Known>>,
    /// Whether each record tells a time of its own, so that two equal ones are one.
    pub timed: bool,
}

/// Why a body is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RewriteError {
    /// It is no JSON object and no array of them.
    #[error("the body is not one JSON object or an array of objects: {0}")]
    Malformed(String),
    /// A record has a property of a reserved name.
    #[error("record {record} has the property {name:?}, a name that is reserved; give it another one")]
    Reserved {
        /// Which record, from 1.
        record: usize,
        /// The name.
        name: &'static str,
    },
    /// More records than one upload may have.
    #[error("the body holds more than {MAX_EVENTS} records; send them in several posts")]
    TooMany,
    /// The rows are larger than a body may be, or have no room now.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
}

/// Makes rows of a body, of at most `limit` bytes. `share` holds the body and grows before the rows do.
///
/// # Errors
///
/// When it is not what the API takes, is too large as rows, or has no room.
pub fn rewrite(body: &[u8], how: &How<'_>, limit: u64, share: &mut Share) -> Result<Rows, RewriteError> {
    let body = std::str::from_utf8(body).map_err(|error| RewriteError::Malformed(error.to_string()))?;
    let body = body.trim_start_matches('\u{feff}');
    let length = body.len() as u64;
    // Suffixes are a tenth of most bodies.
    let out = Grown::new(limit, length, share).expecting(length + length / 6);
    let arrival = WrittenTime::of(how.arrival);
    let mut writer = Writer { how, arrival, out, records: 0, untimed: 0 };
    let mut members = Members::of(body);
    if members.begins_with(b'[') {
        members.enter(b'[')?;
        while members.has_element(writer.records == 0)? {
            writer.record(&mut members)?;
        }
    } else if members.begins_with(b'{') {
        writer.record(&mut members)?;
    } else {
        return Err(RewriteError::Malformed("it is something else".to_owned()));
    }
    members.end()?;
    let end: &[u8] = if writer.records == 0 { b"[]" } else { b"]" };
    writer.out.push(end)?;
    let (text, known) = writer.out.into_records();
    Ok(Rows { text, known, timed: writer.untimed == 0 })
}

/// Writes records as rows.
struct Writer<'h, 's> {
    how: &'h How<'h>,
    /// When the post arrived.
    arrival: WrittenTime,
    out: Grown<'s>,
    records: usize,
    /// How many tell no time of their own.
    untimed: usize,
}

impl Writer<'_, '_> {
    /// The next value of a body as a row.
    fn record(&mut self, members: &mut Members<'_>) -> Result<(), RewriteError> {
        self.records += 1;
        if self.records > MAX_EVENTS {
            return Err(RewriteError::TooMany);
        }
        self.out.push(if self.records == 1 { b"[" } else { b"," })?;
        if !members.begins_with(b'{') {
            // For ingest to set aside, with its reason.
            self.out.give_up();
            return Ok(self.out.push(members.value()?.as_bytes())?);
        }
        if self.out.is_known() {
            let (made, untimed) = (self.out.len(), self.untimed);
            match self.proven(members) {
                Err(Fault::NotProven) => {
                    self.out.give_up();
                    self.out.cut(made);
                    self.untimed = untimed;
                }
                Err(Fault::Refused(refused)) => return Err(refused),
                Ok(()) => return Ok(()),
            }
        }
        members.enter(b'{')?;
        let text = members.text();
        Ok(self.row(text, members.pos() - 1, &mut Unproven(members))?)
    }

    /// The next object of a body as a row that is known.
    fn proven(&mut self, members: &mut Members<'_>) -> Result<(), Fault> {
        let (text, at, made) = (members.text(), members.pos(), self.out.len());
        let mut source = Proven::open(text, at, self.how.columns.is_none())?;
        self.row(text, at, &mut source)?;
        members.go_to(source.pos());
        match source.fields() {
            Some(fields) if self.out.len() - made <= MAX_RECORD_BYTES => {
                self.out.note(Format::Json, made, 0, &fields);
            }
            _ => self.out.give_up(),
        }
        Ok(())
    }

    /// The record that begins there as a row, by its members.
    fn row<'a>(&mut self, text: &'a str, at: usize, source: &mut impl Source<'a>) -> Result<(), Fault> {
        let mut told = Told { is_empty: true, own_time: None, has_time_generated: false };
        let (mut run, mut is_first) = (Run::at(at), true);
        loop {
            // A loop of its own, in which nothing of a member goes through memory.
            let mut other = None;
            while let Some(plain) = source.plain() {
                let Some(suffix) = self.plain_suffix(text, &plain) else {
                    other = Some(Seen::plain(text, &plain));
                    break;
                };
                self.plain_member(&mut told, &mut run, text, &plain, suffix)?;
            }
            let seen = match other {
                Some(seen) => seen,
                None => {
                    let Some(seen) = source.next(is_first)? else { break };
                    is_first = false;
                    if let Some((plain, suffix)) = self.plain_of(text, &seen) {
                        self.plain_member(&mut told, &mut run, text, &plain, suffix)?;
                        continue;
                    }
                    seen
                }
            };
            self.out.push(run.take(text))?;
            let name = seen.name().ok_or_else(|| self.no_name())?;
            self.member(&mut told, &name, &seen, source)?;
        }
        self.out.push(run.take(text))?;
        self.end_record(told, source)
    }

    /// The suffix of a member of which nothing else is to be done.
    #[inline(always)]
    fn plain_suffix(&self, text: &str, plain: &Plain) -> Option<[u8; 2]> {
        let text = text.as_bytes();
        let suffix = self.how.columns?.plain_suffix(text, plain)?;
        let name = &text[plain.at + 1..plain.name_end - 1];
        // Nearly all are told from those that count by their length.
        let is = |wanted: &str| name.len() == wanted.len() && *name == *wanted.as_bytes();
        let counts = RESERVED.into_iter().any(is) || self.how.time_field.is_some_and(is);
        (!counts).then_some(suffix)
    }

    /// The same of a member that may be any.
    fn plain_of(&self, text: &str, seen: &Seen<'_>) -> Option<(Plain, [u8; 2])> {
        let plain = seen.as_plain()?;
        Some((plain, self.plain_suffix(text, &plain)?))
    }

    /// Writes such a member up to its suffix, with what stands before it: what follows is written with the next.
    #[inline(always)]
    fn plain_member(
        &mut self,
        told: &mut Told,
        run: &mut Run,
        text: &str,
        plain: &Plain,
        suffix: [u8; 2],
    ) -> Result<(), NoRoom> {
        let (separator, quote) = (told.separator(), plain.name_end - 1);
        if run.is_before(plain.at) && plain.value_at == quote + 2 {
            self.out.push_with(&text.as_bytes()[run.from..quote], suffix)?;
            *run = Run { from: quote, to: plain.end };
            return Ok(());
        }
        let name = &text.as_bytes()[plain.at..quote];
        self.out.push_all([run.take(text), separator, name, &suffix, b"\":"])?;
        *run = Run { from: plain.value_at, to: plain.end };
        Ok(())
    }

    fn no_name(&self) -> RewriteError {
        RewriteError::Malformed(format!("a name in record {} cannot be read", self.records))
    }

    /// A member of the record that is being written.
    fn member<'a>(
        &mut self,
        told: &mut Told,
        key: &str,
        seen: &Seen<'a>,
        source: &mut impl Source<'a>,
    ) -> Result<(), Fault> {
        let value = seen.value();
        let is_time_field = self.how.time_field == Some(key);
        if is_time_field || (self.how.time_field.is_none() && key == TIMESTAMP) {
            told.own_time = time_of(value);
        }
        let Some(columns) = self.how.columns else {
            told.has_time_generated |= key == TIME_GENERATED;
            told.own_time = told.own_time.or_else(|| (key == TIME_GENERATED).then(|| time_of(value)).flatten());
            self.separate(told)?;
            self.out.push_quoted(key)?;
            self.out.push(b":")?;
            return Ok(self.out.push(value.as_bytes())?);
        };
        if let Some(name) = RESERVED.into_iter().find(|name| *name == key) {
            // Whoever names it as the record's time means what it means.
            let meant = is_time_field && name == TIME_GENERATED;
            return if meant { Ok(()) } else { Err(RewriteError::Reserved { record: self.records, name }.into()) };
        }
        let Some(Placed { name, suffix, written }) = columns.place_seen(key, seen) else { return Ok(()) };
        // What has a suffix is no field of an event.
        if suffix.is_empty() {
            source.keeps(&name, seen)?;
        }
        // Letters of columns need no escapes.
        let (before, name, suffix) = (told.separator(), name.as_bytes(), suffix.as_bytes());
        match written {
            Written::Json(json) => self.out.push_all([before, b"\"", name, suffix, b"\":", json.as_bytes()])?,
            Written::Text(text) => {
                self.out.push_all([before, b"\"", name, suffix, b"\":"])?;
                self.out.push_quoted(&text)?;
            }
        }
        Ok(())
    }

    fn separate(&mut self, told: &mut Told) -> Result<(), NoRoom> {
        self.out.push(told.separator())
    }

    /// What every row has, and the end of it.
    fn end_record<'a>(&mut self, mut told: Told, source: &mut impl Source<'a>) -> Result<(), Fault> {
        self.untimed += usize::from(told.own_time.is_none());
        if !told.has_time_generated {
            let named = told.own_time.filter(|time| self.how.time_field.is_some() && self.is_believed(*time));
            let named = named.map(WrittenTime::of);
            self.separate(&mut told)?;
            let time = named.as_ref().unwrap_or(&self.arrival);
            source.adds_time(TIME_GENERATED, time.read);
            self.out.push_all([b"\"TimeGenerated\":\"", time.text.as_bytes(), b"\""])?;
        }
        if let Some(id) = self.how.resource_id {
            self.separate(&mut told)?;
            self.out.push(b"\"_ResourceId\":")?;
            self.out.push_quoted(id)?;
        }
        Ok(self.out.push(if told.is_empty { b"{}" } else { b"}" })?)
    }

    fn is_believed(&self, time: Timestamp) -> bool {
        let arrival = self.how.arrival;
        (arrival.plus_seconds(-OLDEST)..=arrival.plus_seconds(NEWEST)).contains(&time)
    }
}

/// A time as it is written, and what is read there.
struct WrittenTime {
    text: String,
    read: Option<Timestamp>,
}

impl WrittenTime {
    fn of(time: Timestamp) -> Self {
        let text = time.to_string();
        Self { read: Timestamp::parse(&text), text }
    }
}

/// What of a body is to be written as it is, together with what follows there.
#[derive(Debug)]
struct Run {
    from: usize,
    to: usize,
}

impl Run {
    /// Nothing, before the bracket that stands there.
    fn at(bracket: usize) -> Self {
        Self { from: bracket, to: bracket }
    }

    /// Whether nothing but a bracket or a comma stands between it and this place.
    fn is_before(&self, at: usize) -> bool {
        self.to.wrapping_add(1) == at
    }

    /// It, and then there is none.
    fn take<'a>(&mut self, text: &'a str) -> &'a [u8] {
        let taken = text.as_bytes().get(self.from..self.to).unwrap_or_default();
        *self = Self { from: usize::MAX, to: usize::MAX };
        taken
    }
}

/// What is known of the record that is being written.
struct Told {
    is_empty: bool,
    own_time: Option<Timestamp>,
    has_time_generated: bool,
}

impl Told {
    /// What stands before the next member.
    fn separator(&mut self) -> &'static [u8] {
        if std::mem::take(&mut self.is_empty) { b"{" } else { b"," }
    }
}

/// A time, as a record tells it: in ISO 8601, or as a number since 1970.
fn time_of(value: &str) -> Option<Timestamp> {
    let time = match value.as_bytes().first()? {
        b'"' => text(value).and_then(|text| column::iso_8601(&text)),
        b'0'..=b'9' => Timestamp::from_number(value),
        _ => None,
    };
    time.filter(|time| time.unix_seconds() >= CLOCKS_FROM)
}

impl From<Broken> for RewriteError {
    fn from(broken: Broken) -> Self {
        Self::Malformed(broken.to_string())
    }
}

#[cfg(test)]
#[path = "known_tests.rs"]
mod known_tests;
#[cfg(test)]
#[path = "rewrite_tests.rs"]
mod tests;
