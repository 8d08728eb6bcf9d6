//! Reading a journal, whatever its bytes look like.
//!
//! Every entry stands for itself: its place is its number, and it has a checksum. So entries behind damage are read too,
//! and what is missing is what stood in the damaged ones. What they may have settled is sent again.

use super::journal::{ENTRY_LEN, Entry, FileHeader};
use super::state::State;

/// The entries that a journal begins with and without which the rest means nothing: where it stands and the totals.
/// Version 1 had a total less.
const BASE: usize = 8;
const BASE_OF_VERSION_1: usize = 7;

/// What a journal says and what is wrong with it.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) state: State,
    /// Where the next entry goes, if nothing is wrong.
    pub(super) end: usize,
    /// The first entries are whole.
    pub(super) has_base: bool,
    /// Written by the version before this one.
    pub(super) is_old: bool,
    /// Some entry is not whole any more.
    pub(super) is_damaged: bool,
    /// Entries are missing between others. A power cut leaves such gaps, where sectors reached the disk out of order.
    pub(super) has_gap: bool,
    /// Where no entry has been written yet there is something, or the room for it is missing.
    pub(super) has_spoilt_room: bool,
    /// Behind the last entry that was written, whole or not.
    reach: usize,
}

impl Replay {
    /// Reads the bytes of a file that was made with `made_with` of them; the error is a version that is not known.
    pub(super) fn of(bytes: &[u8], made_with: u64) -> Result<Self, u64> {
        let header = FileHeader::decode(bytes);
        if let FileHeader::Other(version) = header {
            return Err(version);
        }
        let base = if matches!(header, FileHeader::Version1) { BASE_OF_VERSION_1 } else { BASE };
        let mut replay = Self {
            state: State::default(),
            end: ENTRY_LEN,
            has_base: true,
            is_old: matches!(header, FileHeader::Version1),
            is_damaged: matches!(header, FileHeader::Damaged),
            has_gap: false,
            has_spoilt_room: (bytes.len() as u64) < made_with,
            reach: ENTRY_LEN,
        };
        for (number, slot) in bytes.chunks(ENTRY_LEN).enumerate().skip(1) {
            replay.read(number, slot, base);
        }
        replay.has_base &= replay.end >= base * ENTRY_LEN;
        // Of a file that was cut behind an empty entry nothing is missing.
        replay.is_damaged |= replay.has_spoilt_room && bytes.len() < replay.reach + ENTRY_LEN;
        replay.state.rise();
        Ok(replay)
    }

    fn read(&mut self, number: usize, slot: &[u8], base: usize) {
        let entry = (slot.len() == ENTRY_LEN).then(|| Entry::decode(slot, number as u64)).flatten();
        match entry {
            Some(entry) => {
                self.state.apply(&entry);
                self.has_gap |= self.end < number * ENTRY_LEN;
                self.end = (number + 1) * ENTRY_LEN;
                self.reach = self.end;
            }
            None => {
                self.has_base &= number >= base;
                if slot.iter().any(|byte| *byte != 0) {
                    self.spoilt(number);
                }
            }
        }
    }

    /// Entries are written one behind the other: behind an empty one there was none.
    fn spoilt(&mut self, number: usize) {
        if self.reach == number * ENTRY_LEN {
            self.is_damaged = true;
            self.reach += ENTRY_LEN;
        } else {
            self.has_spoilt_room = true;
        }
    }
}
