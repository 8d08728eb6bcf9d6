//! Up to 256 neighbouring record ids of one stream, each with its exact second.
//!
//! Which ids are present is a sorted list of their low bytes while few, a bitmap when many, and nothing at all when
//! all 256 are. Behind it stand the seconds in the order of the ids, as offsets from the earliest, in the narrowest
//! of 0, 1, 2, 4 or 8 bytes that holds the widest: a full chunk of a host with an event a second takes 256 bytes.

use super::buffer::Buffer;

/// More ids than this are kept as a bitmap, which has the same size.
const LIST_MAX: u16 = 32;
const BITMAP: usize = 32;
pub(super) const FULL: u16 = 256;

#[derive(Debug)]
pub(super) struct Chunk {
    base: i64,
    /// The presence, then the offsets.
    bytes: Buffer,
    present: u16,
    width: u8,
    bitmap: bool,
}

impl Chunk {
    pub(super) fn new() -> Self {
        Self { base: 0, bytes: Buffer::new(), present: 0, width: 0, bitmap: false }
    }

    pub(super) fn len(&self) -> u16 {
        self.present
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes.heap_bytes()
    }

    /// The second of an id, if the id is present.
    pub(super) fn second(&self, id: u8) -> Option<i64> {
        self.rank(id).ok().map(|rank| self.second_at(rank))
    }

    /// Adds an id that is not present.
    pub(super) fn insert(&mut self, id: u8, second: i64) {
        let Err(rank) = self.rank(id) else { return };
        self.make_fit(second);
        self.add_presence(id, rank);
        self.present += 1;
        let (start, width) = (self.presence_len(), usize::from(self.width));
        self.bytes.open_gap(start + rank * width, width, BITMAP + usize::from(FULL) * width);
        self.write_second(start, rank, second);
        if self.present == FULL {
            self.bytes.shrink();
        }
    }

    pub(super) fn remove(&mut self, id: u8) {
        let Ok(rank) = self.rank(id) else { return };
        let (start, width) = (self.presence_len(), usize::from(self.width));
        self.bytes.close_gap(start + rank * width, width);
        if self.present == FULL {
            self.bytes.open_gap(0, BITMAP, 0);
            self.bytes.as_mut()[..BITMAP].fill(0xFF);
        }
        self.present -= 1;
        if self.bitmap {
            self.bytes.as_mut()[usize::from(id / 8)] &= !(1 << (id % 8));
        } else {
            self.bytes.close_gap(rank, 1);
        }
    }

    /// Where the id stands among the present ones, or would stand.
    fn rank(&self, id: u8) -> Result<usize, usize> {
        if self.present == FULL {
            Ok(usize::from(id))
        } else if self.bitmap {
            self.rank_in_bitmap(id)
        } else {
            self.bytes.as_ref()[..usize::from(self.present)].binary_search(&id)
        }
    }

    fn rank_in_bitmap(&self, id: u8) -> Result<usize, usize> {
        let (words, _) = self.bytes.as_ref()[..BITMAP].as_chunks::<8>();
        let (word, bit) = (usize::from(id / 64), id % 64);
        let whole: u32 = words[..word].iter().map(|w| u64::from_le_bytes(*w).count_ones()).sum();
        let here = u64::from_le_bytes(words[word]);
        let rank = (whole + (here & ((1 << bit) - 1)).count_ones()) as usize;
        if here >> bit & 1 == 1 { Ok(rank) } else { Err(rank) }
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
        if self.present + 1 == FULL {
            self.bytes.close_gap(0, BITMAP);
            return;
        }
        if !self.bitmap && self.present == LIST_MAX {
            self.list_to_bitmap();
        }
        if self.bitmap {
            self.bytes.as_mut()[usize::from(id / 8)] |= 1 << (id % 8);
        } else {
            self.bytes.open_gap(rank, 1, 0);
            self.bytes.as_mut()[rank] = id;
        }
    }

    fn list_to_bitmap(&mut self) {
        let mut bitmap = [0u8; BITMAP];
        for id in &self.bytes.as_ref()[..usize::from(self.present)] {
            bitmap[usize::from(id / 8)] |= 1 << (id % 8);
        }
        self.bytes.as_mut()[..BITMAP].copy_from_slice(&bitmap);
        self.bitmap = true;
    }

    fn second_at(&self, rank: usize) -> i64 {
        let width = usize::from(self.width);
        let start = self.presence_len() + rank * width;
        let mut offset = [0u8; 8];
        offset[..width].copy_from_slice(&self.bytes.as_ref()[start..start + width]);
        self.base.wrapping_add(u64::from_le_bytes(offset) as i64)
    }

    fn write_second(&mut self, start: usize, rank: usize, second: i64) {
        let width = usize::from(self.width);
        let offset = (second.wrapping_sub(self.base) as u64).to_le_bytes();
        let at = start + rank * width;
        self.bytes.as_mut()[at..at + width].copy_from_slice(&offset[..width]);
    }

    /// Sees to it that the base and the width can express `second`; rewrites the offsets when they cannot.
    fn make_fit(&mut self, second: i64) {
        if self.present == 0 {
            self.base = second;
            self.width = 0;
        }
        if second >= self.base && width_of(second.wrapping_sub(self.base) as u64) <= self.width {
            return;
        }
        let seconds: Vec<i64> = (0..usize::from(self.present)).map(|rank| self.second_at(rank)).collect();
        let lowest = seconds.iter().copied().fold(second, i64::min);
        let highest = seconds.iter().copied().fold(second, i64::max);
        self.base = lowest;
        self.width = width_of(highest.wrapping_sub(lowest) as u64);
        let start = self.presence_len();
        self.bytes.resize(start + seconds.len() * usize::from(self.width));
        for (rank, second) in seconds.into_iter().enumerate() {
            self.write_second(start, rank, second);
        }
    }
}

/// Bytes that hold an offset.
fn width_of(offset: u64) -> u8 {
    match offset {
        0 => 0,
        1..=0xFF => 1,
        0x100..=0xFFFF => 2,
        0x1_0000..=0xFFFF_FFFF => 4,
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::collections::btree_map::Entry;

    use proptest::prelude::*;

    use super::*;

    fn second() -> impl Strategy<Value = i64> {
        prop_oneof![1_000i64..1_100, 0i64..100_000, -5i64..5_000_000_000, any::<i64>()]
    }

    proptest! {
        #[test]
        fn a_chunk_is_a_map_from_id_to_second(
            base in second(),
            steps in prop::collection::vec((any::<bool>(), any::<u8>(), 0i64..3, second()), 0..600),
        ) {
            let (mut chunk, mut model) = (Chunk::new(), BTreeMap::new());
            for (i, (remove, id, small, wide)) in steps.into_iter().enumerate() {
                if remove && i % 4 == 0 {
                    chunk.remove(id);
                    model.remove(&id);
                } else if let Entry::Vacant(vacant) = model.entry(id) {
                    let second = if i % 50 == 0 { wide } else { base.saturating_add(small) };
                    chunk.insert(id, second);
                    vacant.insert(second);
                }
                prop_assert_eq!(usize::from(chunk.len()), model.len());
            }
            for id in 0..=255 {
                prop_assert_eq!(chunk.second(id), model.get(&id).copied());
            }
        }
    }

    #[test]
    fn a_full_chunk_of_one_event_a_second_takes_256_bytes_and_can_be_emptied() {
        let mut chunk = Chunk::new();
        (0..=255).for_each(|id| chunk.insert(id, 1_700_000_000 + i64::from(id)));
        assert_eq!(chunk.bytes.as_ref().len(), 256);
        assert_eq!(chunk.second(200), Some(1_700_000_200));
        (0..=255).for_each(|id| chunk.remove(id));
        assert_eq!(chunk.len(), 0);
        assert_eq!(chunk.second(200), None);
    }
}
