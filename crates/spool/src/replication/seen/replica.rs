//! What all gateways said, as this one has read it: whose the events are that were seen.
//!
//! Everybody reads the same messages in the same order, and whose an event is follows from them alone: it belongs to the first
//! gateway that named it within the window, reckoned from the time of the message that asks, as the servers noted it. So all agree
//! about it without asking each other, also those that came later and read only what the servers still keep. Every word counts for
//! that, also one that won nothing: it keeps an event from being new for another window.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use super::message::{self, Name, Piece, Unreadable};
use super::page::{self, Page};
use crate::dedup::several::grouped::{Found, Part};
use crate::dedup::several::segment::Gateway;

/// Pages and hashes that are looked at in one go for what has ended.
const SWEEP_MAX: usize = 20_000;
/// What an entry takes beside its bytes: in its table and in the row of what ends.
const OVERHEAD: usize = 128;

/// It.
#[derive(Debug, Default)]
pub struct Replica {
    window_s: u32,
    pages: HashMap<(u128, u64), Page>,
    /// Of each hash the first one that named it, and when.
    hashes: HashMap<u128, (Gateway, u32)>,
    /// Who named one that somebody had named before, in order.
    again: HashMap<u128, VecDeque<(Gateway, u32)>>,
    /// The oldest entry of each, in the order in which they end.
    ends: VecDeque<(u32, Kept)>,
    bytes: usize,
    most_bytes: usize,
    /// Whether something went lately because there was no room for it here.
    is_full: bool,
    /// When the last message came. The servers' clock may jump, there and back.
    newest_s: u32,
}

#[derive(Debug, Clone, Copy)]
enum Kept {
    Page(u128, u64),
    Hash(u128),
}

impl Replica {
    /// Nothing was said yet. Events are remembered for so long, and in about so many bytes at most.
    pub fn new(window_s: u32, most_bytes: usize) -> Self {
        Self { window_s, most_bytes, ..Self::default() }
    }

    /// Whether events were forgotten lately for want of room here.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    /// When the last message came, by the servers' clock.
    pub fn newest_s(&self) -> u32 {
        self.newest_s
    }

    /// Bytes that it takes, about.
    pub fn bytes(&self) -> usize {
        self.bytes + self.ends.len() * OVERHEAD
    }

    /// Something came at this time, whatever it was.
    pub(super) fn note_time(&mut self, time_s: u32) {
        self.newest_s = time_s;
    }

    /// Takes a message in, which came at this time. Whose it is, and of each piece whether all of its keys are its gateway's.
    pub fn apply(&mut self, bytes: &[u8], time_s: u32) -> Result<(Name, Vec<bool>), Unreadable> {
        self.note_time(time_s);
        let (name, pieces) = message::read(bytes)?;
        let since_s = self.since(time_s);
        let won = pieces.into_iter().map(|piece| self.take(piece, time_s, since_s)).collect();
        if self.bytes() > self.most_bytes {
            self.sweep(0);
        }
        Ok((name, won))
    }

    fn since(&self, time_s: u32) -> u32 {
        time_s.saturating_sub(self.window_s)
    }

    fn take(&mut self, piece: Piece<'_>, time_s: u32, since_s: u32) -> bool {
        match piece {
            Piece::Records { stream, page: number, segment, owner, items } => {
                let page = self.pages.entry((stream, number)).or_default();
                let owners = page.owners(number, &items, since_s);
                let (before, is_first) = (page.bytes(), page.bytes() == 0);
                page.add(&items, segment, time_s);
                self.bytes += page.bytes() - before;
                if is_first {
                    self.ends.push_back((time_s, Kept::Page(stream, number)));
                }
                owners.into_iter().flatten().all(|there| there == owner)
            }
            Piece::Hashes { owner, hashes } => {
                let mut all = true;
                for hash in hashes {
                    all &= self.owner(hash, since_s).is_none_or(|there| there == owner);
                    match self.hashes.entry(hash) {
                        Entry::Occupied(_) => {
                            self.again.entry(hash).or_default().push_back((owner, time_s));
                            self.bytes += OVERHEAD;
                        }
                        Entry::Vacant(entry) => {
                            entry.insert((owner, time_s));
                            self.ends.push_back((time_s, Kept::Hash(hash)));
                        }
                    }
                }
                all
            }
        }
    }

    /// Who named a hash first since then.
    fn owner(&self, hash: u128, since_s: u32) -> Option<Gateway> {
        let first = self.hashes.get(&hash)?;
        let mut named = std::iter::once(first).chain(self.again.get(&hash).into_iter().flatten());
        named.find(|(_, time_s)| *time_s >= since_s).map(|(owner, _)| *owner)
    }

    /// Lets go who named a hash before; when the oldest of the rest did.
    fn forget_hash(&mut self, hash: u128, before_s: u32) -> Option<u32> {
        let (_, mut oldest_s) = *self.hashes.get(&hash)?;
        while oldest_s < before_s {
            let Some(next) = self.again.get_mut(&hash).and_then(VecDeque::pop_front) else {
                self.again.remove(&hash);
                self.hashes.remove(&hash);
                return None;
            };
            oldest_s = next.1;
            self.hashes.insert(hash, next);
            self.bytes = self.bytes.saturating_sub(OVERHEAD);
        }
        Some(oldest_s)
    }

    /// Whose the keys of a part are, so long after the last message.
    pub(super) fn look_up(&self, part: &Part, later_s: u32) -> Found {
        let since_s = self.since(self.newest_s.saturating_add(later_s));
        let mut found = Found::default();
        match part {
            Part::Records { stream, .. } => {
                for (number, items) in page::of_part(part) {
                    let Some(page) = self.pages.get(&(*stream, number)) else { continue };
                    let (items, places): (Vec<_>, Vec<usize>) = items.into_iter().unzip();
                    let owners = page.owners(number, &items, since_s).into_iter();
                    found
                        .owners
                        .extend(places.into_iter().zip(owners).filter_map(|(place, owner)| Some((place, owner?))));
                }
            }
            Part::Hashes(hashes) => {
                let known = hashes.iter().filter_map(|(hash, place)| Some((*place, self.owner(*hash, since_s)?)));
                found.owners.extend(known);
            }
        }
        found
    }

    fn forget_page(&mut self, stream: u128, number: u64, before_s: u32) -> Option<u32> {
        let page = self.pages.get_mut(&(stream, number))?;
        let was = page.bytes();
        let oldest = page.forget(before_s);
        self.bytes = (self.bytes + page.bytes()).saturating_sub(was);
        if oldest.is_none() {
            self.pages.remove(&(stream, number));
        }
        oldest
    }

    /// Lets go what came before this time, which the servers no longer have, and the oldest for which there is no room here. What ended
    /// by itself goes with the servers: by their clock alone, which may jump, nothing is forgotten here.
    pub fn sweep(&mut self, kept_since_s: u32) {
        let mut again = Vec::new();
        self.is_full = self.bytes() > self.most_bytes;
        for _ in 0..SWEEP_MAX {
            let has_no_room = self.bytes() > self.most_bytes;
            let goes = |(time_s, _): &mut (u32, Kept)| *time_s < kept_since_s || has_no_room;
            let Some((time_s, kept)) = self.ends.pop_front_if(goes) else { break };
            let before_s = kept_since_s.max(time_s.saturating_add(1));
            let oldest = match kept {
                Kept::Page(stream, number) => self.forget_page(stream, number, before_s),
                Kept::Hash(hash) => self.forget_hash(hash, before_s),
            };
            again.extend(oldest.map(|time_s| (time_s, kept)));
        }
        // Out of order by less than a window: it is looked at a little early or late, and counts by its time.
        self.ends.extend(again);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::super::message::{pieces, write};
    use super::*;
    use crate::dedup::several::ask::Held;
    use crate::dedup::several::grouped::parts;
    use crate::event::EventKey;

    const WINDOW_S: u32 = 100;
    const MOST: usize = 64 << 20;

    fn word(keys: &[EventKey], gateway: Gateway) -> Vec<u8> {
        let held = |part| Held { me: String::new(), gateway, part };
        let all: Vec<Vec<u8>> = parts(keys, 0..keys.len()).into_iter().flat_map(|part| pieces(&held(part))).collect();
        write(Name { run: 1, number: 1 }, all.iter().map(Vec::as_slice))
    }

    fn owners(replica: &Replica, keys: &[EventKey]) -> HashMap<usize, Gateway> {
        parts(keys, 0..keys.len()).iter().flat_map(|part| replica.look_up(part, 0).owners).collect()
    }

    fn record(record_id: u64) -> EventKey {
        EventKey::Record { stream: 9, record_id, second: 7, event_id: Some(4624) }
    }

    #[test]
    fn what_ended_is_another_ones_to_have_and_takes_no_memory() {
        let mut replica = Replica::new(WINDOW_S, MOST);
        let keys: Vec<EventKey> = (0..5_000).map(record).chain((0..100).map(EventKey::Content)).collect();
        let all: Vec<bool> = replica.apply(&word(&keys, Gateway::of(1)), 1_000).unwrap().1;
        assert!(all.iter().all(|won| *won) && replica.bytes() > 0);
        assert_eq!(owners(&replica, &keys).len(), keys.len());
        let late = replica.apply(&word(&keys, Gateway::of(2)), 1_100).unwrap().1;
        assert!(late.iter().all(|won| !won), "within the window");
        let later = replica.apply(&word(&keys, Gateway::of(3)), 1_250).unwrap().1;
        assert!(later.iter().all(|won| *won));
        assert!(owners(&replica, &keys).values().all(|owner| *owner == Gateway::of(3)));
        (0..10).for_each(|_| replica.sweep(1_300));
        assert_eq!((replica.bytes(), replica.pages.len(), replica.hashes.len()), (0, 0, 0));
    }

    #[test]
    fn what_the_servers_have_no_room_for_takes_no_memory_here() {
        let mut replica = Replica::new(1_000_000, MOST);
        for n in 0..100 {
            replica
                .apply(&word(&[record(n), record(n + 8_192), EventKey::Content(n.into())], Gateway::of(1)), n as u32)
                .unwrap();
        }
        let before = replica.bytes();
        (0..3).for_each(|_| replica.sweep(90));
        assert!(replica.bytes() < before / 4, "{} of {before}", replica.bytes());
        assert_eq!(owners(&replica, &[record(5), record(95), EventKey::Content(5)]).len(), 1);
    }

    #[test]
    fn whatever_is_said_memory_is_bounded_and_the_oldest_goes() {
        let most = 1 << 20;
        let mut replica = Replica::new(1_000_000, most);
        for n in 0..200_u32 {
            let keys: Vec<EventKey> = (0..1_000).map(|id| EventKey::Content(u128::from(n * 1_000 + id))).collect();
            replica.apply(&word(&keys, Gateway::of(1)), n).unwrap();
            assert!(replica.bytes() <= most, "{} after {n}", replica.bytes());
        }
        assert!(replica.is_full(), "and it is told");
        assert!(owners(&replica, &[EventKey::Content(5)]).is_empty());
        assert_eq!(owners(&replica, &[EventKey::Content(199_999)]).len(), 1);
    }

    #[test]
    fn a_clock_of_the_servers_that_jumped_there_and_back_makes_nothing_new() {
        let mut replica = Replica::new(WINDOW_S, MOST);
        replica.apply(&word(&[record(1), EventKey::Content(1)], Gateway::of(1)), 1_000).unwrap();
        replica.apply(&word(&[record(9)], Gateway::of(1)), 90_000).unwrap();
        replica.sweep(1_000);
        replica.apply(&word(&[record(10)], Gateway::of(1)), 1_010).unwrap();
        assert_eq!(owners(&replica, &[record(1), EventKey::Content(1)]).len(), 2);
        let late = replica.apply(&word(&[record(1), EventKey::Content(1)], Gateway::of(2)), 1_020).unwrap().1;
        assert_eq!(late, [false, false]);
    }

    #[test]
    fn an_event_takes_a_few_bytes() {
        let mut replica = Replica::new(WINDOW_S, MOST);
        for upload in 0..200_u64 {
            let keys: Vec<EventKey> = (upload * 500..upload * 500 + 500).map(record).collect();
            replica.apply(&word(&keys, Gateway::of(1)), 50).unwrap();
        }
        let each = replica.bytes() as f64 / 100_000.0;
        assert!(each < 1.0, "{each} bytes an event, of one second");
    }

    proptest! {
        /// Gateways that came at different times agree about everything that came a window after the later one.
        #[test]
        fn whoever_came_late_agrees_after_a_window(
            words in prop::collection::vec((0..3_u64, prop::collection::btree_set(0..12_u64, 1..6), 0..30_u32), 1..60),
            late in 0..40_usize,
        ) {
            let (mut early, mut fresh) = (Replica::new(WINDOW_S, MOST), Replica::new(WINDOW_S, MOST));
            let (mut now, mut came) = (1_000, None);
            for (n, (gateway, ids, passed)) in words.into_iter().enumerate() {
                now += passed;
                let key = |id: u64| if id < 8 { record(id * 3_000) } else { EventKey::Content(id.into()) };
                let keys: Vec<EventKey> = ids.into_iter().map(key).collect();
                let word = word(&keys, Gateway::of(gateway));
                let won = early.apply(&word, now).unwrap().1;
                if n < late {
                    continue;
                }
                let told = fresh.apply(&word, now).unwrap().1;
                if now > *came.get_or_insert(now) + WINDOW_S {
                    prop_assert_eq!(won, told);
                    prop_assert_eq!(owners(&early, &keys), owners(&fresh, &keys));
                }
                early.sweep(0);
            }
        }
    }
}
