//! Event log files of simulated events: what a host's `Security.evtx` would be, in the plainest form that readers take.

use super::events::{Shape, SimulatedEvent};
use gatepost_core::event::xml::{Token, Tokens, attributes, unescape};

/// The size of the header of a log.
pub const HEADER: usize = 4096;
/// The size of a chunk.
pub const CHUNK: usize = 65536;
const CHUNK_HEADER: usize = 512;
const RECORD_HEADER: usize = 24;
/// Between 1601, where Windows' clock begins, and 1970, in ticks.
const SINCE_1601: i64 = 116_444_736_000_000_000;

/// A log with these events, as many in a chunk as there is room for.
///
/// # Panics
///
/// When an event alone is larger than a chunk.
pub fn log(events: &[SimulatedEvent]) -> Vec<u8> {
    let mut chunks = Vec::new();
    let mut rest = events;
    while !rest.is_empty() || chunks.is_empty() {
        let (chunk, taken) = chunk(rest, (events.len() - rest.len()) as u64 + 1);
        assert!(taken > 0 || rest.is_empty(), "an event is larger than a chunk");
        chunks.push(chunk);
        rest = &rest[taken..];
    }
    let mut log = header(chunks.len() as u16, events.len() as u64 + 1);
    log.extend(chunks.into_iter().flatten());
    log
}

fn header(chunks: u16, next_record: u64) -> Vec<u8> {
    let mut header = vec![0; HEADER];
    put(&mut header, 0, b"ElfFile\0");
    put(&mut header, 16, &u64::from(chunks - 1).to_le_bytes());
    put(&mut header, 24, &next_record.to_le_bytes());
    put(&mut header, 32, &128u32.to_le_bytes());
    put(&mut header, 36, &1u16.to_le_bytes());
    put(&mut header, 38, &3u16.to_le_bytes());
    put(&mut header, 40, &(HEADER as u16).to_le_bytes());
    put(&mut header, 42, &chunks.to_le_bytes());
    let checksum = crc32fast::hash(&header[..120]);
    put(&mut header, 124, &checksum.to_le_bytes());
    header
}

/// A chunk with the first of these events, and how many it holds. `number` is that of its first record.
fn chunk(events: &[SimulatedEvent], number: u64) -> (Vec<u8>, usize) {
    let mut chunk = vec![0; CHUNK_HEADER];
    let (mut taken, mut last) = (0, CHUNK_HEADER);
    for event in events {
        let record = record(event, number + taken as u64, chunk.len());
        if chunk.len() + record.len() > CHUNK {
            break;
        }
        last = chunk.len();
        chunk.extend(record);
        taken += 1;
    }
    let free = chunk.len();
    chunk.resize(CHUNK, 0);
    put(&mut chunk, 0, b"ElfChnk\0");
    let end = (number + taken as u64).saturating_sub(1);
    for (at, value) in [(8, number), (16, end), (24, number), (32, end)] {
        put(&mut chunk, at, &value.to_le_bytes());
    }
    for (at, value) in [(40, 128), (44, last), (48, free)] {
        put(&mut chunk, at, &(value as u32).to_le_bytes());
    }
    let records = crc32fast::hash(&chunk[CHUNK_HEADER..free]);
    put(&mut chunk, 52, &records.to_le_bytes());
    let head = crc32fast::hash(&[&chunk[..120], &chunk[128..CHUNK_HEADER]].concat());
    put(&mut chunk, 124, &head.to_le_bytes());
    (chunk, taken)
}

/// A record that begins at this offset of its chunk.
fn record(event: &SimulatedEvent, number: u64, offset: usize) -> Vec<u8> {
    let content = binary(&event.render(Shape::Xml), offset + RECORD_HEADER);
    let size = ((RECORD_HEADER + content.len() + 4) as u32).to_le_bytes();
    let time = (event.ticks() + SINCE_1601).to_le_bytes();
    [&b"**\0\0"[..], &size, &number.to_le_bytes(), &time, &content, &size].concat()
}

/// An event as binary XML without templates. Names stand where they are used first, so it must know its offset.
fn binary(xml: &[u8], offset: usize) -> Vec<u8> {
    let mut out = vec![0x0F, 1, 1, 0];
    let mut tokens = Tokens::new(xml, 0);
    while let Ok(Some(token)) = tokens.next_token() {
        match token {
            Token::Open { name, attributes: told, empty } => {
                let told: Vec<_> = attributes(told).collect();
                out.push(if told.is_empty() { 0x01 } else { 0x41 });
                out.extend([0; 4]);
                put_name(&mut out, offset, &String::from_utf8_lossy(name));
                if !told.is_empty() {
                    out.extend([0; 4]);
                }
                for (name, value) in told {
                    out.push(0x06);
                    put_name(&mut out, offset, name);
                    put_text(&mut out, &value);
                }
                out.push(if empty { 0x03 } else { 0x02 });
            }
            Token::Close { .. } => out.push(0x04),
            Token::Text(text) | Token::Literal(text) => put_text(&mut out, &unescape(&String::from_utf8_lossy(text))),
        }
    }
    out.push(0);
    out
}

fn put_name(out: &mut Vec<u8>, offset: usize, name: &str) {
    let at = (offset + out.len() + 4) as u32;
    out.extend(at.to_le_bytes());
    out.extend([0; 6]);
    put_units(out, name);
    out.extend([0; 2]);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend([0x05, 0x01]);
    put_units(out, text);
}

/// The number of UTF-16 units, and the units.
fn put_units(out: &mut Vec<u8>, text: &str) {
    let units: Vec<u16> = text.encode_utf16().collect();
    out.extend((units.len() as u16).to_le_bytes());
    out.extend(units.into_iter().flat_map(u16::to_le_bytes));
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}
