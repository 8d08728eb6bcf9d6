//! An item that is written as the one before it: the same tags in the same order, and other values.
//!
//! Agents write thousands of items alike. What has the same bytes as in the item before would be read as it was there, and is not
//! read again. Only values are: texts between the same tags, and attributes between the same quotes, which cannot hold what ends
//! them. Where anything else differs the item is read as the first one was, from its beginning, which goes at least as far: no byte
//! is compared more than once.

use std::ops::Range;

use super::VALUE_MAX;
use super::event_data::{EventData, Logged};
use super::linked::{Linked, Written};
use super::places::{Holds, Place, Places};
use super::reader::Reader;
use crate::event::xml::near;

/// How much is compared in one go.
const BLOCK: usize = 64;

/// A value that differs from that of the item before.
struct Change {
    place: usize,
    at: Range<usize>,
}

/// The last event that was read and written.
pub(super) struct Last<'a> {
    pub(super) linked: Linked<'a>,
    pub(super) written: Written,
    item: Range<usize>,
    places: Vec<Place>,
    /// The place of its data.
    data_at: Option<usize>,
    changes: Vec<Change>,
    /// What the data of the next item says of its log.
    logged: Option<Logged<'a>>,
}

impl<'a> Last<'a> {
    /// An event that was read from there, with its places; `None` where nothing can be told from them.
    pub(super) fn of(linked: Linked<'a>, written: Written, item: Range<usize>, places: Places) -> Option<Self> {
        let (places, data_at) = places.into_list()?;
        Some(Self { linked, written, item, places, data_at, logged: None, changes: Vec::new() })
    }

    /// Whether what its data holds is known to be elements and texts.
    pub(super) fn has_known_data(&self) -> bool {
        self.data_at.is_some()
    }

    /// Goes on to the next item if that is alike, and passes over it: where it stands. `None`, and nothing is passed, where it is not.
    pub(super) fn next(&mut self, reader: &mut Reader<'a>) -> Option<Range<usize>> {
        let text = reader.sound()?;
        let start = reader.behind_blanks();
        let end = self.compare(text, start)?;
        reader.go_to(end);
        // What is between values stands as far behind the one before as it did there.
        let (mut old, mut new) = (self.item.start, start);
        let mut changes = self.changes.drain(..).peekable();
        for (at, place) in self.places.iter_mut().enumerate() {
            let before = place.from..place.to;
            let now = match changes.next_if(|change| change.place == at) {
                Some(change) => {
                    match place.holds {
                        Holds::Data => self.linked.change_data(&text[change.at.clone()], self.logged.take()),
                        holds => self.linked.change(holds, text, change.at.clone()),
                    }
                    if let Holds::Text(slot) = place.holds {
                        self.written.differs_in(slot);
                    }
                    change.at
                }
                None => new + (before.start - old)..new + (before.end - old),
            };
            (old, new) = (before.end, now.end);
            (place.from, place.to) = (now.start, now.end);
        }
        self.item = start..end;
        Some(start..end)
    }

    /// Compares the item with the text from there on: where the item there ends, if it is alike, with the values that differ noted.
    fn compare(&mut self, text: &'a str, start: usize) -> Option<usize> {
        self.changes.clear();
        let bytes = text.as_bytes();
        let (mut old, mut new, mut at) = (self.item.start, start, 0);
        loop {
            // Data is read, and not compared: it has places of its own in each kind of event.
            let data = self.data_at.filter(|data| *data >= at);
            let until = data.map_or(self.item.end, |data| self.places[data].from);
            let same = common(&bytes[old..until], &bytes[new..]);
            (old, new) = (old + same, new + same);
            let (place, now) = match data {
                None if old == until => return Some(new),
                Some(data) if old == until => {
                    let EventData { end, logged } = EventData::read(text, new)?;
                    self.logged = logged;
                    (data, new..end)
                }
                _ => {
                    at += self.places[at..].iter().take_while(|place| place.to < old).count();
                    let place = self.places.get(at).filter(|place| place.from <= old)?;
                    let from = new - (old - place.from);
                    let to = new + near(place.end, &bytes[new..])?;
                    (at, from..to)
                }
            };
            if now.len() > VALUE_MAX {
                return None;
            }
            (old, new, at) = (self.places[place].to, now.end, place + 1);
            self.changes.push(Change { place, at: now });
        }
    }
}

/// How many bytes two texts begin with that are the same.
fn common(one: &[u8], other: &[u8]) -> usize {
    let length = one.len().min(other.len());
    let (one, other) = (&one[..length], &other[..length]);
    let mut at = 0;
    while let (Some(left), Some(right)) = (one[at..].first_chunk::<BLOCK>(), other[at..].first_chunk::<BLOCK>()) {
        if left != right {
            break;
        }
        at += BLOCK;
    }
    while let (Some(left), Some(right)) = (one[at..].first_chunk::<8>(), other[at..].first_chunk::<8>()) {
        let differing = u64::from_le_bytes(*left) ^ u64::from_le_bytes(*right);
        if differing != 0 {
            return at + differing.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + one[at..].iter().zip(&other[at..]).take_while(|(left, right)| left == right).count()
}

#[cfg(test)]
#[path = "alike_tests.rs"]
mod tests;
