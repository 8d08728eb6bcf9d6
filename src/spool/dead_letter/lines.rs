//! Letters as lines of JSON.

use std::collections::HashSet;

use super::super::sealed::{self, Seal};
use super::{Letter, Waiting, kind};

/// Adds a letter as one line.
pub(super) fn push(out: &mut Vec<u8>, letter: &Letter) {
    let start = out.len();
    serde_json::to_writer(&mut *out, letter).expect("a letter has only text and numbers, and memory takes all bytes");
    sealed::seal(out, start);
    out.push(b'\n');
}

/// Bytes of lines that were written to their end: up to the last line feed, or to a seal behind it.
pub(super) fn whole_len(bytes: &[u8]) -> u64 {
    let lines = memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1);
    let end = if sealed::check(&bytes[lines..]) == Seal::Whole { bytes.len() } else { lines };
    end as u64
}

/// How many letters cannot be read although they were written to their end.
pub(super) fn damaged(bytes: &[u8]) -> u64 {
    let in_line = |line: &[u8]| {
        let torn = !line.ends_with(b"\n");
        let at_least = usize::from(!torn && !line.trim_ascii().is_empty());
        if letter(line).is_some() { 0 } else { sealed::count(line).max(at_least) as u64 }
    };
    bytes.split_inclusive(|byte| *byte == b'\n').map(in_line).sum()
}

/// The lines that are whole or torn, and those that are damaged.
pub(super) fn sift(bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut kept, mut broken) = (Vec::new(), Vec::new());
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let to = if damaged(line) > 0 { &mut broken } else { &mut kept };
        to.extend_from_slice(line);
    }
    (kept, broken)
}

/// The letters of the lines that can be read.
pub(super) fn letters(bytes: &[u8]) -> impl Iterator<Item = Letter> + '_ {
    bytes.split(|byte| *byte == b'\n').filter_map(letter)
}

/// A former version did not write when a letter was set aside last: then it was so once.
fn letter(line: &[u8]) -> Option<Letter> {
    if sealed::check(line) == Seal::Broken {
        return None;
    }
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
