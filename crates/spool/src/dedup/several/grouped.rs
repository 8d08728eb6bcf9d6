//! The keys of a claim, by what is asked in one operation: a stream's record ids, and hashes.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;

use super::segment::{self, Gateway, Item};
use crate::event::EventKey;

/// Ids that are further apart than this are claimed as two ranges: of an upload that jumps, the first and the last id alone
/// would hold half a log.
const APART: u64 = 4096;
/// Most ranges of a claim; what is more is one.
const RANGES_MAX: usize = 32;
/// Most pages that one operation reads: the engine does nothing else meanwhile.
const PAGES_MAX: usize = 64;
/// Most hashes of one operation, for the same reason.
const HASHES_MAX: usize = 4_000;

/// A part of a claim that is won or not won as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// Keys with record ids of one stream, in order, each with its place in the claim.
    Records { stream: u128, items: Vec<(Item, usize)> },
    /// Hashes, each with its place in the claim.
    Hashes(Vec<(u128, usize)>),
}

/// What the engine has of a part's keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Places of the claim that somebody has, and whom.
    pub(crate) owners: Vec<(usize, Gateway)>,
}

/// Takes these keys of a claim apart; `places` are theirs in it.
pub(crate) fn parts(keys: &[EventKey], places: impl IntoIterator<Item = usize>) -> Vec<Part> {
    let mut streams: BTreeMap<u128, Vec<(Item, usize)>> = BTreeMap::new();
    let mut hashes = Vec::new();
    for place in places {
        match (Item::of(&keys[place]), keys[place]) {
            (Some((stream, item)), _) => streams.entry(stream).or_default().push((item, place)),
            (None, EventKey::Content(hash)) => hashes.push((hash, place)),
            (None, _) => {}
        }
    }
    let mut parts = Vec::new();
    for (stream, mut items) in streams {
        items.sort_unstable();
        let mut rest = &items[..];
        while !rest.is_empty() {
            let mut pages = rest.chunk_by(|(one, _), (other, _)| one.page() == other.page());
            let taken: usize = pages.by_ref().take(PAGES_MAX).map(<[_]>::len).sum();
            parts.push(Part::Records { stream, items: rest[..taken].to_vec() });
            rest = &rest[taken..];
        }
    }
    parts.extend(hashes.chunks(HASHES_MAX).map(|hashes| Part::Hashes(hashes.to_vec())));
    parts
}

impl Part {
    /// The places of its keys in the claim.
    pub(crate) fn places(&self) -> Vec<usize> {
        match self {
            Self::Records { items, .. } => items.iter().map(|(_, place)| *place).collect(),
            Self::Hashes(hashes) => hashes.iter().map(|(_, place)| *place).collect(),
        }
    }

    /// Without the keys at these places.
    pub(crate) fn without(&self, gone: &HashSet<usize>) -> Self {
        let stays = |place: &usize| !gone.contains(place);
        match self {
            Self::Records { stream, items } => {
                let items = items.iter().filter(|(_, place)| stays(place)).copied().collect();
                Self::Records { stream: *stream, items }
            }
            Self::Hashes(hashes) => Self::Hashes(hashes.iter().filter(|(_, place)| stays(place)).copied().collect()),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Records { items, .. } => items.is_empty(),
            Self::Hashes(hashes) => hashes.is_empty(),
        }
    }

    /// The pages of its record ids, in order.
    pub(crate) fn pages(&self) -> Vec<u64> {
        let Self::Records { items, .. } = self else { return Vec::new() };
        let mut pages: Vec<u64> = items.iter().map(|(item, _)| item.page()).collect();
        pages.dedup();
        pages
    }

    /// Its ranges of record ids, as the script compares them: bounds of 16 hexadecimal digits.
    pub(crate) fn ranges(&self) -> String {
        let Self::Records { items, .. } = self else { return String::new() };
        let mut text = String::new();
        let mut ranges = items.chunk_by(|(one, _), (other, _)| other.record_id - one.record_id <= APART);
        let mut add = |first: u64, last: u64| write!(text, "{first:016x}{last:016x}").unwrap_or_default();
        for range in ranges.by_ref().take(RANGES_MAX - 1) {
            add(range[0].0.record_id, range[range.len() - 1].0.record_id);
        }
        if let (Some(range), Some((last, _))) = (ranges.next(), items.last()) {
            add(range[0].0.record_id, last.record_id);
        }
        text
    }

    /// What a confirmation appends to each of its pages.
    pub(crate) fn segments(&self, owner: Gateway) -> Vec<(u64, Vec<u8>)> {
        let Self::Records { items, .. } = self else { return Vec::new() };
        let items: Vec<Item> = items.iter().map(|(item, _)| *item).collect();
        let pages = items.chunk_by(|one, other| one.page() == other.page());
        let written =
            |page: &[Item]| page.chunks(segment::KEYS_MAX).flat_map(|items| segment::encode(owner, items)).collect();
        pages.map(|page| (page[0].page(), written(page))).collect()
    }

    /// Its hashes, one behind the other.
    pub(crate) fn hashes(&self) -> Vec<u8> {
        let Self::Hashes(hashes) = self else { return Vec::new() };
        hashes.iter().flat_map(|(hash, _)| hash.to_le_bytes()).collect()
    }

    /// Whether this can be the answer to a claim of it: a page for each page, or an owner for each hash.
    pub(crate) fn may_be_told(&self, answer: &[Vec<u8>]) -> bool {
        match self {
            Self::Records { .. } => answer.len() == self.pages().len(),
            Self::Hashes(hashes) => answer.len() == 1 && answer[0].len() == hashes.len() * 6,
        }
    }

    /// Which of its keys stand in these pages, or, of hashes, in this row of owners. A page that cannot be read knows nothing:
    /// its keys are taken as new, since a duplicate is better than a loss.
    pub(crate) fn look_up(&self, answer: &[Vec<u8>]) -> Found {
        let mut found = Found::default();
        match self {
            Self::Records { items, .. } => {
                for (page, bytes) in self.pages().into_iter().zip(answer) {
                    let read = segment::decode(page, bytes, |owner, item| {
                        let from = items.partition_point(|(mine, _)| *mine < item);
                        let same = items[from..].iter().take_while(|(mine, _)| *mine == item);
                        found.owners.extend(same.map(|(_, place)| (*place, owner)));
                    });
                    if let Err(error) = read {
                        tracing::error!(page, %error, "its keys count as new");
                    }
                }
            }
            Self::Hashes(hashes) => {
                let owners = answer.first().map(Vec::as_slice).unwrap_or_default();
                let (owners, _) = owners.as_chunks::<6>();
                let known = hashes.iter().zip(owners).filter(|(_, owner)| **owner != [0; 6]);
                found.owners.extend(known.map(|((_, place), owner)| (*place, Gateway(*owner))));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(stream: u128, record_id: u64, second: i64) -> EventKey {
        EventKey::Record { stream, record_id, second, event_id: Some(4624) }
    }

    #[test]
    fn an_upload_of_one_host_is_one_part_whatever_its_size() {
        let keys: Vec<EventKey> = (0..50_000).map(|id| record(1, id, 5)).collect();
        let parts = parts(&keys, 0..keys.len());
        assert_eq!(parts.len(), 1);
        assert_eq!(parts[0].pages().len(), 13);
        assert_eq!(parts[0].ranges(), format!("{:016x}{:016x}", 0, 49_999));
    }

    #[test]
    fn ids_that_jump_are_claimed_in_ranges_and_no_more_than_a_few() {
        let keys: Vec<EventKey> = [1, 2, 9_000, 9_001].map(|id| record(1, id, 5)).into();
        let ranges = parts(&keys, 0..4)[0].ranges();
        assert_eq!(ranges, format!("{:016x}{:016x}{:016x}{:016x}", 1, 2, 9_000, 9_001));
        let keys: Vec<EventKey> = (0..60).map(|n| record(1, n * 10_000, 5)).collect();
        let ranges = parts(&keys, 0..60)[0].ranges();
        assert_eq!(ranges.len(), RANGES_MAX * 32);
        assert!(ranges.ends_with(&format!("{:016x}{:016x}", 310_000, 590_000)));
    }

    #[test]
    fn ids_of_a_cleared_log_are_other_events() {
        let me = Gateway::of(1);
        let before: Vec<EventKey> = (1..100).map(|id| record(1, id, 1_000)).collect();
        let written = parts(&before, 0..99)[0].segments(me);
        let after: Vec<EventKey> = (1..100).map(|id| record(1, id, 2_000)).chain([record(1, 7, 1_000)]).collect();
        let found = parts(&after, 0..100)[0].look_up(&[written[0].1.clone()]);
        assert_eq!(found.owners, [(99, me)]);
    }

    #[test]
    fn hashes_find_their_owners() {
        let keys: Vec<EventKey> = (0..3).map(EventKey::Content).collect();
        let part = &parts(&keys, 0..3)[0];
        assert_eq!(part.hashes().len(), 48);
        let owners = [[0; 6], Gateway::of(9).0, [0; 6]].concat();
        assert_eq!(part.look_up(&[owners]).owners, [(1, Gateway::of(9))]);
        assert_eq!(part.without(&HashSet::from([1])).places(), [0, 2]);
    }
}
