//! Rows as a body: joined, then compressed. The same rows always give the same bytes.

use std::cell::RefCell;

use bytes::Bytes;
use libdeflater::{CompressionLvl, Compressor, Decompressor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::output::{BatchLimits, Body, Row};

/// How the rows of a body stand together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// One JSON array.
    #[default]
    JsonArray,
    /// One row a line, each line ended.
    Ndjson,
}

impl Shape {
    /// The media type of a body.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::JsonArray => "application/json",
            Self::Ndjson => "application/x-ndjson",
        }
    }

    pub(super) fn limits(self, max_bytes: usize, max_events: usize) -> BatchLimits {
        let frame_bytes = match self {
            Self::JsonArray => 2,
            Self::Ndjson => 1,
        };
        BatchLimits { max_bytes, max_events, frame_bytes, separator_bytes: 1 }
    }

    pub(super) fn join(self, rows: &[Row]) -> Vec<u8> {
        let (open, separator, close): (&[u8], u8, u8) = match self {
            Self::JsonArray => (b"[", b',', b']'),
            Self::Ndjson => (b"", b'\n', b'\n'),
        };
        let mut joined = Vec::with_capacity(2 + rows.iter().map(|row| row.bytes.len() + 1).sum::<usize>());
        joined.extend_from_slice(open);
        for (at, row) in rows.iter().enumerate() {
            if at > 0 {
                joined.push(separator);
            }
            joined.extend_from_slice(&row.bytes);
        }
        joined.push(close);
        joined
    }
}

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// gzip; every collector knows it.
    #[default]
    Gzip,
    /// zstd; smaller and cheaper, where the collector knows it.
    Zstd,
    /// Sent as it is.
    None,
}

impl Compression {
    /// The value of `Content-Encoding`, if there is one.
    pub(super) fn content_encoding(self) -> Option<&'static str> {
        match self {
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
            Self::None => None,
        }
    }

    /// The highest level it has. The lowest is 1.
    pub(super) fn level_max(self) -> u8 {
        match self {
            Self::Gzip => 12,
            Self::Zstd => 19,
            Self::None => u8::MAX,
        }
    }

    /// `plain`, compressed at a level between 1 and [`Compression::level_max`].
    pub(super) fn compress(self, level: u8, plain: Vec<u8>) -> Bytes {
        match self {
            Self::Gzip => gzip(level, &plain),
            Self::Zstd => zstd::bulk::compress(&plain, i32::from(level))
                .expect("the buffer has the size that zstd asks for, and the level was checked")
                .into(),
            Self::None => plain.into(),
        }
    }

    /// What [`Compression::compress`] was given; `plain_bytes` is its length.
    pub(super) fn expand(self, body: &Bytes, plain_bytes: usize) -> Bytes {
        match self {
            Self::Gzip => {
                let mut plain = vec![0; plain_bytes];
                Decompressor::new().gzip_decompress(body, &mut plain).expect("we compressed it ourselves");
                plain.into()
            }
            Self::Zstd => zstd::bulk::decompress(body, plain_bytes).expect("we compressed it ourselves").into(),
            Self::None => body.clone(),
        }
    }
}

/// Rows joined and compressed.
pub(super) fn compressed(shape: Shape, compression: Compression, level: u8, rows: &[Row]) -> Body {
    let plain = shape.join(rows);
    let plain_bytes = plain.len();
    Body { bytes: compression.compress(level, plain), events: rows.len(), plain_bytes }
}

fn gzip(level: u8, plain: &[u8]) -> Bytes {
    thread_local! {
        // A compressor is up to a few hundred KiB of tables: kept, with its level, for the thread's next batch.
        static KEPT: RefCell<Option<(u8, Compressor)>> = const { RefCell::new(None) };
    }
    KEPT.with_borrow_mut(|kept| {
        if kept.as_ref().is_none_or(|(kept_level, _)| *kept_level != level) {
            let level_checked = CompressionLvl::new(i32::from(level)).expect("problems() checked the level");
            *kept = Some((level, Compressor::new(level_checked)));
        }
        let (_, compressor) = kept.as_mut().expect("it was put there just now");
        let mut out = vec![0; compressor.gzip_compress_bound(plain.len())];
        let length = compressor.gzip_compress(plain, &mut out).expect("the buffer has the size that gzip asks for");
        // Copied, so that a batch in flight holds its own size and not the bound.
        Bytes::copy_from_slice(&out[..length])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        ["{\"a\":1}", "{\"b\":2}", "{}"]
            .into_iter()
            .map(|row| Row::timeless(Bytes::from_static(row.as_bytes())))
            .collect()
    }

    #[test]
    fn the_limits_tell_the_exact_size_of_a_body() {
        for shape in [Shape::JsonArray, Shape::Ndjson] {
            for count in 1..=3 {
                let rows = &rows()[..count];
                let limits = shape.limits(1000, 10);
                let told = limits.frame_bytes
                    + rows.iter().map(|row| row.bytes.len()).sum::<usize>()
                    + limits.separator_bytes * (count - 1);
                assert_eq!(shape.join(rows).len(), told, "{shape:?} {count}");
            }
        }
        assert_eq!(Shape::JsonArray.join(&rows()), b"[{\"a\":1},{\"b\":2},{}]");
        assert_eq!(Shape::Ndjson.join(&rows()), b"{\"a\":1}\n{\"b\":2}\n{}\n");
    }

    #[test]
    fn every_compression_gives_back_what_it_took() {
        let plain = Shape::JsonArray.join(&vec![rows(); 500].concat());
        for compression in [Compression::Gzip, Compression::Zstd, Compression::None] {
            for level in [1, 6, compression.level_max().min(19)] {
                let body = compression.compress(level, plain.clone());
                assert_eq!(compression.expand(&body, plain.len()), plain, "{compression:?} {level}");
                assert_eq!(body, compression.compress(level, plain.clone()), "the same bytes each time");
            }
        }
    }
}
