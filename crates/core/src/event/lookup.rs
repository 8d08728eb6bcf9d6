//! Names that are known beforehand, found by their bytes: each member of each record is looked up.

/// Enough for four times as many names as all tables have, so that nearly every name has a slot of its own.
const SLOTS: usize = 1 << 10;
const NOBODY: u16 = u16::MAX;
/// Lengths that are told apart; longer names count as the longest.
const LENGTHS: usize = 32;

/// A fixed list of names.
#[derive(Debug)]
pub(super) struct Lookup {
    names: Vec<&'static str>,
    /// The place of the name that has this slot, or of one whose slot was taken; [`NOBODY`] where there is none.
    slots: Box<[u16; SLOTS]>,
    /// Of each length, with which letters names of it begin: most names that are asked for are told from all others by that, and
    /// cost one look into a cache line.
    beginnings: [u32; LENGTHS],
}

impl Lookup {
    /// Of different names, fewer than there are slots.
    pub(super) fn new(names: impl Iterator<Item = &'static str>) -> Self {
        let names: Vec<_> = names.collect();
        assert!(names.len() < SLOTS / 2, "a free slot ends each search");
        let (mut slots, mut beginnings) = (Box::new([NOBODY; SLOTS]), [0; LENGTHS]);
        for (place, name) in (0..NOBODY).zip(&names) {
            let mut at = slot(name.as_bytes());
            while slots[at] != NOBODY {
                at = (at + 1) % SLOTS;
            }
            slots[at] = place;
            let (length, letter) = beginning(name.as_bytes());
            beginnings[length] |= letter;
        }
        Self { names, slots, beginnings }
    }

    /// The place of a name in the list.
    #[inline]
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        let (length, letter) = beginning(name.as_bytes());
        if self.beginnings[length] & letter == 0 { None } else { self.search(name) }
    }

    fn search(&self, name: &str) -> Option<usize> {
        let mut at = slot(name.as_bytes());
        loop {
            let place = usize::from(self.slots[at]);
            if *self.names.get(place)? == name {
                return Some(place);
            }
            at = (at + 1) % SLOTS;
        }
    }
}

/// Its length, and a bit for the letter that it begins with.
#[inline]
fn beginning(name: &[u8]) -> (usize, u32) {
    (name.len().min(LENGTHS - 1), 1 << (name.first().copied().unwrap_or_default() & 31))
}

/// The slot of a name: of its length, its beginning and its end, by which names of columns differ.
fn slot(name: &[u8]) -> usize {
    let ends = match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        (Some(first), Some(last)) => u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(29),
        _ => name.iter().fold(0, |word: u64, byte| word << 8 | u64::from(*byte)),
    };
    let middle = name.get(name.len() / 2).map_or(0, |byte| u64::from(*byte));
    let mixed = (ends ^ middle.rotate_left(50) ^ name.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> (64 - SLOTS.trailing_zeros())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_found_at_its_place_and_no_other_is() {
        let names: Vec<&'static str> = (0..SLOTS / 2 - 1).map(|n| &*format!("Name{n}").leak()).collect();
        let lookup = Lookup::new(names.iter().copied());
        for (place, name) in names.iter().enumerate() {
            assert_eq!(lookup.find(name), Some(place));
            assert_eq!(lookup.find(&format!("{name}x")), None);
            assert_eq!(lookup.find(&name.to_lowercase()), None);
        }
        assert_eq!(lookup.find(""), None);
        let odd = Lookup::new(["", "ä", "a name that is longer than thirty-two bytes"].into_iter());
        assert_eq!(
            ["", "ä", "a name that is longer than thirty-two bytes"].map(|name| odd.find(name)),
            [0, 1, 2].map(Some)
        );
        assert_eq!(
            ["a", "a name that is as long as thirty-two bytes, or more"].map(|name| odd.find(name)),
            [None, None]
        );
    }
}
