//! Bodies out of their compression, with a hard limit on what comes out.
//!
//! gzip, the usual case, goes through libdeflate into a buffer of the size that the body says, and never past it: a bomb stops at
//! the wall. libdeflate reads one member, does not say where it ended and cannot stop in the middle, so bodies with several
//! members and large ones take the streaming road, as does zstd. That one gives way to other clients as it goes. zlib says no size:
//! what honest events come to goes through libdeflate too, and whatever it does not take goes the streaming road from its beginning,
//! which has the words for what is wrong. Raw deflate only goes that one. What comes out is never decompressed again, even if it
//! looks compressed.

use std::cell::{Cell, RefCell};

use bytes::Bytes;
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::{HeaderMap, header};
use libdeflater::{DecompressionError, Decompressor};

use super::body::{NoMemory, Share};
use crate::event::Presence;
use crate::turns::{BRIEF, Ended, SMALL, Turn, Turns, Who};
use stream::{Wire, stream};

mod stream;

const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b, 0x08];
/// deflate cannot do better than about 1032 to 1: a length above that is a lie.
const DEFLATE_RATIO_MAX: u64 = 1032;
/// The largest body as it came that is small work whatever it holds: blocks that yield nothing take time, too.
const SMALL_WIRE: usize = 256 << 10;
/// The same for what is brief. Honest events are a tenth of their size.
const BRIEF_WIRE: usize = 16 << 10;
/// What is decompressed in one go, as it came and as it comes out: about a slice of time.
const AT_ONCE_WIRE: usize = 1 << 20;
const AT_ONCE: u64 = 8 << 20;
/// What is tried for zlib, in times of the body as it came. Rows in JSON are 10 to 14 times as large, items in XML 14 to 21 times.
/// To try costs half of what streaming does.
const ZLIB_TIMES: u64 = 64;
/// What is tried first, until something is known.
const ZLIB_TIMES_FIRST: u64 = 16;
/// RFC 9659: the largest window that zstd may use as a content encoding is 8 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

thread_local! {
    /// Its tables are made anew by each body, its memory is not.
    static INFLATER: RefCell<Decompressor> = RefCell::new(Decompressor::new());
    /// In times of a body as it came, what the largest of the last ones in zlib came to: the next is mostly of their kind. A buffer
    /// of about the right size is less to zero and less to have than one that holds all that may come.
    static LAST_TIMES: Cell<u64> = const { Cell::new(ZLIB_TIMES_FIRST) };
}

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// gzip, one member or several.
    Gzip,
    /// zlib, or raw deflate, which some clients send under the same name.
    Deflate,
    /// zstd, with a window up to 8 MiB.
    Zstd,
}

/// Why a body was not decompressed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecompressError {
    /// An encoding that is not known, or more than one.
    #[error("Content-Encoding {0:?} is not supported; use gzip, deflate or zstd, one at a time")]
    Unsupported(String),
    /// More comes out than the limit.
    #[error("the decompressed body is larger than {limit} bytes")]
    TooLarge {
        /// `body_max`.
        limit: u64,
    },
    /// The compressed data is damaged or ends too early.
    #[error("the compressed body is damaged or cut off: {0}")]
    Damaged(String),
    /// Its sender has gone.
    #[error("the sender has gone")]
    Gone,
    /// No room for it now, or too much of its client is waiting.
    #[error(transparent)]
    NoMemory(#[from] NoMemory),
    /// A fault of ours.
    #[error("the gateway failed at this upload")]
    Failed,
}

impl Encoding {
    /// What the headers say; where they say nothing, gzip is recognised by its first bytes.
    pub fn of(headers: &HeaderMap, body: &[u8]) -> Result<Self, DecompressError> {
        let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
        let Some(value) = values.next() else {
            return Ok(if body.starts_with(GZIP_MAGIC) { Self::Gzip } else { Self::Identity });
        };
        let text = String::from_utf8_lossy(value.as_bytes()).trim().to_ascii_lowercase();
        match text.as_str() {
            _ if values.next().is_some() => Err(DecompressError::Unsupported(format!("{text}, …"))),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "deflate" => Ok(Self::Deflate),
            "zstd" => Ok(Self::Zstd),
            "identity" => Ok(Self::Identity),
            _ => Err(DecompressError::Unsupported(text.chars().take(64).collect())),
        }
    }
}

/// Decompresses a body in its client's turn, to at most `limit` bytes.
///
/// # Errors
///
/// As [`decompress`], and when its turn does not come.
pub async fn in_turn(
    turns: &Turns,
    who: &Who,
    (encoding, body): (Encoding, Bytes),
    limit: u64,
    share: Share,
    presence: &Presence,
) -> Result<(Bytes, Share), DecompressError> {
    let run = async |bytes: u64, limit: u64, mut share: Share| {
        let (body, presence) = (body.clone(), presence.clone());
        let work = move |turn: &Turn| (decompress(encoding, body, limit, &mut share, turn, &presence), share);
        let is_brief = bytes <= BRIEF_WIRE as u64 && limit <= BRIEF;
        let done = if is_brief { turns.run_brief(who, bytes, work).await } else { turns.run(who, bytes, work).await };
        // Whatever stopped it is no fault of the upload: the client must keep its copy and come back.
        done.map_err(|ended| match ended {
            Ended::Crowded => NoMemory.into(),
            Ended::Panicked => DecompressError::Failed,
        })
    };
    let mut share = share;
    for (wire_max, most) in [(BRIEF_WIRE, BRIEF), (SMALL_WIRE, SMALL)] {
        if !looks_like(encoding, &body, wire_max, most) {
            continue;
        }
        let (result, rest) = run(body.len() as u64, limit.min(most), share).await?;
        share = rest;
        match result {
            // More than it looked like: it begins again, as what it is.
            Err(DecompressError::TooLarge { .. }) if limit > most => share.shrink_to(body.len() as u64),
            result => return result.map(|body| (body, share)),
        }
    }
    let (mut result, mut share) = run(u64::MAX, limit, share).await?;
    if matches!(result, Err(DecompressError::NoMemory(_))) {
        // Others were in the way. Once all that it may need is there it begins again; it must not wait while it is its turn.
        let wire = body.len() as u64;
        share.shrink_to(wire);
        let told = gzip_length(&body).filter(|_| encoding == Encoding::Gzip);
        share.grow_or_wait(wire + told.unwrap_or(limit).min(limit) + 1).await?;
        (result, share) = run(u64::MAX, limit, share).await?;
    }
    result.map(|body| (body, share))
}

/// Whether it looks like no more than `most` bytes, from at most `wire_max`.
fn looks_like(encoding: Encoding, body: &[u8], wire_max: usize, most: u64) -> bool {
    let is_short = encoding != Encoding::Gzip || gzip_length(body).is_none_or(|length| length <= most);
    body.len() <= wire_max && is_short
}

/// Decompresses a body to at most `limit` bytes. CPU work: call it where blocking is allowed. `share` grows with the
/// buffer, before it does, and is in the end what the body takes.
///
/// # Errors
///
/// When it is damaged, too large, or its sender has gone.
pub fn decompress(
    encoding: Encoding,
    body: Bytes,
    limit: u64,
    share: &mut Share,
    turn: &Turn,
    presence: &Presence,
) -> Result<Bytes, DecompressError> {
    let wire = Wire::new(&body, turn, presence);
    let out = match encoding {
        Encoding::Identity if body.len() as u64 > limit => return Err(DecompressError::TooLarge { limit }),
        Encoding::Identity => return Ok(body),
        Encoding::Gzip => gzip(wire, limit, share),
        Encoding::Deflate => deflate(wire, limit, share),
        Encoding::Zstd => zstd(wire, limit, share),
    }?;
    // What it was made of is gone before its memory is given back.
    drop(body);
    share.shrink_to(out.len() as u64);
    Ok(out)
}

/// What the last bytes say of the length, where they can be right: those of one member that is whole.
fn gzip_length(body: &[u8]) -> Option<u64> {
    let length = u64::from(u32::from_le_bytes(*body.last_chunk()?));
    (length <= (body.len() as u64).saturating_mul(DEFLATE_RATIO_MAX)).then_some(length)
}

fn gzip(wire: Wire<'_>, limit: u64, share: &mut Share) -> Result<Bytes, DecompressError> {
    let body = wire.whole;
    let several_members = memchr::memmem::find_iter(body, GZIP_MAGIC).nth(1).is_some();
    let told = gzip_length(body).filter(|_| !several_members);
    let at_once = told.filter(|length| body.len() <= AT_ONCE_WIRE && *length <= AT_ONCE.min(limit));
    let Some(length) = at_once else {
        return stream(MultiGzDecoder::new(wire), wire, told, limit, share);
    };
    share.grow_to(body.len() as u64 + length)?;
    let mut out = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    match INFLATER.with_borrow_mut(|inflater| inflater.gzip_decompress(body, &mut out)) {
        Ok(bytes) if bytes as u64 == length && ends_with_sum(body, &out) => Ok(out.into()),
        Ok(_) => Err(damaged("bytes after the end")),
        Err(DecompressionError::InsufficientSpace) => Err(damaged("more comes out than its end says")),
        Err(DecompressionError::BadData) => Err(damaged("not valid gzip")),
    }
}

/// Whether the member that was read ends where the body does.
fn ends_with_sum(body: &[u8], out: &[u8]) -> bool {
    let sum = body.last_chunk::<8>().map(|[a, b, c, d, ..]| u32::from_le_bytes([*a, *b, *c, *d]));
    sum == Some(crc32fast::hash(out))
}

/// RFC 9110 means zlib by "deflate"; some clients send it raw. zlib is recognised by its header and its checksum.
fn deflate(wire: Wire<'_>, limit: u64, share: &mut Share) -> Result<Bytes, DecompressError> {
    let length = wire.whole.len() as u64;
    let looks_like_zlib = matches!(wire.whole, [method, flags, ..]
        if method & 0x0f == 8 && (u16::from(*method) << 8 | u16::from(*flags)).is_multiple_of(31));
    if looks_like_zlib {
        if let Some(out) = zlib_at_once(wire, limit, share) {
            return Ok(out);
        }
        let mut decoder = ZlibDecoder::new(wire);
        match stream(&mut decoder, wire, None, limit, share) {
            Ok(_) if decoder.total_in() != length => return Err(damaged("bytes after the end")),
            Err(DecompressError::Damaged(_)) => {}
            done => return done,
        }
    }
    let mut decoder = DeflateDecoder::new(wire);
    let out = stream(&mut decoder, wire, None, limit, share)?;
    if decoder.total_in() == length { Ok(out) } else { Err(damaged("bytes after the end")) }
}

/// A body in zlib of usual size, where it is certain that it is one from its first byte to its last. `None`, and nothing of it counts,
/// where it is not, or its sender has gone: whoever streams it finds out why.
fn zlib_at_once(wire: Wire<'_>, limit: u64, share: &mut Share) -> Option<Bytes> {
    let (body, held) = (wire.whole, share.bytes());
    if body.len() > AT_ONCE_WIRE || wire.go_on().is_err() {
        return None;
    }
    let mut out = Vec::new();
    for times in [LAST_TIMES.get(), ZLIB_TIMES] {
        let room = (body.len() as u64 * times).min(AT_ONCE.min(limit));
        if room <= out.len() as u64 || share.grow_to(body.len() as u64 + room).is_err() {
            break;
        }
        // Nothing that stands there is of use: a new one need not be moved, and comes zeroed where it is fresh.
        drop(out);
        out = vec![0; usize::try_from(room).unwrap_or(usize::MAX)];
        match INFLATER.with_borrow_mut(|inflater| inflater.zlib_decompress(body, &mut out)) {
            Ok(length) if ends_with_adler(body, &out[..length]) => {
                out.truncate(length);
                let times = length as u64 / (body.len() as u64) + 2;
                // What is less frequent and larger stays the measure for a while.
                LAST_TIMES.set(times.max(LAST_TIMES.get() - LAST_TIMES.get() / 8).min(ZLIB_TIMES));
                return Some(out.into());
            }
            Err(DecompressionError::InsufficientSpace) => {}
            Ok(_) | Err(DecompressionError::BadData) => break,
        }
    }
    share.shrink_to(held);
    None
}

/// Whether the checksum, which was found right where the stream ended, stands at the end of the body and nowhere else: then that is
/// where the stream ended.
fn ends_with_adler(body: &[u8], out: &[u8]) -> bool {
    let sum = libdeflater::adler32(out).to_be_bytes();
    memchr::memmem::find(body, &sum) == Some(body.len() - sum.len())
}

fn zstd(wire: Wire<'_>, limit: u64, share: &mut Share) -> Result<Bytes, DecompressError> {
    let io = |error: std::io::Error| damaged(&error.to_string());
    let mut decoder = zstd::stream::read::Decoder::with_buffer(wire).map_err(io)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(io)?;
    stream(decoder, wire, None, limit, share)
}

fn damaged(reason: &str) -> DecompressError {
    DecompressError::Damaged(reason.to_owned())
}

#[cfg(test)]
mod tests;
