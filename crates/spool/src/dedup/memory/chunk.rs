//! Up to 256 neighbouring record ids of one stream, each with its exact [`Stamp`]: second and event id.
//!
//! First stand the different event ids. Then which record ids are present: a sorted list of their low bytes while few, a
//! bitmap when many, and nothing at all when all 256 are. Behind it stands a cell for each, in the order of the record ids:
//! the second as an offset from the base, and the number of the event id among those in front, each in as many bits as the
//! widest needs. A full chunk of a host with an event a second takes 258 bytes when all are of one event id, and 408 when they
//! are of twelve; with 50 events a second it takes 98 and 248.

use super::bits;
use super::buffer::Buffer;

/// More ids than this are kept as a bitmap, which has the same size.
const LIST_MAX: u16 = 32;
const BITMAP: usize = 32;
pub(super) const FULL: u16 = 256;
/// Bytes of one of the event ids in front.
const EVENT_ID: usize = 2;

/// What tells records with one record id apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) second: i64,
    pub(super) event_id: u16,
}

#[derive(Debug)]
pub(super) struct Chunk {
    /// What the offsets of seconds are counted from.
    base: i64,
    /// The event ids, the presence, then the cells.
    bytes: Buffer,
    present: u16,
    event_ids: u16,
    /// How many bits of a cell are the second's.
    second_width: u8,
    /// How many are the event id's.
    number_width: u8,
    bitmap: bool,
}

impl Chunk {
    pub(super) fn new() -> Self {
        Self {
            base: 0,
            bytes: Buffer::new(),
            present: 0,
            event_ids: 0,
            second_width: 0,
            number_width: 0,
            bitmap: false,
        }
    }

    /// Of these ids, each once and in order.
    pub(super) fn of(stamps: &[(u8, Stamp)]) -> Self {
        let mut chunk = Self::new();
        let seconds = || stamps.iter().map(|(_, stamp)| stamp.second);
        let (lowest, highest) = (seconds().min().unwrap_or(0), seconds().max().unwrap_or(0));
        let mut event_ids: Vec<u16> = stamps.iter().map(|(_, stamp)| stamp.event_id).collect();
        event_ids.sort_unstable();
        event_ids.dedup();
        chunk.base = lowest;
        chunk.second_width = bits::width_of(highest.wrapping_sub(lowest).cast_unsigned());
        chunk.number_width = bits::width_of((event_ids.len() as u64).saturating_sub(1));
        chunk.event_ids = event_ids.len() as u16;
        chunk.present = stamps.len() as u16;
        chunk.bitmap = chunk.present > LIST_MAX;
        chunk.bytes.resize(chunk.cell(stamps.len()).div_ceil(8));
        let (front, behind) = chunk.bytes.as_mut().split_at_mut(event_ids.len() * EVENT_ID);
        front.as_chunks_mut().0.iter_mut().zip(&event_ids).for_each(|(to, id)| *to = id.to_le_bytes());
        match chunk.present {
            FULL => {}
            present if present > LIST_MAX => {
                stamps.iter().for_each(|(id, _)| behind[usize::from(id / 8)] |= 1 << (id % 8))
            }
            _ => behind.iter_mut().zip(stamps).for_each(|(to, (id, _))| *to = *id),
        }
        for (rank, (_, stamp)) in stamps.iter().enumerate() {
            chunk.write_cell(rank, stamp.second, event_ids.binary_search(&stamp.event_id).unwrap_or_default());
        }
        chunk
    }

    /// All that is present, in order.
    pub(super) fn stamps(&self) -> Vec<(u8, Stamp)> {
        let is_there = |id: &u8| self.presence()[usize::from(id / 8)] >> (id % 8) & 1 == 1;
        let ids: Vec<u8> = match self.present {
            FULL => (0..=u8::MAX).collect(),
            _ if self.bitmap => (0..=u8::MAX).filter(is_there).collect(),
            _ => self.presence().to_vec(),
        };
        ids.into_iter().zip(0..).map(|(id, rank)| (id, self.stamp_at(rank))).collect()
    }

    pub(super) fn len(&self) -> u16 {
        self.present
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes.heap_bytes()
    }

    /// The stamp of an id, if the id is present.
    pub(super) fn stamp(&self, id: u8) -> Option<Stamp> {
        self.rank(id).ok().map(|rank| self.stamp_at(rank))
    }

    /// Adds an id that is not present.
    pub(super) fn insert(&mut self, id: u8, stamp: Stamp) {
        let Err(rank) = self.rank(id) else { return };
        let number = self.make_fit(stamp);
        self.add_presence(id, rank);
        self.present += 1;
        self.open_cell(rank);
        self.write_cell(rank, stamp.second, number);
        if self.present == FULL {
            self.bytes.shrink();
        }
    }

    pub(super) fn remove(&mut self, id: u8) {
        let Ok(rank) = self.rank(id) else { return };
        let (after, end, width) = (self.cell(rank + 1), self.cell(usize::from(self.present)), self.width());
        bits::move_down(self.bytes.as_mut(), after, end, width);
        let presence = self.presence_start();
        if self.present == FULL {
            self.bytes.open_gap(presence, BITMAP, 0);
            self.bytes.as_mut()[presence..presence + BITMAP].fill(0xFF);
        }
        self.present -= 1;
        if self.bitmap {
            self.bytes.as_mut()[presence + usize::from(id / 8)] &= !(1 << (id % 8));
        } else {
            self.bytes.close_gap(presence + rank, 1);
        }
        self.bytes.resize(self.cell(usize::from(self.present)).div_ceil(8));
    }

    /// Where the id stands among the present ones, or would stand.
    fn rank(&self, id: u8) -> Result<usize, usize> {
        if self.present == FULL {
            Ok(usize::from(id))
        } else if self.bitmap {
            self.rank_in_bitmap(id)
        } else {
            self.presence().binary_search(&id)
        }
    }

    fn rank_in_bitmap(&self, id: u8) -> Result<usize, usize> {
        let (words, _) = self.presence().as_chunks::<8>();
        let (word, bit) = (usize::from(id / 64), id % 64);
        let whole: u32 = words[..word].iter().map(|w| u64::from_le_bytes(*w).count_ones()).sum();
        let here = u64::from_le_bytes(words[word]);
        let rank = (whole + (here & ((1 << bit) - 1)).count_ones()) as usize;
        if here >> bit & 1 == 1 { Ok(rank) } else { Err(rank) }
    }

    fn presence(&self) -> &[u8] {
        &self.bytes.as_ref()[self.presence_start()..][..self.presence_len()]
    }

    fn presence_start(&self) -> usize {
        usize::from(self.event_ids) * EVENT_ID
    }

    fn presence_len(&self) -> usize {
        match self.present {
            FULL => 0,
            present if !self.bitmap => usize::from(present),
            _ => BITMAP,
        }
    }

    /// Notes the id as present; the caller counts it afterwards.
    fn add_presence(&mut self, id: u8, rank: usize) {
        let start = self.presence_start();
        if self.present + 1 == FULL {
            self.bytes.close_gap(start, BITMAP);
            return;
        }
        if !self.bitmap && self.present == LIST_MAX {
            self.list_to_bitmap();
        }
        if self.bitmap {
            self.bytes.as_mut()[start + usize::from(id / 8)] |= 1 << (id % 8);
        } else {
            self.bytes.open_gap(start + rank, 1, 0);
            self.bytes.as_mut()[start + rank] = id;
        }
    }

    fn list_to_bitmap(&mut self) {
        let mut bitmap = [0u8; BITMAP];
        for id in self.presence() {
            bitmap[usize::from(id / 8)] |= 1 << (id % 8);
        }
        let start = self.presence_start();
        self.bytes.as_mut()[start..start + BITMAP].copy_from_slice(&bitmap);
        self.bitmap = true;
    }

    /// The bits of a cell.
    fn width(&self) -> usize {
        usize::from(self.second_width) + usize::from(self.number_width)
    }

    /// The place of a cell, in bits.
    fn cell(&self, rank: usize) -> usize {
        (self.presence_start() + self.presence_len()) * 8 + rank * self.width()
    }

    /// Makes room for a cell that is counted already.
    fn open_cell(&mut self, rank: usize) {
        let (at, width, end) = (self.cell(rank), self.width(), self.cell(usize::from(self.present)));
        let old = self.bytes.as_ref().len();
        let enough = self.presence_start() + BITMAP + (usize::from(FULL) * width).div_ceil(8);
        self.bytes.open_gap(old, end.div_ceil(8) - old, enough);
        bits::move_up(self.bytes.as_mut(), at, end - width, width);
    }

    fn stamp_at(&self, rank: usize) -> Stamp {
        let cell = bits::read(self.bytes.as_ref(), self.cell(rank), self.width());
        let offset = cell as u64 & bits::highest(self.second_width);
        let event_id = self.event_ids()[(cell >> self.second_width) as usize];
        Stamp { second: self.base.wrapping_add(offset.cast_signed()), event_id: u16::from_le_bytes(event_id) }
    }

    fn write_cell(&mut self, rank: usize, second: i64, number: usize) {
        let (at, width) = (self.cell(rank), self.width());
        let offset = second.wrapping_sub(self.base).cast_unsigned();
        let cell = u128::from(offset) | (number as u128) << self.second_width;
        bits::write(self.bytes.as_mut(), at, width, cell);
    }

    fn event_ids(&self) -> &[[u8; EVENT_ID]] {
        self.bytes.as_ref()[..self.presence_start()].as_chunks().0
    }

    fn number_of(&self, event_id: u16) -> Option<usize> {
        self.event_ids().iter().position(|known| *known == event_id.to_le_bytes())
    }

    /// Sees to it that cells can express this stamp; returns the number of its event id.
    fn make_fit(&mut self, stamp: Stamp) -> usize {
        let number = self.number_of(stamp.event_id);
        let has_number = number.is_some() || self.event_ids < 1 << self.number_width;
        if self.present == 0 || !has_number || !self.spans(stamp.second) {
            return self.rewrite(stamp);
        }
        number.unwrap_or_else(|| self.add_event_id(stamp.event_id))
    }

    fn spans(&self, second: i64) -> bool {
        second >= self.base && bits::width_of(second.wrapping_sub(self.base).cast_unsigned()) <= self.second_width
    }

    fn add_event_id(&mut self, event_id: u16) -> usize {
        let at = self.presence_start();
        self.bytes.open_gap(at, EVENT_ID, 0);
        self.bytes.as_mut()[at..at + EVENT_ID].copy_from_slice(&event_id.to_le_bytes());
        self.event_ids += 1;
        usize::from(self.event_ids) - 1
    }

    /// Chooses base, widths and event ids anew, for what is present and one more stamp; returns the number of its event id.
    fn rewrite(&mut self, more: Stamp) -> usize {
        let stamps: Vec<Stamp> = (0..usize::from(self.present)).map(|rank| self.stamp_at(rank)).collect();
        let presence = self.presence().to_vec();
        let mut event_ids = Vec::new();
        let mut number = |event_id: u16| {
            event_ids.iter().position(|known| *known == event_id).unwrap_or_else(|| {
                event_ids.push(event_id);
                event_ids.len() - 1
            })
        };
        let numbers: Vec<usize> = stamps.iter().map(|stamp| number(stamp.event_id)).collect();
        let number_of_more = number(more.event_id);

        self.choose_base(&stamps, more.second);
        self.number_width = bits::width_of(event_ids.len() as u64 - 1);
        self.event_ids = event_ids.len() as u16;
        self.bytes.resize(self.cell(stamps.len()).div_ceil(8));
        let front = event_ids.iter().flat_map(|event_id| event_id.to_le_bytes()).chain(presence);
        self.bytes.as_mut().iter_mut().zip(front).for_each(|(byte, value)| *byte = value);
        for (rank, (stamp, number)) in stamps.iter().zip(numbers).enumerate() {
            self.write_cell(rank, stamp.second, number);
        }
        number_of_more
    }

    /// Chooses base and width of the seconds. When they go down, the base goes down as far as the width allows: a log that
    /// is read backwards is not written anew with every second.
    fn choose_base(&mut self, stamps: &[Stamp], more: i64) {
        let seconds = || stamps.iter().map(|stamp| stamp.second);
        let (lowest, highest) = (seconds().fold(more, i64::min), seconds().fold(more, i64::max));
        self.second_width = bits::width_of(highest.wrapping_sub(lowest).cast_unsigned());
        let goes_down = more == lowest && !stamps.is_empty();
        self.base = if goes_down { highest.saturating_sub_unsigned(bits::highest(self.second_width)) } else { lowest };
    }
}

#[cfg(test)]
#[path = "chunk_tests.rs"]
mod tests;
