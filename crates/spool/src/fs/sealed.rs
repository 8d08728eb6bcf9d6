//! JSON on the disk with a checksum: a flipped bit that leaves it readable must not pass for what was written.
//!
//! The last member of a sealed object is `"crc32"`, the checksum of every byte before it. What it holds stays JSON that a
//! person can read and that former versions read where they pass over members they do not know. Objects without a seal were
//! written by a former version; nothing can be said about them.

use memchr::memmem;

/// What stands before the eight digits of the checksum, and behind them.
const BEFORE: &[u8] = b",\"crc32\":\"";
const BEHIND: &[u8] = b"\"}";
const DIGITS: usize = 8;

/// What a seal says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seal {
    /// Every byte is as it was written.
    Whole,
    /// There is none: a former version wrote this.
    Absent,
    /// Something is not as it was written.
    Broken,
}

/// Puts a seal on the object that begins at `start` and ends the bytes. It has at least one member.
pub fn seal(bytes: &mut Vec<u8>, start: usize) {
    let closing = bytes.pop();
    debug_assert_eq!(closing, Some(b'}'), "only an object can be sealed");
    let sum = sum(&bytes[start..]);
    bytes.extend_from_slice(BEFORE);
    bytes.extend_from_slice(sum.as_bytes());
    bytes.extend_from_slice(BEHIND);
}

/// Whether an object is as it was written. White space behind it does not count.
pub fn check(bytes: &[u8]) -> Seal {
    let Some((before, digits)) = split(bytes.trim_ascii_end()) else { return Seal::Absent };
    if digits == sum(before).as_bytes() { Seal::Whole } else { Seal::Broken }
}

/// How many seals there are in the bytes: how many objects ended there, whatever has become of them.
pub fn count(bytes: &[u8]) -> usize {
    memmem::find_iter(bytes, BEFORE).count()
}

fn sum(bytes: &[u8]) -> String {
    format!("{:08x}", crc32fast::hash(bytes))
}

fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let bytes = bytes.strip_suffix(BEHIND)?;
    let (bytes, digits) = bytes.split_at_checked(bytes.len().checked_sub(DIGITS)?)?;
    Some((bytes.strip_suffix(BEFORE)?, digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_flipped_bit_passes_for_what_was_written() {
        let mut bytes = b"xx{\"a\":1,\"b\":[\"c\"]}".to_vec();
        seal(&mut bytes, 2);
        let sealed = bytes.split_off(2);
        assert_eq!(check(&sealed), Seal::Whole);
        assert_eq!(check(&[&sealed[..], b"\r\n"].concat()), Seal::Whole);
        let read: serde_json::Value = serde_json::from_slice(&sealed).expect("it stays JSON");
        assert_eq!(read["a"], 1);
        let content = sealed.len() - BEFORE.len() - DIGITS - BEHIND.len();
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let found = check(&flipped);
            // A seal that cannot be recognised leaves an object that is what was written, or none.
            let harmless = found == Seal::Absent && bit / 8 >= content;
            assert!(found == Seal::Broken || harmless, "bit {bit}: {found:?}");
        }
    }

    #[test]
    fn what_a_former_version_wrote_has_no_seal() {
        assert_eq!(check(b"{\"a\":1}"), Seal::Absent);
        assert_eq!(check(b""), Seal::Absent);
        assert_eq!(count(b"{\"a\":1,\"crc32\":\"00000000\"}X{\"b\":1,\"crc32\":\"00000000\"}"), 2);
    }
}
