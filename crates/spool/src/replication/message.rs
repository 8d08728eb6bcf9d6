//! What a replica of a log is made of.
//!
//! ```text
//! message := "GPRP" version:u8 kind:u8 flags:u16 until:u64 crc:u32 of what is before it, zero:u32, then of items their records
//! ```
//!
//! Numbers are little-endian. `until` is the ordinal behind the last item that is whole up to here. Records stand as in a segment,
//! each with its own checksums. One that does not fit into a message stands in several, as pieces.

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::spool::{Ordinal, Record, read_raw};

const MAGIC: &[u8; 4] = b"GPRP";
const VERSION: u8 = 1;
/// Bytes before the records.
pub const HEADER_LEN: usize = 24;
const FIRST_PIECE: u16 = 1;
const LATER_PIECE: u16 = 2;
const LAST_PIECE: u16 = 4;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The ordinal behind the last item that is whole up to here.
    pub until: Ordinal,
    /// What it says.
    pub content: Content,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The replica begins: nothing before is in it.
    Head,
    /// Whole records, one after the other.
    Records(Bytes),
    /// A piece of one record.
    Piece {
        /// Which one.
        part: Part,
        /// Its bytes.
        bytes: Bytes,
    },
    /// The replica is closed: nothing follows.
    Seal,
}

/// Which piece of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The first of several.
    First,
    /// Neither the first nor the last.
    Middle,
    /// The last: what is whole up to here counts it.
    Last,
}

/// Why a message cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Written by a later version of the gateway.
    #[error("a message of the replica has version {0}; this gateway reads version 1")]
    Version(u8),
    /// Not what a gateway writes.
    #[error("a message of the replica is damaged: {0}")]
    Damaged(String),
}

fn damaged(what: &str) -> Unreadable {
    Unreadable::Damaged(what.to_owned())
}

impl Message {
    /// As bytes.
    pub fn encode(&self) -> Bytes {
        let (kind, flags, body): (u8, u16, &[u8]) = match &self.content {
            Content::Head => (0, 0, &[]),
            Content::Records(records) => (1, 0, records),
            Content::Piece { part, bytes } => (1, flags_of(*part), bytes),
            Content::Seal => (2, 0, &[]),
        };
        let mut out = BytesMut::with_capacity(HEADER_LEN + body.len());
        out.put_slice(MAGIC);
        out.put_u8(VERSION);
        out.put_u8(kind);
        out.put_u16_le(flags);
        out.put_u64_le(self.until);
        out.put_u32_le(crc32fast::hash(&out));
        out.put_u32_le(0);
        out.put_slice(body);
        out.freeze()
    }

    /// From bytes.
    ///
    /// # Errors
    ///
    /// When they are not what [`Message::encode`] writes.
    pub fn decode(bytes: &Bytes) -> Result<Self, Unreadable> {
        let head = bytes.get(..HEADER_LEN).ok_or_else(|| damaged("it is cut off"))?;
        if &head[..4] != MAGIC {
            return Err(damaged("it does not begin as one"));
        }
        if head[4] != VERSION {
            return Err(Unreadable::Version(head[4]));
        }
        if head[16..20] != crc32fast::hash(&head[..16]).to_le_bytes() {
            return Err(damaged("its checksum is wrong"));
        }
        let flags = u16::from_le_bytes([head[6], head[7]]);
        let until = u64::from_le_bytes(head[8..16].try_into().map_err(|_| damaged("it is cut off"))?);
        let body = bytes.slice(HEADER_LEN..);
        let content = match (head[5], flags) {
            (0, 0) => Content::Head,
            (1, 0) => Content::Records(body),
            (1, flags) => Content::Piece { part: part_of(flags)?, bytes: body },
            (2, 0) => Content::Seal,
            _ => return Err(damaged("it is of an unknown kind")),
        };
        Ok(Self { until, content })
    }
}

fn flags_of(part: Part) -> u16 {
    match part {
        Part::First => FIRST_PIECE,
        Part::Middle => LATER_PIECE,
        Part::Last => LATER_PIECE | LAST_PIECE,
    }
}

fn part_of(flags: u16) -> Result<Part, Unreadable> {
    [Part::First, Part::Middle, Part::Last]
        .into_iter()
        .find(|part| flags_of(*part) == flags)
        .ok_or_else(|| damaged("it is an unknown piece"))
}

/// The messages that say the same as these records, which end before `until`: one, or several where one record alone is too large.
pub fn pack(records: Bytes, until: Ordinal, whole_before: Ordinal, message_max: usize) -> Vec<Message> {
    let room = message_max.saturating_sub(HEADER_LEN).max(1);
    if records.len() <= room {
        return vec![Message { until, content: Content::Records(records) }];
    }
    let pieces = records.len().div_ceil(room);
    let piece = |n: usize| {
        let part = match n {
            0 => Part::First,
            n if n + 1 == pieces => Part::Last,
            _ => Part::Middle,
        };
        let bytes = records.slice(n * room..records.len().min((n + 1) * room));
        let until = if part == Part::Last { until } else { whole_before };
        Message { until, content: Content::Piece { part, bytes } }
    };
    (0..pieces).map(piece).collect()
}

/// Puts pieces together again, and reads the records.
#[derive(Debug, Default)]
pub struct Unpacker {
    pieces: Vec<u8>,
}

/// Most bytes of one record that is put together from pieces.
const RECORD_MAX: usize = 512 << 20;

impl Unpacker {
    /// The records that are whole with this message.
    ///
    /// # Errors
    ///
    /// When one of them is damaged.
    pub fn read(&mut self, content: Content) -> Result<Vec<Record>, Unreadable> {
        match content {
            Content::Head | Content::Seal => Ok(Vec::new()),
            Content::Records(bytes) => {
                self.pieces.clear();
                records(&bytes)
            }
            Content::Piece { part, bytes } => {
                if part == Part::First {
                    // What was begun before was begun anew: its writer was interrupted.
                    self.pieces.clear();
                } else if self.pieces.is_empty() {
                    return Err(damaged("a piece has no beginning"));
                }
                if self.pieces.len() + bytes.len() > RECORD_MAX {
                    return Err(damaged("its pieces make too large a record"));
                }
                self.pieces.extend_from_slice(&bytes);
                if part != Part::Last {
                    return Ok(Vec::new());
                }
                records(&std::mem::take(&mut self.pieces))
            }
        }
    }

    /// Whether a record is begun and not whole.
    pub fn is_within_a_record(&self) -> bool {
        !self.pieces.is_empty()
    }
}

fn records(mut bytes: &[u8]) -> Result<Vec<Record>, Unreadable> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let (record, rest) = read_raw(bytes).map_err(Unreadable::Damaged)?;
        records.push(record);
        bytes = rest;
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_message_is_read_as_it_is_written() {
        let bytes = Bytes::from_static(b"some bytes");
        let pieces = [Part::First, Part::Middle, Part::Last].map(|part| Content::Piece { part, bytes: bytes.clone() });
        for content in [Content::Head, Content::Seal, Content::Records(bytes.clone())].into_iter().chain(pieces) {
            let message = Message { until: 7_000_000_000, content };
            assert_eq!(Message::decode(&message.encode()), Ok(message));
        }
    }

    #[test]
    fn a_later_version_is_not_taken_for_damage() {
        let mut bytes = Message { until: 1, content: Content::Head }.encode().to_vec();
        bytes[4] = 2;
        assert_eq!(Message::decode(&bytes.into()), Err(Unreadable::Version(2)));
    }

    #[test]
    fn pieces_without_their_beginning_are_damage_and_a_second_beginning_counts() {
        let piece = |part, bytes: &'static [u8]| Content::Piece { part, bytes: Bytes::from_static(bytes) };
        let mut unpacker = Unpacker::default();
        assert!(unpacker.read(piece(Part::Middle, b"x")).is_err());
        assert_eq!(unpacker.read(piece(Part::First, b"abandoned")), Ok(Vec::new()));
        assert!(unpacker.is_within_a_record());
        assert_eq!(unpacker.read(Content::Records(Bytes::new())), Ok(Vec::new()));
        assert!(!unpacker.is_within_a_record());
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_are_nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), whole in any::<bool>()) {
            let mut message = bytes;
            if whole {
                let head = Message { until: 1, content: Content::Records(Bytes::new()) }.encode();
                message.splice(0..0, head);
            }
            if let Ok(message) = Message::decode(&message.into()) {
                drop(Unpacker::default().read(message.content));
            }
        }

        #[test]
        fn pieces_are_put_together_as_they_were(bytes in prop::collection::vec(any::<u8>(), 1..2_000), max in 25usize..200) {
            let messages = pack(bytes.clone().into(), 9, 5, max);
            prop_assert!(messages.iter().all(|message| message.encode().len() <= max));
            prop_assert_eq!(messages.last().map(|message| message.until), Some(9));
            prop_assert!(messages.iter().rev().skip(1).all(|message| message.until == 5));
            let parts = messages.into_iter().map(|message| match message.content {
                Content::Records(bytes) | Content::Piece { bytes, .. } => bytes,
                other => panic!("{other:?}"),
            });
            prop_assert_eq!(parts.collect::<Vec<_>>().concat(), bytes);
        }
    }
}
