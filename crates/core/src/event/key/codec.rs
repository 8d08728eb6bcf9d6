//! Keys as bytes, as they stand in the spool and in the dedup journal.
//!
//! Keys come in runs: consecutive record ids of one host within a few seconds. A run writes its stream once; each key
//! then costs the difference to the one before, mostly one byte each for the record id and the second, and one for the number
//! of its event id among those of the run, where they are not all of one.
//!
//! ```text
//! keys   := count:varint group*
//! group  := tag:u8 length:varint body
//! tag 1  := stream:16 bytes LE, then per key  zigzag(record_id − previous):varint zigzag(second − previous):varint
//! tag 2  := per key  hash:16 bytes LE
//! tag 3  := stream:16 bytes LE, ids:varint, per id  (0 for none, or event id + 1):varint,
//!           then per key as in tag 1, and behind each when there are several ids  index of its id:varint
//! ```
//!
//! The tag is the version: 1 is what older versions wrote, and a version that does not know a tag refuses the whole list.

use super::EventKey;

const OLD_RECORDS: u8 = 1;
const CONTENTS: u8 = 2;
const RECORDS: u8 = 3;

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
    let mut bytes = Vec::with_capacity(16 + keys.len() * 4);
    put_varint(&mut bytes, keys.len() as u64);
    for group in keys.chunk_by(same_group) {
        match group[0] {
            EventKey::Record { stream, .. } => {
                begin(&mut bytes, RECORDS, group);
                bytes.extend_from_slice(&stream.to_le_bytes());
                put_records(&mut bytes, group);
            }
            EventKey::OldRecord { stream, .. } => {
                begin(&mut bytes, OLD_RECORDS, group);
                bytes.extend_from_slice(&stream.to_le_bytes());
                put_old_records(&mut bytes, group);
            }
            EventKey::Content(_) => {
                begin(&mut bytes, CONTENTS, group);
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

fn begin(bytes: &mut Vec<u8>, tag: u8, group: &[EventKey]) {
    bytes.push(tag);
    put_varint(bytes, group.len() as u64);
}

fn same_group(left: &EventKey, right: &EventKey) -> bool {
    match (left, right) {
        (EventKey::Record { stream: left, .. }, EventKey::Record { stream: right, .. })
        | (EventKey::OldRecord { stream: left, .. }, EventKey::OldRecord { stream: right, .. }) => left == right,
        (EventKey::Content(_), EventKey::Content(_)) => true,
        _ => false,
    }
}

fn put_records(bytes: &mut Vec<u8>, group: &[EventKey]) {
    let ids = event_ids(group);
    put_varint(bytes, ids.len() as u64);
    ids.iter().for_each(|id| put_varint(bytes, id.map_or(0, |id| u64::from(id) + 1)));
    let mut place = Place::default();
    for key in group {
        if let EventKey::Record { record_id, second, event_id, .. } = *key {
            place.put(bytes, record_id, second);
            if ids.len() > 1 {
                put_varint(bytes, ids.binary_search(&event_id).unwrap_or_default() as u64);
            }
        }
    }
}

/// The different event ids of a group, in order.
fn event_ids(group: &[EventKey]) -> Vec<Option<u16>> {
    let id = |key: &EventKey| match key {
        EventKey::Record { event_id, .. } => Some(*event_id),
        EventKey::OldRecord { .. } | EventKey::Content(_) => None,
    };
    let mut ids: Vec<_> = group.iter().filter_map(id).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn put_old_records(bytes: &mut Vec<u8>, group: &[EventKey]) {
    let mut place = Place::default();
    for key in group {
        if let EventKey::OldRecord { record_id, second, .. } = *key {
            place.put(bytes, record_id, second);
        }
    }
}

/// The record id and second of a key, from which the next one's are counted.
#[derive(Clone, Copy, Default)]
struct Place {
    record_id: u64,
    second: i64,
}

impl Place {
    fn put(&mut self, bytes: &mut Vec<u8>, record_id: u64, second: i64) {
        put_varint(bytes, zigzag(record_id.wrapping_sub(self.record_id).cast_signed()));
        put_varint(bytes, zigzag(second.wrapping_sub(self.second)));
        *self = Self { record_id, second };
    }

    fn take(&mut self, input: &mut Input<'_>) -> Result<Self, KeyError> {
        self.record_id = self.record_id.wrapping_add(unzigzag(input.varint()?).cast_unsigned());
        self.second = self.second.wrapping_add(unzigzag(input.varint()?));
        Ok(*self)
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
            OLD_RECORDS => take_old_records(&mut input, length, &mut keys)?,
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
    let ids = take_event_ids(input, length)?;
    let mut place = Place::default();
    for _ in 0..length {
        let Place { record_id, second } = place.take(input)?;
        let number = if ids.len() > 1 { input.varint()? } else { 0 };
        let id = usize::try_from(number).ok().and_then(|number| ids.get(number));
        let event_id = *id.ok_or(KeyError::Corrupt("an event id has no place in its list"))?;
        keys.push(EventKey::Record { stream, record_id, second, event_id });
    }
    Ok(())
}

fn take_event_ids(input: &mut Input<'_>, length: u64) -> Result<Vec<Option<u16>>, KeyError> {
    let count = input.varint()?;
    if count > length {
        return Err(KeyError::Corrupt("more event ids than keys"));
    }
    let id = |number: u64| match number.checked_sub(1) {
        None => Ok(None),
        Some(id) => u16::try_from(id).map(Some).map_err(|_| KeyError::Corrupt("an event id of more than 16 bits")),
    };
    (0..count).map(|_| id(input.varint()?)).collect()
}

fn take_old_records(input: &mut Input<'_>, length: u64, keys: &mut Vec<EventKey>) -> Result<(), KeyError> {
    let stream = u128::from_le_bytes(input.array()?);
    let mut place = Place::default();
    for _ in 0..length {
        let Place { record_id, second } = place.take(input)?;
        keys.push(EventKey::OldRecord { stream, record_id, second });
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
