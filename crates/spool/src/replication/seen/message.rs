//! What a gateway says to all: these keys are mine, their events are durable.
//!
//! ```text
//! message = version (1) · run (8) · number (8) · piece…
//! piece   = 1 · stream (16) · page (8) · length (4) · segment          numbers little-endian
//!         | 2 · gateway (6) · count (4) · hash (16)…
//! ```
//!
//! A piece is of one page, or some hashes: no message is larger than the servers take, however large an upload is. The run and the
//! number tell whoever said it that it has come back.

use super::page;
use crate::dedup::several::ask::Held;
use crate::dedup::several::grouped::Part;
use crate::dedup::several::segment::{Gateway, Item};

const VERSION: u8 = 1;
const RECORDS: u8 = 1;
const HASHES: u8 = 2;
/// Bytes in front of the first piece.
pub(super) const HEAD: usize = 17;
/// Hashes of one piece.
const HASHES_MAX: usize = 1_000;

/// Which message of which process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name {
    /// The process.
    pub run: u64,
    /// Which of its messages.
    pub number: u64,
}

/// Keys that are to become one gateway's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Of one page.
    Records { stream: u128, page: u64, segment: &'a [u8], owner: Gateway, items: Vec<Item> },
    /// Of events without a record id.
    Hashes { owner: Gateway, hashes: Vec<u128> },
}

/// A message that no gateway of this version wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message about events that were seen is not readable")]
pub struct Unreadable;

/// The pieces of a part, as they stand in messages.
pub(super) fn pieces(held: &Held) -> Vec<Vec<u8>> {
    let length = |of: usize| u32::try_from(of).unwrap_or(u32::MAX).to_le_bytes();
    match &held.part {
        Part::Records { stream, .. } => {
            let written = |(page, segment): (u64, Vec<u8>)| {
                let length = length(segment.len());
                [&[RECORDS][..], &stream.to_le_bytes(), &page.to_le_bytes(), &length, &segment].concat()
            };
            held.part.segments(held.gateway).into_iter().map(written).collect()
        }
        Part::Hashes(hashes) => {
            let written = |hashes: &[(u128, usize)]| {
                let mut piece = [&[HASHES][..], &held.gateway.bytes(), &length(hashes.len())].concat();
                hashes.iter().for_each(|(hash, _)| piece.extend(hash.to_le_bytes()));
                piece
            };
            hashes.chunks(HASHES_MAX).map(written).collect()
        }
    }
}

/// A message of these pieces.
pub(super) fn write<'a>(name: Name, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = [&[VERSION][..], &name.run.to_le_bytes(), &name.number.to_le_bytes()].concat();
    pieces.into_iter().for_each(|piece| bytes.extend_from_slice(piece));
    bytes
}

/// Reads a message.
pub(super) fn read(mut bytes: &[u8]) -> Result<(Name, Vec<Piece<'_>>), Unreadable> {
    let from = &mut bytes;
    if take::<1>(from)? != [VERSION] {
        return Err(Unreadable);
    }
    let name = Name { run: u64::from_le_bytes(take(from)?), number: u64::from_le_bytes(take(from)?) };
    let mut pieces = Vec::new();
    while !from.is_empty() {
        pieces.push(match take(from)? {
            [RECORDS] => {
                let (stream, page) = (u128::from_le_bytes(take(from)?), u64::from_le_bytes(take(from)?));
                let length = u32::from_le_bytes(take(from)?);
                let segment = some(from, length, 1)?;
                let (owner, items) = page::read(page, segment).map_err(|_| Unreadable)?;
                Piece::Records { stream, page, segment, owner, items }
            }
            [HASHES] => {
                let owner = Gateway::from_bytes(take(from)?);
                let count = u32::from_le_bytes(take(from)?);
                let (hashes, _) = some(from, count, 16)?.as_chunks::<16>();
                Piece::Hashes { owner, hashes: hashes.iter().map(|hash| u128::from_le_bytes(*hash)).collect() }
            }
            _ => return Err(Unreadable),
        });
    }
    Ok((name, pieces))
}

fn take<const LENGTH: usize>(bytes: &mut &[u8]) -> Result<[u8; LENGTH], Unreadable> {
    let (taken, rest) = bytes.split_first_chunk().ok_or(Unreadable)?;
    *bytes = rest;
    Ok(*taken)
}

fn some<'a>(bytes: &mut &'a [u8], count: u32, size: usize) -> Result<&'a [u8], Unreadable> {
    let length = (count as usize).checked_mul(size).ok_or(Unreadable)?;
    let (taken, rest) = bytes.split_at_checked(length).ok_or(Unreadable)?;
    *bytes = rest;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dedup::several::grouped::parts;
    use crate::event::EventKey;

    const NAME: Name = Name { run: 7, number: 8 };

    fn written(keys: &[EventKey], owner: Gateway) -> Vec<u8> {
        let held = |part| Held { me: String::new(), gateway: owner, part };
        let all: Vec<Vec<u8>> = parts(keys, 0..keys.len()).into_iter().flat_map(|part| pieces(&held(part))).collect();
        write(NAME, all.iter().map(Vec::as_slice))
    }

    fn keys(pieces: &[Piece<'_>]) -> usize {
        let keys = |piece: &Piece<'_>| match piece {
            Piece::Records { items, .. } => items.len(),
            Piece::Hashes { hashes, .. } => hashes.len(),
        };
        pieces.iter().map(keys).sum()
    }

    #[test]
    fn what_is_cut_is_not_read() {
        let record = |record_id| EventKey::Record { stream: 3, record_id, second: 9, event_id: Some(1) };
        let all: Vec<EventKey> = (4_000..4_200).map(record).chain((0..5).map(EventKey::Content)).collect();
        let bytes = written(&all, Gateway::of(5));
        let (name, read_all) = read(&bytes).unwrap();
        assert_eq!((name, read_all.len(), keys(&read_all)), (NAME, 3, 205), "two pages, and hashes");
        let ends: Vec<usize> = (0..bytes.len()).filter(|end| read(&bytes[..*end]).is_ok()).collect();
        assert_eq!(ends.len(), 3, "a message may end behind any piece: {ends:?}");
    }

    proptest! {
        #[test]
        fn whatever_bytes_are_read_the_reader_ends(mut bytes in prop::collection::vec(any::<u8>(), 0..2_000), sound in 0..3_usize) {
            bytes.iter_mut().take(sound).for_each(|byte| *byte = 1);
            if let Ok((_, pieces)) = read(&bytes) {
                prop_assert!(keys(&pieces) <= bytes.len() * 4_096);
            }
        }

        #[test]
        fn what_was_written_is_read(ids in prop::collection::btree_set(0..20_000_u64, 1..300), hashes in 0..10_000_u128) {
            let record = |record_id| EventKey::Record { stream: 3, record_id, second: (record_id / 7) as i64, event_id: None };
            let all: Vec<EventKey> = ids.iter().copied().map(record).chain((0..hashes).map(EventKey::Content)).collect();
            let bytes = written(&all, Gateway::of(5));
            let (_, pieces) = read(&bytes).unwrap();
            prop_assert_eq!(keys(&pieces), all.len());
        }
    }
}
