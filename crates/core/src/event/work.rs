//! Searches whose work can be counted.
//!
//! Decoders are linear by construction: what was searched once is not searched again. Tests and fuzzers hold them to it by
//! counting the bytes that are visited, which no busy machine can falsify. Elsewhere nothing is counted and nothing paid.

use memchr::{memchr, memmem};

/// The first place of a byte.
pub(crate) fn find_byte(byte: u8, text: &[u8]) -> Option<usize> {
    let found = memchr(byte, text);
    visited(|| found.map_or(text.len(), |at| at + 1));
    found
}

/// The first place of some bytes.
pub(crate) fn find(part: &[u8], text: &[u8]) -> Option<usize> {
    let found = memmem::find(text, part);
    visited(|| found.map_or(text.len(), |at| at + part.len()));
    found
}

/// The length of the white space that a text begins with.
pub(crate) fn blank(text: &[u8]) -> usize {
    let length = text.len() - text.trim_ascii_start().len();
    visited(|| length + 1);
    length
}

/// Notes how many bytes were looked at.
#[cfg(not(any(test, fuzzing)))]
#[inline(always)]
pub(crate) fn visited(_bytes: impl FnOnce() -> usize) {}

#[cfg(any(test, fuzzing))]
pub(crate) use counted::visited;
#[cfg(any(test, fuzzing))]
pub use counted::visits;

#[cfg(any(test, fuzzing))]
mod counted {
    use std::cell::Cell;

    thread_local! {
        static VISITED: Cell<usize> = const { Cell::new(0) };
    }

    pub(crate) fn visited(bytes: impl FnOnce() -> usize) {
        VISITED.set(VISITED.get() + bytes());
    }

    /// How many bytes this thread looks at meanwhile, some of them more than once.
    pub fn visits<T>(work: impl FnOnce() -> T) -> (T, usize) {
        VISITED.set(0);
        let done = work();
        (done, VISITED.get())
    }
}
