//! Segments: what one confirmation adds to a page of a stream.
//!
//! A stream is one computer's channel; a page has 4,096 record ids of it. Confirmations only ever append to a page, so a page
//! is a row of segments. Each names the gateway that won its keys: a gateway that lost the answer to its own confirmation
//! must find its own name, or it would take its own event for somebody else's and drop the only copy.
//!
//! Record ids come in runs, and the second is part of the identity (a cleared log repeats ids with later seconds), so a key is
//! kept as the difference to the one before it, one byte in the usual case:
//!
//! ```text
//! segment = gateway (6) count events event… first-id second token…      numbers as LEB128, seconds in zigzag
//! token   = 1 byte: event number 0 to 30 (31: as a number behind it) · 32: gap of the id is not 1, and follows
//!           · 64: the second differs, and follows · 128: so many more of the same follow
//! ```
//!
//! A page is what other gateways wrote: whatever its bytes are, reading it takes work that is linear in what it may hold.

use crate::event::EventKey;

/// Which gateway: 48 random bits, made with its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Gateway(pub(crate) [u8; 6]);

impl Gateway {
    /// Of the lower 48 bits of a number.
    pub fn of(number: u64) -> Self {
        let mut bytes = [0; 6];
        bytes.copy_from_slice(&number.to_le_bytes()[..6]);
        Self(bytes)
    }

    /// The one of this name; `None` when it is none.
    pub fn named(name: &str) -> Option<Self> {
        let number = u64::from_str_radix(name, 16).ok().filter(|_| name.len() == 12)?;
        Some(Self::of(number.swap_bytes() >> 16))
    }

    /// From its bytes.
    pub(crate) fn from_bytes(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }

    /// As bytes.
    pub(crate) fn bytes(self) -> [u8; 6] {
        self.0
    }

    /// In hexadecimal digits, as in the names of claims.
    pub fn name(self) -> String {
        hex::encode(self.0)
    }
}

/// Record ids of one page, as a power of two.
const PAGE_BITS: u32 = 12;
pub(crate) const PAGE_MASK: u64 = (1 << PAGE_BITS) - 1;
/// Most keys of a segment, and so of the event ids that it lists.
pub(crate) const KEYS_MAX: usize = 1 << PAGE_BITS;

const ESCAPE: u8 = 31;
const GAP: u8 = 32;
const SECOND: u8 = 64;
const MORE: u8 = 128;

/// A key within its stream. In this order keys stand in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Item {
    pub(crate) record_id: u64,
    pub(crate) second: i64,
    /// 0 without an event id, 65,537 for any (keys of old versions), else the id and one.
    pub(crate) event: u32,
}

impl Item {
    /// The stream of a key and its place there; none for a key that has no record id.
    pub fn of(key: &EventKey) -> Option<(u128, Self)> {
        match *key {
            EventKey::Record { stream, record_id, second, event_id } => {
                Some((stream, Self { record_id, second, event: event_id.map_or(0, |id| u32::from(id) + 1) }))
            }
            EventKey::OldRecord { stream, record_id, second } => {
                Some((stream, Self { record_id, second, event: 1 + (1 << 16) }))
            }
            EventKey::Content(_) => None,
        }
    }

    /// The number of its page in the stream.
    pub fn page(self) -> u64 {
        self.record_id >> PAGE_BITS
    }
}

/// A page whose bytes no gateway of this version wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a page of the shared memory is not readable")]
pub struct Unreadable;

/// The segment of these keys, which are of one page, in order, and at most [`KEYS_MAX`].
pub fn encode(owner: Gateway, items: &[Item]) -> Vec<u8> {
    let Some(first) = items.first() else { return Vec::new() };
    let mut events: Vec<u32> = items.iter().map(|item| item.event).collect();
    events.sort_unstable();
    events.dedup();
    let mut bytes = owner.0.to_vec();
    put(&mut bytes, items.len() as u64);
    put(&mut bytes, events.len() as u64);
    events.iter().for_each(|event| put(&mut bytes, u64::from(*event)));
    put(&mut bytes, first.record_id & PAGE_MASK);
    put(&mut bytes, zigzag(first.second));
    let (mut id, mut second) = (first.record_id.wrapping_sub(1), first.second);
    let mut steps = Vec::with_capacity(items.len());
    for item in items {
        let event = events.binary_search(&item.event).unwrap_or_default();
        steps.push((event, item.record_id.wrapping_sub(id), item.second.wrapping_sub(second)));
        (id, second) = (item.record_id, item.second);
    }
    for same in steps.chunk_by(|one, other| one == other) {
        put_token(&mut bytes, same[0], same.len() as u64 - 1);
    }
    bytes
}

fn put_token(bytes: &mut Vec<u8>, (event, gap, second): (usize, u64, i64), more: u64) {
    let low = u8::try_from(event).unwrap_or(ESCAPE).min(ESCAPE);
    let flag = |is: bool, flag: u8| if is { flag } else { 0 };
    bytes.push(low | flag(gap != 1, GAP) | flag(second != 0, SECOND) | flag(more > 0, MORE));
    if low == ESCAPE {
        put(bytes, event as u64);
    }
    if gap != 1 {
        put(bytes, gap);
    }
    if second != 0 {
        put(bytes, zigzag(second));
    }
    if more > 0 {
        put(bytes, more);
    }
}

/// Hands out the keys of a page, each with its owner.
pub fn decode(page: u64, mut bytes: &[u8], mut each: impl FnMut(Gateway, Item)) -> Result<(), Unreadable> {
    while !bytes.is_empty() {
        let (owner, rest) = bytes.split_first_chunk::<6>().ok_or(Unreadable)?;
        bytes = rest;
        segment(page, &mut bytes, |item| each(Gateway(*owner), item))?;
    }
    Ok(())
}

fn segment(page: u64, bytes: &mut &[u8], mut each: impl FnMut(Item)) -> Result<(), Unreadable> {
    let count = take(bytes)?;
    let listed = usize::try_from(take(bytes)?).map_err(|_| Unreadable)?;
    if count > KEYS_MAX as u64 || listed > KEYS_MAX.min(bytes.len()) {
        return Err(Unreadable);
    }
    let events = (0..listed).map(|_| u32::try_from(take(bytes)?).map_err(|_| Unreadable));
    let events = events.collect::<Result<Vec<u32>, Unreadable>>()?;
    let mut id = ((page << PAGE_BITS) | (take(bytes)? & PAGE_MASK)).wrapping_sub(1);
    let mut second = unzigzag(take(bytes)?);
    let mut left = count;
    while left > 0 {
        let (token, rest) = bytes.split_first().ok_or(Unreadable)?;
        *bytes = rest;
        let event = match token & ESCAPE {
            ESCAPE => usize::try_from(take(bytes)?).map_err(|_| Unreadable)?,
            event => usize::from(event),
        };
        let event = *events.get(event).ok_or(Unreadable)?;
        let gap = if token & GAP == 0 { 1 } else { take(bytes)? };
        let step = if token & SECOND == 0 { 0 } else { unzigzag(take(bytes)?) };
        let more = if token & MORE == 0 { 0 } else { take(bytes)? };
        left = left.checked_sub(more).and_then(|left| left.checked_sub(1)).ok_or(Unreadable)?;
        for _ in 0..=more {
            (id, second) = (id.wrapping_add(gap), second.wrapping_add(step));
            each(Item { record_id: id, second, event });
        }
    }
    Ok(())
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> Result<u64, Unreadable> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(Unreadable)?;
        *bytes = rest;
        number |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Unreadable)
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ME: Gateway = Gateway([1, 2, 3, 4, 5, 6]);

    fn read(page: u64, bytes: &[u8]) -> Vec<(Gateway, Item)> {
        let mut all = Vec::new();
        decode(page, bytes, |owner, item| all.push((owner, item))).unwrap();
        all
    }

    fn log(keys: u64, gap: u64) -> Vec<Item> {
        // Twenty events a second, of the handful of ids that a security log is made of.
        (0..keys)
            .map(|at| Item {
                record_id: at * gap,
                second: 1_700_000_000 + (at / 20) as i64,
                event: [4625, 4689, 4673][at as usize % 3],
            })
            .collect()
    }

    fn bytes_a_key(keys: u64, gap: u64, upload: usize) -> f64 {
        let items = log(keys, gap);
        let mut bytes = 0;
        for upload in items.chunks(upload) {
            bytes += upload
                .chunk_by(|one, other| one.page() == other.page())
                .map(|page| encode(ME, page).len())
                .sum::<usize>();
        }
        bytes as f64 / keys as f64
    }

    #[test]
    fn a_key_of_a_run_takes_about_a_byte_and_one_of_a_log_with_gaps_two() {
        assert!(bytes_a_key(100_000, 1, 500) < 1.3, "{}", bytes_a_key(100_000, 1, 500));
        assert!(bytes_a_key(100_000, 10, 500) < 2.4, "{}", bytes_a_key(100_000, 10, 500));
        assert!(bytes_a_key(100_000, 100, 500) < 4.0, "{}", bytes_a_key(100_000, 100, 500));
    }

    #[test]
    fn what_is_cut_is_refused_and_what_is_flipped_does_no_harm() {
        let bytes = [encode(ME, &log(300, 3)), encode(ME, &log(10, 1))].concat();
        assert_eq!(read(0, &bytes).len(), 310);
        for cut in 1..bytes.len() {
            decode(0, &bytes[..cut], |_, _| {}).ok();
            let mut flipped = bytes.clone();
            flipped[cut] ^= 1 << (cut % 8);
            let mut keys = 0;
            decode(0, &flipped, |_, _| keys += 1).ok();
            assert!(keys <= flipped.len() * KEYS_MAX);
        }
        assert_eq!(decode(0, &bytes[..bytes.len() - 1], |_, _| {}), Err(Unreadable));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            page in 0..=u64::MAX >> PAGE_BITS,
            keys in prop::collection::btree_set((0..=PAGE_MASK, any::<i64>(), 0..=65_537_u32), 1..200),
            near in prop::collection::btree_set((0..50_u64, 0..3_i64, 0..40_u32), 1..200),
        ) {
            let item = |(id, second, event)| Item { record_id: page << PAGE_BITS | id, second, event };
            let (keys, near): (Vec<Item>, Vec<Item>) = (keys.into_iter().map(item).collect(), near.into_iter().map(item).collect());
            let other = Gateway::of(77);
            let bytes = [encode(ME, &keys), encode(other, &near)].concat();
            let all = read(page, &bytes);
            prop_assert_eq!(&all[..keys.len()], &keys.iter().map(|item| (ME, *item)).collect::<Vec<_>>()[..]);
            prop_assert_eq!(&all[keys.len()..], &near.iter().map(|item| (other, *item)).collect::<Vec<_>>()[..]);
        }

        #[test]
        fn whatever_bytes_are_read_the_reader_ends(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
            decode(7, &bytes, |_, _| {}).ok();
        }
    }
}
