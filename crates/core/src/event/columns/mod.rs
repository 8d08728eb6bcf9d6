//! Events as rows of Azure's tables.
//!
//! An event becomes the row that Microsoft's own agents would have made of it, so that queries and detections written for
//! those work unchanged.
//!
//! - **One path.** XML and every known JSON shape are read as one [`Document`](super::document::Document); what is made of
//!   it does not know where it came from. A row is the same whichever way its event came.
//! - **Nothing is lost.** What has no column stands in `EventData`, and so does what an agent tells beside the event; what
//!   cannot be read stands there, or in `RawEventData`, as it came. Numbers keep their digits. The exception are attributes in
//!   `System` that rows of Microsoft's agents do not have, and what Windows rendered where a table has no column for it.
//! - **Types hold.** Azure makes null of a value that does not have its column's type, without a word. Such a value is left
//!   out of the column instead, and is in `EventData`.
//! - **What is a row already stays one.** JSON that has the table's shape goes out byte for byte, but for line breaks and
//!   [`Extras`].
//! - **No row is empty.** Azure drops what has no column without a word. A record that is no Windows event and has members that
//!   are no columns of the output's table goes whole into the column that takes any text, and says so.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Event, Format, Timestamp, from_xml};

mod activities;
mod convert;
mod data_xml;
mod escape;
mod event;
mod event_key;
mod leftovers;
mod line;
mod plain;
mod plain_flat;
mod plain_json;
mod ready;
mod security_event;
mod system;
mod tables;
mod windows_event;

pub use activities::activity;
pub use ready::one_line;

/// A table that Windows events can be rows of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Table {
    /// `WindowsEvent`: any channel, the event's data in a dynamic column.
    #[default]
    WindowsEvent,
    /// `SecurityEvent`: the Security and AppLocker channels, a column for each piece of data.
    SecurityEvent,
    /// `Event`: any channel, the event's data as XML text.
    Event,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 3] = [Self::WindowsEvent, Self::SecurityEvent, Self::Event];

    /// Its name in Azure.
    pub fn name(self) -> &'static str {
        match self {
            Self::WindowsEvent => "WindowsEvent",
            Self::SecurityEvent => "SecurityEvent",
            Self::Event => "Event",
        }
    }
}

impl FromStr for Table {
    type Err = String;

    /// In any letter case.
    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|table| table.name().eq_ignore_ascii_case(text));
        named.ok_or_else(|| "there are WindowsEvent, SecurityEvent and Event".to_owned())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The type of a column, as a data collection rule declares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnType {
    /// Text.
    String,
    /// 32 bits, signed.
    Int,
    /// 64 bits, signed.
    Long,
    /// Floating point.
    Real,
    /// `true` or `false`.
    Boolean,
    /// ISO 8601, UTC.
    Datetime,
    /// Any JSON value.
    Dynamic,
}

/// A column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: ColumnType,
}

/// What rows carry beyond the columns of their table, each in a column of its own; an empty name is no column.
///
/// What an event brings under the name of one of them, in whatever letter case, is no proof of anything: it gives way to what
/// the gateway says, and stays only where the gateway has nothing to say. The columns of Microsoft's tables are never written
/// over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extras {
    /// The column for the event's own time, where Azure may not keep that and put the time of arrival in its place. A `datetime`.
    pub original_time: String,
    /// The column for the event's key, equal for every copy of an event whatever gateway it came through. A `string`.
    pub event_key: String,
    /// The column for who uploaded the event. A `string`.
    pub client: String,
}

/// One event for [`row`].
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// How `raw` is written.
    pub format: Format,
    /// The event as it was uploaded.
    pub raw: &'a Bytes,
    /// Who uploaded it, if that is to be told.
    pub client: Option<&'a str>,
}

/// What [`row`] makes of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// One JSON object in one line.
    pub bytes: Bytes,
    /// When the event happened.
    pub time: Option<Timestamp>,
    /// Whether the event had no shape that is known, so that the row has all of it in one column.
    pub is_shapeless: bool,
}

/// An event as one JSON object in one line, and its time. An event in JSON that has the table's shape already goes out as it
/// came in (with the extras). Without a table a row of any table goes out as it came, and so does what is no Windows event; the
/// rest becomes `WindowsEvent`. A time that is not in `kept` goes into [`Extras::original_time`].
///
/// # Errors
///
/// When the event cannot be read; the text says why.
pub fn row(
    table: Option<Table>,
    source: Source<'_>,
    extras: &Extras,
    kept: &RangeInclusive<Timestamp>,
) -> Result<Made, String> {
    row_by(convert::Way::Shortest, table, source, extras, kept)
}

/// The same by way of the tree, however plain an event is: what [`row`] has to be equal to, for tests and fuzz targets.
///
/// # Errors
///
/// As [`row`].
pub fn row_by_tree(
    table: Option<Table>,
    source: Source<'_>,
    extras: &Extras,
    kept: &RangeInclusive<Timestamp>,
) -> Result<Made, String> {
    row_by(convert::Way::Tree, table, source, extras, kept)
}

fn row_by(
    way: convert::Way,
    table: Option<Table>,
    source: Source<'_>,
    extras: &Extras,
    kept: &RangeInclusive<Timestamp>,
) -> Result<Made, String> {
    let text = std::str::from_utf8(source.raw).map_err(|error| format!("the event is not UTF-8: {error}"))?;
    let additions = Additions { extras, client: source.client, kept };
    let made = table.unwrap_or_default();
    match source.format {
        Format::Json => {
            let (text, fields) = ready::read(text)?;
            let time = fields.time;
            let event = Event { format: Format::Json, raw: text.as_bytes(), fields };
            let is_shapeless = !is_event(&event) && !ready::fits(table, text);
            let is_converted = is_shapeless || (is_event(&event) && !ready::is_row_of(table, &event, text));
            let bytes = if is_converted {
                Bytes::from(convert::convert(way, made, &event, text, &additions))
            } else {
                ready::as_it_came(source.raw, text, &event, &additions)
            };
            Ok(Made { bytes, time, is_shapeless })
        }
        Format::Xml => {
            let (fields, end) = from_xml::scan(source.raw).map_err(|error| error.to_string())?;
            let (time, text) = (fields.time, &text[..end]);
            let event = Event { format: Format::Xml, raw: text.as_bytes(), fields };
            let bytes = Bytes::from(convert::convert(way, made, &event, text, &additions));
            Ok(Made { bytes, time, is_shapeless: false })
        }
    }
}

/// Whether a record in JSON is a Windows event, or quotes one.
fn is_event(event: &Event<'_>) -> bool {
    event.fields.is_windows_event() || event.fields.quoted.is_some()
}

/// The columns of a table that [`row`] may fill, in the order of the rows.
pub fn columns(table: Table) -> &'static [Column] {
    match table {
        Table::WindowsEvent => &tables::WINDOWS_EVENT,
        Table::SecurityEvent => &tables::SECURITY_EVENT,
        Table::Event => &tables::EVENT,
    }
}

/// The extras, with what they are made of beside the event.
struct Additions<'a> {
    extras: &'a Extras,
    client: Option<&'a str>,
    /// The times that Azure keeps.
    kept: &'a RangeInclusive<Timestamp>,
}

impl Additions<'_> {
    /// The extras that this event has, by column, each column once.
    fn of(&self, event: &Event<'_>) -> Vec<(&str, String)> {
        let Extras { original_time, event_key, client } = self.extras;
        let lost_time = event.fields.time.filter(|time| !self.kept.contains(time) && !original_time.is_empty());
        let made = [
            (original_time, lost_time.and_then(system::datetime)),
            (event_key, (!event_key.is_empty()).then(|| event_key::event_key(event))),
            (client, self.client.filter(|_| !client.is_empty()).map(str::to_owned)),
        ];
        let mut found: Vec<(&str, String)> = Vec::with_capacity(made.len());
        for (name, value) in made {
            if let Some(value) = value.filter(|_| !found.iter().any(|(earlier, _)| earlier == name)) {
                found.push((name, value));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests;
