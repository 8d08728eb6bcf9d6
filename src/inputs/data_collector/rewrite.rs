//! The body of a post as rows of its custom table, in one pass over its bytes.
//!
//! It stands where the body comes in, and not at an output, because what a property's column is follows from the protocol alone:
//! rules, the spool and every output then see the row that the service would have made. The text grows within the limits and
//! the memory of the listener.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer as _, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::value::RawValue;

use super::column::{self, Columns, Placed, Written};
use crate::event::{MAX_EVENTS, Timestamp};
use crate::inputs::grown::{Grown, NoRoom};
use crate::inputs::http::body::Share;

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
    let malformed = |error: &dyn fmt::Display| RewriteError::Malformed(error.to_string());
    let body = std::str::from_utf8(body).map_err(|error| malformed(&error))?;
    let body = body.trim_start_matches('\u{feff}').trim_ascii();
    let out = Grown::new(limit, body.len() as u64, share);
    let mut writer = Writer { how, out, records: 0, untimed: 0, failed: None };
    let written = if body.starts_with('[') {
        let mut json = serde_json::Deserializer::from_str(body);
        json.deserialize_seq(Records(&mut writer)).and_then(|()| json.end())
    } else {
        serde_json::from_str::<&RawValue>(body).and_then(|value| writer.only(value.get()))
    };
    match (writer.failed, written) {
        (Some(failed), _) => Err(failed),
        (None, Err(error)) => Err(malformed(&error)),
        (None, Ok(())) => Ok(Rows { timed: writer.untimed == 0, text: writer.out.into_text() }),
    }
}

/// Writes records as rows.
struct Writer<'h, 's> {
    how: &'h How<'h>,
    out: Grown<'s>,
    records: usize,
    /// How many tell no time of their own.
    untimed: usize,
    /// What went wrong beside the JSON.
    failed: Option<RewriteError>,
}

impl Writer<'_, '_> {
    /// A body that is one object.
    fn only(&mut self, value: &str) -> serde_json::Result<()> {
        if !value.starts_with('{') {
            return Err(serde_json::Error::custom("it is something else"));
        }
        self.record(value).and_then(|()| self.end())
    }

    fn end(&mut self) -> serde_json::Result<()> {
        let end: &[u8] = if self.records == 0 { b"[]" } else { b"]" };
        self.checked(|writer| Ok(writer.out.push(end)?))
    }

    /// Does a part of the work, and keeps what went wrong where the JSON reader cannot carry it.
    fn checked<E: de::Error>(&mut self, work: impl FnOnce(&mut Self) -> Result<(), RewriteError>) -> Result<(), E> {
        work(self).map_err(|failed| {
            let error = E::custom(&failed);
            self.failed = Some(failed);
            error
        })
    }

    fn record(&mut self, value: &str) -> serde_json::Result<()> {
        self.records += 1;
        if self.records > MAX_EVENTS {
            return self.checked(|_| Err(RewriteError::TooMany));
        }
        let before: &[u8] = if self.records == 1 { b"[" } else { b"," };
        self.checked(|writer| Ok(writer.out.push(before)?))?;
        if !value.starts_with('{') {
            // For ingest to set aside, with its reason.
            return self.checked(|writer| Ok(writer.out.push(value.as_bytes())?));
        }
        serde_json::Deserializer::from_str(value).deserialize_map(Members(self))
    }

    /// A member of the record that is being written.
    fn member(&mut self, told: &mut Told, key: &str, value: &str) -> Result<(), RewriteError> {
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
            return if meant { Ok(()) } else { Err(RewriteError::Reserved { record: self.records, name }) };
        }
        let Some(Placed { name, suffix, written }) = columns.place(key, value) else { return Ok(()) };
        self.separate(told)?;
        // Letters of columns need no escapes.
        for part in ["\"", &*name, suffix, "\":"] {
            self.out.push(part.as_bytes())?;
        }
        match written {
            Written::Json(json) => self.out.push(json.as_bytes())?,
            Written::Text(text) => self.out.push_quoted(&text)?,
        }
        Ok(())
    }

    fn separate(&mut self, told: &mut Told) -> Result<(), RewriteError> {
        let before: &[u8] = if told.is_empty { b"{" } else { b"," };
        told.is_empty = false;
        Ok(self.out.push(before)?)
    }

    /// What every row has, and the end of it.
    fn end_record(&mut self, mut told: Told) -> Result<(), RewriteError> {
        self.untimed += usize::from(told.own_time.is_none());
        if !told.has_time_generated {
            let named = told.own_time.filter(|time| self.how.time_field.is_some() && self.is_believed(*time));
            self.text_member(&mut told, TIME_GENERATED, &named.unwrap_or(self.how.arrival).to_string())?;
        }
        if let Some(id) = self.how.resource_id {
            self.text_member(&mut told, "_ResourceId", id)?;
        }
        Ok(self.out.push(if told.is_empty { b"{}" } else { b"}" })?)
    }

    fn text_member(&mut self, told: &mut Told, name: &str, text: &str) -> Result<(), RewriteError> {
        self.separate(told)?;
        self.out.push_quoted(name)?;
        self.out.push(b":")?;
        Ok(self.out.push_quoted(text)?)
    }

    fn is_believed(&self, time: Timestamp) -> bool {
        let arrival = self.how.arrival;
        (arrival.plus_seconds(-OLDEST)..=arrival.plus_seconds(NEWEST)).contains(&time)
    }
}

/// What is known of the record that is being written.
struct Told {
    is_empty: bool,
    own_time: Option<Timestamp>,
    has_time_generated: bool,
}

/// A time, as a record tells it: in ISO 8601, or as a number since 1970.
fn time_of(value: &str) -> Option<Timestamp> {
    let time = match value.as_bytes().first()? {
        b'"' => column::text(value).and_then(|text| column::iso_8601(&text)),
        b'0'..=b'9' => Timestamp::from_number(value),
        _ => None,
    };
    time.filter(|time| time.unix_seconds() >= CLOCKS_FROM)
}

/// The elements of the array.
struct Records<'w, 'h, 's>(&'w mut Writer<'h, 's>);

impl<'de> Visitor<'de> for Records<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        while let Some(element) = sequence.next_element::<&RawValue>()? {
            self.0.record(element.get()).map_err(A::Error::custom)?;
        }
        self.0.end().map_err(A::Error::custom)
    }
}

/// The members of one record.
struct Members<'w, 'h, 's>(&'w mut Writer<'h, 's>);

impl<'de> Visitor<'de> for Members<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut told = Told { is_empty: true, own_time: None, has_time_generated: false };
        while let Some(key) = map.next_key_seed(Key)? {
            let value = map.next_value::<&RawValue>()?;
            self.0.checked(|writer| writer.member(&mut told, &key, value.get()))?;
        }
        self.0.checked(|writer| writer.end_record(told))
    }
}

/// A key that is copied only when it is written with escapes.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        #[derive(Deserialize)]
        struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);
        Borrowed::deserialize(deserializer).map(|Borrowed(key)| key)
    }
}

#[cfg(test)]
#[path = "rewrite_tests.rs"]
mod tests;
