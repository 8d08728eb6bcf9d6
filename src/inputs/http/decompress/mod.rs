//! Bodies out of their compression, with a hard limit on what comes out.
//!
//! gzip, the usual case, goes through libdeflate into a buffer that grows from a guess up to the limit and never past
//! it: a bomb stops at the wall. libdeflate reads one member and does not say where it ended, so bodies with several
//! members take the streaming road, as do deflate and zstd. A body is decompressed once: what comes out is data, even
//! if it looks compressed.

use std::io::Read;

use bytes::Bytes;
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::{HeaderMap, header};
use libdeflater::{DecompressionError, Decompressor};

use super::body::{NoMemory, Share};

const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b, 0x08];
/// deflate cannot do better than about 1032 to 1: a length above that is a lie.
const DEFLATE_RATIO_MAX: u64 = 1032;
/// A first guess where the body says nothing better.
const RATIO_GUESS: u64 = 12;
/// RFC 9659: the largest window that zstd may use as a content encoding is 8 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
const BUFFER_MIN: u64 = 16 << 10;

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
    /// No room for it now.
    #[error(transparent)]
    NoMemory(#[from] NoMemory),
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

/// Decompresses a body to at most `limit` bytes. CPU work: call it where blocking is allowed. `share` grows with the
/// buffer, before it does.
pub fn decompress(encoding: Encoding, body: Bytes, limit: u64, share: &mut Share) -> Result<Bytes, DecompressError> {
    match encoding {
        Encoding::Identity if body.len() as u64 > limit => Err(DecompressError::TooLarge { limit }),
        Encoding::Identity => Ok(body),
        Encoding::Gzip => gzip(&body, limit, share),
        Encoding::Deflate => deflate(&body, limit, share),
        Encoding::Zstd => zstd(&body, limit, share),
    }
}

fn gzip(body: &[u8], limit: u64, share: &mut Share) -> Result<Bytes, DecompressError> {
    let several_members = memchr::memmem::find_iter(body, GZIP_MAGIC).nth(1).is_some();
    let Some(trailer) = body.last_chunk::<8>().filter(|_| !several_members) else {
        return stream(MultiGzDecoder::new(body), body.len(), limit, share);
    };
    let [c0, c1, c2, c3, l0, l1, l2, l3] = *trailer;
    let (crc, length) = (u32::from_le_bytes([c0, c1, c2, c3]), u32::from_le_bytes([l0, l1, l2, l3]));
    let wire = body.len() as u64;
    let plausible = u64::from(length) <= wire.saturating_mul(DEFLATE_RATIO_MAX);
    if plausible && u64::from(length) > limit {
        // Only a hint so far: with bytes after the member these four could be anything.
        return stream(MultiGzDecoder::new(body), body.len(), limit, share);
    }
    let mut room = if plausible { u64::from(length).max(1) } else { (wire * RATIO_GUESS).max(BUFFER_MIN) };
    let mut decompressor = Decompressor::new();
    loop {
        room = room.min(limit);
        share.grow_to(wire + room)?;
        let mut out = vec![0; usize::try_from(room).unwrap_or(usize::MAX)];
        match decompressor.gzip_decompress(body, &mut out) {
            Ok(bytes) => {
                out.truncate(bytes);
                let ends_here = bytes as u32 == length && crc32fast::hash(&out) == crc;
                return if ends_here { Ok(out.into()) } else { Err(damaged("bytes after the end")) };
            }
            Err(DecompressionError::InsufficientSpace) if room >= limit => {
                return Err(DecompressError::TooLarge { limit });
            }
            Err(DecompressionError::InsufficientSpace) => room = room.saturating_mul(4),
            Err(DecompressionError::BadData) => return Err(damaged("not valid gzip")),
        }
    }
}

/// RFC 9110 means zlib by "deflate"; some clients send it raw. zlib is recognised by its header and its checksum.
fn deflate(body: &[u8], limit: u64, share: &mut Share) -> Result<Bytes, DecompressError> {
    let looks_like_zlib = matches!(body, [method, flags, ..]
        if method & 0x0f == 8 && (u16::from(*method) << 8 | u16::from(*flags)).is_multiple_of(31));
    if looks_like_zlib {
        let mut decoder = ZlibDecoder::new(body);
        match stream(&mut decoder, body.len(), limit, share) {
            Ok(_) if decoder.total_in() != body.len() as u64 => return Err(damaged("bytes after the end")),
            Err(DecompressError::Damaged(_)) => {}
            done => return done,
        }
    }
    let mut decoder = DeflateDecoder::new(body);
    let out = stream(&mut decoder, body.len(), limit, share)?;
    if decoder.total_in() == body.len() as u64 { Ok(out) } else { Err(damaged("bytes after the end")) }
}

fn zstd(body: &[u8], limit: u64, share: &mut Share) -> Result<Bytes, DecompressError> {
    let io = |error: std::io::Error| damaged(&error.to_string());
    let mut decoder = zstd::stream::read::Decoder::with_buffer(body).map_err(io)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(io)?;
    stream(decoder, body.len(), limit, share)
}

/// Reads to the end, but never more than one byte past the limit.
fn stream(reader: impl Read, wire: usize, limit: u64, share: &mut Share) -> Result<Bytes, DecompressError> {
    let mut reader = reader.take(limit + 1);
    let mut out = Vec::new();
    loop {
        let room = (out.len() as u64 * 2).max(BUFFER_MIN).min(limit + 1);
        share.grow_to(wire as u64 + room)?;
        let before = out.len();
        let step = room - before as u64;
        let read = reader.by_ref().take(step.max(1)).read_to_end(&mut out).map_err(|e| damaged(&e.to_string()))?;
        if out.len() as u64 > limit {
            return Err(DecompressError::TooLarge { limit });
        }
        if read == 0 {
            return Ok(out.into());
        }
    }
}

fn damaged(reason: &str) -> DecompressError {
    DecompressError::Damaged(reason.to_owned())
}

#[cfg(test)]
mod tests;
