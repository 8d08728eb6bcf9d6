//! The key of an event that anybody can make again: for finding duplicates in a workspace.
//!
//! Unlike [`EventKey`](crate::event::EventKey) it has no secret and no scope, so that it is equal through every gateway and
//! can be made in a query. It is the first half of a SHA-256, as 32 hexadecimal digits, of this text:
//!
//! ```text
//! record      := computer LF channel LF event id LF record id LF second
//!                both names in lower case, the event id without qualifiers, the second of the Unix epoch
//! other event := "xml" LF the event's bytes, or "json" LF its canonical text (keys sorted, no white space)
//! ```
//!
//! What makes two events one is decided as there: a record has a computer, a record id and a time; the time counts in whole
//! seconds because some agents cut it there.

use aws_lc_rs::digest::{SHA256, digest};

use crate::event::key::{canonical, lower};
use crate::event::{Event, Fields, Format, quoted};

/// The key of an event, as 32 hexadecimal digits.
pub(super) fn event_key(event: &Event<'_>) -> String {
    hex(&half_hash(identity(event).as_bytes()))
}

fn identity(event: &Event<'_>) -> String {
    if let Fields { computer: Some(computer), record_id: Some(record_id), time: Some(time), channel, event_id, .. } =
        &event.fields
        && !computer.is_empty()
    {
        let (computer, channel) = (lower(computer), lower(channel.as_deref().unwrap_or_default()));
        let event_id = event_id.map_or_else(String::new, |event_id| (event_id as u16).to_string());
        return format!("{computer}\n{channel}\n{event_id}\n{record_id}\n{}", time.unix_seconds());
    }
    quoted::within(event, content)
}

fn content(event: &Event<'_>) -> String {
    let raw = event.raw.trim_ascii();
    match event.format {
        Format::Xml => format!("xml\n{}", String::from_utf8_lossy(raw)),
        Format::Json => match canonical(raw) {
            Some(text) => format!("json\n{text}"),
            None => format!("json\n{}", String::from_utf8_lossy(raw)),
        },
    }
}

/// An identifier for a computer that is the same on every gateway: agents have one of their own, which an event does not tell.
pub(super) fn computer_id(computer: &str) -> String {
    let mut hash = half_hash(lower(computer).as_bytes());
    // RFC 9562, version 8: made by a rule of our own.
    hash[6] = hash[6] & 0x0F | 0x80;
    hash[8] = hash[8] & 0x3F | 0x80;
    let digits = hex(&hash);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

fn half_hash(bytes: &[u8]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&digest(&SHA256, bytes).as_ref()[..16]);
    half
}

fn hex(bytes: &[u8; 16]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
