//! Follows the framing of a stream of HTTP/1 requests, as bytes pass.

use bytes::BytesMut;

use super::Refusal;
use super::head::{self, BodyLength, HEAD_MAX};

/// The longest line that opens a chunk: a size and up to 1 KiB of extensions.
const CHUNK_LINE_MAX: usize = 1024 + 32;
/// Extensions of all chunks of one body together: more is an attack on whoever parses them.
const EXTENSIONS_MAX: usize = 16 << 10;
/// All trailers of one body together.
const TRAILERS_MAX: usize = 4 << 10;

/// Where in the stream of requests the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Lines up to `line` are whole, and of the next one the bytes up to `seen` are looked at.
    Head {
        line: usize,
        seen: usize,
    },
    Body {
        left: u64,
    },
    ChunkLine,
    ChunkData {
        left: u64,
    },
    ChunkEnd,
    Trailers {
        bytes: usize,
    },
}

/// The framing of one connection. Pure: bytes in, verified bytes out.
#[derive(Debug)]
pub struct Framing {
    place: Place,
    heads: u64,
    extensions: usize,
    may_skip_empty_line: bool,
    head_max: usize,
}

impl Default for Framing {
    fn default() -> Self {
        Self::with_head_max(HEAD_MAX)
    }
}

impl Framing {
    /// With heads of at most so many bytes.
    pub fn with_head_max(head_max: usize) -> Self {
        Self { place: Place::Head { line: 0, seen: 0 }, heads: 0, extensions: 0, may_skip_empty_line: true, head_max }
    }

    /// How many heads were verified.
    pub fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether the next byte belongs to a head: no request is half read.
    pub fn in_head(&self) -> bool {
        matches!(self.place, Place::Head { .. })
    }

    /// How many bytes may pass unseen, because only their number matters.
    pub fn unseen(&self) -> u64 {
        match self.place {
            Place::Body { left } | Place::ChunkData { left } => left,
            _ => 0,
        }
    }

    /// Notes that so many bytes passed unseen; at most [`Framing::unseen`].
    pub fn pass(&mut self, bytes: u64) {
        match &mut self.place {
            Place::Body { left } => {
                *left -= bytes;
                if *left == 0 {
                    self.next_request();
                }
            }
            Place::ChunkData { left } => {
                *left -= bytes;
                if *left == 0 {
                    self.place = Place::ChunkEnd;
                }
            }
            _ => debug_assert_eq!(bytes, 0, "only body bytes pass unseen"),
        }
    }

    /// Moves what is sound from `held` to `verified`. What stays in `held` is the beginning of a head, a chunk line or
    /// a trailer, and has a bound. After a refusal the stream cannot be followed any further.
    pub fn advance(&mut self, held: &mut BytesMut, verified: &mut BytesMut) -> Result<(), Refusal> {
        while !held.is_empty() {
            let taken = match self.place {
                Place::Head { line, seen } => self.head(held, line, seen)?,
                Place::Body { left } | Place::ChunkData { left } => {
                    let bytes = left.min(held.len() as u64);
                    self.pass(bytes);
                    usize::try_from(bytes).unwrap_or(held.len())
                }
                Place::ChunkLine => self.chunk_line(held)?,
                Place::ChunkEnd => self.chunk_end(held)?,
                Place::Trailers { bytes } => self.trailer(held, bytes)?,
            };
            if taken == 0 {
                break;
            }
            verified.extend_from_slice(&held.split_to(taken));
        }
        Ok(())
    }

    fn next_request(&mut self) {
        *self = Self { heads: self.heads, ..Self::with_head_max(self.head_max) };
    }

    /// RFC 9112 asks servers to ignore one empty line before a request; some old clients send one after a body.
    fn skip_empty_line(&mut self, held: &mut BytesMut) {
        if self.may_skip_empty_line && held.starts_with(b"\r\n") {
            bytes::Buf::advance(held, 2);
            self.may_skip_empty_line = false;
        }
    }

    fn head(&mut self, held: &mut BytesMut, line: usize, seen: usize) -> Result<usize, Refusal> {
        if seen == 0 {
            self.skip_empty_line(held);
        }
        let (mut line_start, mut seen) = (line, seen);
        while let Some(end) = line_end(held, seen, self.head_max)? {
            if end == line_start + 2 {
                self.place = match head::check(&held[..end])? {
                    BodyLength::Exact(left) => Place::Body { left },
                    BodyLength::Chunked => Place::ChunkLine,
                };
                self.heads += 1;
                if self.unseen() == 0 && self.place != Place::ChunkLine {
                    self.next_request();
                }
                return Ok(end);
            }
            (line_start, seen) = (end, end);
        }
        // A carriage return at the end is judged with what follows it. Nothing else is looked at twice.
        let seen = seen.max(held.len().saturating_sub(usize::from(held.ends_with(b"\r"))));
        self.place = Place::Head { line: line_start, seen };
        Ok(0)
    }

    fn chunk_line(&mut self, held: &BytesMut) -> Result<usize, Refusal> {
        let Some(end) = line_end(held, 0, CHUNK_LINE_MAX)? else { return Ok(0) };
        let line = &held[..end - 2];
        let digits = line.iter().position(|byte| *byte == b';').unwrap_or(line.len());
        let size = chunk_size(&line[..digits])?;
        self.extensions += line.len() - digits;
        if self.extensions > EXTENSIONS_MAX || line.iter().any(|byte| (*byte < 0x20 && *byte != b'\t') || *byte == 0x7f)
        {
            return Err(Refusal::bad("the extensions of the chunks are too long or hold control bytes"));
        }
        self.place = if size == 0 { Place::Trailers { bytes: 0 } } else { Place::ChunkData { left: size } };
        Ok(end)
    }

    fn chunk_end(&mut self, held: &BytesMut) -> Result<usize, Refusal> {
        if !b"\r\n".starts_with(&held[..held.len().min(2)]) {
            return Err(Refusal::bad("a chunk is longer than its size says"));
        }
        if held.len() < 2 {
            return Ok(0);
        }
        self.place = Place::ChunkLine;
        Ok(2)
    }

    fn trailer(&mut self, held: &BytesMut, before: usize) -> Result<usize, Refusal> {
        let Some(end) = line_end(held, 0, TRAILERS_MAX - before.min(TRAILERS_MAX))? else { return Ok(0) };
        if end == 2 {
            self.next_request();
            return Ok(end);
        }
        let (name, _) = head::field(&held[..end - 2])?;
        let framing = ["host", "content-length", "transfer-encoding", "trailer", "authorization", "content-encoding"];
        if framing.iter().any(|forbidden| name.eq_ignore_ascii_case(forbidden.as_bytes())) {
            return Err(Refusal::bad("a trailer names a field that must stand in the head"));
        }
        self.place = Place::Trailers { bytes: before + end };
        Ok(end)
    }
}

/// The end of the line that starts at `start` or before, its CRLF included; `None` when it is not all there yet.
fn line_end(held: &[u8], start: usize, max: usize) -> Result<Option<usize>, Refusal> {
    let rest = &held[start..];
    let feed = memchr::memchr(b'\n', rest);
    let line = &rest[..feed.unwrap_or(rest.len())];
    let whole = feed.is_some();
    let body = if whole {
        line.strip_suffix(b"\r").ok_or_else(|| Refusal::bad("a line ends with a bare line feed"))?
    } else {
        line.strip_suffix(b"\r").unwrap_or(line)
    };
    if body.iter().any(|byte| matches!(byte, b'\r' | 0)) {
        return Err(Refusal::bad("a line holds a bare carriage return or a NUL"));
    }
    let end = start + line.len() + usize::from(whole);
    if end > max {
        return Err(Refusal::too_large(format!("more than {max} bytes where a head, a chunk line or trailers stand")));
    }
    Ok(whole.then_some(end))
}

fn chunk_size(digits: &[u8]) -> Result<u64, Refusal> {
    let wrong = || Refusal::bad("a chunk size is not a plain hexadecimal number");
    if digits.is_empty() || digits.len() > 15 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(wrong());
    }
    std::str::from_utf8(digits).ok().and_then(|text| u64::from_str_radix(text, 16).ok()).ok_or_else(wrong)
}
