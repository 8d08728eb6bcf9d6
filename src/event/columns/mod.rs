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
//! - **What is a row already stays one.** JSON that has the table's shape, or is no Windows event at all, goes out byte for
//!   byte, but for line breaks and [`Extras`].

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Event, Format, Timestamp, from_xml};

mod activities;
mod convert;
mod data_xml;
mod event;
mod event_key;
mod leftovers;
mod line;
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
    /// The column for the event's own time, where that is before `original_time_before`: Azure puts the time of arrival in the
    /// place of old ones. A `datetime`.
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

/// An event as one JSON object in one line, and its time. An event in JSON that is no Windows event, or has the table's
/// shape already, goes out as it came in (with the extras). Without a table a row of any table goes out as it came, and the
/// rest becomes `WindowsEvent`. `old` is the time before which an event's time goes into [`Extras::original_time`].
///
/// # Errors
///
/// When the event cannot be read; the text says why.
pub fn row(
    table: Option<Table>,
    source: Source<'_>,
    extras: &Extras,
    old: Timestamp,
) -> Result<(Bytes, Option<Timestamp>), String> {
    let text = std::str::from_utf8(source.raw).map_err(|error| format!("the event is not UTF-8: {error}"))?;
    let additions = Additions { extras, client: source.client, old };
    let made = table.unwrap_or_default();
    match source.format {
        Format::Json => {
            let fields = ready::read(text)?;
            let time = fields.time;
            let event = Event { format: Format::Json, raw: source.raw, fields };
            if ready::is_windows_event(&event.fields) && !ready::is_row_of(table, text)? {
                return Ok((Bytes::from(convert::convert(made, &event, text, &additions)), time));
            }
            Ok((ready::as_it_came(source.raw, text, &event, &additions)?, time))
        }
        Format::Xml => {
            let (fields, end) = from_xml::scan(source.raw).map_err(|error| error.to_string())?;
            let (time, text) = (fields.time, &text[..end]);
            let event = Event { format: Format::Xml, raw: text.as_bytes(), fields };
            Ok((Bytes::from(convert::convert(made, &event, text, &additions)), time))
        }
    }
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
    old: Timestamp,
}

impl Additions<'_> {
    /// The extras that this event has, by column, each column once.
    fn of(&self, event: &Event<'_>) -> Vec<(&str, String)> {
        let Extras { original_time, event_key, client } = self.extras;
        let old_time = event.fields.time.filter(|time| *time < self.old && !original_time.is_empty());
        let made = [
            (original_time, old_time.and_then(system::datetime)),
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
