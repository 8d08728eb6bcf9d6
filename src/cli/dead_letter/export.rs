//! `gatepost dead-letter export`: letters for other tools, one JSON object a line.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::spool::dead_letter::{DeadLetters, Filter, Letter, Page, Source};

/// Letters that are read together.
const PAGE: usize = 500;

/// A letter as other tools read it.
#[derive(Serialize)]
struct Line<'a> {
    id: u64,
    source: &'a str,
    /// `input` or `output`.
    kind: &'static str,
    reason: &'a str,
    status: Option<u16>,
    detail: &'a str,
    answer: Option<&'a str>,
    first_seen: String,
    last_seen: String,
    tries: u32,
    stream: &'a str,
    client: Option<&'a str>,
    event: Event<'a>,
}

/// A JSON event stands in the line as it is, XML and other text as text, and what is no text as base64.
#[derive(Serialize)]
#[serde(untagged)]
enum Event<'a> {
    Json(&'a RawValue),
    Text(&'a str),
    Bytes { base64: String },
}

/// Writes the letters that match to a file that is not there yet, or to standard output. How many they were.
pub(super) fn export(letters: &DeadLetters, filter: &Filter, file: Option<&Path>) -> anyhow::Result<usize> {
    let Some(path) = file else {
        let written = write(letters, filter, &mut BufWriter::new(io::stdout().lock()));
        return match written {
            // A reader that has gone (`| head`) is no failure.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
            written => Ok(written?),
        };
    };
    let create = || -> io::Result<usize> {
        let mut out = BufWriter::new(private(path)?);
        let count = write(letters, filter, &mut out)?;
        // The letters may be purged next: they must be here by then.
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        Ok(count)
    };
    create().with_context(|| format!("cannot write {}; export to a file that is not there yet", path.display()))
}

/// A new file that only its owner may read: the letters were as private.
fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn write(letters: &DeadLetters, filter: &Filter, out: &mut impl Write) -> io::Result<usize> {
    let (mut count, mut after) = (0, 0);
    loop {
        let page = letters.list(filter, Page { after, limit: PAGE })?;
        let Some(last) = page.last() else { break };
        after = last.id;
        for letter in &page {
            serde_json::to_writer(&mut *out, &line(letter))?;
            out.write_all(b"\n")?;
        }
        count += page.len();
    }
    out.flush()?;
    Ok(count)
}

fn line(letter: &Letter) -> Line<'_> {
    Line {
        id: letter.id,
        source: letter.source.name(),
        kind: if matches!(letter.source, Source::Input { .. }) { "input" } else { "output" },
        reason: &letter.reason,
        status: letter.status,
        detail: &letter.detail,
        answer: letter.answer.as_deref(),
        first_seen: rfc3339(letter.first_seen_ms),
        last_seen: rfc3339(letter.last_seen_ms),
        tries: letter.tries,
        stream: &letter.stream,
        client: letter.client.as_deref(),
        event: event(&letter.raw),
    }
}

fn event(raw: &[u8]) -> Event<'_> {
    let Ok(text) = std::str::from_utf8(raw) else { return Event::Bytes { base64: STANDARD.encode(raw) } };
    // A line must be one line: JSON with line breaks in it stays text.
    let json = if text.contains(['\n', '\r']) { None } else { serde_json::from_str(text).ok() };
    json.map_or(Event::Text(text), Event::Json)
}

/// Milliseconds since 1970 as a time of RFC 3339, in UTC; empty for times that have no such form.
pub(super) fn rfc3339(ms: u64) -> String {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(ms));
    let in_range = ms < 253_402_300_800_000;
    time.filter(|_| in_range).and_then(|time| OffsetDateTime::from(time).format(&Rfc3339).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::fs::RealFs;

    fn letter(raw: &[u8]) -> Letter {
        Letter {
            id: 0,
            first_seen_ms: 1_000,
            last_seen_ms: 1_764_000_000_123,
            source: Source::Output { name: "sentinel".to_owned() },
            reason: "rejected".to_owned(),
            status: Some(400),
            detail: "400 InvalidPayload: no".to_owned(),
            answer: Some("no".to_owned()),
            client: None,
            tries: 2,
            format: 2,
            stream: "Custom-SecurityEvent".to_owned(),
            raw: raw.to_vec(),
        }
    }

    #[test]
    fn letters_go_out_as_lines_whatever_their_events_are() {
        let dir = tempfile::tempdir().unwrap();
        let mut letters = DeadLetters::open(Arc::new(RealFs), &dir.path().join("letters"), 1 << 20).unwrap();
        let raws: [&[u8]; 4] =
            [br#"{"EventID": 1, "EventID2": 1.0}"#, b"<Event>\n</Event>", b"{\n\"a\":1}", &[0xff, 0xfe]];
        letters.put(raws.map(letter).to_vec()).unwrap();
        let path = dir.path().join("out.ndjson");
        assert_eq!(export(&letters, &Filter::default(), Some(&path)).unwrap(), 4);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(r#""event":{"EventID": 1, "EventID2": 1.0}}"#), "numbers stay as they were: {text}");
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let events: Vec<&Value> = lines.iter().map(|line| &line["event"]).collect();
        assert_eq!(events[1..], [&json!("<Event>\n</Event>"), &json!("{\n\"a\":1}"), &json!({ "base64": "//4=" })]);
        let first = &lines[0];
        assert_eq!(
            (&first["first_seen"], &first["last_seen"]),
            (&json!("1970-01-01T00:00:01Z"), &json!("2025-11-24T16:00:00.123Z"))
        );
        assert_eq!((&first["tries"], &first["status"], &first["answer"]), (&json!(2), &json!(400), &json!("no")));

        assert!(export(&letters, &Filter::default(), Some(&path)).is_err(), "a file that is there is not written over");
    }
}
