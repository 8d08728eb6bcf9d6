//! Payloads into their stored form and out of it.
//!
//! A context of Zstandard is hundreds of kilobytes that want to be cleared, many times the work on a small record: each thread keeps
//! one. What is tiny is stored as it is: there is little to find in it, and its record has a header and keys beside it anyway.

use std::cell::RefCell;
use std::io;

use zstd::bulk::{Compressor, Decompressor};

/// A payload up to this size is not compressed: one event, or two.
const TINY: usize = 1024;

/// How a payload is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Codec {
    /// As it was given.
    Raw = 0,
    /// Zstandard.
    Zstd = 1,
}

thread_local! {
    /// With the level that it was made for.
    static COMPRESSOR: RefCell<Option<(i32, Compressor<'static>)>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// The payload as it is stored, and how.
pub(super) fn compress(payload: Vec<u8>, level: i32) -> (Codec, Vec<u8>) {
    if level == 0 || payload.len() <= TINY {
        return (Codec::Raw, payload);
    }
    match COMPRESSOR.with_borrow_mut(|kept| zstd(kept, &payload, level)) {
        Ok(packed) if packed.len() < payload.len() => (Codec::Zstd, packed),
        _ => (Codec::Raw, payload),
    }
}

fn zstd(kept: &mut Option<(i32, Compressor<'static>)>, payload: &[u8], level: i32) -> io::Result<Vec<u8>> {
    let compressor = match kept {
        Some((of, compressor)) if *of == level => compressor,
        other => &mut other.insert((level, Compressor::new(level)?)).1,
    };
    compressor.compress(payload)
}

/// What was stored with Zstandard, of so many bytes at most.
pub(super) fn decompress(stored: &[u8], most: usize) -> io::Result<Vec<u8>> {
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            none => none.insert(Decompressor::new()?),
        };
        decompressor.decompress(stored, most)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_tiny_stays_as_it_is_and_the_rest_comes_back_whatever_was_packed_before() {
        assert_eq!(compress(vec![7; TINY], 1), (Codec::Raw, vec![7; TINY]));
        for (level, len) in [(1, TINY + 1), (3, 100_000), (1, 5_000), (-3, 70_000)] {
            let plain: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            let (codec, packed) = compress(plain.clone(), level);
            assert_eq!(codec, Codec::Zstd, "{level} {len}");
            assert_eq!(decompress(&packed, len).ok(), Some(plain), "{level} {len}");
            assert!(decompress(&packed, len - 1).is_err(), "never more than it may");
            assert!(decompress(&packed[..packed.len() - 1], len).is_err());
        }
        assert_eq!(compress(vec![7; 5_000], 0).0, Codec::Raw);
    }
}
