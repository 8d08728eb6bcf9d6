//! Reads records out of .evtx files, NDJSON and event XML, on a thread of its own.
//!
//! Damage is reported and stepped over: one bad record, or one bad file, never stops the rest.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use evtx::{EvtxParser, ParserSettings};
use serde_json::{Map, Value};
use tokio::sync::mpsc;

/// A batch is closed at this size, however few records it has.
const BATCH_BYTES: usize = 8 << 20;

/// The longest single record that is read from a text.
const RECORD_LIMIT: usize = 16 << 20;

/// The form in which events of .evtx files are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// Event XML.
    Xml,
    /// The nested JSON of evtx tools.
    Json,
    /// A flat row in the shape of the WindowsEvent table.
    Row,
}

/// Where records come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// NDJSON or event XML on standard input.
    Stdin,
    /// An .evtx file, or a text of NDJSON or event XML.
    File(PathBuf),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stdin => f.write_str("standard input"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// What the reader found; `source` is the index into the list of sources.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Records, at most a batch of them.
    Records {
        /// Where they come from.
        source: usize,
        /// The records, each one JSON object or one `<Event>` element.
        records: Vec<Bytes>,
    },
    /// A record, or the rest of a source, that cannot be read.
    Damaged {
        /// Where it is.
        source: usize,
        /// What is wrong with it.
        error: String,
    },
    /// The source is read to its end.
    End {
        /// Which one.
        source: usize,
    },
}

/// The sources behind the paths of a command line: `-` is standard input, folders are searched for .evtx files.
pub fn sources(paths: &[PathBuf]) -> io::Result<Vec<Source>> {
    let mut found = Vec::new();
    for path in paths {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
        if path.as_os_str() == "-" {
            found.push(Source::Stdin);
        } else if std::fs::metadata(path).map_err(named)?.is_dir() {
            let mut files = Vec::new();
            search(path, &mut files).map_err(named)?;
            files.sort();
            found.extend(files.into_iter().map(Source::File));
        } else {
            found.push(Source::File(path.clone()));
        }
    }
    Ok(found)
}

fn search(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            search(&entry.path(), files)?;
        } else if is_evtx(&entry.path()) {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn is_evtx(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("evtx"))
}

/// The receiver is gone: there is nobody to read for.
struct Unwanted;

/// Reads all sources in order and sends what it finds, in batches of at most `batch` records. Returns early when
/// the receiver is gone. Blocks: call it on a thread of its own.
pub fn read(sources: &[Source], form: Form, batch: usize, pieces: &mpsc::Sender<Piece>) {
    for (source, place) in sources.iter().enumerate() {
        let mut out = Out { source, batch, pieces, records: Vec::new(), bytes: 0 };
        let read = match place {
            Source::Stdin => read_text(BufReader::new(io::stdin().lock()), &mut out),
            Source::File(path) if is_evtx(path) => read_evtx(path, form, &mut out),
            Source::File(path) => match File::open(path) {
                Ok(file) => read_text(BufReader::new(file), &mut out),
                Err(error) => out.damaged(error.to_string()),
            },
        };
        if read.and_then(|()| out.flush()).is_err() || pieces.blocking_send(Piece::End { source }).is_err() {
            return;
        }
    }
}

struct Out<'a> {
    source: usize,
    batch: usize,
    pieces: &'a mpsc::Sender<Piece>,
    records: Vec<Bytes>,
    bytes: usize,
}

impl Out<'_> {
    fn record(&mut self, record: impl Into<Bytes>) -> Result<(), Unwanted> {
        let record = record.into();
        self.bytes += record.len();
        self.records.push(record);
        if self.records.len() >= self.batch || self.bytes >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Unwanted> {
        self.bytes = 0;
        match std::mem::take(&mut self.records) {
            records if records.is_empty() => Ok(()),
            records => self.send(Piece::Records { source: self.source, records }),
        }
    }

    fn damaged(&mut self, error: String) -> Result<(), Unwanted> {
        self.send(Piece::Damaged { source: self.source, error })
    }

    fn send(&self, piece: Piece) -> Result<(), Unwanted> {
        self.pieces.blocking_send(piece).map_err(|_| Unwanted)
    }
}

fn read_evtx(path: &Path, form: Form, out: &mut Out<'_>) -> Result<(), Unwanted> {
    let settings = ParserSettings::new().indent(false);
    let mut parser = match EvtxParser::from_path(path) {
        Ok(parser) => parser.with_configuration(settings),
        Err(error) => return out.damaged(error.to_string()),
    };
    match form {
        Form::Xml => each(parser.records(), out, |record| without_declaration(&record.data)),
        Form::Json => each(parser.records_json(), out, |record| record.data.into()),
        Form::Row => each(parser.records_json_value(), out, |record| row(record.data).to_string().into()),
    }
}

fn each<T>(
    records: impl Iterator<Item = Result<T, evtx::err::EvtxError>>,
    out: &mut Out<'_>,
    write: impl Fn(T) -> Bytes,
) -> Result<(), Unwanted> {
    for record in records {
        match record {
            Ok(record) => out.record(write(record))?,
            Err(error) => out.damaged(error.to_string())?,
        }
    }
    Ok(())
}

/// An event without the XML declaration that the evtx crate puts before each.
fn without_declaration(xml: &str) -> Bytes {
    let xml = xml.trim();
    let xml = match xml.strip_prefix("<?xml").and_then(|rest| rest.split_once("?>")) {
        Some((_, event)) => event.trim_start(),
        None => xml,
    };
    Bytes::copy_from_slice(xml.as_bytes())
}

/// The nested JSON of an event as a row of the WindowsEvent table. Nothing of its data is lost.
fn row(mut nested: Value) -> Value {
    let mut event = nested["Event"].take();
    let system = event["System"].take();
    let mut row = Map::new();
    let mut column = |name: &str, value: Value| {
        if !value.is_null() {
            row.insert(name.to_owned(), value);
        }
    };
    let plain = |name: &str| match &system[name] {
        Value::Object(with_attributes) => with_attributes.get("#text").cloned().unwrap_or_default(),
        value => value.clone(),
    };
    let attribute = |name: &str, attribute: &str| system[name]["#attributes"][attribute].clone();
    let text = |value: Value| match value {
        Value::Number(n) => Value::String(n.to_string()),
        value => value,
    };
    column("TimeGenerated", attribute("TimeCreated", "SystemTime"));
    column("Provider", attribute("Provider", "Name"));
    for name in ["Channel", "Computer", "EventID", "Task", "Version"] {
        column(name, plain(name));
    }
    column("EventLevel", plain("Level"));
    column("Keywords", plain("Keywords"));
    column("Opcode", text(plain("Opcode")));
    column("EventRecordId", text(plain("EventRecordID")));
    column("SystemProcessId", attribute("Execution", "ProcessID"));
    column("SystemThreadId", attribute("Execution", "ThreadID"));
    column("SystemUserId", attribute("Security", "UserID"));
    column("Correlation", attribute("Correlation", "ActivityID"));
    for data in ["EventData", "UserData", "ProcessingErrorData", "RenderingInfo"] {
        let name = if data == "RenderingInfo" { data } else { "EventData" };
        column(name, event[data].take());
    }
    Value::Object(row)
}

fn read_text(mut text: impl BufRead, out: &mut Out<'_>) -> Result<(), Unwanted> {
    match first_byte(&mut text) {
        Ok(None) => Ok(()),
        Ok(Some(b'<')) => read_xml(text, out),
        Ok(Some(b'[')) => {
            out.damaged("this is one JSON array; send one object a line (jq -c '.[]' does it)".to_owned())
        }
        Ok(Some(_)) => read_lines(text, out),
        Err(error) => out.damaged(error.to_string()),
    }
}

/// The first byte that is neither white space nor part of a byte order mark; what stands before it is consumed.
fn first_byte(text: &mut impl BufRead) -> io::Result<Option<u8>> {
    loop {
        match text.fill_buf()?.first() {
            None => return Ok(None),
            Some(b) if b.is_ascii_whitespace() || b"\xEF\xBB\xBF".contains(b) => text.consume(1),
            Some(b) => return Ok(Some(*b)),
        }
    }
}

/// Reads up to and with `end`, but never much more than the limit; `None` at the end of the text.
fn read_to(text: &mut impl BufRead, end: u8, buffer: &mut Vec<u8>) -> io::Result<Option<usize>> {
    let room = (RECORD_LIMIT + 1).saturating_sub(buffer.len()) as u64;
    Ok(Some(text.by_ref().take(room).read_until(end, buffer)?).filter(|n| *n > 0))
}

fn read_lines(mut text: impl BufRead, out: &mut Out<'_>) -> Result<(), Unwanted> {
    let mut line = Vec::new();
    loop {
        line.clear();
        match read_to(&mut text, b'\n', &mut line) {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(()),
            Err(error) => return out.damaged(error.to_string()),
        }
        if line.len() > RECORD_LIMIT {
            return out.damaged(format!("a line is longer than {RECORD_LIMIT} bytes; the rest is not read"));
        }
        let record = line.trim_ascii();
        if record.is_empty() {
            continue;
        }
        match serde_json::from_slice::<serde::de::IgnoredAny>(record) {
            Ok(_) => out.record(Bytes::copy_from_slice(record))?,
            Err(error) => out.damaged(format!("a line is no JSON: {error}"))?,
        }
    }
}

/// Events, back to back or with anything between them: a declaration, white space, an `<Events>` around them all.
fn read_xml(mut text: impl BufRead, out: &mut Out<'_>) -> Result<(), Unwanted> {
    let mut buffer = Vec::new();
    loop {
        match read_to(&mut text, b'>', &mut buffer) {
            Ok(Some(_)) => {}
            Ok(None) if start_of_event(&buffer).is_some() => {
                return out.damaged("the text ends inside an event".to_owned());
            }
            Ok(None) => return Ok(()),
            Err(error) => return out.damaged(error.to_string()),
        }
        if buffer.len() > RECORD_LIMIT {
            return out.damaged(format!("an event is longer than {RECORD_LIMIT} bytes; the rest is not read"));
        }
        if buffer.ends_with(b"</Event>") {
            match start_of_event(&buffer) {
                Some(start) => out.record(Bytes::copy_from_slice(&buffer[start..]))?,
                None => out.damaged("an event ends that never began".to_owned())?,
            }
            buffer.clear();
        }
    }
}

fn start_of_event(buffer: &[u8]) -> Option<usize> {
    memchr::memmem::find_iter(buffer, b"<Event")
        .find(|at| buffer.get(at + 6).is_some_and(|b| *b == b'>' || b.is_ascii_whitespace()))
}
