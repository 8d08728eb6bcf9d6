//! The bookmarks in memory, within bounds. What one client fills is that client's share.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use super::line::Line;
use super::{Known, Owner};

/// Most bookmarks of one client, such as a certificate that stands for many hosts.
const OF_CLIENT_MAX: usize = 4096;
/// Most bookmarks of all.
const ALL_MAX: usize = 1 << 17;
/// Most bytes of all.
const BYTES_MAX: usize = 64 << 20;
/// For how long hosts without a bookmark begin with their oldest event after bookmarks were lost.
const LOST_FOR_S: u64 = 30 * 24 * 3600;

/// All bookmarks.
#[derive(Debug, Default)]
pub(super) struct Kept {
    of_clients: HashMap<Arc<str>, HashMap<Owner, Bookmark>>,
    /// How many clients have one for the same machine and subscription, by a hash of the two.
    of_machines: HashMap<u64, usize>,
    hashes: RandomState,
    count: usize,
    bytes: usize,
    /// When bookmarks were last lost.
    pub(super) lost_s: Option<u64>,
    /// To which filling of what gateways share all of them were told.
    pub(super) told: Option<u64>,
}

#[derive(Debug)]
struct Bookmark {
    at: u64,
    text: Arc<str>,
}

impl Kept {
    pub(super) fn find(&self, owner: &Owner, now: u64) -> Known {
        let found = self.of_clients.get(&owner.client).and_then(|of_client| of_client.get(owner));
        match found {
            Some(Bookmark { at, text }) => Known::At(Arc::clone(text), *at),
            None if self.lost_s.is_some_and(|lost| now < lost.saturating_add(LOST_FOR_S)) => Known::Lost,
            // The same host by another name, as after a new certificate or another list of clients; or somebody who says so.
            None if self.of_machines.contains_key(&self.hash(owner)) => Known::Lost,
            None => Known::Never,
        }
    }

    fn hash(&self, owner: &Owner) -> u64 {
        self.hashes.hash_one((&owner.machine, &owner.subscription))
    }

    /// Keeps one. Whether others had to be forgotten for it.
    pub(super) fn put(&mut self, owner: Owner, at: u64, text: Arc<str>) -> bool {
        let (cost, hash) = (cost(&owner, &text), self.hash(&owner));
        let of_client = self.of_clients.entry(Arc::clone(&owner.client)).or_default();
        match of_client.insert(owner.clone(), Bookmark { at, text }) {
            Some(before) => self.bytes -= cost_of(&owner, &before),
            None => {
                self.count += 1;
                *self.of_machines.entry(hash).or_default() += 1;
            }
        }
        self.bytes += cost;
        let crowded = of_client.len() > OF_CLIENT_MAX;
        let mut forgot = crowded && self.forget_oldest_of(&owner.client);
        while self.count > ALL_MAX || self.bytes > BYTES_MAX {
            let Some(largest) = self.largest() else { break };
            forgot |= self.forget_oldest_of(&largest);
        }
        forgot
    }

    /// The client that takes the most room.
    fn largest(&self) -> Option<Arc<str>> {
        let room =
            |of_client: &HashMap<Owner, Bookmark>| of_client.iter().map(|(owner, kept)| cost_of(owner, kept)).sum();
        self.of_clients
            .iter()
            .max_by_key(|(_, of_client)| -> usize { room(of_client) })
            .map(|(client, _)| Arc::clone(client))
    }

    /// Forgets the eighth of a client's bookmarks that was not renewed for the longest time.
    fn forget_oldest_of(&mut self, client: &Arc<str>) -> bool {
        let Some(of_client) = self.of_clients.get_mut(client) else { return false };
        let mut by_age: Vec<(u64, Owner)> = of_client.iter().map(|(owner, kept)| (kept.at, owner.clone())).collect();
        by_age.sort();
        for (_, owner) in by_age.into_iter().take(of_client.len().div_ceil(8)) {
            if let Some(gone) = of_client.remove(&owner) {
                self.bytes -= cost_of(&owner, &gone);
                self.count -= 1;
                let hash = self.hashes.hash_one((&owner.machine, &owner.subscription));
                if let Some(count) = self.of_machines.get_mut(&hash) {
                    *count -= 1;
                }
            }
        }
        if of_client.is_empty() {
            self.of_clients.remove(client);
        }
        self.of_machines.retain(|_, count| *count > 0);
        true
    }

    /// How many there are, and about how many bytes they take.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.count, self.bytes)
    }

    /// Every bookmark, with when it was kept.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Owner, u64, &Arc<str>)> {
        self.of_clients.values().flatten().map(|(owner, kept)| (owner, kept.at, &kept.text))
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = Line> {
        self.all().map(|(owner, at, text)| Line::bookmark(owner, at, text))
    }
}

fn cost_of(owner: &Owner, kept: &Bookmark) -> usize {
    cost(owner, &kept.text)
}

/// Bytes in the journal, and no more in memory.
fn cost(owner: &Owner, text: &str) -> usize {
    let texts = [&owner.client, &owner.machine, &owner.subscription].map(|text| written(text));
    texts.iter().sum::<usize>() + written(text) + 160
}

/// How long a text is in JSON.
fn written(text: &str) -> usize {
    let of_byte = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(of_byte).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(client: &str, machine: usize) -> Owner {
        Owner { client: client.into(), machine: format!("m{machine}").into(), subscription: "s".into() }
    }

    #[test]
    fn what_one_client_fills_is_that_clients_share() {
        let mut kept = Kept::default();
        assert!(!kept.put(owner("good", 0), 0, "old".into()));
        let forgot = (0..=OF_CLIENT_MAX).any(|n| kept.put(owner("greedy", n), n as u64 + 1, "b".into()));
        assert!(forgot);
        assert_eq!(kept.find(&owner("good", 0), 0), Known::At("old".into(), 0), "another's stays");
        assert_eq!(kept.find(&owner("greedy", 1), 0), Known::Never, "its oldest went");
        let newest = owner("greedy", OF_CLIENT_MAX);
        assert!(matches!(kept.find(&newest, 0), Known::At(..)));
        let large: Arc<str> = "x".repeat(BYTES_MAX / 16).into();
        assert!((0..20).any(|n| kept.put(owner("fat", n), n as u64, Arc::clone(&large))));
        assert!(kept.size().1 <= BYTES_MAX);
        assert!(matches!(kept.find(&owner("good", 0), 0), Known::At(..)));
    }

    #[test]
    fn a_host_that_comes_by_another_name_does_not_begin_with_what_happens_from_now_on() {
        let mut kept = Kept::default();
        kept.put(owner("PC1 by its common name", 1), 0, "b".into());
        assert_eq!(kept.find(&owner("pc1.plant.test", 1), 0), Known::Lost);
        assert_eq!(kept.find(&owner("pc1.plant.test", 2), 0), Known::Never);
        kept.forget_oldest_of(&"PC1 by its common name".into());
        assert_eq!(kept.find(&owner("pc1.plant.test", 1), 0), Known::Never);
    }

    #[test]
    fn what_a_bookmark_costs_is_what_its_line_takes() {
        for text in ["<BookmarkList/>".to_owned(), "\u{1}\"\\\n\u{1f}é".repeat(1000)] {
            let (owner, mut line) = (owner("client", 1), Vec::new());
            Line::bookmark(&owner, 1_700_000_000, &text.as_str().into()).write(&mut line);
            let cost = cost(&owner, &text);
            assert!((line.len()..line.len() + 160).contains(&cost), "{cost} for {}", line.len());
        }
    }

    #[test]
    fn after_a_loss_who_has_none_may_have_had_one_for_a_while() {
        let kept = Kept { lost_s: Some(1000), ..Kept::default() };
        assert_eq!(kept.find(&owner("a", 0), 1001), Known::Lost);
        assert_eq!(kept.find(&owner("a", 0), 1000 + LOST_FOR_S), Known::Never);
    }
}
