//! An event as one JSON row.
//!
//! A JSON event goes out as it came in. Only line breaks are taken out: a row must be one line for NDJSON, and JSON
//! allows raw line breaks nowhere but in white space. An XML event becomes a row of the WindowsEvent table.

use bytes::Bytes;
use memchr::memchr2;

use super::output::{OutgoingEvent, Row};
use crate::event::Format;

/// The row of an event; shares the event's bytes when nothing changes. Errors when an XML event cannot be read.
pub(super) fn json_row(event: &OutgoingEvent) -> Result<Row, String> {
    match event.format {
        Format::Json if memchr2(b'\n', b'\r', &event.raw).is_none() => Ok(event.raw.clone()),
        Format::Json => Ok(event.raw.iter().copied().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect()),
        Format::Xml => crate::event::row::windows_event_row(&event.raw).map(Bytes::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(raw: &'static str) -> OutgoingEvent {
        OutgoingEvent { format: Format::Json, stream: "".into(), raw: Bytes::from_static(raw.as_bytes()) }
    }

    #[test]
    fn a_json_event_goes_out_as_it_came_in() {
        let event = json(r#"{"a": "line\nbreak"}"#);
        let row = json_row(&event).unwrap();
        assert_eq!(row.as_ptr(), event.raw.as_ptr(), "not copied");
    }

    #[test]
    fn a_row_is_one_line() {
        assert_eq!(json_row(&json("{\r\n  \"a\": \"b c\",\n \"d\": 1\n}")).unwrap(), "{  \"a\": \"b c\", \"d\": 1}");
    }
}
