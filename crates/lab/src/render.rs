//! One event in three shapes. Kept free of intermediate trees: benchmarks make millions of these.

use std::fmt::Write as _;
use std::io::Write as _;

use super::events::{SimulatedEvent, TICKS_PER_SECOND};

const NAMESPACE: &str = "http://schemas.microsoft.com/win/2004/08/events/event";
const MEMORY: &str = "memory takes what is written to it";

/// A GUID as Windows renders it: lower-case, in braces.
pub(super) fn guid(n: u128) -> String {
    uuid::Uuid::from_u128(n).braced().to_string()
}

/// `2026-01-01T00:00:00.1234567Z`; nine digits with two zeros when `long`.
fn time(ticks: i64, long: bool) -> String {
    let seconds = ticks.div_euclid(TICKS_PER_SECOND);
    let at = time::OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let mut text = String::with_capacity(32);
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second) = at.to_hms();
    write!(
        text,
        "{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:07}{}Z",
        u8::from(month),
        ticks.rem_euclid(TICKS_PER_SECOND),
        if long { "00" } else { "" }
    )
    .expect(MEMORY);
    text
}

fn escaped(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            _ => out.push(byte),
        }
    }
}

fn quoted(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect(MEMORY);
}

/// As Windows renders: single quotes around attributes, empty elements closed in themselves.
pub(super) fn xml(event: &SimulatedEvent, out: &mut Vec<u8>) {
    let t = event.template;
    write!(
        out,
        "<Event xmlns='{NAMESPACE}'><System><Provider Name='{}' Guid='{{{}}}'/><EventID>{}</EventID>\
         <Version>{}</Version><Level>{}</Level><Task>{}</Task><Opcode>{}</Opcode><Keywords>{:#x}</Keywords>\
         <TimeCreated SystemTime='{}'/><EventRecordID>{}</EventRecordID>",
        t.provider.name,
        t.provider.guid,
        t.id,
        t.version,
        t.level,
        t.task,
        t.opcode,
        t.keywords,
        time(event.ticks, event.long_times),
        event.record_id,
    )
    .expect(MEMORY);
    match event.activity {
        Some(id) => write!(out, "<Correlation ActivityID='{}'/>", guid(id)).expect(MEMORY),
        None => out.extend_from_slice(b"<Correlation/>"),
    }
    write!(
        out,
        "<Execution ProcessID='{}' ThreadID='{}'/><Channel>{}</Channel><Computer>{}</Computer><Security/></System>",
        event.process_id, event.thread_id, t.channel, event.computer
    )
    .expect(MEMORY);
    match t.user_data {
        Some((element, namespace)) => {
            write!(out, "<UserData><{element} xmlns='{namespace}'>").expect(MEMORY);
            for (name, value) in &event.data {
                write!(out, "<{name}>").expect(MEMORY);
                escaped(value, out);
                write!(out, "</{name}>").expect(MEMORY);
            }
            write!(out, "</{element}></UserData>").expect(MEMORY);
        }
        None => {
            out.extend_from_slice(b"<EventData>");
            for (name, value) in &event.data {
                if value.is_empty() {
                    write!(out, "<Data Name='{name}'/>").expect(MEMORY);
                } else {
                    write!(out, "<Data Name='{name}'>").expect(MEMORY);
                    escaped(value, out);
                    out.extend_from_slice(b"</Data>");
                }
            }
            out.extend_from_slice(b"</EventData>");
        }
    }
    out.extend_from_slice(b"</Event>");
}

/// The members of an object, without its braces.
fn members(event: &SimulatedEvent, out: &mut Vec<u8>) {
    for (i, (name, value)) in event.data.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write!(out, "\"{name}\":").expect(MEMORY);
        quoted(value, out);
    }
}

/// As evtx tools write: attributes apart, empty elements as null.
pub(super) fn evtx_json(event: &SimulatedEvent, out: &mut Vec<u8>) {
    let t = event.template;
    write!(
        out,
        "{{\"Event\":{{\"#attributes\":{{\"xmlns\":\"{NAMESPACE}\"}},\"System\":{{\
         \"Provider\":{{\"#attributes\":{{\"Name\":\"{}\",\"Guid\":\"{}\"}}}},\"EventID\":{},\"Version\":{},\
         \"Level\":{},\"Task\":{},\"Opcode\":{},\"Keywords\":\"{:#x}\",\
         \"TimeCreated\":{{\"#attributes\":{{\"SystemTime\":\"{}\"}}}},\"EventRecordID\":{},",
        t.provider.name,
        t.provider.guid.to_uppercase(),
        t.id,
        t.version,
        t.level,
        t.task,
        t.opcode,
        t.keywords,
        time(event.ticks, false),
        event.record_id,
    )
    .expect(MEMORY);
    match event.activity {
        Some(id) => {
            let id = guid(id).to_uppercase();
            let bare = id.trim_matches(['{', '}']);
            write!(out, "\"Correlation\":{{\"#attributes\":{{\"ActivityID\":\"{bare}\"}}}},").expect(MEMORY);
        }
        None => out.extend_from_slice(b"\"Correlation\":null,"),
    }
    write!(
        out,
        "\"Execution\":{{\"#attributes\":{{\"ProcessID\":{},\"ThreadID\":{}}}}},\"Channel\":\"{}\",\
         \"Computer\":\"{}\",\"Security\":null}},",
        event.process_id, event.thread_id, t.channel, event.computer
    )
    .expect(MEMORY);
    match t.user_data {
        Some((element, namespace)) => {
            write!(out, "\"UserData\":{{\"{element}\":{{\"#attributes\":{{\"xmlns\":\"{namespace}\"}},").expect(MEMORY);
            members(event, out);
            out.extend_from_slice(b"}}");
        }
        None => {
            out.extend_from_slice(b"\"EventData\":{");
            members(event, out);
            out.push(b'}');
        }
    }
    out.extend_from_slice(b"}}");
}

/// As the tables of a workspace have it: SecurityEvent for the Security channel, WindowsEvent for the rest.
pub(super) fn row(event: &SimulatedEvent, out: &mut Vec<u8>) {
    let t = event.template;
    let level_name = if t.level == 0 { "LogAlways" } else { "Informational" };
    write!(
        out,
        "{{\"TimeGenerated\":\"{}\",\"Computer\":\"{}\",\"Channel\":\"{}\",\"EventID\":{},\"EventRecordId\":\"{}\",\
         \"EventLevelName\":\"{level_name}\",\"Task\":{},\"Opcode\":\"{}\",\"Version\":{},\"Keywords\":\"{:#x}\",\
         \"SystemProcessId\":{},\"SystemThreadId\":{},",
        time(event.ticks, false),
        event.computer,
        t.channel,
        t.id,
        event.record_id,
        t.task,
        t.opcode,
        t.version,
        t.keywords,
        event.process_id,
        event.thread_id,
    )
    .expect(MEMORY);
    if t.channel == "Security" {
        write!(
            out,
            "\"EventSourceName\":\"{}\",\"Level\":\"{}\",\"Activity\":\"{} - {}\",",
            t.provider.name, t.level, t.id, t.activity
        )
        .expect(MEMORY);
        members(event, out);
        out.push(b'}');
    } else {
        write!(out, "\"Provider\":\"{}\",\"EventLevel\":{},\"EventData\":{{", t.provider.name, t.level).expect(MEMORY);
        members(event, out);
        out.extend_from_slice(b"}}");
    }
}
