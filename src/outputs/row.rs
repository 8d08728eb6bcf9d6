//! An event as one JSON row.
//!
//! A JSON event goes out as it came in. Only line breaks are taken out: a row must be one line for NDJSON, and JSON
//! allows raw line breaks nowhere but in white space. An XML event becomes a row of the WindowsEvent table.

use std::ops::RangeInclusive;

use super::output::{OutgoingEvent, Row};
use crate::event::columns::{self, Extras, Source, Table};
use crate::event::{Format, Timestamp};

/// All times: none goes into an extra.
const ALL_TIMES: RangeInclusive<Timestamp> = Timestamp::from_ticks(i64::MIN)..=Timestamp::from_ticks(i64::MAX);

/// The row of an event; shares the event's bytes when nothing changes. Errors when an XML event cannot be read.
pub(super) fn json_row(event: &OutgoingEvent) -> Result<Row, String> {
    match event.format {
        Format::Json => Ok(Row::timeless(columns::one_line(&event.raw))),
        Format::Xml => {
            let source = Source { format: Format::Xml, raw: &event.raw, client: None };
            let made = columns::row(Some(Table::WindowsEvent), source, &Extras::default(), &ALL_TIMES)?;
            Ok(Row::timeless(made.bytes))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn json(raw: &'static str) -> OutgoingEvent {
        OutgoingEvent { format: Format::Json, stream: "".into(), client: None, raw: Bytes::from_static(raw.as_bytes()) }
    }

    #[test]
    fn a_json_event_goes_out_as_it_came_in() {
        let event = json(r#"{"a": "line\nbreak"}"#);
        let row = json_row(&event).unwrap();
        assert_eq!(row.bytes.as_ptr(), event.raw.as_ptr(), "not copied");
    }

    #[test]
    fn a_row_is_one_line() {
        assert_eq!(
            json_row(&json("{\r\n  \"a\": \"b c\",\n \"d\": 1\n}")).unwrap().bytes,
            "{  \"a\": \"b c\", \"d\": 1}"
        );
    }
}
