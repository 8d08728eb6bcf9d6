//! What an upload is known by that tells its records from equal ones of others: a keyed hash of its parts.
//!
//! It is the hash of the keys that are made of it. Nobody can make two uploads that collide without the secret, and it takes a small
//! part of what a cryptographic hash takes on processors without instructions for one: there that was more than all else that was
//! done to an upload.

use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;

/// Of the parts that were added so far, in their order.
#[derive(Clone)]
pub struct UploadMark {
    hasher: SipHasher13,
    bytes: u64,
}

impl std::fmt::Debug for UploadMark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UploadMark(***)")
    }
}

impl UploadMark {
    pub(super) fn new(key: &[u8; 16]) -> Self {
        let mut hasher = SipHasher13::new_with_key(key);
        // No part is so long: what is hashed here is nothing that is hashed elsewhere with this key.
        hasher.write(&u64::MAX.to_le_bytes());
        Self { hasher, bytes: 0 }
    }

    /// Adds a part, with its length, so that no two lists of parts are the same bytes.
    #[must_use]
    pub fn and(mut self, part: &[u8]) -> Self {
        super::write(&mut self.hasher, part);
        self.bytes += part.len() as u64;
        self
    }

    /// What the upload is known by.
    pub fn finish(self) -> [u8; 32] {
        let mut mark = [0; 32];
        mark[..16].copy_from_slice(&self.hasher.finish128().as_u128().to_le_bytes());
        mark[16..24].copy_from_slice(&self.bytes.to_le_bytes());
        mark
    }
}

#[cfg(test)]
mod tests {
    use crate::event::KeyMaker;

    #[test]
    fn uploads_are_known_by_their_parts_and_by_the_secret() {
        let mark = |secret: u8, parts: &[&[u8]]| {
            let mark = KeyMaker::new(&[secret; 32]).upload_mark();
            parts.iter().fold(mark, |mark, part| mark.and(part)).finish()
        };
        let known = mark(1, &[b"ab", b"12"]);
        assert_eq!(mark(1, &[b"ab", b"12"]), known);
        let others: [&[&[u8]]; 5] = [&[b"ab12"], &[b"ab", b"12", b""], &[b"12", b"ab"], &[b"ab1", b"2"], &[b"", b"12"]];
        for parts in others {
            assert_ne!(mark(1, parts), known, "{parts:?}");
        }
        assert_ne!(mark(2, &[b"ab", b"12"]), known);
    }
}
