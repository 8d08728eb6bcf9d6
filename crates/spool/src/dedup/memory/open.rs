//! A chunk that is being filled: a cell for each record id, in their order.
//!
//! In a cell stand the second as an offset from a base, the number of the event id among those in front of the cells, and how far
//! the record id is above the chunk's first: each in as many bits as the widest needs. Ids without a gap need none, since a cell's
//! place tells the id. Widths are chosen with a view to how wide the chunk will be when it is full, so that few
//! insertions write it anew.

use super::bits;
use super::buffer::Buffer;
use super::stamp::{FULL, Stamp};

/// Bytes of one of the event ids in front.
const EVENT_ID: usize = 2;
/// A chunk is expected to grow no further than this when its widths are chosen.
const GROWTH_MAX: u64 = 16;

#[derive(Debug)]
pub(super) struct Open {
    /// The event ids, then the cells.
    bytes: Buffer,
    /// What the offsets of seconds are counted from.
    base: i64,
    len: u16,
    event_ids: u16,
    second_width: u8,
    /// None for ids from the first on without a gap.
    id_width: u8,
}

impl Open {
    pub(super) fn new() -> Self {
        Self { bytes: Buffer::new(), base: 0, len: 0, event_ids: 0, second_width: 0, id_width: 0 }
    }

    /// Of these ids, each once and in order.
    pub(super) fn of(stamps: &[(u32, Stamp)]) -> Self {
        let mut chunk = Self::new();
        chunk.choose(stamps, None);
        chunk.put_all(stamps);
        chunk
    }

    pub(super) fn len(&self) -> u16 {
        self.len
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes.heap_bytes()
    }

    /// All that is there, in order.
    pub(super) fn stamps(&self) -> Vec<(u32, Stamp)> {
        (0..usize::from(self.len)).map(|rank| self.at(rank)).collect()
    }

    /// The stamp of an id, if the id is there.
    pub(super) fn stamp(&self, id: u32) -> Option<Stamp> {
        self.rank(id).ok().map(|rank| self.at(rank).1)
    }

    /// Adds an id that is not there.
    pub(super) fn insert(&mut self, id: u32, stamp: Stamp) {
        let Err(rank) = self.rank(id) else { return };
        if !self.fits(id, stamp.second) || !self.knows(stamp.event_id) {
            let stamps = self.stamps();
            self.choose(&stamps, Some((id, stamp)));
            self.put_all(&stamps);
        }
        self.put(rank, id, stamp);
    }

    pub(super) fn remove(&mut self, id: u32) {
        let Ok(rank) = self.rank(id) else { return };
        if self.id_width == 0 && rank + 1 < usize::from(self.len) {
            *self = Self::of_all(self.stamps().into_iter().filter(|(there, _)| *there != id));
            return;
        }
        let (after, end, width) = (self.cell(rank + 1), self.cell(usize::from(self.len)), self.width());
        bits::move_down(self.bytes.as_mut(), after, end, width);
        self.len -= 1;
        self.bytes.resize(self.cell(usize::from(self.len)).div_ceil(8));
    }

    fn of_all(stamps: impl Iterator<Item = (u32, Stamp)>) -> Self {
        Self::of(&stamps.collect::<Vec<_>>())
    }

    /// Where the id stands among those that are there, or would stand.
    fn rank(&self, id: u32) -> Result<usize, usize> {
        let len = usize::from(self.len);
        if self.id_width == 0 {
            return if (id as usize) < len { Ok(id as usize) } else { Err(len) };
        }
        if len > 0 && self.id_at(len - 1) < id {
            return Err(len);
        }
        let (mut low, mut high) = (0, len);
        while low < high {
            let middle = low.midpoint(high);
            match self.id_at(middle).cmp(&id) {
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    /// Whether cells can express this id, which is not there, and second.
    fn fits(&self, id: u32, second: i64) -> bool {
        let fits_id = match self.id_width {
            0 => id == u32::from(self.len),
            width => bits::width_of(u64::from(id)) <= width,
        };
        let offset = second.wrapping_sub(self.base).cast_unsigned();
        fits_id && second >= self.base && bits::width_of(offset) <= self.second_width && self.len > 0
    }

    /// Whether the event id has a number, or gets one without wider cells.
    fn knows(&mut self, event_id: u16) -> bool {
        if self.number_of(event_id).is_some() {
            return true;
        }
        let has_number = bits::width_of(u64::from(self.event_ids)) <= self.number_width();
        if has_number {
            let at = self.cells_start();
            self.bytes.open_gap(at, EVENT_ID, 0);
            self.bytes.as_mut()[at..].first_chunk_mut().into_iter().for_each(|place| *place = event_id.to_le_bytes());
            self.event_ids += 1;
        }
        has_number
    }

    /// Chooses base, widths and event ids for what is there and one more, and takes out all cells.
    fn choose(&mut self, stamps: &[(u32, Stamp)], more: Option<(u32, Stamp)>) {
        let all = || stamps.iter().chain(&more);
        let count = all().count() as u64;
        let mut event_ids = Vec::new();
        for (_, stamp) in all() {
            if !event_ids.contains(&stamp.event_id) {
                event_ids.push(stamp.event_id);
            }
        }
        let growth = (u64::from(FULL) / count.max(1)).clamp(1, GROWTH_MAX);
        let wide = |highest: u64| bits::width_of(highest.saturating_mul(growth));
        let highest = all().map(|(id, _)| *id).max().unwrap_or(0);
        let has_gap = u64::from(highest) + 1 != count;
        self.id_width = if has_gap { wide(u64::from(highest)).clamp(1, u32::BITS as u8) } else { 0 };
        let seconds = || all().map(|(_, stamp)| stamp.second);
        let (lowest, highest) = (seconds().min().unwrap_or(0), seconds().max().unwrap_or(0));
        self.second_width = wide(highest.wrapping_sub(lowest).cast_unsigned());
        // A log that is read backwards is not written anew with every second.
        let goes_down = more.is_some_and(|(_, stamp)| stamp.second == lowest) && !stamps.is_empty();
        self.base = if goes_down { highest.saturating_sub_unsigned(bits::highest(self.second_width)) } else { lowest };
        self.event_ids = event_ids.len() as u16;
        self.len = 0;
        self.bytes.resize(self.cells_start());
        let ids = event_ids.iter().flat_map(|event_id| event_id.to_le_bytes());
        self.bytes.as_mut().iter_mut().zip(ids).for_each(|(byte, value)| *byte = value);
    }

    fn put_all(&mut self, stamps: &[(u32, Stamp)]) {
        stamps.iter().enumerate().for_each(|(rank, (id, stamp))| self.put(rank, *id, *stamp));
    }

    /// Puts a cell that fits in front of the one with this rank.
    fn put(&mut self, rank: usize, id: u32, stamp: Stamp) {
        let number = self.number_of(stamp.event_id).unwrap_or_default();
        let (at, end, width) = (self.cell(rank), self.cell(usize::from(self.len)), self.width());
        let old = self.bytes.as_ref().len();
        let enough = self.cell(usize::from(FULL)).div_ceil(8);
        self.bytes.open_gap(old, (end + width).div_ceil(8) - old, enough);
        bits::move_up(self.bytes.as_mut(), at, end, width);
        self.len += 1;
        let offset = stamp.second.wrapping_sub(self.base).cast_unsigned();
        let cell = u128::from(offset)
            | (number as u128) << self.second_width
            | u128::from(id) << (self.second_width + self.number_width());
        bits::write(self.bytes.as_mut(), at, width, cell);
    }

    fn at(&self, rank: usize) -> (u32, Stamp) {
        let cell = bits::read(self.bytes.as_ref(), self.cell(rank), self.width());
        let offset = cell as u64 & bits::highest(self.second_width);
        let number = (cell >> self.second_width) as u64 & bits::highest(self.number_width());
        let id = (cell >> (self.second_width + self.number_width())) as u32;
        let event_id = u16::from_le_bytes(self.event_ids()[number as usize]);
        let stamp = Stamp { second: self.base.wrapping_add(offset.cast_signed()), event_id };
        (if self.id_width == 0 { rank as u32 } else { id }, stamp)
    }

    fn id_at(&self, rank: usize) -> u32 {
        let width = usize::from(self.id_width);
        bits::read(self.bytes.as_ref(), self.cell(rank + 1) - width, width) as u32
    }

    fn number_width(&self) -> u8 {
        bits::width_of(u64::from(self.event_ids.saturating_sub(1)))
    }

    /// The bits of a cell.
    fn width(&self) -> usize {
        usize::from(self.second_width) + usize::from(self.number_width()) + usize::from(self.id_width)
    }

    /// The place of a cell, in bits.
    fn cell(&self, rank: usize) -> usize {
        self.cells_start() * 8 + rank * self.width()
    }

    fn cells_start(&self) -> usize {
        usize::from(self.event_ids) * EVENT_ID
    }

    fn event_ids(&self) -> &[[u8; EVENT_ID]] {
        self.bytes.as_ref()[..self.cells_start()].as_chunks().0
    }

    fn number_of(&self, event_id: u16) -> Option<usize> {
        self.event_ids().iter().position(|known| *known == event_id.to_le_bytes())
    }
}
