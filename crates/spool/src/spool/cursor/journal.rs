//! The bytes of a cursor's journal: entries of 32 bytes, each with a checksum and its own number.

use std::ops::Range;

use super::{Boot, Cause, Loss, Settlement};
use crate::spool::{LogId, Ordinal};

pub(super) const ENTRY_LEN: usize = 32;
const MAGIC: u64 = u64::from_le_bytes(*b"GPcursor");
/// Version 1 knew neither logs, nor starts of the machine, nor doubts. It is read, and written anew as this one.
const VERSION: u64 = 2;
const HEADER_KIND: u8 = 1;

/// One change of the position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// Everything from the start to here is settled.
    Low {
        low: Ordinal,
        start: Ordinal,
    },
    /// No item from here on was ever begun.
    High(Ordinal),
    /// So many items were settled like this so far.
    Total(Settlement, u64),
    /// Settled, and counted in the totals already.
    Settled(Range<Ordinal>),
    Begin(Range<Ordinal>),
    Abandon(Range<Ordinal>),
    Settle(Range<Ordinal>, Settlement),
    /// The ordinals are those of this log.
    Log(LogId),
    /// No item from here on is begun before a higher ceiling is durable.
    Ceiling(Ordinal),
    /// How often the cursor was opened or closed.
    Life(u64),
    /// What follows was written during this start of the machine.
    Opened(Boot),
    /// Nothing was on its way any more, and all of it is durable.
    Closed,
    /// What of it is not settled may have been taken.
    Doubt(Range<Ordinal>),
    /// The position was lost.
    Lost(Loss),
}

/// What the first entry says.
pub(super) enum FileHeader {
    Version1,
    Current,
    Other(u64),
    Damaged,
}

impl FileHeader {
    pub(super) fn encode() -> [u8; ENTRY_LEN] {
        frame(HEADER_KIND, 0, 0, MAGIC, VERSION)
    }

    pub(super) fn decode(bytes: &[u8]) -> Self {
        match bytes.get(..ENTRY_LEN).and_then(|bytes| unframe(bytes, 0)) {
            Some((HEADER_KIND, _, MAGIC, 1)) => Self::Version1,
            Some((HEADER_KIND, _, MAGIC, VERSION)) => Self::Current,
            Some((HEADER_KIND, _, MAGIC, other)) => Self::Other(other),
            _ => Self::Damaged,
        }
    }
}

impl Entry {
    /// The entry's bytes as the entry of this number.
    pub(super) fn encode(&self, number: u64) -> [u8; ENTRY_LEN] {
        let (kind, detail, a, b) = match self {
            Self::Low { low, start } => (2, 0, *low, *start),
            Self::High(high) => (3, 0, *high, 0),
            Self::Total(settlement, n) => (4, *settlement as u8, *n, 0),
            Self::Settled(range) => (5, 0, range.start, range.end),
            Self::Begin(range) => (6, 0, range.start, range.end),
            Self::Abandon(range) => (7, 0, range.start, range.end),
            Self::Settle(range, settlement) => (8, *settlement as u8, range.start, range.end),
            Self::Log(log) => (9, 0, log.number(), 0),
            Self::Ceiling(ceiling) => (10, 0, *ceiling, 0),
            Self::Life(life) => (11, 0, *life, 0),
            Self::Opened(boot) => (12, 0, boot.0, boot.1),
            Self::Closed => (13, 0, 0, 0),
            Self::Doubt(range) => (14, 0, range.start, range.end),
            Self::Lost(loss) => (15, loss.cause as u8, loss.at_ms, loss.events),
        };
        frame(kind, detail, number, a, b)
    }

    /// Reads an entry; `None` when it is not whole or not the one of this number.
    pub(super) fn decode(bytes: &[u8], number: u64) -> Option<Self> {
        let (kind, detail, a, b) = unframe(bytes, number)?;
        Some(match kind {
            2 => Self::Low { low: a, start: b },
            3 => Self::High(a),
            4 => Self::Total(Settlement::of(detail)?, a),
            5 => Self::Settled(a..b),
            6 => Self::Begin(a..b),
            7 => Self::Abandon(a..b),
            8 => Self::Settle(a..b, Settlement::of(detail)?),
            9 => Self::Log(LogId::of(a)),
            10 => Self::Ceiling(a),
            11 => Self::Life(a),
            12 => Self::Opened(Boot(a, b)),
            13 => Self::Closed,
            14 => Self::Doubt(a..b),
            15 => Self::Lost(Loss { cause: Cause::of(detail)?, at_ms: a, events: b }),
            _ => return None,
        })
    }
}

fn frame(kind: u8, detail: u8, number: u64, a: u64, b: u64) -> [u8; ENTRY_LEN] {
    let mut out = [0; ENTRY_LEN];
    out[4] = kind;
    out[5] = detail;
    out[8..16].copy_from_slice(&number.to_le_bytes());
    out[16..24].copy_from_slice(&a.to_le_bytes());
    out[24..].copy_from_slice(&b.to_le_bytes());
    let crc = crc32fast::hash(&out[4..]);
    out[..4].copy_from_slice(&crc.to_le_bytes());
    out
}

fn unframe(bytes: &[u8], number: u64) -> Option<(u8, u8, u64, u64)> {
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("a slice of eight bytes"));
    let crc = u32::from_le_bytes(bytes[..4].try_into().expect("a slice of four bytes"));
    let whole = crc == crc32fast::hash(&bytes[4..]) && word(8) == number;
    whole.then(|| (bytes[4], bytes[5], word(16), word(24)))
}
