//! The records of an event log file (`.evtx`), and what such a file lacks.
//!
//! A log is a header of 4 KiB and chunks of 64 KiB. Readers of logs stop at the last whole chunk and at the first record that
//! is all zeros, so a file that was cut looks whole to them. Here a chunk that the file's end cuts is read as far as it
//! goes, and what the header of the file, or of a chunk, promises and is not there is damage.
//!
//! The work for a chunk is bounded by the crate that reads it, whatever the chunk says.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use evtx::err::EvtxError;
use evtx::{ChunkFlags, EvtxChunkData, EvtxParser, EvtxRecord, HeaderFlags, ParserSettings};

use super::from_xml;

/// What every log begins with.
pub const MAGIC: &[u8] = b"ElfFile\0";

const HEADER: u64 = 4096;
const CHUNK: u64 = 65536;
/// The bytes of a record beside its content: its header, and its size once more at its end.
const BESIDE_CONTENT: u32 = 28;
const CUT: &str = "the end of a record is missing";

/// What stands in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<T> {
    /// A record.
    Record(T),
    /// Something that cannot be read, or is not there.
    Damaged(Damage),
}

/// Something that cannot be read, or is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The bytes of the file that hold it.
    pub place: Range<u64>,
    /// What is wrong.
    pub problem: String,
}

/// A log that is being read.
#[derive(Debug)]
pub struct Log<R: Read + Seek> {
    parser: EvtxParser<Padded<R>>,
    size: u64,
}

impl<R: Read + Seek> Log<R> {
    /// Opens a log.
    ///
    /// # Errors
    ///
    /// With what is wrong, when it does not begin as a log does.
    pub fn open(mut reader: R) -> Result<Self, String> {
        let size = reader.seek(SeekFrom::End(0)).and_then(|size| reader.rewind().map(|()| size));
        let size = size.map_err(|error| error.to_string())?;
        let whole = HEADER + size.saturating_sub(HEADER).div_ceil(CHUNK) * CHUNK;
        let padded = Padded { reader, size, whole: if size < HEADER { size } else { whole }, pos: 0 };
        let parser = EvtxParser::from_read_seek(padded).map_err(|error| words(&error))?;
        Ok(Self { parser, size })
    }

    /// Reads the whole log, from its oldest chunk on. `write` makes something of a record.
    ///
    /// # Errors
    ///
    /// When `found` fails, which ends it.
    pub fn read<T, E>(
        mut self,
        write: impl Fn(EvtxRecord<'_>) -> Result<T, EvtxError>,
        mut found: impl FnMut(Found<T>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (lies, promised) = self.promise();
        let settings = Arc::new(ParserSettings::new().indent(false));
        let mut chunks = 0;
        for chunk in self.parser.chunks() {
            chunks += 1;
            match chunk {
                Ok(chunk) => read_chunk(chunk, &settings, self.size, &write, &mut found)?,
                Err(error) => found(Found::Damaged(unreadable_chunk(&error, self.size)))?,
            }
        }
        let missing = (chunks < promised).then(|| {
            format!("the header of the log promises {promised} chunks, and {chunks} are there: the rest is lost")
        });
        match lies.or(missing) {
            Some(problem) => found(Found::Damaged(Damage { place: 0..HEADER.min(self.size), problem })),
            None => Ok(()),
        }
    }

    /// What is wrong with the header, and how many chunks it promises. It may promise too few: it is written late.
    fn promise(&self) -> (Option<String>, u64) {
        let header = self.parser.header();
        if header.validate_checksum() {
            return (None, u64::from(header.chunk_count));
        }
        // Of a log that was copied while it was open nobody expects that.
        let open = header.flags.contains(HeaderFlags::DIRTY);
        let problem = "the checksum of the log's header is wrong, so nobody can tell whether chunks are missing";
        ((!open).then(|| problem.to_owned()), 0)
    }
}

/// Writes a record as event XML, without the declaration that stands before it.
///
/// # Errors
///
/// When the record is damaged.
pub fn xml(record: EvtxRecord<'_>) -> Result<Bytes, EvtxError> {
    let xml = record.into_xml_bytes()?.data;
    let event = from_xml::skip_prolog(&xml).unwrap_or(0)..xml.trim_ascii_end().len();
    Ok(Bytes::from(xml).slice(event))
}

fn read_chunk<T, E>(
    mut chunk: EvtxChunkData,
    settings: &Arc<ParserSettings>,
    size: u64,
    write: &impl Fn(EvtxRecord<'_>) -> Result<T, EvtxError>,
    found: &mut impl FnMut(Found<T>) -> Result<(), E>,
) -> Result<(), E> {
    let number = chunk.number.unwrap_or_default();
    let place = place(number, size);
    let cut = (place.end - place.start < CHUNK).then(|| {
        format!("the log ends inside its chunk {number}: {} of {CHUNK} bytes are there", place.end - place.start)
    });
    let promise = Promise::of(&chunk);
    let mut last = None;
    let mut whole = true;
    let damaged = |problem| Damage { place: place.clone(), problem };
    match chunk.parse(Arc::clone(settings)) {
        Err(error) => {
            whole = false;
            found(Found::Damaged(damaged(words(&error))))?;
        }
        Ok(mut parsed) => {
            for record in parsed.iter() {
                let written = record.and_then(|record| {
                    last = Some(record.event_record_id);
                    if is_whole(&record) { write(record) } else { Err(EvtxError::FailedToCreateRecordModel(CUT)) }
                });
                match written {
                    Ok(written) => found(Found::Record(written))?,
                    Err(error) => {
                        whole = false;
                        found(Found::Damaged(damaged(words(&error))))?;
                    }
                }
            }
        }
    }
    let broken = || whole.then(|| promise.broken(number, last)).flatten();
    match cut.or_else(broken) {
        Some(problem) => found(Found::Damaged(damaged(problem))),
        None => Ok(()),
    }
}

/// A record ends with its size, as it begins. Zeros where its rest should be could be read as values.
fn is_whole(record: &EvtxRecord<'_>) -> bool {
    let end = record.binxml_offset as usize + record.binxml_size as usize;
    let size = (record.binxml_size + BESIDE_CONTENT).to_le_bytes();
    record.chunk.data.get(end..end + size.len()) == Some(&size)
}

/// What the header of a chunk says about its records, as far as it can be believed.
struct Promise {
    last: Option<u64>,
    checked: bool,
}

impl Promise {
    fn of(chunk: &EvtxChunkData) -> Self {
        let header = &chunk.header;
        let some =
            header.first_event_record_id <= header.last_event_record_id && header.last_event_record_id != u64::MAX;
        let last = (some && chunk.validate_header_checksum()).then_some(header.last_event_record_id);
        let open = header.flags.contains(ChunkFlags::DIRTY);
        Self { last, checked: open || chunk.validate_data_checksum() }
    }

    fn broken(&self, number: u64, read: Option<u64>) -> Option<String> {
        if self.last.is_some() && self.last != read {
            let (last, read) = (self.last.unwrap_or_default(), read.map_or("none".to_owned(), |read| read.to_string()));
            return Some(format!("chunk {number} promises records up to {last}; the last that is there is {read}"));
        }
        (!self.checked).then(|| {
            format!("the checksum of chunk {number} is wrong: what was read of it may not be what was written")
        })
    }
}

fn unreadable_chunk(error: &EvtxError, size: u64) -> Damage {
    let place = match error {
        EvtxError::FailedToParseChunk { chunk_id, .. } => place(*chunk_id, size),
        _ => 0..HEADER.min(size),
    };
    Damage { place, problem: words(error) }
}

fn place(chunk: u64, size: u64) -> Range<u64> {
    let start = HEADER.saturating_add(chunk.saturating_mul(CHUNK)).min(size);
    start..start.saturating_add(CHUNK).min(size)
}

/// An error with its causes.
fn words(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// A reader that goes on with zeros up to the end of the chunk in which it ends.
#[derive(Debug)]
struct Padded<R> {
    reader: R,
    size: u64,
    whole: u64,
    pos: u64,
}

impl<R: Read> Read for Padded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let until = if self.pos < self.size { self.size } else { self.whole };
        let room = usize::try_from(until.saturating_sub(self.pos)).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = &mut buffer[..room];
        let read = if self.pos < self.size { self.reader.read(buffer)? } else { 0 };
        // Also where a file has become shorter meanwhile.
        let read = if read > 0 { read } else { zeros(buffer) };
        self.pos += read as u64;
        Ok(read)
    }
}

fn zeros(buffer: &mut [u8]) -> usize {
    buffer.fill(0);
    buffer.len()
}

impl<R: Seek> Seek for Padded<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let pos = match to {
            SeekFrom::Start(pos) => Some(pos),
            SeekFrom::End(by) => self.whole.checked_add_signed(by),
            SeekFrom::Current(by) => self.pos.checked_add_signed(by),
        };
        self.pos = pos.ok_or(io::ErrorKind::InvalidInput)?;
        self.reader.seek(SeekFrom::Start(self.pos.min(self.size)))?;
        Ok(self.pos)
    }
}

#[cfg(test)]
#[path = "from_evtx_tests.rs"]
mod tests;
