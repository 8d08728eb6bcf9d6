//! What lines are made of.

use std::io::Write;
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;

pub use super::escape::{beginning, quoted, word};

/// Appends what needs no escaping.
pub fn put(out: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    // A vector takes everything.
    out.write_fmt(arguments).ok();
}

/// Appends a member of a JSON object that has members already, if there is a value.
pub fn member(out: &mut Vec<u8>, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        put(out, format_args!(",\"{key}\":"));
        quoted(value, out);
    }
}

/// Appends `name=value` of a line for people, if there is a value.
pub fn named(out: &mut Vec<u8>, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        put(out, format_args!(" {name}="));
        word(value, out);
    }
}

/// Milliseconds to the microsecond, without the cost of floating point.
#[derive(Debug, Clone, Copy)]
pub struct Millis(pub Duration);

impl std::fmt::Display for Millis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let micros = self.0.as_micros();
        write!(f, "{}.{:03}", micros / 1_000, micros % 1_000)
    }
}

/// RFC 3339 in UTC with milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Rfc3339(pub SystemTime);

impl std::fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = OffsetDateTime::from(self.0);
        let (year, month, day) = time.to_calendar_date();
        let (hour, minute, second, milli) = time.to_hms_milli();
        write!(f, "{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z", u8::from(month))
    }
}
