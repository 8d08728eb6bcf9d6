//! The bookmarks in memory, within bounds. What one client fills is that client's share.

use std::collections::HashMap;
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
    count: usize,
    bytes: usize,
    /// When bookmarks were last lost.
    pub(super) lost_s: Option<u64>,
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
            None => Known::Never,
        }
    }

    /// Keeps one. Whether others had to be forgotten for it.
    pub(super) fn put(&mut self, owner: Owner, at: u64, text: Arc<str>) -> bool {
        let cost = cost(&owner, &text);
        let of_client = self.of_clients.entry(Arc::clone(&owner.client)).or_default();
        match of_client.insert(owner.clone(), Bookmark { at, text }) {
            Some(before) => self.bytes -= cost_of(&owner, &before),
            None => self.count += 1,
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
            }
        }
        if of_client.is_empty() {
            self.of_clients.remove(client);
        }
        true
    }

    /// How many there are, and about how many bytes they take.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.count, self.bytes)
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = Line> {
        let bookmarks = self.of_clients.values().flatten();
        bookmarks.map(|(owner, kept)| Line::bookmark(owner, kept.at, &kept.text))
    }
}

fn cost_of(owner: &Owner, kept: &Bookmark) -> usize {
    cost(owner, &kept.text)
}

/// Bytes in memory, and about as many in the journal.
fn cost(owner: &Owner, text: &str) -> usize {
    owner.client.len() + owner.machine.len() + owner.subscription.len() + text.len() + 160
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
        assert_eq!(kept.find(&owner("greedy", 0), 0), Known::Never, "its oldest went");
        let newest = owner("greedy", OF_CLIENT_MAX);
        assert!(matches!(kept.find(&newest, 0), Known::At(..)));
        let large: Arc<str> = "x".repeat(BYTES_MAX / 16).into();
        assert!((0..20).any(|n| kept.put(owner("fat", n), n as u64, Arc::clone(&large))));
        assert!(kept.size().1 <= BYTES_MAX);
        assert!(matches!(kept.find(&owner("good", 0), 0), Known::At(..)));
    }

    #[test]
    fn after_a_loss_who_has_none_may_have_had_one_for_a_while() {
        let kept = Kept { lost_s: Some(1000), ..Kept::default() };
        assert_eq!(kept.find(&owner("a", 0), 1001), Known::Lost);
        assert_eq!(kept.find(&owner("a", 0), 1000 + LOST_FOR_S), Known::Never);
    }
}
