//! Keys as bytes, as they stand in the spool and in the dedup journal.
//!
//! Keys come in runs: consecutive record ids of one host within a few seconds. A run writes its stream once; each key
//! then costs the difference to the one before, mostly one byte each for the record id and the second.
//!
//! ```text
//! keys   := count:varint group*
//! group  := tag:u8 length:varint body
//! tag 1  := stream:16 bytes LE, then per key  zigzag(record_id − previous):varint zigzag(second − previous):varint
//! tag 2  := per key  hash:16 bytes LE
//! ```

use super::EventKey;

const RECORDS: u8 = 1;
const CONTENTS: u8 = 2;

/// The smallest key takes two bytes, so a count beyond this lies; it also bounds what a corrupt count can allocate.
const MAX_KEYS: u64 = 16 << 20;

/// Why bytes are no keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The bytes end too early.
    #[error("the list of event keys is cut off")]
    CutOff,
    /// A part has a value that is never written.
    #[error("the list of event keys is corrupt: {0}")]
    Corrupt(&'static str),
}

/// Writes keys; [`decode_keys`] gives them back in the same order.
pub fn encode_keys(keys: &[EventKey]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16 + keys.len() * 3);
    put_varint(&mut bytes, keys.len() as u64);
    for group in keys.chunk_by(same_group) {
        match group[0] {
            EventKey::Record { stream, .. } => {
                bytes.push(RECORDS);
                put_varint(&mut bytes, group.len() as u64);
                bytes.extend_from_slice(&stream.to_le_bytes());
                put_records(&mut bytes, group);
            }
            EventKey::Content(_) => {
                bytes.push(CONTENTS);
                put_varint(&mut bytes, group.len() as u64);
                for key in group {
                    if let EventKey::Content(hash) = key {
                        bytes.extend_from_slice(&hash.to_le_bytes());
                    }
                }
            }
        }
    }
    bytes
}

fn same_group(left: &EventKey, right: &EventKey) -> bool {
    match (left, right) {
        (EventKey::Record { stream: left, .. }, EventKey::Record { stream: right, .. }) => left == right,
        (EventKey::Content(_), EventKey::Content(_)) => true,
        _ => false,
    }
}

fn put_records(bytes: &mut Vec<u8>, group: &[EventKey]) {
    let mut previous = (0u64, 0i64);
    for key in group {
        if let EventKey::Record { record_id, second, .. } = *key {
            put_varint(bytes, zigzag(record_id.wrapping_sub(previous.0).cast_signed()));
            put_varint(bytes, zigzag(second.wrapping_sub(previous.1)));
            previous = (record_id, second);
        }
    }
}

/// Reads what [`encode_keys`] wrote. Memory stays within a small multiple of the bytes given.
///
/// # Errors
///
/// When the bytes are cut off, too long, or not what [`encode_keys`] writes.
pub fn decode_keys(bytes: &[u8]) -> Result<Vec<EventKey>, KeyError> {
    let mut input = Input(bytes);
    let count = input.varint()?;
    // Two bytes a key at least.
    if count > MAX_KEYS || count > bytes.len() as u64 {
        return Err(KeyError::Corrupt("more keys than bytes"));
    }
    let count = usize::try_from(count).map_err(|_| KeyError::Corrupt("more keys than memory"))?;
    let mut keys = Vec::with_capacity(count);
    while keys.len() < count {
        let tag = input.array::<1>()?[0];
        let length = input.varint()?;
        if length == 0 || length > (count - keys.len()) as u64 {
            return Err(KeyError::Corrupt("a group is longer than the list"));
        }
        match tag {
            RECORDS => take_records(&mut input, length, &mut keys)?,
            CONTENTS => {
                for _ in 0..length {
                    keys.push(EventKey::Content(u128::from_le_bytes(input.array()?)));
                }
            }
            _ => return Err(KeyError::Corrupt("a group of unknown kind")),
        }
    }
    if input.0.is_empty() { Ok(keys) } else { Err(KeyError::Corrupt("bytes follow the last key")) }
}

fn take_records(input: &mut Input<'_>, length: u64, keys: &mut Vec<EventKey>) -> Result<(), KeyError> {
    let stream = u128::from_le_bytes(input.array()?);
    let mut previous = (0u64, 0i64);
    for _ in 0..length {
        let record_id = previous.0.wrapping_add(unzigzag(input.varint()?).cast_unsigned());
        let second = previous.1.wrapping_add(unzigzag(input.varint()?));
        keys.push(EventKey::Record { stream, record_id, second });
        previous = (record_id, second);
    }
    Ok(())
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], KeyError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(KeyError::CutOff)?;
        self.0 = rest;
        Ok(*head)
    }

    fn varint(&mut self) -> Result<u64, KeyError> {
        let (number, length) = take_varint(self.0).ok_or(KeyError::CutOff)?;
        self.0 = &self.0[length..];
        Ok(number)
    }
}

/// Seven bits a byte, lowest first; the high bit says that more follow.
pub(in crate::event) fn put_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number as u8 & 0x7F) | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// A number and the bytes it took; `None` when cut off or longer than any 64-bit number.
pub(in crate::event) fn take_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut number = 0;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        let bits = u64::from(byte & 0x7F);
        if index == 9 && bits > 1 {
            return None;
        }
        number |= bits << (7 * index);
        if byte & 0x80 == 0 {
            return Some((number, index + 1));
        }
    }
    None
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}
