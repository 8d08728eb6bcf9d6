//! Letters as lines of JSON.

use std::collections::HashSet;

use super::{Letter, Waiting, kind};

/// Adds a letter as one line.
pub(super) fn push(out: &mut Vec<u8>, letter: &Letter) {
    serde_json::to_writer(&mut *out, letter).expect("a letter has only text and numbers, and memory takes all bytes");
    out.push(b'\n');
}

/// Bytes up to the last line feed.
pub(super) fn whole_len(bytes: &[u8]) -> u64 {
    memchr::memrchr(b'\n', bytes).map_or(0, |at| at as u64 + 1)
}

/// The letters of the lines that can be read.
pub(super) fn letters(bytes: &[u8]) -> impl Iterator<Item = Letter> + '_ {
    bytes.split(|byte| *byte == b'\n').filter_map(letter)
}

/// A former version did not write when a letter was set aside last: then it was so once.
fn letter(line: &[u8]) -> Option<Letter> {
    let mut letter: Letter = serde_json::from_slice(line).ok()?;
    letter.last_seen_ms = letter.last_seen_ms.max(letter.first_seen_ms);
    Some(letter)
}

/// The whole lines but those of these ids, and how many went, by kind.
pub(super) fn without(bytes: &[u8], ids: &HashSet<u64>) -> (Vec<u8>, Waiting) {
    let mut kept = Vec::new();
    let mut gone = Waiting::new();
    for line in bytes[..whole_len(bytes) as usize].split_inclusive(|byte| *byte == b'\n') {
        match letter(line) {
            Some(letter) if ids.contains(&letter.id) => *gone.entry(kind(&letter)).or_default() += 1,
            _ => kept.extend_from_slice(line),
        }
    }
    (kept, gone)
}

/// Bytes as base64 text.
pub(super) mod base64_text {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(in super::super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
