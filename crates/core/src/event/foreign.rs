//! Bodies that are known to be something else: another protocol, or a container that nobody opens here.
//!
//! They are recognised by their first bytes, so that the sender is told what it sent and what to send instead, and nothing
//! of it is taken for events. An array of JSON objects may be rows of any table, so only one format is looked for in it.
//! Not more than a beginning is looked at: this runs where nothing may take long.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// What a body is instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{name} is not understood here and nothing was kept; {remedy}")]
pub struct Foreign {
    /// What it is.
    pub name: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

const UNPACK: &str = "unpack it, or compress what it holds with gzip, deflate or zstd and say so in Content-Encoding";
const ONE_OBJECT_EACH: &str = "send each event as one JSON object, or as event XML";

/// First bytes that text never has.
const MAGIC: [(&[u8], &str, &str); 11] = [
    (b"\x1F\x8B\x08", "a body that is compressed twice", "compress it once"),
    (b"\x28\xB5\x2F\xFD", "zstd without Content-Encoding", "say \"Content-Encoding: zstd\""),
    (b"PK\x03\x04", "a ZIP archive", UNPACK),
    (b"7z\xBC\xAF\x27\x1C", "a 7z archive", UNPACK),
    (b"Rar!\x1A\x07", "a RAR archive", UNPACK),
    (b"MSCF\0", "a CAB archive", UNPACK),
    (b"\xFD7zXZ\0", "xz", UNPACK),
    (b"BZh91AY", "bzip2", UNPACK),
    (b"\x04\x22\x4D\x18", "LZ4", UNPACK),
    (b"\xFF\x06\0\0sNaPpY", "Snappy", UNPACK),
    (
        b"\x30\0\0\0LfLe",
        "an event log of Windows Server 2003 and before (.evt)",
        "write it anew as .evtx: wevtutil epl OLD.evt NEW.evtx /lf:true",
    ),
];

/// The most of a body that is looked at. What does not end within it is not recognised; the largest event of Windows fits in.
const LOOKED_AT: usize = 256 << 10;
/// The longest action of a bulk body. It becomes a tree, which takes several times as much.
const ACTION_MAX: usize = 4 << 10;

/// What a body is, if it is known to be something else than events. The cost is that of reading its first record, within
/// bounds.
pub fn recognise(body: &[u8]) -> Option<Foreign> {
    let magic = MAGIC.iter().find(|(magic, ..)| body.starts_with(magic));
    magic.map(|&(_, name, remedy)| Foreign { name, remedy }).or_else(|| {
        let text = beginning(text_of(body), LOOKED_AT);
        match text.first()? {
            b'<' => markup(text),
            b'{' => object(text),
            b'[' => gelf(text[1..].trim_ascii_start()),
            _ => None,
        }
    })
}

/// Whether a body begins as a JSON array.
pub fn is_array(body: &[u8]) -> bool {
    text_of(body).starts_with(b"[")
}

fn text_of(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body).trim_ascii_start()
}

/// At most so many bytes. A character or a value that is cut does not end, so nothing is read wrongly.
fn beginning(text: &[u8], most: usize) -> &[u8] {
    &text[..text.len().min(most)]
}

fn markup(text: &[u8]) -> Option<Foreign> {
    let tag = text[1..].split(|byte| matches!(byte, b'>' | b' ' | b'/') || byte.is_ascii_whitespace()).next()?;
    let name = tag.rsplit(|byte| *byte == b':').next()?;
    if name.eq_ignore_ascii_case(b"html") || name.eq_ignore_ascii_case(b"!doctype") {
        return Some(Foreign { name: "a web page", remedy: "look at it: it may be the error page of a proxy" });
    }
    (name == b"Envelope").then_some(Foreign {
        name: "SOAP, as Windows Event Forwarding speaks it,",
        remedy: "send event XML, one <Event> after the other",
    })
}

fn object(text: &[u8]) -> Option<Foreign> {
    let (key, value) = first_member(text)?;
    let array = value.first() == Some(&b'[');
    match key {
        b"index" | b"create" | b"update" | b"delete" if is_action(text) => Some(Foreign {
            name: "a bulk body of Elasticsearch",
            remedy: "send the documents alone, one JSON object a line, without the action lines between them",
        }),
        b"resourceLogs" | b"resource_logs" | b"resourceMetrics" | b"resource_metrics" | b"resourceSpans"
        | b"resource_spans"
            if array =>
        {
            Some(Foreign { name: "OTLP", remedy: ONE_OBJECT_EACH })
        }
        b"streams" if array && first_member(value[1..].trim_ascii_start()).is_some_and(|(key, _)| key == b"stream") => {
            Some(Foreign { name: "a push body of Loki", remedy: ONE_OBJECT_EACH })
        }
        _ => gelf(text),
    }
}

/// The first key of an object that has no escapes, and what its value begins with.
fn first_member(object: &[u8]) -> Option<(&[u8], &[u8])> {
    let key = object.strip_prefix(b"{")?.trim_ascii_start().strip_prefix(b"\"")?;
    let end = key.iter().take(64).position(|byte| *byte == b'"')?;
    let value = key[end + 1..].trim_ascii_start().strip_prefix(b":")?;
    Some((&key[..end], value.trim_ascii_start()))
}

/// Whether the first line is an action and not an event that happens to have such a member.
fn is_action(text: &[u8]) -> bool {
    type Action = BTreeMap<String, BTreeMap<String, IgnoredAny>>;
    let of_an_action = |key: &String| key.starts_with('_') || ["routing", "version", "pipeline"].contains(&&key[..]);
    let more = |key: &String| {
        key.starts_with("if_")
            || key.ends_with("_type")
            || key.starts_with("require_")
            || key == "retry_on_conflict"
            || key == "dynamic_templates"
    };
    let mut lines = serde_json::Deserializer::from_slice(beginning(text, ACTION_MAX)).into_iter::<Action>();
    let Some(Ok(action)) = lines.next() else { return false };
    action.len() == 1 && action.values().all(|told| told.keys().all(|key| of_an_action(key) || more(key)))
}

/// A message in the Graylog Extended Log Format.
fn gelf(text: &[u8]) -> Option<Foreign> {
    #[derive(Deserialize)]
    struct Message {
        version: String,
        #[serde(rename = "short_message")]
        _text: String,
        #[serde(rename = "host")]
        _host: String,
    }
    let mut messages = serde_json::Deserializer::from_slice(text).into_iter::<Message>();
    let is_gelf = messages.next().is_some_and(|message| message.is_ok_and(|message| message.version == "1.1"));
    is_gelf.then_some(Foreign { name: "gelf", remedy: "send JSON: format json, json_lines or json_stream" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(body: &[u8]) -> Option<&'static str> {
        recognise(body).map(|foreign| foreign.name)
    }

    #[test]
    fn what_is_no_event_is_known_by_its_first_bytes() {
        let gelf = br#"{"version":"1.1","host":"a","short_message":"b","_Computer":"c"}"#;
        for (body, expected) in [
            (&b"\x1F\x8B\x08\0"[..], "twice"),
            (b"PK\x03\x04", "ZIP"),
            (b"0\0\0\0LfLe", ".evt"),
            (b"\xEF\xBB\xBF <!DOCTYPE html><html>", "web page"),
            (b"<HTML>", "web page"),
            (b"<s:Envelope xmlns:s='x'>", "SOAP"),
            (b"{\"index\":{\"_index\":\"a\"}}\n{\"EventID\":1}\n", "Elasticsearch"),
            (b"{\"create\": {}}\n{\"EventID\":1}\n", "Elasticsearch"),
            (b"{ \"resourceLogs\": [{}]}", "OTLP"),
            (b"{\"streams\":[{\"stream\":{},\"values\":[]}]}", "Loki"),
            (gelf, "gelf"),
            (&[b"[", &gelf[..], b"]"].concat(), "gelf"),
        ] {
            assert!(name(body).is_some_and(|name| name.contains(expected)), "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn what_does_not_end_soon_is_not_recognised() {
        for (before, most, after) in [
            (r#"{"index":{"_index":""#, ACTION_MAX, r#""}}"#),
            (r#"{"version":"1.1","host":"a","short_message":""#, LOOKED_AT, r#""}"#),
        ] {
            let room = most - before.len() - after.len();
            let body = |length: usize| format!("{before}{}{after}", "x".repeat(length));
            assert!(name(body(room).as_bytes()).is_some(), "{before}");
            assert_eq!(name(body(room + 1).as_bytes()), None, "{before}");
        }
    }

    #[test]
    fn events_are_never_taken_for_something_else() {
        for body in [
            "",
            "{}",
            "[]",
            "<Event/>",
            "<?xml version='1.0'?><Events>",
            "<Events><Event/></Events>",
            "{\"version\":\"1.1\"}",
            "{\"EventID\":1,\"resourceLogs\":[]}",
            "{\"resourceLogs\":\"a column\"}",
            "{\"index\":7}",
            "{\"index\":{\"EventID\":1}}",
            "{\"index\":{},\"EventID\":1}",
            "{\"streams\":[]}",
            "[{\"index\":{}}]",
            "{\"event\":{\"EventID\":1},\"sourcetype\":\"x\"}",
            "{\"unfinished",
        ] {
            assert_eq!(name(body.as_bytes()), None, "{body}");
        }
    }
}
