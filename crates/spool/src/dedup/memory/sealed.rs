//! A chunk that is full, or to which nothing came for long: as small as it can be while every key is still found at once.
//!
//! Record ids rise, and so do their seconds but for a few: both are kept as `rising.rs` does, in what the mean gap needs and
//! two bits. A second that is above one that comes later stands with what it exceeds the lowest of those by. Ids without
//! a gap take nothing, and seconds without order are kept as offsets from the lowest.
//!
//! ```text
//! bytes := event ids: count:2 (id:2)*
//!          cells, each: excess of the second, lower bits of the second, number of the event id, lower bits of the id
//!          upper bits of the ids, unless they have no gap
//!          upper bits of the seconds, where they rise
//! ```

use std::ops::Range;

use super::bits;
use super::rising;
use super::stamp::Stamp;

const EVENT_ID: usize = 2;
/// What an allocator adds to a block, as in [`super::buffer`].
const ALLOCATION: usize = 16;

#[derive(Debug)]
pub(super) struct Sealed {
    bytes: Box<[u8]>,
    /// The lowest second.
    base: i64,
    len: u16,
    /// Bits of the row of ids; none for ids from the first on without a gap.
    id_row: u16,
    id_lower: u8,
    second_lower: u8,
    excess: u8,
    /// Whether there is a row of seconds.
    rises: bool,
}

/// How seconds are kept best.
struct Seconds {
    base: i64,
    /// For each, the lowest offset from the base of it and all behind it. They rise.
    floors: Vec<u64>,
    lower: u8,
    excess: u8,
    rises: bool,
}

impl Seconds {
    fn of(seconds: &[i64]) -> Self {
        let base = seconds.iter().copied().min().unwrap_or(0);
        let offset = |second: i64| second.wrapping_sub(base).cast_unsigned();
        let (mut floors, mut floor, mut excess, mut highest) = (vec![0; seconds.len()], u64::MAX, 0, 0);
        for (place, second) in floors.iter_mut().zip(seconds).rev() {
            floor = floor.min(offset(*second));
            *place = floor;
            excess = excess.max(offset(*second) - floor);
            highest = highest.max(offset(*second));
        }
        let last = floors.last().copied().unwrap_or(0);
        let lower = rising::lower_width(last, seconds.len());
        let (excess, flat) = (bits::width_of(excess), bits::width_of(highest));
        let cells = seconds.len() * (usize::from(lower) + usize::from(excess));
        if cells + rising::row_len(last, seconds.len(), lower) < seconds.len() * usize::from(flat) {
            return Self { base, floors, lower, excess, rises: true };
        }
        floors.fill(0);
        Self { base, floors, lower: 0, excess: flat, rises: false }
    }

    fn row_len(&self) -> usize {
        let last = self.floors.last().copied().unwrap_or(0);
        if self.rises { rising::row_len(last, self.floors.len(), self.lower) } else { 0 }
    }
}

impl Sealed {
    /// Of these ids, each once and in order; there must be some.
    pub(super) fn of(stamps: &[(u32, Stamp)]) -> Self {
        let mut event_ids = Vec::new();
        let mut number = |event_id: u16| {
            event_ids.iter().position(|known| *known == event_id).unwrap_or_else(|| {
                event_ids.push(event_id);
                event_ids.len() - 1
            })
        };
        let numbers: Vec<usize> = stamps.iter().map(|(_, stamp)| number(stamp.event_id)).collect();
        let seconds: Vec<i64> = stamps.iter().map(|(_, stamp)| stamp.second).collect();
        let plan = Seconds::of(&seconds);
        let last = stamps.last().map_or(0, |(id, _)| u64::from(*id));
        let has_gap = last + 1 != stamps.len() as u64;
        let id_lower = if has_gap { rising::lower_width(last, stamps.len()) } else { 0 };
        let id_row = if has_gap { rising::row_len(last, stamps.len(), id_lower) } else { 0 };
        let mut chunk = Self {
            bytes: Box::default(),
            base: plan.base,
            len: stamps.len() as u16,
            id_row: id_row as u16,
            id_lower,
            second_lower: plan.lower,
            excess: plan.excess,
            rises: plan.rises,
        };
        let fronts = [event_ids.len() as u16].into_iter().chain(event_ids).flat_map(u16::to_le_bytes);
        let mut bytes: Vec<u8> = fronts.collect();
        let (cells, width) = (bytes.len() * 8, chunk.width(bytes.len() / EVENT_ID - 1));
        let ids = (cells + stamps.len() * width).div_ceil(8);
        let rises = ids + id_row.div_ceil(8);
        bytes.resize(rises + plan.row_len().div_ceil(8), 0);
        for (rank, (id, stamp)) in stamps.iter().enumerate() {
            let offset = stamp.second.wrapping_sub(plan.base).cast_unsigned();
            let parts = (offset - plan.floors[rank], plan.floors[rank], numbers[rank], *id);
            bits::write(&mut bytes, cells + rank * width, width, chunk.cell_of(width, parts));
        }
        if has_gap {
            rising::write(&mut bytes[ids..rises], stamps.iter().map(|(id, _)| u64::from(*id)), id_lower);
        }
        if plan.rises {
            rising::write(&mut bytes[rises..], plan.floors.iter().copied(), plan.lower);
        }
        chunk.bytes = bytes.into_boxed_slice();
        chunk
    }

    pub(super) fn len(&self) -> u16 {
        self.len
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes.len() + ALLOCATION
    }

    /// All that is there, in order.
    pub(super) fn stamps(&self) -> Vec<(u32, Stamp)> {
        let (layout, len) = (self.layout(), usize::from(self.len));
        let mut ids = rising::uppers(&self.bytes[layout.ids.clone()], len);
        let mut seconds = rising::uppers(&self.bytes[layout.seconds.clone()], len);
        let cell = |rank: usize| {
            let cell = self.cell(&layout, rank);
            let id = ids.next().map_or(rank as u32, |upper| self.id(&layout, cell, upper));
            (id, self.stamp_in(&layout, cell, seconds.next().unwrap_or(0)))
        };
        (0..len).map(cell).collect()
    }

    /// The stamp of an id, if the id is there.
    pub(super) fn stamp(&self, id: u32) -> Option<Stamp> {
        let layout = self.layout();
        let rank = self.rank(&layout, id)?;
        let row = &self.bytes[layout.seconds.clone()];
        let upper = if self.rises { rising::upper(row, rank) } else { 0 };
        Some(self.stamp_in(&layout, self.cell(&layout, rank), upper))
    }

    fn rank(&self, layout: &Layout, id: u32) -> Option<usize> {
        let len = usize::from(self.len);
        if self.id_row == 0 {
            return Some(id as usize).filter(|rank| *rank < len);
        }
        let upper = u64::from(id) >> self.id_lower;
        let ranks = rising::ranks(&self.bytes[layout.ids.clone()], upper, len);
        let (mut low, mut high) = (ranks.start, ranks.end);
        while low < high {
            let middle = low.midpoint(high);
            match self.id(layout, self.cell(layout, middle), upper).cmp(&id) {
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    fn cell(&self, layout: &Layout, rank: usize) -> u128 {
        bits::read(&self.bytes, layout.cells + rank * layout.width, layout.width)
    }

    fn id(&self, layout: &Layout, cell: u128, upper: u64) -> u32 {
        let below = layout.width - usize::from(self.id_lower);
        (upper << self.id_lower) as u32 | (cell >> below) as u32
    }

    fn stamp_in(&self, layout: &Layout, cell: u128, upper: u64) -> Stamp {
        let excess = cell as u64 & bits::highest(self.excess);
        let lower = (cell >> self.excess) as u64 & bits::highest(self.second_lower);
        let number = (cell >> (self.excess + self.second_lower)) as u64 & bits::highest(layout.number_width);
        let offset = (upper << self.second_lower | lower).wrapping_add(excess);
        let event_id = [0, 1].map(|byte| self.bytes[(1 + number as usize) * EVENT_ID + byte]);
        Stamp { second: self.base.wrapping_add(offset.cast_signed()), event_id: u16::from_le_bytes(event_id) }
    }

    fn cell_of(&self, width: usize, (excess, floor, number, id): (u64, u64, usize, u32)) -> u128 {
        u128::from(excess)
            | u128::from(floor & bits::highest(self.second_lower)) << self.excess
            | (number as u128) << (self.excess + self.second_lower)
            | u128::from(u64::from(id) & bits::highest(self.id_lower)) << (width - usize::from(self.id_lower))
    }

    /// The bits of a cell with so many event ids.
    fn width(&self, event_ids: usize) -> usize {
        let second = usize::from(self.excess) + usize::from(self.second_lower);
        second + usize::from(number_width(event_ids)) + usize::from(self.id_lower)
    }

    fn layout(&self) -> Layout {
        let event_ids = self.bytes.first_chunk().map_or(0, |count| usize::from(u16::from_le_bytes(*count)));
        let (cells, width) = ((1 + event_ids) * EVENT_ID * 8, self.width(event_ids));
        let ids = (cells + usize::from(self.len) * width).div_ceil(8);
        let seconds = ids + usize::from(self.id_row).div_ceil(8);
        Layout {
            cells,
            width,
            number_width: number_width(event_ids),
            ids: ids..seconds,
            seconds: seconds..self.bytes.len(),
        }
    }
}

/// What stands where.
struct Layout {
    /// Of the cells, in bits.
    cells: usize,
    /// Of a cell.
    width: usize,
    number_width: u8,
    ids: Range<usize>,
    seconds: Range<usize>,
}

fn number_width(event_ids: usize) -> u8 {
    bits::width_of((event_ids as u64).saturating_sub(1))
}
