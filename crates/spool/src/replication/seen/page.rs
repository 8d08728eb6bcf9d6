//! A page of the replica: what gateways said of 4,096 record ids of a stream, in the order in which they said it.
//!
//! It is a row of segments ([`segment`]), each with when it came and between which ids it is, so that most of them are passed over
//! unread. Whose a key is says the first one who named it within the window; what came earlier counts no more.

use crate::dedup::several::grouped::Part;
use crate::dedup::several::segment::{self, Gateway, Item, Unreadable};

/// In front of a segment: when it came (4), its first and its last id within the page (2 each), its length (4).
const HEAD: usize = 12;

/// It.
#[derive(Debug, Default)]
pub(super) struct Page(Vec<u8>);

/// A segment, and what stands in front of it.
struct Kept<'a> {
    time_s: u32,
    first: u16,
    last: u16,
    segment: &'a [u8],
}

fn split(bytes: &[u8]) -> Option<(Kept<'_>, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
    let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let id = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
    let (segment, rest) = rest.split_at_checked(number(8) as usize)?;
    Some((Kept { time_s: number(0), first: id(4), last: id(6), segment }, rest))
}

fn within(item: Item) -> u16 {
    (item.record_id & segment::PAGE_MASK) as u16
}

impl Page {
    fn kept(&self) -> impl Iterator<Item = Kept<'_>> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            let (kept, behind) = split(rest)?;
            rest = behind;
            Some(kept)
        })
    }

    /// Whose these keys are, which are of this page and in order: of each that was named since, the first who did.
    pub(super) fn owners(&self, number: u64, items: &[Item], since_s: u32) -> Vec<Option<Gateway>> {
        let mut owners = vec![None; items.len()];
        let (Some(first), Some(last)) = (items.first(), items.last()) else { return owners };
        let (first, last) = (within(*first), within(*last));
        for kept in self.kept().filter(|kept| kept.time_s >= since_s && kept.first <= last && first <= kept.last) {
            let read = segment::decode(number, kept.segment, |owner, item| {
                let from = items.partition_point(|mine| *mine < item);
                let same = items[from..].iter().take_while(|mine| **mine == item).count();
                owners[from..from + same].iter_mut().for_each(|found| *found = found.or(Some(owner)));
            });
            // It was read when it came.
            debug_assert!(read.is_ok(), "a segment that was kept");
        }
        owners
    }

    /// Adds a segment behind the others.
    pub(super) fn add(&mut self, items: &[Item], segment: &[u8], time_s: u32) {
        let (Some(first), Some(last)) = (items.first(), items.last()) else { return };
        let Ok(length) = u32::try_from(segment.len()) else { return };
        self.0.reserve_exact(HEAD + segment.len());
        self.0.extend(time_s.to_le_bytes());
        self.0.extend(within(*first).to_le_bytes());
        self.0.extend(within(*last).to_le_bytes());
        self.0.extend(length.to_le_bytes());
        self.0.extend(segment);
    }

    /// Lets go what came before; when the oldest of the rest came.
    pub(super) fn forget(&mut self, before_s: u32) -> Option<u32> {
        let gone: usize =
            self.kept().take_while(|kept| kept.time_s < before_s).map(|kept| HEAD + kept.segment.len()).sum();
        self.0.drain(..gone);
        self.0.shrink_to_fit();
        self.kept().next().map(|kept| kept.time_s)
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.0.capacity()
    }
}

/// The keys of a segment of one page, in order, and whose they become.
pub(super) fn read(number: u64, segment: &[u8]) -> Result<(Gateway, Vec<Item>), Unreadable> {
    let (mut owner, mut items, mut is_one) = (None, Vec::new(), true);
    segment::decode(number, segment, |of, item| {
        is_one &= *owner.get_or_insert(of) == of && item.page() == number;
        items.push(item);
    })?;
    let is_sorted = items.is_sorted();
    owner.filter(|_| is_one && is_sorted).map(|owner| (owner, items)).ok_or(Unreadable)
}

/// The keys of a part that are of this page, with the places of all of them in the part.
pub(super) fn of_part(part: &Part) -> Vec<(u64, Vec<(Item, usize)>)> {
    let Part::Records { items, .. } = part else { return Vec::new() };
    items
        .chunk_by(|(one, _), (other, _)| one.page() == other.page())
        .map(|page| (page[0].0.page(), page.to_vec()))
        .collect()
}
